//! Baseline: raw futex ping-pong with a persistent child over a prefaulted shared arena. The limit for a design that sleeps.
//!
//! Copies: those of `shm`. Syscalls per call: two of the caller's (`FUTEX_WAKE`, `FUTEX_WAIT` with a relative timeout, which saves
//! the reading of a clock that an absolute one needs) and two of the child's (`FUTEX_WAKE`, `FUTEX_WAIT` without a timeout). Two context switches.
//! The child's CPU follows the caller's, or is left to the scheduler, by the rule it is made with.
//!
//! # Safety
//! The futex words are live atomics in a shared mapping for the length of each system call.

#![expect(unsafe_code, reason = "the futex system call")]

use std::io;
use std::ptr;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

use super::arena::Arena;
use super::child::Child;
use super::placement::{Placement, Rule};
use super::shm::{self, Operation};
use super::variant::{Subject, Variant};

/// After this long without an answer the child is taken for dead.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A child that sleeps on a futex.
pub(crate) struct Futex {
    name: String,
    arena: Arena,
    placement: Placement,
    _child: Child,
}

impl Futex {
    /// Forks the child; payloads are `area_bytes` at most.
    pub(crate) fn new(area_bytes: usize, rule: Rule) -> io::Result<Self> {
        let arena = Arena::new(area_bytes)?;
        let child = Child::spawn(|| {
            arena.populate()?;
            let mut seen = 0;
            loop {
                seen = wait_while(&arena.request().word, seen, None)?;
                shm::serve(&arena)?;
                wake(&arena.reply().word);
            }
        })?;
        let placement = Placement::new(rule, child.pid())?;
        Ok(Self { name: format!("futex, {}", rule.label()), arena, placement, _child: child })
    }

    /// `work::burn(iterations)` in the child.
    pub(crate) fn burn(&mut self, iterations: u64) -> io::Result<u64> {
        self.exchange(Operation::Burn, &[], iterations)?;
        Ok(shm::take_number(&self.arena))
    }

    fn exchange(&mut self, operation: Operation, bytes: &[u8], value: u64) -> io::Result<()> {
        self.placement.apply()?;
        let sequence = shm::post(&self.arena, operation, bytes, value)?;
        wake(&self.arena.request().word);
        wait_while(&self.arena.reply().word, sequence.wrapping_sub(1), Some(PATIENCE))?;
        Ok(())
    }
}

impl Variant for Futex {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Subject for Futex {
    fn step(&mut self, x: u64) -> io::Result<u64> {
        self.exchange(Operation::Step, &[], x)?;
        Ok(shm::take_number(&self.arena))
    }

    fn sum(&mut self, bytes: &[u8]) -> io::Result<u64> {
        self.exchange(Operation::Sum, bytes, 0)?;
        Ok(shm::take_number(&self.arena))
    }

    fn add(&mut self, bytes: &[u8], k: u64) -> io::Result<Vec<u8>> {
        self.exchange(Operation::Add, bytes, k)?;
        shm::take_bytes(&self.arena)
    }
}

/// Sleeps until `word` is not `old`, and returns what it is then.
///
/// # Errors
/// `TimedOut` if one sleep lasts longer than `timeout`.
pub(crate) fn wait_while(word: &AtomicU32, old: u32, timeout: Option<Duration>) -> io::Result<u32> {
    let timeout =
        timeout.map(|t| libc::timespec { tv_sec: t.as_secs() as i64, tv_nsec: i64::from(t.subsec_nanos()) });
    let timeout_at = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    loop {
        let now = word.load(Acquire);
        if now != old {
            return Ok(now);
        }
        // SAFETY: `word` is a live, aligned u32 for the call, in memory both processes share (no FUTEX_PRIVATE_FLAG);
        // `timeout_at` is null or points at `timeout`, which outlives the call; FUTEX_WAIT reads no further argument.
        let rc = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, old, timeout_at) };
        if rc == -1 {
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR) => {}
                Some(libc::ETIMEDOUT) => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the child did not answer"));
                }
                _ => return Err(error),
            }
        }
    }
}

/// Wakes the one sleeper on `word`, if there is one.
pub(crate) fn wake(word: &AtomicU32) {
    // SAFETY: FUTEX_WAKE only uses the address, of a live aligned u32, as a key; it reads and writes nothing there.
    let _ = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}
