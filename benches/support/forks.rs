//! Baselines: one process per call, and the bare making of a process.
//!
//! Copies: none in (the child has the caller's memory as it is); `u64` results 8 bytes out, byte results once into the arena
//! and once out of it into a fresh vector. Syscalls per call: `fork`, the child's `_exit`, `waitpid`; and a page fault for
//! each page that either side writes while both live.

use std::io;
use std::sync::atomic::Ordering::Relaxed;

use super::arena::{Area, Arena};
use super::child::{fork_with, reap};
use super::variant::{Action, Closure, Subject, Variant};
use super::work;

/// A fork for each call; the reply comes through a shared arena.
pub(crate) struct ForkPerCall {
    arena: Arena,
}

impl ForkPerCall {
    /// Replies are `area_bytes` at most.
    pub(crate) fn new(area_bytes: usize) -> io::Result<Self> {
        Ok(Self { arena: Arena::new(area_bytes)? })
    }

    fn number(&self, body: impl FnOnce() -> u64) -> io::Result<u64> {
        let value = &self.arena.reply().value;
        reap(fork_with(|| {
            value.store(body(), Relaxed);
            Ok(())
        })?)?;
        Ok(value.load(Relaxed))
    }
}

impl Variant for ForkPerCall {
    fn name(&self) -> &str {
        "fork per call"
    }
}

impl Subject for ForkPerCall {
    fn step(&mut self, x: u64) -> io::Result<u64> {
        self.number(|| work::step(x))
    }

    fn sum(&mut self, bytes: &[u8]) -> io::Result<u64> {
        self.number(|| work::sum(bytes))
    }

    fn add(&mut self, bytes: &[u8], k: u64) -> io::Result<Vec<u8>> {
        let len_bytes = &self.arena.reply().len_bytes;
        reap(fork_with(|| {
            let out = work::add(bytes, k);
            len_bytes.store(out.len() as u64, Relaxed);
            self.arena.put(Area::Reply, &out)
        })?)?;
        self.arena.take(Area::Reply, len_bytes.load(Relaxed) as usize)
    }
}

/// `fork`, `_exit`, `waitpid`, and nothing else: the least that a fresh process costs this host.
pub(crate) fn bare_fork() -> impl Action {
    Closure::new("bare fork + _exit + waitpid", || reap(fork_with(|| Ok(()))?))
}
