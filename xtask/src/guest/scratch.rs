//! A folder that goes away with its owner.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use super::failure::Failure;

/// An empty folder of this process, removed with everything in it when dropped.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// A folder below `parent`.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn new(parent: &Path) -> Result<Self, Failure> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("scratch-{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = parent.join(name);
        for stale in left_behind(parent) {
            fs::remove_dir_all(&stale).map_err(Failure::file("remove", &stale))?;
        }
        fs::create_dir_all(&path).map_err(Failure::file("create", &path))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

/// The folders of processes that are gone, killed before they could clean up.
fn left_behind(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter(|entry| owner(&entry.file_name().to_string_lossy()).is_some_and(is_gone))
        .map(|entry| entry.path())
        .collect()
}

/// The process that a folder of this name is of.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix("scratch-")?.split_once('-')?.0.parse().ok()
}

fn is_gone(process: u32) -> bool {
    !Path::new("/proc").join(process.to_string()).exists()
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("xtask: remove {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_goes_and_what_others_have_stays() {
        let parent = Scratch::new(&std::env::temp_dir()).unwrap();
        let folder = |name: &str| parent.path().join(name);
        // Linux has at most 4,194,304 processes.
        for name in ["scratch-5000000-0", "scratch-1-0", "kernels"] {
            fs::create_dir(folder(name)).unwrap();
        }
        let own = Scratch::new(parent.path()).unwrap();
        assert!(!folder("scratch-5000000-0").exists());
        assert!(folder("scratch-1-0").exists() && folder("kernels").exists() && own.path().exists());
    }

    #[test]
    fn two_are_apart_and_gone_afterwards() {
        let one = Scratch::new(&std::env::temp_dir()).unwrap();
        let two = Scratch::new(&std::env::temp_dir()).unwrap();
        assert_ne!(one.path(), two.path());
        fs::write(one.path().join("file"), "x").unwrap();
        let path = one.path().to_owned();
        assert!(path.is_dir());
        drop(one);
        assert!(!path.exists());
    }
}
