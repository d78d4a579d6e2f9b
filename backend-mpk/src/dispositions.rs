//! The program's own signal handlers: called through ours, those that were there when the first domain was made and those set later.
//!
//! A signal can arrive while a thread is inside, with the domain's FS and rights; a handler of the program's must not run with either. It runs on
//! the thread's handler stack, with every signal blocked.
//!
//! # Safety
//! Changes the dispositions of signals by the kernel's own call, which also knows the two signals glibc hides, and keeps what the program asked
//! for in atomics: `sigaction` may be called from a handler.
#![expect(unsafe_code, reason = "rt_sigaction, and calls of the program's handlers")]

use std::mem::transmute;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use libc::{SIG_DFL, SIG_IGN, c_int, sigaction, siginfo_t, ucontext_t};
use nix::errno::Errno;
use ringfence_core::Error;

use crate::gate::places;
use crate::watchdog;

/// Raised by an instruction; always ours.
pub(crate) const OF_THE_CODE: [c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS];
/// Raised by system calls that are made for code inside.
const OF_THE_CALLS: [c_int; 2] = [libc::SIGPIPE, libc::SIGXFSZ];
/// Flags of the program's that the kernel has to know.
const KEPT_FLAGS: c_int = libc::SA_RESTART | libc::SA_NOCLDSTOP | libc::SA_NOCLDWAIT;
const SA_RESTORER: u64 = 0x0400_0000;
/// One more than the highest signal.
const SIGNALS: usize = 65;

/// `struct sigaction` as the kernel has it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Action {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

/// What the program asked for, of a signal that is ours.
#[derive(Debug)]
struct Asked {
    is_ours: AtomicBool,
    handler: AtomicUsize,
    flags: AtomicU64,
    mask: AtomicU64,
}

static ASKED: [Asked; SIGNALS] = [const {
    Asked {
        is_ours: AtomicBool::new(false),
        handler: AtomicUsize::new(SIG_DFL),
        flags: AtomicU64::new(0),
        mask: AtomicU64::new(0),
    }
}; SIGNALS];
static INSTALLED: Mutex<bool> = Mutex::new(false);

impl Asked {
    fn of(signal: c_int) -> Option<&'static Self> {
        usize::try_from(signal).ok().filter(|number| *number > 0).and_then(|number| ASKED.get(number))
    }

    fn get(&self) -> Action {
        let load = |field: &AtomicU64| field.load(Ordering::Relaxed);
        let (flags, mask) = (load(&self.flags), load(&self.mask));
        Action { handler: self.handler.load(Ordering::Acquire), flags, restorer: places::restore(), mask }
    }

    fn set(&self, action: &Action) {
        self.flags.store(action.flags, Ordering::Relaxed);
        self.mask.store(action.mask, Ordering::Relaxed);
        self.handler.store(action.handler, Ordering::Release);
    }
}

/// Puts the entry before every handler there is, and before the signals that code inside can raise. Later handlers come here by the shim's
/// `sigaction`.
pub(crate) fn install(watchdog: c_int) -> Result<(), Error> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    let failed = |errno| Error::os("install a signal handler", errno);
    for signal in 1..SIGNALS as c_int {
        let Some(asked) = Asked::of(signal).filter(|asked| !asked.is_ours.load(Ordering::Relaxed)) else {
            continue;
        };
        // Not every number is a signal that has a disposition to change.
        let Ok(current) = kernel(signal, None) else { continue };
        let handled = ![SIG_DFL, SIG_IGN].contains(&current.handler);
        if handled || stays_ours(signal, &current) || signal == watchdog {
            asked.set(&current);
            put_before(signal, asked).map_err(failed)?;
        }
    }
    if !*installed {
        ringfence_shim::on_sigaction(change);
        *installed = true;
    }
    Ok(())
}

/// Whether the signal has to come to us although the program has no handler for it.
fn stays_ours(signal: c_int, asked: &Action) -> bool {
    let is_default = asked.handler == SIG_DFL;
    OF_THE_CODE.contains(&signal)
        || signal == watchdog::signal()
        || (OF_THE_CALLS.contains(&signal) && is_default)
}

/// Makes the kernel call our entry for a signal.
fn put_before(signal: c_int, asked: &Asked) -> Result<(), Errno> {
    let program = asked.get();
    let handled = ![SIG_DFL, SIG_IGN].contains(&program.handler);
    // A call that our own signals interrupt goes on.
    let kept = if handled { program.flags & KEPT_FLAGS as u64 } else { libc::SA_RESTART as u64 };
    let flags = (libc::SA_SIGINFO | libc::SA_ONSTACK) as u64 | SA_RESTORER | kept;
    let ours = Action { handler: places::signal(), flags, restorer: places::restore(), mask: u64::MAX };
    asked.is_ours.store(true, Ordering::Relaxed);
    kernel(signal, Some(&ours)).map(drop)
}

/// `rt_sigaction(2)`: the disposition there was.
fn kernel(signal: c_int, new: Option<&Action>) -> Result<Action, Errno> {
    const MASK_BYTES: usize = 8;
    let mut old = Action { handler: 0, flags: 0, restorer: 0, mask: 0 };
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both are actions as the kernel has them; a new one has our entry, which is a handler for any signal on any thread, or what the
    // program asked for, and a restorer that stays in memory for the life of the process.
    let set = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, new, &raw mut old, MASK_BYTES) };
    Errno::result(set).map(|_| old)
}

/// A real-time signal that nobody handles, for the watchdog.
pub(crate) fn unused_signal() -> Option<c_int> {
    let unused = |signal: &c_int| kernel(*signal, None).is_ok_and(|action| action.handler == SIG_DFL);
    (libc::SIGRTMIN()..=libc::SIGRTMAX()).rev().find(unused)
}

/// The program's `sigaction`, once domains have been made. Takes no lock and allocates nothing.
///
/// # Safety
/// As `sigaction(2)`.
unsafe extern "C" fn change(signal: c_int, new: *const sigaction, old: *mut sigaction) -> c_int {
    // SAFETY: the caller's pointer: an action, or null.
    let new = unsafe { new.as_ref() };
    match exchange(signal, new.map(from_libc)) {
        Ok(before) => {
            // SAFETY: the caller's pointer: room for an action, or null.
            if let Some(old) = unsafe { old.as_mut() } {
                into_libc(&before, old);
            }
            0
        }
        Err(errno) => {
            errno.set();
            -1
        }
    }
}

fn exchange(signal: c_int, new: Option<Action>) -> Result<Action, Errno> {
    let asked = Asked::of(signal).ok_or(Errno::EINVAL)?;
    let is_ours = asked.is_ours.load(Ordering::Relaxed);
    let before = if is_ours { asked.get() } else { kernel(signal, None)? };
    let Some(new) = new else { return Ok(before) };
    let handled = ![SIG_DFL, SIG_IGN].contains(&new.handler);
    if handled || stays_ours(signal, &new) {
        asked.set(&new);
        put_before(signal, asked)?;
    } else {
        kernel(signal, Some(&new))?;
        asked.is_ours.store(false, Ordering::Relaxed);
    }
    Ok(before)
}

fn from_libc(action: &sigaction) -> Action {
    // SAFETY: a set begins with the kernel's part of it, aligned, since it is made of words.
    let mask = unsafe { (&raw const action.sa_mask).cast::<u64>().read() };
    let flags = u64::from(action.sa_flags.cast_unsigned()) | SA_RESTORER;
    Action { handler: action.sa_sigaction, flags, restorer: places::restore(), mask }
}

fn into_libc(action: &Action, to: &mut sigaction) {
    to.sa_sigaction = action.handler;
    to.sa_flags = ((action.flags & !SA_RESTORER) as u32).cast_signed();
    to.sa_restorer = None;
    // SAFETY: as above.
    unsafe { (&raw mut to.sa_mask).cast::<u64>().write(action.mask) };
}

/// Whom a signal met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The program's own code, which may have raised it.
    Here,
    /// Code inside, which has not: it is the program's, or a system call's made for the code inside.
    Elsewhere,
}

/// Does what the program has said for a signal.
///
/// # Safety
/// In a handler, with the pointers the kernel gave, the host's FS and rights, on a stack of the host.
pub(crate) unsafe fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut ucontext_t, origin: Origin) {
    let Some(asked) = Asked::of(signal) else { return };
    let action = asked.get();
    match action.handler {
        // Raised by an instruction it is not ignored: it would be raised for ever.
        SIG_IGN if OF_THE_CODE.contains(&signal) && origin == Origin::Here => {
            // SAFETY: the kernel's, readable.
            if unsafe { (*info).si_code } > 0 {
                default(signal);
            }
        }
        SIG_IGN => {}
        // The call answers with an error.
        SIG_DFL if OF_THE_CALLS.contains(&signal) && origin == Origin::Elsewhere => {}
        SIG_DFL => default(signal),
        handler => {
            if action.flags & libc::SA_RESETHAND as u32 as u64 != 0 {
                asked.handler.store(SIG_DFL, Ordering::Release);
            }
            // SAFETY: installed by the program as a handler, of three arguments or of the first of them: a function of the C calling
            // convention does not see arguments it has no name for.
            let handler: extern "C" fn(c_int, *mut siginfo_t, *mut ucontext_t) =
                unsafe { transmute(handler) };
            handler(signal, info, context);
        }
    }
}

/// The default action of a signal that had no handler: all of ours that can have none end the process.
fn default(signal: c_int) {
    // Either works, or the program ends at the second time.
    let _ = kernel(signal, Some(&Action { handler: SIG_DFL, flags: 0, restorer: 0, mask: 0 }));
    // Blocked until the handler returns. Raised again by the instruction too, if it was one.
    // SAFETY: plain numbers.
    unsafe { libc::raise(signal) };
}
