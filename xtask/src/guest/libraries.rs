//! The shared libraries that a program loads when it starts.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::failure::Failure;
use crate::process;

/// The libraries `ldd` names for the file, the dynamic loader among them: none for a file that loads none.
///
/// # Errors
/// The file cannot be read, or one of the libraries is not found.
pub(super) fn of(file: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !is_elf(file).map_err(Failure::file("read", file))? {
        return Ok(Vec::new());
    }
    let mut ldd = Command::new("ldd");
    ldd.arg(file).env("LC_ALL", "C");
    let failed = |source| process::Failure::NotRun { line: format!("ldd {}", file.display()), source };
    // It fails for a static program, and says so on standard error.
    let output = ldd.output().map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter_map(library)
        .map(|found| match found {
            Library::At(path) => Ok(PathBuf::from(path)),
            Library::Missing(name) => {
                Err(Failure::Library { program: file.to_owned(), name: name.to_owned() })
            }
        })
        .collect()
}

fn is_elf(file: &Path) -> std::io::Result<bool> {
    let mut magic = Vec::new();
    File::open(file)?.take(4).read_to_end(&mut magic)?;
    Ok(magic == b"\x7fELF")
}

#[derive(Debug, PartialEq, Eq)]
enum Library<'a> {
    At(&'a str),
    Missing(&'a str),
}

/// One line of `ldd`, which names a file, nothing (the vDSO), or what is missing.
fn library(line: &str) -> Option<Library<'_>> {
    let line = line.trim();
    let (name, place) = line.split_once(" => ").unwrap_or((line, line));
    if place == "not found" {
        return Some(Library::Missing(name));
    }
    let (path, _address) = place.rsplit_once(" (0x")?;
    path.starts_with('/').then_some(Library::At(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_kind() {
        let cases = [
            ("\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1)", "/lib/x86_64-linux-gnu/libc.so.6"),
            ("\t/lib64/ld-linux-x86-64.so.2 (0x00007f1)", "/lib64/ld-linux-x86-64.so.2"),
            ("\tlibx.so => /a b/(0x1)/libx.so (0x00007f1)", "/a b/(0x1)/libx.so"),
        ];
        for (line, path) in cases {
            assert_eq!(library(line), Some(Library::At(path)), "{line}");
        }
        assert_eq!(library("\tliby.so.1 => not found"), Some(Library::Missing("liby.so.1")));
        for line in
            ["\tlinux-vdso.so.1 (0x00007ffd)", "\tstatically linked", "\tnot a dynamic executable", ""]
        {
            assert_eq!(library(line), None, "{line}");
        }
    }

    #[test]
    fn this_program_loads_the_c_library_and_a_text_loads_nothing() {
        let libraries = of(&std::env::current_exe().unwrap()).unwrap();
        assert!(libraries.iter().any(|path| path.ends_with("libc.so.6")), "{libraries:?}");
        assert!(libraries.iter().all(|path| path.is_absolute()));
        assert!(of(Path::new("/etc/passwd")).unwrap().is_empty());
        assert!(of(Path::new("/no/such/file")).is_err());
    }
}
