//! Where the workspace is.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The folder of the workspace that the current folder belongs to.
///
/// # Errors
/// The current folder cannot be read, or no folder above it holds a workspace.
pub(crate) fn workspace() -> io::Result<PathBuf> {
    let here = env::current_dir()?;
    here.ancestors().find(|folder| is_workspace(folder)).map(Path::to_path_buf).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("no workspace at or above {}", here.display()))
    })
}

fn is_workspace(folder: &Path) -> bool {
    fs::read_to_string(folder.join("Cargo.toml"))
        .is_ok_and(|manifest| manifest.lines().any(|line| line.trim() == "[workspace]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_not_the_workspace() {
        let root = workspace().unwrap();
        assert!(root.join("xtask/src/root.rs").is_file());
        assert!(!is_workspace(&root.join("xtask")));
    }
}
