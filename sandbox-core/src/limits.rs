//! How much of each resource one crossing may use.

use std::time::Duration;

use crate::error::ConfigurationError;

/// Which further tasks the code inside may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Processes {
    /// None: no thread, no child.
    #[default]
    Forbidden,
    /// Threads of the isolate itself. They end with it.
    Threads,
    /// Threads and child processes. Children are killed with the isolate.
    Allowed,
}

/// Limits of one isolate. Every limit is finite unless said otherwise.
///
/// | limit | default | scope | when it is passed |
/// |---|---|---|---|
/// | wall time | 30 s | one crossing | [`FaultKind::Timeout`](crate::FaultKind::Timeout) |
/// | CPU time | none | one crossing, all its threads | [`FaultKind::CpuLimit`](crate::FaultKind::CpuLimit) |
/// | memory | 1 GiB | address space beyond what the isolate was born with | allocation fails inside; dying of that is [`FaultKind::MemoryLimit`](crate::FaultKind::MemoryLimit) |
/// | arguments | 64 MiB | one crossing | [`Error::Arguments`](crate::Error::Arguments) |
/// | reply | 64 MiB | one crossing: its encoded size; decoding it may allocate eight times that, and 64 KiB at least | [`FaultKind::ReplyLimit`](crate::FaultKind::ReplyLimit) |
/// | descriptors | 0 | open at once, beyond 0–2 and the lent ones | `EMFILE` inside |
/// | processes | forbidden | the isolate | a thread is refused with `EAGAIN`; a fork is [`FaultKind::Syscall`](crate::FaultKind::Syscall) |
/// | stack | 8 MiB | `call` and sessions; `run` uses the caller's | [`FaultKind::StackOverflow`](crate::FaultKind::StackOverflow) |
///
/// On the MPK backend memory is the size of the domain's heap, `run` has the domain's stack, no descriptor can be opened, threads are refused
/// whatever is said here, and there is no CPU limit. The direct backend enforces the argument and reply limits only; see
/// [`Sandbox::guarantees`](crate::Sandbox::guarantees).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub(crate) wall: Duration,
    pub(crate) cpu: Option<Duration>,
    pub(crate) memory_bytes: u64,
    pub(crate) request_bytes: usize,
    pub(crate) reply_bytes: usize,
    pub(crate) descriptors: u32,
    pub(crate) processes: Processes,
    pub(crate) stack_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(30),
            cpu: None,
            memory_bytes: 1 << 30,
            request_bytes: 64 << 20,
            reply_bytes: 64 << 20,
            descriptors: 0,
            processes: Processes::Forbidden,
            stack_bytes: 8 << 20,
        }
    }
}

impl Limits {
    /// The defaults of the table above.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Wall time of one crossing: above zero, at most a day.
    #[must_use]
    pub fn wall(mut self, limit: Duration) -> Self {
        self.wall = limit;
        self
    }

    /// CPU time of one crossing, all threads inside together: above zero, at most a day. Costs one system call a crossing.
    #[must_use]
    pub fn cpu(mut self, limit: Duration) -> Self {
        self.cpu = Some(limit);
        self
    }

    /// Address space that the isolate may add to what it was born with: 1 MiB to 2^46 bytes.
    #[must_use]
    pub fn memory_bytes(mut self, limit: u64) -> Self {
        self.memory_bytes = limit;
        self
    }

    /// Encoded arguments of one crossing: at most 2^40 bytes. The space is reserved, not used, until a call fills it.
    #[must_use]
    pub fn request_bytes(mut self, limit: usize) -> Self {
        self.request_bytes = limit;
        self
    }

    /// The encoded reply of one crossing: at most 2^40 bytes. A value takes more room in memory than on the way, so decoding may
    /// allocate eight times as much, and no more, whatever the reply says.
    #[must_use]
    pub fn reply_bytes(mut self, limit: usize) -> Self {
        self.reply_bytes = limit;
        self
    }

    /// Descriptors that may be open at once, beyond 0, 1, 2 and the lent ones: at most 1,024.
    #[must_use]
    pub fn descriptors(mut self, limit: u32) -> Self {
        self.descriptors = limit;
        self
    }

    /// Which further tasks may be started.
    #[must_use]
    pub fn processes(mut self, processes: Processes) -> Self {
        self.processes = processes;
        self
    }

    /// Stack of a `call` or session: 64 KiB to 1 GiB.
    #[must_use]
    pub fn stack_bytes(mut self, limit: usize) -> Self {
        self.stack_bytes = limit;
        self
    }

    /// Wall time of one crossing.
    #[must_use]
    pub fn wall_limit(&self) -> Duration {
        self.wall
    }

    /// CPU time of one crossing, if limited.
    #[must_use]
    pub fn cpu_limit(&self) -> Option<Duration> {
        self.cpu
    }

    /// Address space beyond what the isolate was born with.
    #[must_use]
    pub fn memory_limit_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Encoded arguments of one crossing.
    #[must_use]
    pub fn request_limit_bytes(&self) -> usize {
        self.request_bytes
    }

    /// The reply of one crossing.
    #[must_use]
    pub fn reply_limit_bytes(&self) -> usize {
        self.reply_bytes
    }

    /// What decoding one reply may allocate.
    #[must_use]
    pub fn decode_budget_bytes(&self) -> usize {
        self.reply_bytes.saturating_mul(8).max(64 << 10)
    }

    /// Descriptors beyond 0–2 and the lent ones.
    #[must_use]
    pub fn descriptor_limit(&self) -> u32 {
        self.descriptors
    }

    /// Which further tasks may be started.
    #[must_use]
    pub fn process_limit(&self) -> Processes {
        self.processes
    }

    /// Stack of a `call` or session.
    #[must_use]
    pub fn stack_limit_bytes(&self) -> usize {
        self.stack_bytes
    }

    /// Whether every value is in the range its setter names.
    ///
    /// # Errors
    /// The first value that is out of range.
    pub fn validate(&self) -> Result<(), ConfigurationError> {
        const DAY: Duration = Duration::from_secs(86_400);
        let time = |value: Duration| !value.is_zero() && value <= DAY;
        let checks = [
            (time(self.wall), "wall time must be above zero and at most a day"),
            (self.cpu.is_none_or(time), "cpu time must be above zero and at most a day"),
            ((1 << 20..=1 << 46).contains(&self.memory_bytes), "memory must be 1 MiB to 2^46 bytes"),
            (self.request_bytes <= 1 << 40, "request must be at most 2^40 bytes"),
            (self.reply_bytes <= 1 << 40, "reply must be at most 2^40 bytes"),
            (self.descriptors <= 1024, "descriptors must be at most 1,024"),
            ((64 << 10..=1 << 30).contains(&self.stack_bytes), "stack must be 64 KiB to 1 GiB"),
        ];
        match checks.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(ConfigurationError::new(rule)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_out_of_range_is_named() {
        let cases = [
            (Limits::new().wall(Duration::ZERO), "wall"),
            (Limits::new().wall(Duration::from_secs(86_401)), "wall"),
            (Limits::new().cpu(Duration::ZERO), "cpu"),
            (Limits::new().memory_bytes(4096), "memory"),
            (Limits::new().request_bytes(usize::MAX), "request"),
            (Limits::new().reply_bytes((1 << 40) + 1), "reply"),
            (Limits::new().descriptors(1025), "descriptors"),
            (Limits::new().stack_bytes(4096), "stack"),
        ];
        for (limits, word) in cases {
            let error = limits.validate().unwrap_err().to_string();
            assert!(error.contains(word), "{error} should name {word}");
        }
        assert!(Limits::new().validate().is_ok());
    }
}
