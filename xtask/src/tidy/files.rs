//! Which files the rules look at.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// What kind of file it is, as far as a rule cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Rust.
    Rust,
    /// Source in another language, or a script.
    Source,
    /// A manifest or a text for people.
    Text,
}

/// A file that rules look at.
#[derive(Debug)]
pub(super) struct File {
    /// Its path below the workspace.
    pub(super) path: PathBuf,
    /// What it is.
    pub(super) kind: Kind,
}

impl File {
    /// Its text.
    pub(super) fn read(&self, workspace: &Path) -> io::Result<String> {
        fs::read_to_string(workspace.join(&self.path))
    }
}

/// Folders whose names start with a dot are tools' own, but for these.
const DOT_FOLDERS: &[&str] = &[".cargo", ".ci", ".github"];

/// Every file below the workspace that has a [`Kind`], in order. Links are not followed; build output is left out.
///
/// # Errors
/// A folder cannot be read.
pub(super) fn list(workspace: &Path) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(workspace.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let is = entry.file_type()?;
            if is.is_dir() {
                if is_ours(workspace, &path) {
                    folders.push(path);
                }
            } else if let (true, Some(kind)) = (is.is_file(), kind_of(&path)) {
                files.push(File { path, kind });
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn is_ours(workspace: &Path, folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let hidden = name.starts_with('.') && !DOT_FOLDERS.contains(&name.as_ref());
    // Cargo marks its output folders, whatever they are called.
    !hidden && name != "target" && !workspace.join(folder).join("CACHEDIR.TAG").exists()
}

fn kind_of(path: &Path) -> Option<Kind> {
    let Some(extension) = path.extension() else {
        return path.starts_with(".ci").then_some(Kind::Source);
    };
    match extension.to_str()? {
        "rs" => Some(Kind::Rust),
        "c" | "cpp" | "h" | "ld" | "py" | "S" | "sh" => Some(Kind::Source),
        "md" | "toml" | "yml" => Some(Kind::Text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_lists_this_file_and_no_build_output() {
        let workspace = crate::root::workspace().unwrap();
        let files = list(&workspace).unwrap();
        assert!(files.iter().any(|file| file.path == Path::new("xtask/src/tidy/files.rs")));
        assert!(files.iter().all(|file| !file.path.starts_with("target")));
        assert!(files.iter().all(|file| !file.path.starts_with(".git")));
    }

    #[test]
    fn kinds_go_by_name() {
        assert_eq!(kind_of(Path::new("src/lib.rs")), Some(Kind::Rust));
        assert_eq!(kind_of(Path::new("testkit/c/crash.c")), Some(Kind::Source));
        assert_eq!(kind_of(Path::new(".ci/run")), Some(Kind::Source));
        assert_eq!(kind_of(Path::new("README.md")), Some(Kind::Text));
        assert_eq!(kind_of(Path::new("Cargo.lock")), None);
        assert_eq!(kind_of(Path::new("LICENSE-MIT")), None);
    }
}
