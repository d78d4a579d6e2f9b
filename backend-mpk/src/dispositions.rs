//! The program's own signal handlers: those that were there when the first domain was made are called through ours.
//!
//! A signal can arrive while a thread is inside, with the domain's FS and rights; a handler of the program's must not run with either.
//!
//! # Safety
//! Changes the dispositions of signals once, in the thread that makes the first domain, and keeps what was there.
#![expect(unsafe_code, reason = "sigaction, and calls of the program's handlers")]

use std::mem::{MaybeUninit, transmute};
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};

use libc::{c_int, sigaction, siginfo_t, ucontext_t};
use nix::errno::Errno;
use ringfence_core::Error;

use crate::gate::places;

/// Raised by an instruction; always ours.
pub(crate) const OF_THE_CODE: [c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS];
/// Raised by system calls that are made for code inside.
const OF_THE_CALLS: [c_int; 2] = [libc::SIGPIPE, libc::SIGXFSZ];
/// What the handler of a child's end may have been installed with beside what all of ours have.
const KEPT_FLAGS: c_int = libc::SA_RESTART | libc::SA_NOCLDSTOP | libc::SA_NOCLDWAIT;
/// One more than the highest signal.
const SIGNALS: usize = 65;

/// What there was before, by signal.
static PREVIOUS: [OnceLock<sigaction>; SIGNALS] = [const { OnceLock::new() }; SIGNALS];
static INSTALLED: Mutex<bool> = Mutex::new(false);

/// Puts the entry before every handler there is, and before the signals that code inside can raise.
pub(crate) fn install(watchdog: c_int) -> Result<(), Error> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if *installed {
        return Ok(());
    }
    for signal in 1..SIGNALS as c_int {
        let Some(current) = current(signal) else { continue };
        let handled = ![libc::SIG_DFL, libc::SIG_IGN].contains(&current.sa_sigaction);
        let of_the_calls = OF_THE_CALLS.contains(&signal) && current.sa_sigaction == libc::SIG_DFL;
        if handled || of_the_calls || OF_THE_CODE.contains(&signal) || signal == watchdog {
            put_before(signal, current)?;
        }
    }
    *installed = true;
    Ok(())
}

/// A real-time signal that nobody handles, for the watchdog.
pub(crate) fn unused_signal() -> Option<c_int> {
    let unused = |signal: &c_int| current(*signal).is_some_and(|action| action.sa_sigaction == libc::SIG_DFL);
    (libc::SIGRTMIN()..=libc::SIGRTMAX()).rev().find(unused)
}

/// The disposition of a signal; `None` for numbers that are no signal of the program's.
fn current(signal: c_int) -> Option<sigaction> {
    let mut action = MaybeUninit::<sigaction>::zeroed();
    // SAFETY: asks only, into a local.
    let asked = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: written by the call, or zeroes, which are a value of plain data.
    (asked == 0).then(|| unsafe { action.assume_init() })
}

fn put_before(signal: c_int, previous: sigaction) -> Result<(), Error> {
    let Some(slot) = usize::try_from(signal).ok().and_then(|index| PREVIOUS.get(index)) else {
        return Err(Error::os("keep a signal's handler", Errno::EINVAL));
    };
    // Before the entry is installed, which looks here.
    slot.get_or_init(|| previous);
    let mut ours = previous;
    ours.sa_sigaction = places::signal();
    let handled = previous.sa_sigaction != libc::SIG_DFL;
    // A call that our own signals interrupt goes on.
    let kept = if handled { previous.sa_flags & KEPT_FLAGS } else { libc::SA_RESTART };
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | kept;
    // SAFETY: fills a local.
    unsafe { libc::sigfillset(&raw mut ours.sa_mask) };
    // SAFETY: the entry is a handler for any signal on any thread, and stays in memory for the life of the process.
    let set = unsafe { libc::sigaction(signal, &raw const ours, ptr::null_mut()) };
    Errno::result(set).map(drop).map_err(|errno| Error::os("install a signal handler", errno))
}

/// Whom a signal met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The program's own code, which may have raised it.
    Here,
    /// Code inside, which has not: it is the program's, or a system call's made for the code inside.
    Elsewhere,
}

/// Does what the program had said for a signal.
///
/// # Safety
/// In a handler, with the pointers the kernel gave, the host's FS and rights, on a stack of the host.
pub(crate) unsafe fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut ucontext_t, origin: Origin) {
    let slot = usize::try_from(signal).ok().and_then(|index| PREVIOUS.get(index));
    let Some(action) = slot.and_then(OnceLock::get) else { return };
    match action.sa_sigaction {
        // Raised by an instruction it is not ignored: it would be raised for ever.
        libc::SIG_IGN if OF_THE_CODE.contains(&signal) && origin == Origin::Here => {
            // SAFETY: the kernel's, readable.
            if unsafe { (*info).si_code } > 0 {
                default(signal);
            }
        }
        libc::SIG_IGN => {}
        // The call answers with an error.
        libc::SIG_DFL if OF_THE_CALLS.contains(&signal) && origin == Origin::Elsewhere => {}
        libc::SIG_DFL => default(signal),
        handler if action.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: installed by the program as a handler of three arguments.
            let handler: extern "C" fn(c_int, *mut siginfo_t, *mut ucontext_t) =
                unsafe { transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: installed by the program as a handler of one argument.
            let handler: extern "C" fn(c_int) = unsafe { transmute(handler) };
            handler(signal);
        }
    }
}

/// The default action of a signal that had no handler: all of ours that can have none end the process.
fn default(signal: c_int) {
    // SAFETY: plain data, of which zeroes are the default action.
    let action: sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: gives the signal its default action.
    unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    // Blocked until the handler returns. Raised again by the instruction too, if it was one.
    // SAFETY: plain numbers.
    unsafe { libc::raise(signal) };
}
