//! `sigaction` and `signal`, and what a thread that keeps signals cannot change: see `crate::signals`.
//!
//! # Safety
//! Every call goes to the kernel as it came, but for what is kept.
#![expect(unsafe_code, reason = "exported C symbols, and the system calls behind them")]

use std::ffi::c_int;
use std::ptr;

use libc::{sigaction as Action, sighandler_t, sigset_t, stack_t};

use super::host;
use crate::route::inside;
use crate::signals::{Sigaction, bit_of, kept, sigaction_hook};

/// Bytes of a mask, as the kernel counts them.
const MASK_BYTES: usize = 8;
/// glibc's own signals, which it lets nobody block: cancellation, and the change of user of all threads.
const OF_GLIBC: u64 = bit_of(32) | bit_of(33);

/// # Safety
/// As `sigaltstack(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn sigaltstack(new: *const stack_t, old: *mut stack_t) -> c_int {
    let new = if kept() == 0 { new } else { ptr::null() };
    // SAFETY: the caller's pointers; without a new stack the kernel only tells the present one.
    let done = unsafe { libc::syscall(libc::SYS_sigaltstack, new, old) };
    if done == 0 { 0 } else { -1 }
}

/// # Safety
/// As `pthread_sigmask(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_sigmask(how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int {
    // SAFETY: the caller's pointers.
    match unsafe { change_mask(how, set, old) } {
        0 => 0,
        _ => std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL),
    }
}

/// # Safety
/// As `sigprocmask(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn sigprocmask(how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int {
    // SAFETY: the caller's pointers.
    unsafe { change_mask(how, set, old) }
}

/// # Safety
/// As `sigprocmask(2)`.
unsafe fn change_mask(how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int {
    // SAFETY: the caller's set, if there is one, of which the kernel's part comes first; aligned, since a set is made of words.
    let asked = (!set.is_null()).then(|| unsafe { set.cast::<u64>().read() });
    let mask = asked.map(|mask| if how == libc::SIG_UNBLOCK { mask } else { mask & !(kept() | OF_GLIBC) });
    let new = mask.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: a mask of this frame, or none; the caller's room for the old one, of which the kernel writes its part.
    let done = unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, new, old, MASK_BYTES) };
    if done == 0 { 0 } else { -1 }
}

/// # Safety
/// As `sigaction(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn sigaction(signal: c_int, new: *const Action, old: *mut Action) -> c_int {
    if inside() {
        // Not made, whatever the arguments: the domain's policy denies it.
        // SAFETY: the kernel does not see them.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, new, old, MASK_BYTES) };
        return -1;
    }
    let hook = sigaction_hook();
    let real = if hook.is_null() {
        host::SIGACTION.get()
    } else {
        // SAFETY: nothing but a `Sigaction` is ever stored there.
        Some(unsafe { std::mem::transmute::<*mut (), Sigaction>(hook) })
    };
    // SAFETY: the caller's arguments, to a function of the same contract.
    real.map_or(-1, |real| unsafe { real(signal, new, old) })
}

/// # Safety
/// As `signal(2)`, with the semantics glibc gives it.
#[unsafe(no_mangle)]
unsafe extern "C" fn signal(number: c_int, handler: sighandler_t) -> sighandler_t {
    // SAFETY: plain data, of which zeroes are a value.
    let mut new: Action = unsafe { std::mem::zeroed() };
    new.sa_sigaction = handler;
    new.sa_flags = libc::SA_RESTART;
    let mut old = new;
    // SAFETY: both are actions of this frame; the handler is the caller's.
    match unsafe { sigaction(number, &raw const new, &raw mut old) } {
        0 => old.sa_sigaction,
        _ => libc::SIG_ERR,
    }
}
