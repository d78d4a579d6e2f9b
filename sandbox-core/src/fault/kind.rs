//! What a fault can be, how far the work had got, and what an access tried.

use std::fmt;

use crate::codec::DecodeError;

/// What ended a crossing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// A fatal signal: an invalid access, an illegal instruction, a division by zero.
    Signal,
    /// The inside touched memory that its protection key does not let it touch.
    KeyViolation,
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
    /// It died after an allocation was refused because of the memory limit. Inferred: from the error number at its death, or from what
    /// the Rust and C++ runtimes print when they give up for want of memory.
    MemoryLimit,
    /// The result does not fit into the reply limit.
    ReplyLimit,
    /// A system call that the policy denies.
    Syscall {
        /// Its number; `None` where the kernel killed without saying: a call of another architecture's table, or one made with signals
        /// blocked, as by glibc when it starts a program.
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
            Self::KeyViolation => "key violation",
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

impl FaultKind {
    /// Whether the processor or the kernel stopped the work where it was, so that registers say something.
    pub(super) fn is_signal_like(&self) -> bool {
        matches!(
            self,
            Self::Signal | Self::KeyViolation | Self::StackOverflow | Self::Abort | Self::Syscall { .. }
        )
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
