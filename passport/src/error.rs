//! What the tracker cannot do.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::passport::PassportId;

/// An operation on a tracker or a snapshot failed.
#[derive(Debug)]
pub struct Error(Repr);

/// Kinds of [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The tracker did not give this id by an explicit call, or has dropped its passport to stay within its budget.
    UnknownPassport,
    /// A file could not be written.
    Io,
    /// A writer did not take the export.
    Write,
}

#[derive(Debug)]
enum Repr {
    UnknownPassport { operation: &'static str, id: PassportId },
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    Write { source: serde_json::Error },
}

impl Error {
    /// What kind of failure it is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self.0 {
            Repr::UnknownPassport { .. } => ErrorKind::UnknownPassport,
            Repr::Io { .. } => ErrorKind::Io,
            Repr::Write { .. } => ErrorKind::Write,
        }
    }

    pub(crate) const fn unknown_passport(operation: &'static str, id: PassportId) -> Self {
        Self(Repr::UnknownPassport { operation, id })
    }

    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self(Repr::Io { operation, path: path.into(), source })
    }

    pub(crate) const fn write(source: serde_json::Error) -> Self {
        Self(Repr::Write { source })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::UnknownPassport { operation, id } => write!(f, "{operation}: unknown passport {id}"),
            Repr::Io { operation, path, .. } => write!(f, "{operation} {}", path.display()),
            Repr::Write { .. } => f.write_str("write memory passports"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0 {
            Repr::UnknownPassport { .. } => None,
            Repr::Io { source, .. } => Some(source),
            Repr::Write { source } => Some(source),
        }
    }
}
