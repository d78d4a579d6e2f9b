//! Baseline: shared-memory ping-pong with a persistent child that spins on another CPU. The limit for small payloads, at the
//! price of a whole CPU.
//!
//! Copies: those of `shm`. Syscalls per call: none, but `sched_setaffinity` when the caller has moved: the child is kept off the
//! caller's CPU. While it is parked the child sleeps on the request word.

use std::hint::spin_loop;
use std::io;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Acquire;
use std::time::Instant;

use super::arena::Arena;
use super::child::Child;
use super::futex::{PATIENCE, wait_while, wake};
use super::placement::{Placement, Rule};
use super::shm::{self, Operation};
use super::variant::{Subject, Variant};

/// A child that spins.
pub(crate) struct Spin {
    arena: Arena,
    placement: Placement,
    _child: Child,
}

impl Spin {
    /// Forks the child, parked; payloads are `area_bytes` at most.
    ///
    /// # Errors
    /// `Unsupported` where there is only one CPU.
    pub(crate) fn new(area_bytes: usize) -> io::Result<Self> {
        let arena = Arena::new(area_bytes)?;
        let child = Child::spawn(|| {
            arena.populate()?;
            let word = &arena.request().word;
            let mut seen = wait_while(word, 0, None)?;
            loop {
                let done = shm::serve(&arena)?;
                seen = if done == Operation::Park {
                    wait_while(word, seen, None)?
                } else {
                    spin_while(word, seen)
                };
            }
        })?;
        let placement = Placement::new(Rule::Avoid, child.pid())?;
        Ok(Self { arena, placement, _child: child })
    }

    fn exchange(&mut self, operation: Operation, bytes: &[u8], value: u64) -> io::Result<()> {
        self.placement.apply()?;
        let sequence = shm::post(&self.arena, operation, bytes, value)?;
        self.await_reply(sequence)
    }

    fn await_reply(&self, sequence: u32) -> io::Result<()> {
        const SPINS_PER_CLOCK: u32 = 1 << 16;
        let word = &self.arena.reply().word;
        let mut start = None;
        loop {
            for _ in 0..SPINS_PER_CLOCK {
                if word.load(Acquire) == sequence {
                    return Ok(());
                }
                spin_loop();
            }
            if start.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the child did not answer"));
            }
        }
    }
}

fn spin_while(word: &AtomicU32, old: u32) -> u32 {
    loop {
        let now = word.load(Acquire);
        if now != old {
            return now;
        }
        spin_loop();
    }
}

impl Variant for Spin {
    fn name(&self) -> &str {
        "spin, other CPU"
    }

    fn resume(&mut self) -> io::Result<()> {
        self.placement.apply()?;
        let sequence = shm::post(&self.arena, Operation::Step, &[], 0)?;
        wake(&self.arena.request().word);
        self.await_reply(sequence)
    }

    fn park(&mut self) -> io::Result<()> {
        self.exchange(Operation::Park, &[], 0)
    }
}

impl Subject for Spin {
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
