//! Baseline: a direct call in place. No isolation, no copy, no syscall; `bytes → bytes` allocates its result.

use std::io;

use super::variant::{Subject, Variant};
use super::work;

/// The function itself.
pub(crate) struct Direct;

impl Variant for Direct {
    fn name(&self) -> &str {
        "direct call"
    }
}

impl Subject for Direct {
    fn step(&mut self, x: u64) -> io::Result<u64> {
        Ok(work::step(x))
    }

    fn sum(&mut self, bytes: &[u8]) -> io::Result<u64> {
        Ok(work::sum(bytes))
    }

    fn add(&mut self, bytes: &[u8], k: u64) -> io::Result<Vec<u8>> {
        Ok(work::add(bytes, k))
    }
}
