//! Numbers for threads.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

static NEXT: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

/// Number of the calling thread, from 1. Unlike the kernel's, it names one thread for as long as the process lives; a
/// forked child inherits that of the thread that forked.
///
/// Cost: one thread-local read, after the first call of a thread.
#[inline]
pub(crate) fn current() -> u64 {
    CURRENT.with(|current| match current.get() {
        0 => {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            current.set(number);
            number
        }
        number => number,
    })
}
