//! Signals: what a thread has to keep, and who decides on handlers.
//!
//! While a thread enters domains, its signal stack and a few signals are not the program's to change. A fault inside with its signal blocked, or without the signal stack, would end the program. The interposed `sigaltstack`, `sigprocmask` and
//! `pthread_sigmask` leave both as they are on a thread that keeps them: the standard library, for one, takes the signal stack from a thread
//! whose thread-locals are still to be dropped.

use std::cell::Cell;
use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

thread_local! {
    /// The signals this thread keeps unblocked, as the kernel counts them; zero on threads that keep nothing.
    static KEPT: Cell<u64> = const { Cell::new(0) };
}

/// The bit of a signal in a mask.
#[must_use]
pub const fn bit_of(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// From now on the calling thread keeps its signal stack, and these signals unblocked. Zero: it keeps nothing.
///
/// Only with the feature `interpose`; a program without it must not change either.
pub fn keep_signals(bits: u64) {
    KEPT.set(bits);
}

/// The signals this thread keeps.
#[cfg_attr(
    not(all(feature = "interpose", target_env = "gnu")),
    expect(dead_code, reason = "nothing is interposed")
)]
pub(crate) fn kept() -> u64 {
    KEPT.get()
}

/// As `sigaction(2)`, called in the host in place of it, also in signal handlers.
pub type Sigaction = unsafe extern "C" fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int;

static SIGACTION: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Sets what stands for `sigaction` and `signal` in the host from now on. With the feature `interpose` only.
pub fn on_sigaction(hook: Sigaction) {
    SIGACTION.store(hook as *mut (), Ordering::Release);
}

/// What stands for `sigaction`, if anything does.
#[cfg_attr(
    not(all(feature = "interpose", target_env = "gnu")),
    expect(dead_code, reason = "nothing is interposed")
)]
pub(crate) fn sigaction_hook() -> *mut () {
    SIGACTION.load(Ordering::Acquire)
}
