//! What went wrong on this side of the boundary, and the one variant that says it went wrong inside.

use std::borrow::Cow;
use std::{fmt, io};

use crate::codec::EncodeError;
use crate::fault::Fault;
use crate::guarantees::Item;
use crate::threat::Threat;

/// Why a sandbox could not be built, or a crossing gave no value.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The code inside crashed, hung, passed a limit, or sent a reply that is not a value. The caller is unharmed.
    Fault(Box<Fault>),
    /// This machine, backend or build cannot give what was asked for.
    Unavailable(Unavailable),
    /// A builder value is out of range.
    Configuration(ConfigurationError),
    /// The arguments do not fit into the request limit or refuse to be encoded. Nothing ran.
    Arguments(EncodeError),
    /// The other side could not decode the arguments: an `encode` and a `decode` written by hand do not agree. Nothing ran.
    ArgumentsRejected,
    /// The session faulted earlier and its state is gone; [`Session::reset`](crate::Session::reset) makes a new one.
    Stale,
    /// The function belongs to a library that was loaded after the isolates were made, so they do not have it.
    NotLoaded {
        /// Where the function is in this process.
        address: usize,
    },
    /// This process was forked from the one that built the sandbox; the isolates belong to the parent.
    Forked,
    /// Too many sessions are open on this sandbox.
    TooManySessions,
    /// The kernel refused something.
    Os(OsError),
}

impl Error {
    /// The fault, if it is one.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Fault(fault) => Some(fault),
            _ => None,
        }
    }

    /// The fault, taken out.
    ///
    /// # Errors
    /// The error itself, if it is no fault.
    pub fn into_fault(self) -> Result<Fault, Self> {
        match self {
            Self::Fault(fault) => Ok(*fault),
            other => Err(other),
        }
    }

    /// A failed operation on the kernel.
    #[must_use]
    pub fn os(operation: &'static str, source: impl Into<io::Error>) -> Self {
        Self::Os(OsError { operation, source: source.into() })
    }

    /// A short constant name of the variant, as it stands in records.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.kind().name(),
            Self::Unavailable(_) => "unavailable",
            Self::Configuration(_) => "configuration",
            Self::Arguments(_) => "arguments",
            Self::ArgumentsRejected => "arguments rejected",
            Self::Stale => "stale session",
            Self::NotLoaded { .. } => "not loaded",
            Self::Forked => "forked",
            Self::TooManySessions => "too many sessions",
            Self::Os(_) => "os",
        }
    }
}

/// The whole story: causes are part of the text.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => fmt::Display::fmt(fault, f),
            Self::Unavailable(error) => error.fmt(f),
            Self::Configuration(error) => error.fmt(f),
            Self::Arguments(error) => match error.limit_bytes() {
                Some(limit) => write!(f, "the arguments do not fit into the request limit of {limit} bytes"),
                None => write!(f, "encode the arguments: {}", error.reason()),
            },
            Self::ArgumentsRejected => f.write_str("the arguments could not be decoded inside"),
            Self::Stale => f.write_str("the session faulted earlier and its state is gone"),
            Self::NotLoaded { address } => {
                write!(f, "function at {address:#x} was loaded after the isolates were made")
            }
            Self::Forked => {
                f.write_str("the sandbox belongs to the process that built it, not to its forked child")
            }
            Self::TooManySessions => f.write_str("too many sessions are open on this sandbox"),
            Self::Os(error) => error.fmt(f),
        }
    }
}

/// `source()` is always `None`: what it would return is part of the text, and a printed chain would say it twice. The causes
/// themselves are in the variants.
impl std::error::Error for Error {}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Fault(Box::new(fault))
    }
}

impl From<Unavailable> for Error {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

impl From<ConfigurationError> for Error {
    fn from(error: ConfigurationError) -> Self {
        Self::Configuration(error)
    }
}

/// What cannot be had here, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    what: Cow<'static, str>,
    reason: Cow<'static, str>,
}

impl Unavailable {
    /// A backend that this build or machine lacks.
    #[must_use]
    pub fn backend(backend: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { what: format!("backend {backend}").into(), reason: reason.into() }
    }

    /// A threat that the backend does not hold against.
    #[must_use]
    pub fn threat(backend: &'static str, threat: Threat, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { what: format!("backend {backend} against {threat}").into(), reason: reason.into() }
    }

    /// A required item that is not enforced.
    #[must_use]
    pub fn item(backend: &'static str, item: Item, reason: Cow<'static, str>) -> Self {
        Self { what: format!("{item} on backend {backend}").into(), reason }
    }

    /// Why it cannot be had.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not available: {}", self.what, self.reason)
    }
}

impl std::error::Error for Unavailable {}

/// A builder value out of range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationError {
    rule: &'static str,
}

impl ConfigurationError {
    /// The rule that does not hold.
    #[must_use]
    pub fn new(rule: &'static str) -> Self {
        Self { rule }
    }
}

impl fmt::Display for ConfigurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule)
    }
}

impl std::error::Error for ConfigurationError {}

/// An operation that the kernel refused.
#[derive(Debug)]
pub struct OsError {
    operation: &'static str,
    source: io::Error,
}

impl OsError {
    /// What was attempted.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// The kernel's answer.
    #[must_use]
    pub fn io(&self) -> &io::Error {
        &self.source
    }
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.source)
    }
}

/// `source()` is `None`: the kernel's answer is part of the text, and [`OsError::io`] has it.
impl std::error::Error for OsError {}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::time::Duration;

    use super::*;
    use crate::fault::{Details, FaultKind, Phase};

    #[test]
    fn the_text_holds_the_cause_once() {
        let os = Error::os("open a file", io::ErrorKind::NotFound);
        assert_eq!(os.to_string(), "open a file: entity not found");
        assert!(os.source().is_none());
        let refused = Error::Arguments(EncodeError::refused("the number is odd"));
        assert_eq!(refused.to_string(), "encode the arguments: the number is odd");
        assert!(refused.source().is_none());
    }

    #[test]
    fn a_fault_can_be_taken_out_and_other_errors_stay() {
        let fault =
            Fault::new("process", FaultKind::Abort, Phase::Inside, Duration::ZERO, Details::default());
        assert_eq!(Error::from(fault).into_fault().unwrap().kind(), &FaultKind::Abort);
        assert!(matches!(Error::Stale.into_fault(), Err(Error::Stale)));
    }
}
