//! Waiting on a word that two processes share.
//!
//! # Safety
//! The futex system call reads the word and sleeps; it is given addresses of live atomics only.
#![expect(unsafe_code, reason = "the futex system call")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Someone woke us, the word had changed already, or a signal came: look at the word.
    Look,
    /// The time is over.
    TimedOut,
}

/// Sleeps while `word` holds `expected`, for at most `timeout` (for ever when `None`). One system call.
pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> Wake {
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    });
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: FUTEX_WAIT reads 4 bytes at the word, a live aligned atomic, and a timespec that is null or outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, timeout) };
    if result == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ETIMEDOUT) {
        Wake::TimedOut
    } else {
        Wake::Look
    }
}

/// Sleeps until `word` holds something else than `expected`, for at most `patience`.
pub(crate) fn await_change(word: &AtomicU32, expected: u32, patience: Duration) {
    let start = Instant::now();
    while word.load(Ordering::Acquire) == expected {
        let left = patience.saturating_sub(start.elapsed());
        if left.is_zero() {
            return;
        }
        wait(word, expected, Some(left));
    }
}

/// Wakes whoever sleeps on `word`. One system call.
pub(crate) fn wake(word: &AtomicU32) {
    // SAFETY: FUTEX_WAKE uses the address as a key and touches no memory through it.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_differs_does_not_sleep_and_one_that_holds_times_out() {
        let word = AtomicU32::new(1);
        assert_eq!(wait(&word, 0, None), Wake::Look);
        assert_eq!(wait(&word, 1, Some(Duration::from_millis(1))), Wake::TimedOut);
    }
}
