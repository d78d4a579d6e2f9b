//! What went wrong inside, as a value.

mod backtrace;
mod display;
mod frame;
mod kind;
mod registers;

use std::time::Duration;

pub use self::backtrace::Backtrace;
pub use self::frame::Frame;
pub use self::kind::{Access, FaultKind, Phase};
pub use self::registers::Registers;

/// A crossing that ended without a value.
///
/// The host itself knows that there was a fault, when, on which backend, and the kinds [`Timeout`](FaultKind::Timeout),
/// [`CpuLimit`](FaultKind::CpuLimit) and [`MalformedReply`](FaultKind::MalformedReply). The other kinds and everything else come from the
/// isolate that died and are evidence, not proof: hostile code can forge them.
#[derive(Clone)]
pub struct Fault {
    backend: &'static str,
    kind: FaultKind,
    phase: Phase,
    elapsed: Duration,
    details: Details,
}

/// What a backend found out about a fault beyond its kind.
#[derive(Debug, Clone, Default)]
pub struct Details {
    /// Signal number.
    pub signal: Option<i32>,
    /// `si_code` of the signal.
    pub code: Option<i32>,
    /// The address that was accessed.
    pub address: Option<u64>,
    /// What the access tried to do.
    pub access: Option<Access>,
    /// The protection key of the memory that was accessed.
    pub key: Option<u32>,
    /// What lies at the address, in words, for example `a static of the program`. It stands in one line with the address.
    pub touched: Option<String>,
    /// Registers at the fault.
    pub registers: Option<Box<Registers>>,
    /// Who called whom.
    pub backtrace: Backtrace,
    /// A panic's message and place.
    pub message: Option<String>,
    /// The end of what the isolate wrote to its standard error.
    pub stderr_tail: Vec<u8>,
}

impl Fault {
    /// A fault as a backend reports it.
    #[must_use]
    pub fn new(
        backend: &'static str,
        kind: FaultKind,
        phase: Phase,
        elapsed: Duration,
        mut details: Details,
    ) -> Self {
        if kind == FaultKind::Panic {
            details.backtrace.taken_by_the_panic();
        }
        Self { backend, kind, phase, elapsed, details }
    }

    /// What ended the crossing.
    #[must_use]
    pub fn kind(&self) -> &FaultKind {
        &self.kind
    }

    /// The backend it happened on.
    #[must_use]
    pub fn backend(&self) -> &'static str {
        self.backend
    }

    /// How far the work got.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Time from the crossing in to the notice of the fault.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The fatal signal.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        self.details.signal
    }

    /// The kernel's name of the fatal signal, where it is one that commonly ends a program.
    #[must_use]
    pub fn signal_name(&self) -> Option<&'static str> {
        self.signal().and_then(display::signal_name)
    }

    /// The signal's `si_code`.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.details.code
    }

    /// The address that was accessed.
    #[must_use]
    pub fn address(&self) -> Option<u64> {
        self.details.address
    }

    /// What the access tried to do.
    #[must_use]
    pub fn access(&self) -> Option<Access> {
        self.details.access
    }

    /// The protection key of the memory that was accessed, where the processor refused the access because of it. 0 is the key of all
    /// memory that was given no other one.
    #[must_use]
    pub fn key(&self) -> Option<u32> {
        self.details.key
    }

    /// What lies at the address, in words, as far as the backend knows.
    #[must_use]
    pub fn touched(&self) -> Option<&str> {
        self.details.touched.as_deref()
    }

    /// Registers at the fault.
    #[must_use]
    pub fn registers(&self) -> Option<&Registers> {
        self.details.registers.as_deref()
    }

    /// Who called whom. Symbols are looked up when they are first asked for, which costs milliseconds.
    #[must_use]
    pub fn backtrace(&self) -> &Backtrace {
        &self.details.backtrace
    }

    /// A panic's message and place.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.details.message.as_deref()
    }

    /// The end of what the isolate wrote to its standard error, a few KiB at most.
    #[must_use]
    pub fn stderr_tail(&self) -> &[u8] {
        &self.details.stderr_tail
    }
}

impl std::error::Error for Fault {}

/// The name of an x86-64 system call.
#[must_use]
pub fn syscall_name(number: i64) -> Option<&'static str> {
    usize::try_from(number).ok().and_then(syscalls::Sysno::new).map(|call| call.name())
}
