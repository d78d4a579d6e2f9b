//! The guest's file system: programs, the libraries they load, and the files that were named, each where it is on this machine
//! or where it was asked for.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf, absolute};
use std::process::{Command, Stdio};

use super::failure::Failure;
use super::init::{self, Program, Variable};
use super::libraries;
use super::scratch::Scratch;
use crate::process;

/// Folders whose files the guest's kernel makes.
const FOLDERS_OF_THE_KERNEL: &[&str] = &["/proc", "/sys", "/dev"];

/// Every file of the guest, by its place there.
#[derive(Debug, Default)]
pub(super) struct Files(BTreeMap<PathBuf, PathBuf>);

impl Files {
    /// Busybox alone.
    ///
    /// # Errors
    /// It cannot be read, or a library of it is missing.
    pub(super) fn new(busybox: &Path) -> Result<Self, Failure> {
        let mut files = Self::default();
        files.add_at(busybox, PathBuf::from(init::BUSYBOX))?;
        Ok(files)
    }

    /// A program, at the place it has here, which is returned.
    ///
    /// # Errors
    /// It cannot be read, cannot lie there, or a library of it is missing.
    pub(super) fn add_program(&mut self, file: &Path) -> Result<PathBuf, Failure> {
        let place = place_of(file)?;
        self.add_at(file, place.clone())?;
        Ok(place)
    }

    /// `FILE`, or `FILE=PATH` with its place in the guest.
    ///
    /// # Errors
    /// As [`add_program`](Self::add_program).
    pub(super) fn add_named(&mut self, named: &str) -> Result<(), Failure> {
        match named.rsplit_once('=') {
            Some((file, place)) if !Path::new(named).exists() => {
                self.add_at(Path::new(file), PathBuf::from(place))
            }
            _ => self.add_program(Path::new(named)).map(|_place| ()),
        }
    }

    fn add_at(&mut self, file: &Path, place: PathBuf) -> Result<(), Failure> {
        let source = fs::canonicalize(file).map_err(Failure::file("pack", file))?;
        if !source.is_file() {
            let source = std::io::Error::other("not a regular file");
            return Err(Failure::File { operation: "pack", path: file.to_owned(), source });
        }
        if !is_free_for_files(&place) {
            return Err(Failure::Place(place));
        }
        let libraries = libraries::of(&source)?;
        if self.0.insert(place.clone(), source.clone()).is_some_and(|other| other != source) {
            return Err(Failure::Place(place));
        }
        for library in libraries {
            let source = fs::canonicalize(&library).map_err(Failure::file("pack", &library))?;
            self.0.entry(library).or_insert(source);
        }
        Ok(())
    }

    /// Writes them, with the script that runs the programs, as an archive the kernel unpacks. Its size in bytes.
    ///
    /// # Errors
    /// A file cannot be read or the archive not written.
    ///
    /// # Cost
    /// Every file is copied once, uncompressed: the guest would take longer to inflate it than to copy it.
    pub(super) fn write(
        &self,
        programs: &[Program],
        variables: &[Variable],
        scratch: &Scratch,
        archive: &Path,
    ) -> Result<u64, Failure> {
        let root = scratch.path().join("root");
        let inside = |place: &Path| root.join(place.strip_prefix("/").unwrap_or(place));
        for folder in init::FOLDERS {
            let folder = inside(Path::new(folder));
            fs::create_dir_all(&folder).map_err(Failure::file("create", &folder))?;
        }
        let script = root.join("init");
        fs::write(&script, init::script(programs, variables)).map_err(Failure::file("write", &script))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))
            .map_err(Failure::file("make executable", &script))?;
        for (place, source) in &self.0 {
            let link = inside(place);
            if let Some(folder) = link.parent() {
                fs::create_dir_all(folder).map_err(Failure::file("create", folder))?;
            }
            // Links, which cpio follows: nothing is copied twice.
            symlink(source, &link).map_err(Failure::file("create", &link))?;
        }
        archive_folder(&root, archive)?;
        Ok(fs::metadata(archive).map_err(Failure::file("read", archive))?.len())
    }
}

/// The absolute path of a file, without `..`.
fn place_of(file: &Path) -> Result<PathBuf, Failure> {
    let place = absolute(file).map_err(Failure::file("pack", file))?;
    if is_plain(&place) {
        return Ok(place);
    }
    fs::canonicalize(file).map_err(Failure::file("pack", file))
}

fn is_free_for_files(place: &Path) -> bool {
    place.is_absolute()
        && is_plain(place)
        && place.file_name().is_some()
        && place != Path::new("/init")
        && !FOLDERS_OF_THE_KERNEL.iter().any(|folder| place.starts_with(folder))
}

fn is_plain(path: &Path) -> bool {
    path.components().all(|part| part != Component::ParentDir)
}

fn archive_folder(root: &Path, archive: &Path) -> Result<(), Failure> {
    let line = "cpio --create".to_owned();
    let not_run = |source| process::Failure::NotRun { line: line.clone(), source };
    let mut cpio = Command::new("cpio");
    cpio.args(["--create", "--format=newc", "--dereference", "--null", "--quiet", "--io-size=1048576"]);
    let mut child =
        cpio.arg("--file").arg(archive).current_dir(root).stdin(Stdio::piped()).spawn().map_err(not_run)?;
    let names = names_below(root)?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(&names).map_err(not_run)?;
    }
    let status = child.wait().map_err(not_run)?;
    if status.success() { Ok(()) } else { Err(process::Failure::Ended { line, status }.into()) }
}

/// Every path below the folder, each after the folder it is in, with a zero byte after it.
fn names_below(root: &Path) -> Result<Vec<u8>, Failure> {
    let mut names = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        for entry in fs::read_dir(&path).map_err(Failure::file("read", &path))? {
            let entry = entry.map_err(Failure::file("read", &path))?;
            let name = folder.join(entry.file_name());
            names.extend(name.as_os_str().as_bytes());
            names.push(0);
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(name);
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_files_cannot_have() {
        for place in ["relative", "/", "/init", "/proc/x", "/dev/x/y", "/a/../proc/x"] {
            assert!(!is_free_for_files(Path::new(place)), "{place}");
        }
        for place in ["/tmp/x", "/device", "/init.d/x"] {
            assert!(is_free_for_files(Path::new(place)), "{place}");
        }
    }

    #[test]
    fn a_named_file_lies_where_it_was_asked_for_with_its_libraries() {
        let mut files = Files::default();
        files.add_named("/bin/sh=/opt/shell").unwrap();
        files.add_named("/etc/passwd").unwrap();
        assert!(files.0.contains_key(Path::new("/opt/shell")));
        assert!(files.0.contains_key(Path::new("/etc/passwd")));
        assert!(files.0.keys().any(|path| path.ends_with("libc.so.6")));
        assert!(matches!(files.add_named("/etc/passwd=/opt/shell"), Err(Failure::Place(_))));
        assert!(matches!(files.add_named("/etc"), Err(Failure::File { .. })));
        assert!(matches!(files.add_named("/no/such=/opt/x"), Err(Failure::File { .. })));
    }

    #[test]
    fn the_archive_holds_contents_and_not_links() {
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        let (file, archive) = (scratch.path().join("a=b"), scratch.path().join("archive"));
        fs::write(&file, "what the file holds").unwrap();
        let mut files = Files::default();
        let place = files.add_program(&file).unwrap();
        files.add_named(&file.to_string_lossy()).unwrap();
        let size = files.write(&[], &[], &scratch, &archive).unwrap();
        let bytes = fs::read(&archive).unwrap();
        assert_eq!(bytes.len() as u64, size);
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(holds("what the file holds") && holds("#!/bin/busybox sh"));
        assert!(holds(&place.to_string_lossy()[1..]));
        let folder = bytes.windows(4).position(|window| window == b"tmp\0").unwrap();
        assert_eq!(&bytes[folder - 110..folder - 104], b"070701");
    }
}
