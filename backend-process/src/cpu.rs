//! Which CPU runs what, and for how long.
//!
//! # Safety
//! One system call that takes plain data.
#![expect(unsafe_code, reason = "sched_setscheduler")]

use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::ClockId;
use nix::unistd::Pid;

/// The CPU this thread runs on, or `u32::MAX` where it cannot be told. No system call.
pub(crate) fn current() -> u32 {
    nix::sched::sched_getcpu().ok().and_then(|cpu| u32::try_from(cpu).ok()).unwrap_or(u32::MAX)
}

/// Where a worker may run: all of the host's CPUs at construction, for the moments it is not pinned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placement {
    all: CpuSet,
    several: bool,
}

impl Placement {
    /// The CPUs the calling thread may use.
    pub(crate) fn of_caller() -> Result<Self, Errno> {
        let all = sched_getaffinity(Pid::from_raw(0))?;
        let count = (0..CpuSet::count()).filter(|&cpu| all.is_set(cpu).unwrap_or(false)).count();
        Ok(Self { all, several: count > 1 })
    }

    /// Whether there is more than one CPU to run on.
    pub(crate) fn has_several(&self) -> bool {
        self.several
    }

    /// Lets a process run on one CPU only. Placement is an optimisation: a refusal is ignored.
    pub(crate) fn pin(&self, pid: Pid, cpu: u32) {
        let mut one = CpuSet::new();
        if one.set(cpu as usize).is_ok() {
            let _ = sched_setaffinity(pid, &one);
        }
    }

    /// Lets a process run on every CPU but one.
    pub(crate) fn keep_off(&self, pid: Pid, cpu: u32) {
        let mut others = self.all;
        if others.unset(cpu as usize).is_ok() {
            let _ = sched_setaffinity(pid, &others);
        }
    }

    /// Lets a process run anywhere again.
    pub(crate) fn release(&self, pid: Pid) {
        let _ = sched_setaffinity(pid, &self.all);
    }
}

/// Lets this process never push another off its CPU when it wakes (`SCHED_BATCH`). Children inherit it. An optimisation: a refusal is
/// ignored.
pub(crate) fn yield_to_others() {
    schedule_as(libc::SCHED_BATCH);
}

/// Undoes [`yield_to_others`].
pub(crate) fn take_turns() {
    schedule_as(libc::SCHED_OTHER);
}

fn schedule_as(policy: libc::c_int) {
    // SAFETY: plain data, of which zeroes are the only value these policies take; other C libraries have more fields.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: zero is the calling process; the parameters live for the call.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
}

/// What a process may still use of its CPU time, read from its own clock by number: no permission over it is needed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuBudget {
    limit: Option<Duration>,
    spent_before: Duration,
}

impl CpuBudget {
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        Self { limit, spent_before: Duration::ZERO }
    }

    /// What is used from now on counts. One system call if there is a limit.
    pub(crate) fn start(&mut self, pid: Pid) {
        if self.limit.is_some() {
            self.spent_before = spent(pid).unwrap_or_default();
        }
    }

    /// What is left. One system call if there is a limit; everything is, where there is none or the process is gone.
    pub(crate) fn left(&self, pid: Pid) -> Duration {
        match (self.limit, self.limit.and_then(|_| spent(pid))) {
            (Some(limit), Some(spent)) => limit.saturating_sub(spent.saturating_sub(self.spent_before)),
            _ => Duration::MAX,
        }
    }
}

fn spent(pid: Pid) -> Option<Duration> {
    let time = ClockId::pid_cpu_clock_id(pid).ok()?.now().ok()?;
    Some(Duration::from(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_uses_the_budget_up() {
        let mut budget = CpuBudget::new(Some(Duration::from_millis(20)));
        let own = nix::unistd::getpid();
        budget.start(own);
        assert!(!budget.left(own).is_zero());
        let mut rounds = 0u64;
        while !budget.left(own).is_zero() {
            rounds = std::hint::black_box(rounds + 1);
        }
        assert!(rounds > 0);
        assert_eq!(CpuBudget::new(None).left(own), Duration::MAX);
    }
}
