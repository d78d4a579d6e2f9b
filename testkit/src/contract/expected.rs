//! What a fault must say of itself.

use std::fmt;

use ringfence_core::fault::{Access, Phase};
use ringfence_core::{Error, Fault, FaultKind, Sandbox};

use super::{Way, count};

/// A fault to be met, field by field. What is not stated must not be there; what cannot be foreseen is left open.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    kind: FaultKind,
    signal: Want<i32>,
    code: Want<i32>,
    address: Want<u64>,
    access: Option<Access>,
    key: Want<u32>,
    guilty: Option<&'static str>,
    stderr: &'static str,
}

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want<T> {
    /// This value.
    Is(T),
    /// One of these values: where it depends on the mechanism.
    Either(T, T),
    /// No value.
    Nothing,
    /// Whatever it is.
    Open,
}

impl<T: PartialEq + Copy + fmt::Debug> Want<T> {
    fn admits(self, found: Option<T>) -> bool {
        match self {
            Self::Is(value) => found == Some(value),
            Self::Either(one, other) => found == Some(one) || found == Some(other),
            Self::Nothing => found.is_none(),
            Self::Open => true,
        }
    }
}

impl Expected {
    pub(super) fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            signal: Want::Nothing,
            code: Want::Nothing,
            address: Want::Nothing,
            access: None,
            key: Want::Nothing,
            guilty: None,
            stderr: "",
        }
    }

    /// A signal with its `si_code` (sigaction(2)).
    pub(super) fn signal(mut self, signal: i32, code: impl Into<Want<i32>>) -> Self {
        (self.signal, self.code) = (Want::Is(signal), code.into());
        self
    }

    /// Any signal or none: of an isolate that the host ended, it is not of the work's making.
    pub(super) fn any_signal(mut self) -> Self {
        (self.signal, self.code) = (Want::Open, Want::Open);
        self
    }

    pub(super) fn at(mut self, address: impl Into<Want<u64>>, access: Access) -> Self {
        (self.address, self.access) = (address.into(), Some(access));
        self
    }

    /// The protection key of what was accessed.
    pub(super) fn key(mut self, key: u32) -> Self {
        self.key = Want::Is(key);
        self
    }

    /// A function that is in the backtrace.
    pub(super) fn by(mut self, function: &'static str) -> Self {
        self.guilty = Some(function);
        self
    }

    /// A text in the tail of standard error.
    pub(super) fn saying(mut self, text: &'static str) -> Self {
        self.stderr = text;
        self
    }

    /// Goes in by every way, checks the fault that comes of it, and that the next use finds nothing of it.
    #[track_caller]
    pub(super) fn from(&self, sandbox: &Sandbox, inside: impl Fn() + Copy + 'static) {
        for way in Way::ALL {
            // So that there is something to be rewound.
            way.go(sandbox, count).unwrap();
            let gone = way.go(sandbox, inside);
            let error = gone.expect_err("the inside does not return");
            self.check(&error, way);
            assert_eq!(way.go(sandbox, count).unwrap(), 1, "{way:?} after {error}");
        }
        let mut session = sandbox.session().unwrap();
        let error = session.call(move |()| inside(), ()).expect_err("the inside does not return");
        self.check(&error, Way::Session);
        let stale = session.call(|()| count(), ());
        assert!(matches!(stale, Err(Error::Stale)), "after {error}: {stale:?}");
        session.reset().unwrap();
        assert_eq!(session.call(|()| count(), ()).unwrap(), 1, "a reset session after {error}");
    }

    /// Checks one fault.
    #[track_caller]
    pub(super) fn check(&self, error: &Error, way: Way) -> Box<Fault> {
        let Error::Fault(fault) = error else { panic!("{way:?}: {error} is no fault, expected {self:?}") };
        let told = format!("{way:?}: {fault:#}\nsignal {:?} code {:?}", fault.signal(), fault.code());
        assert_eq!(fault.kind(), &self.kind, "{told}");
        assert_eq!(fault.phase(), Phase::Inside, "{told}");
        assert!(self.signal.admits(fault.signal()), "signal {:?}: {told}", self.signal);
        assert!(self.code.admits(fault.code()), "code {:?}: {told}", self.code);
        assert!(self.address.admits(fault.address()), "address {:?}: {told}", self.address);
        assert_eq!(fault.access(), self.access, "{told}");
        assert!(self.key.admits(fault.key()), "key {:?}: {told}", self.key);
        assert_eq!(fault.touched().is_some(), self.kind == FaultKind::KeyViolation, "{told}");
        if let Some(guilty) = self.guilty {
            assert!(names(fault, guilty), "no {guilty} in {told}");
            assert!(fault.registers().is_some(), "no registers in {told}");
        }
        let stderr = String::from_utf8_lossy(fault.stderr_tail());
        assert!(stderr.contains(self.stderr), "no `{}` in {told}", self.stderr);
        assert_eq!(fault.message().is_some(), self.kind == FaultKind::Panic, "{told}");
        assert!(fault.to_string().contains(fault.backend()), "{told}");
        fault.clone()
    }
}

/// Whether a function is in the backtrace.
pub(super) fn names(fault: &Fault, function: &str) -> bool {
    let frames = fault.backtrace().frames();
    frames.iter().filter_map(|frame| frame.symbol.as_deref()).any(|name| name.contains(function))
}

impl<T> From<T> for Want<T> {
    fn from(value: T) -> Self {
        Self::Is(value)
    }
}
