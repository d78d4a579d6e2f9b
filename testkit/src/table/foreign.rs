//! Operations of C, C++ and the C library.
//!
//! # Safety
//! The fixtures are called with what they ask for, in an isolate or in a forked child of a test, where one thread runs and whatever
//! they change is thrown away.
#![expect(unsafe_code, reason = "calls foreign functions")]

use std::ffi::CStr;
use std::ptr;

use super::language::{refused, worked};
use super::{Answer, WORKED, WRONG};
use crate::fixtures;

fn errno() -> Answer {
    refused(&std::io::Error::last_os_error())
}

pub(super) fn cpp_caught() -> Answer {
    // SAFETY: it has no obligation.
    worked(|| unsafe { fixtures::cpp_throw_and_catch() } == 1)
}

pub(super) fn cpp_uncaught() -> Answer {
    // SAFETY: the process is thrown away, as the module says.
    unsafe { fixtures::cpp_throw_uncaught() };
    WRONG
}

pub(super) fn c_print() -> Answer {
    // SAFETY: a C string.
    worked(|| unsafe { fixtures::print_to_stdout(c"a line\n".as_ptr()) } >= 0)
}

unsafe extern "C" {
    /// Sets `signgam` to the sign of the gamma function.
    fn lgamma(x: f64) -> f64;
    static signgam: libc::c_int;
}

fn sign() -> libc::c_int {
    // SAFETY: plain data of the C library, which only `c_static` changes, inside.
    unsafe { (&raw const signgam).read_volatile() }
}

pub(super) fn c_static() -> Answer {
    // SAFETY: one thread runs.
    unsafe { lgamma(-0.5) };
    worked(|| sign() == -1)
}

pub(super) fn c_static_is_seen() -> bool {
    sign() == -1
}

pub(super) fn c_allocate() -> Answer {
    allocate(64 << 20)
}

pub(super) fn c_allocate_beyond() -> Answer {
    allocate(2 << 30)
}

fn allocate(bytes: usize) -> Answer {
    // SAFETY: any size may be asked for.
    let memory = unsafe { libc::malloc(bytes) };
    if memory.is_null() {
        return errno();
    }
    // SAFETY: the memory is at least a byte and fresh.
    unsafe { memory.cast::<u8>().write_volatile(1) };
    // SAFETY: allocated above, and not used again.
    unsafe { libc::free(memory) };
    WORKED
}

pub(super) fn local_time() -> Answer {
    let zero = 0;
    // SAFETY: plain data; zeroes are a value of it.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both point to locals.
    let converted = unsafe { libc::localtime_r(&raw const zero, &raw mut parts) };
    worked(|| !converted.is_null() && (69..=70).contains(&parts.tm_year))
}

pub(super) fn set_locale() -> Answer {
    // SAFETY: a C string, and one thread runs.
    let set = unsafe { libc::setlocale(libc::LC_ALL, c"C".as_ptr()) };
    worked(|| !set.is_null())
}

pub(super) fn jump() -> Answer {
    // SAFETY: one thread runs.
    worked(|| unsafe { fixtures::longjmp_within(9) } == 9)
}

extern "C" fn note(_: libc::c_int) {}

pub(super) fn install_handler() -> Answer {
    // SAFETY: the handler does nothing; no code here relies on that signal's present one.
    let previous = unsafe { libc::signal(libc::SIGUSR2, note as *const () as libc::sighandler_t) };
    worked(|| previous != libc::SIG_ERR)
}

pub(super) fn handler_is_seen() -> bool {
    // SAFETY: plain data; zeroes are a value of it.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: asks only, into a local.
    unsafe { libc::sigaction(libc::SIGUSR2, ptr::null(), &raw mut action) };
    action.sa_sigaction == note as *const () as usize
}

pub(super) fn raise() -> Answer {
    // SAFETY: the handler that it installs only notes the number.
    worked(|| unsafe { fixtures::install_handler_and_raise(libc::SIGUSR1) } == libc::SIGUSR1)
}

/// `dlopen` tells its reason as a text, and leaves the error number to chance.
pub(super) fn load_library() -> Answer {
    // SAFETY: a C string; the library is a part of glibc that runs nothing when it is loaded.
    let handle = unsafe { libc::dlopen(c"libBrokenLocale.so.1".as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if !handle.is_null() {
        return WORKED;
    }
    // SAFETY: one thread runs.
    let reason = unsafe { libc::dlerror() };
    if reason.is_null() {
        return WRONG;
    }
    // SAFETY: a C string that lives until the next call of dlopen and its kin.
    let reason = unsafe { CStr::from_ptr(reason) }.to_string_lossy();
    if reason.contains("Permission denied") { -libc::EACCES } else { -libc::ENOENT }
}

pub(super) fn quick_exit() -> Answer {
    // SAFETY: the process is thrown away, as the module says.
    unsafe { fixtures::quick_exit_with(4) };
    WRONG
}
