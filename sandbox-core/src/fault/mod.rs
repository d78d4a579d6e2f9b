//! What went wrong inside, as a value.

mod backtrace;
mod registers;

use std::fmt;
use std::time::Duration;

pub use self::backtrace::{Backtrace, Frame};
pub use self::registers::Registers;
use crate::codec::DecodeError;

/// What ended a crossing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// A fatal signal: an invalid access, an illegal instruction, a division by zero.
    Signal,
    /// The stack ran into its guard.
    StackOverflow,
    /// A Rust panic that nothing inside caught.
    Panic,
    /// `abort()`, called or provoked (a corrupted heap, a smashed stack, an uncaught C++ exception).
    Abort,
    /// The code inside ended its process.
    Exit {
        /// The status it gave.
        code: i32,
    },
    /// It was killed from outside, by someone other than this program.
    Killed,
    /// The wall-time limit passed.
    Timeout,
    /// The CPU-time limit passed.
    CpuLimit,
    /// It died after an allocation was refused because of the memory limit.
    MemoryLimit,
    /// The result does not fit into the reply limit.
    ReplyLimit,
    /// A system call that the policy denies.
    Syscall {
        /// Its number; `None` where the kernel killed without saying: a call of another architecture's table, or one made with signals
        /// blocked, as by glibc when it starts a thread.
        number: Option<i64>,
    },
    /// What came back is not a value of the expected type.
    MalformedReply {
        /// What the decoder met, where it came to decoding.
        error: Option<DecodeError>,
    },
}

impl FaultKind {
    /// A short constant name, as it stands in records.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::StackOverflow => "stack overflow",
            Self::Panic => "panic",
            Self::Abort => "abort",
            Self::Exit { .. } => "exit",
            Self::Killed => "killed",
            Self::Timeout => "timeout",
            Self::CpuLimit => "cpu limit",
            Self::MemoryLimit => "memory limit",
            Self::ReplyLimit => "reply limit",
            Self::Syscall { .. } => "syscall",
            Self::MalformedReply { .. } => "malformed reply",
        }
    }
}

/// How far the work got. It is what the isolate said last, and a hostile one can lie about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The isolate had not taken the work up: nothing of it was done.
    NotStarted,
    /// The work had begun and had not replied.
    Inside,
    /// A reply had been announced.
    Replied,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotStarted => "before the work began",
            Self::Inside => "inside",
            Self::Replied => "after replying",
        })
    }
}

/// What a faulting access tried to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Execute,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execution",
        })
    }
}

/// A crossing that ended without a value. Everything but the kind, the time and the backend comes from the isolate that died and
/// is evidence, not proof: hostile code can forge it.
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
        details: Details,
    ) -> Self {
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

/// One line. The alternate form `{:#}` adds registers, backtrace and the tail of standard error.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.backend)?;
        match &self.kind {
            FaultKind::Signal => match self.details.signal {
                Some(signal) => write!(f, "killed by {}", signal_name(signal))?,
                None => f.write_str("killed by a signal")?,
            },
            FaultKind::Exit { code } => write!(f, "exited with status {code}")?,
            FaultKind::Syscall { number: Some(number) } => {
                write!(f, "denied system call {} ({number})", syscall_name(*number).unwrap_or("unknown"))?;
            }
            FaultKind::Syscall { number: None } => f.write_str("denied system call, number unknown")?,
            FaultKind::MalformedReply { error: Some(error) } => write!(f, "malformed reply: {error}")?,
            FaultKind::Panic => f.write_str("panicked")?,
            FaultKind::Abort => f.write_str("aborted")?,
            FaultKind::Timeout => f.write_str("wall-time limit passed")?,
            FaultKind::CpuLimit => f.write_str("cpu-time limit passed")?,
            FaultKind::MemoryLimit => f.write_str("died at the memory limit")?,
            FaultKind::ReplyLimit => f.write_str("the result passes the reply limit")?,
            FaultKind::Killed => f.write_str("killed from outside")?,
            FaultKind::StackOverflow | FaultKind::MalformedReply { error: None } => {
                f.write_str(self.kind.name())?;
            }
        }
        if let Some(address) = self.details.address {
            let access = self.details.access.map(|access| access.to_string());
            write!(f, ", {} at address {address:#x}", access.as_deref().unwrap_or("access"))?;
        }
        if let Some(message) = &self.details.message {
            write!(f, ": {message}")?;
        }
        write!(f, " ({}, after {:?})", self.phase, self.elapsed)?;
        if !f.alternate() {
            return Ok(());
        }
        if let Some(registers) = &self.details.registers {
            write!(f, "\nregisters\n{registers}")?;
        }
        if !self.details.backtrace.is_empty() {
            write!(f, "\nbacktrace\n{}", self.details.backtrace)?;
        }
        if !self.details.stderr_tail.is_empty() {
            write!(f, "\nstandard error\n{}", String::from_utf8_lossy(&self.details.stderr_tail))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({self})")
    }
}

impl std::error::Error for Fault {}

/// The kernel's name of a signal that can end an isolate.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGABRT => "SIGABRT",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGKILL => "SIGKILL",
        libc::SIGTERM => "SIGTERM",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        _ => "another signal",
    }
}

/// The name of an x86-64 system call.
#[must_use]
pub fn syscall_name(number: i64) -> Option<&'static str> {
    usize::try_from(number).ok().and_then(syscalls::Sysno::new).map(|call| call.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_where_and_when() {
        let details = Details {
            signal: Some(libc::SIGSEGV),
            address: Some(0),
            access: Some(Access::Write),
            ..Details::default()
        };
        let fault =
            Fault::new("process", FaultKind::Signal, Phase::Inside, Duration::from_micros(12), details);
        assert_eq!(fault.to_string(), "process: killed by SIGSEGV, write at address 0x0 (inside, after 12µs)");
        assert_eq!(syscall_name(libc::SYS_openat), Some("openat"));
        assert_eq!(syscall_name(-1), None);
    }
}
