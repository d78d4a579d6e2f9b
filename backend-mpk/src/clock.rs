//! Time stamps that cost one instruction, to be turned into a duration only when somebody asks.
//!
//! # Safety
//! Reads the processor's time stamp counter.
#![expect(unsafe_code, reason = "rdtsc")]

use std::arch::x86_64::_rdtsc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp(u64);

/// The counter and the clock at one moment: from there to any later one they give the counter's rate.
static START: OnceLock<(u64, Instant)> = OnceLock::new();

/// To be called before the first stamp that is to be measured from.
pub(crate) fn start() {
    START.get_or_init(|| (counter(), Instant::now()));
}

fn counter() -> u64 {
    // SAFETY: the instruction is permitted in every Linux program that has not forbidden it to itself (PR_SET_TSC).
    unsafe { _rdtsc() }
}

impl Stamp {
    pub(crate) fn now() -> Self {
        Self(counter())
    }

    /// The time since then. Exact to the counter's steadiness; zero where there is nothing to compare with.
    pub(crate) fn elapsed(self) -> Duration {
        let Some((first, started)) = START.get() else { return Duration::ZERO };
        let (now, clock) = (counter(), started.elapsed());
        let (all, part) = (now.wrapping_sub(*first), now.wrapping_sub(self.0).min(now.wrapping_sub(*first)));
        if all == 0 {
            return Duration::ZERO;
        }
        let nanoseconds = clock.as_nanos().saturating_mul(part.into()) / u128::from(all);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_agrees_with_the_clock() {
        start();
        std::thread::sleep(Duration::from_millis(20));
        let (stamp, clock) = (Stamp::now(), Instant::now());
        std::thread::sleep(Duration::from_millis(20));
        let (low, stamped, high) = (clock.elapsed(), stamp.elapsed(), clock.elapsed());
        let slack = Duration::from_micros(500);
        assert!(
            low.saturating_sub(slack) <= stamped && stamped <= high + slack,
            "{low:?} {stamped:?} {high:?}"
        );
    }
}
