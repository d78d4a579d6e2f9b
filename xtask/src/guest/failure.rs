//! What keeps a program from running in a guest, or its result from being known.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::needs;
use crate::process;
use crate::test::count::Unacceptable;

/// Why there is no exit status.
#[derive(Debug)]
pub(crate) enum Failure {
    /// This is the system's name, and it is not Debian 12.
    System(String),
    /// The system lacks something.
    Needs(needs::Missing),
    /// A command did not do what it should.
    Command(process::Failure),
    /// A file could not be had, read or written.
    File { operation: &'static str, path: PathBuf, source: io::Error },
    /// A command's output does not say what was asked of it.
    Unsaid { command: String, wanted: &'static str },
    /// A library that a program needs is not on this system.
    Library { program: PathBuf, name: String },
    /// A file cannot be packed at that place in the guest.
    Place(PathBuf),
    /// An environment variable that was named is not set.
    Unset(String),
    /// A program ended badly.
    Program { title: String, status: u8 },
    /// A program of several did not report its end.
    Unreported { title: String },
    /// The tests ran, and their sum is not acceptable.
    Counts(Unacceptable),
    /// What went wrong on which kernels.
    Kernels(Vec<(&'static str, Failure)>),
    /// The guest did not come to its end.
    Guest {
        end: BadEnd,
        /// The last lines of its console.
        console: String,
    },
}

/// How a guest ended that did not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadEnd {
    /// Its kernel panicked.
    Panicked,
    /// It stopped before its last program had ended.
    Stopped,
    /// A program took longer than this.
    Hung(Duration),
}

impl Failure {
    /// For `map_err`.
    pub(super) fn file(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { operation, path: path.to_owned(), source }
    }
}

impl From<process::Failure> for Failure {
    fn from(failure: process::Failure) -> Self {
        Self::Command(failure)
    }
}

impl fmt::Display for BadEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked => f.write_str("the guest's kernel panicked"),
            Self::Stopped => f.write_str("the guest stopped before its last program had ended"),
            Self::Hung(limit) => write!(f, "the guest did not end its program within {} s", limit.as_secs()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(name) => write!(f, "guests need Debian 12; this is {name}"),
            Self::Needs(missing) => missing.fmt(f),
            Self::Command(failure) => failure.fmt(f),
            Self::File { operation, path, source } => write!(f, "{operation} {}: {source}", path.display()),
            Self::Unsaid { command, wanted } => write!(f, "`{command}` names no {wanted}"),
            Self::Library { program, name } => {
                write!(f, "pack {}: library {name} is not found", program.display())
            }
            Self::Place(path) => write!(
                f,
                "pack at {}: not an absolute path outside /proc, /sys and /dev that only one file has",
                path.display()
            ),
            Self::Unset(name) => write!(f, "pass {name} on: it is not set"),
            Self::Program { title, status } => write!(f, "`{title}` ended with status {status}"),
            Self::Unreported { title } => write!(f, "`{title}` did not end"),
            Self::Counts(unacceptable) => unacceptable.fmt(f),
            Self::Kernels(failures) => {
                for (index, (kernel, failure)) in failures.iter().enumerate() {
                    write!(f, "{}kernel {kernel}: {failure}", if index == 0 { "" } else { "; " })?;
                }
                Ok(())
            }
            Self::Guest { end, console } if console.is_empty() => write!(f, "{end}; its console is empty"),
            Self::Guest { end, console } => write!(f, "{end}; the end of its console:\n{console}"),
        }
    }
}
