//! What ends a process: inside it ends the domain's work, in the host it is the C library's own.
//!
//! Also what would have a destructor run at a thread's end: inside it is forgotten, since the host's list is not the domain's to write,
//! and the domain's memory is reset, not torn down.
//!
//! The functions may be unwound through, as the C library's may: by `pthread_exit` in a signal handler that `raise` called, for one.
//!
//! # Safety
//! In the host every call goes on as it came, to the function of the same name.
#![expect(unsafe_code, reason = "exported C symbols")]

use std::ffi::{c_char, c_int, c_uint, c_void};

use super::host;
use super::text::Text;
use crate::ends::{self, End};
use crate::message;
use crate::route::inside;

unsafe extern "C" {
    /// What glibc's own messages start with: the program's name without its folder.
    static program_invocation_short_name: *const c_char;
}

#[unsafe(no_mangle)]
extern "C-unwind" fn abort() -> ! {
    if inside() {
        ends::end(End::Abort);
    }
    host::ABORT.get().map_or_else(|| without_libc(), |real| real())
}

#[unsafe(no_mangle)]
extern "C-unwind" fn exit(code: c_int) -> ! {
    if inside() {
        ends::end(End::Exit(code));
    }
    host::EXIT.get().map_or_else(|| without_libc(), |real| real(code))
}

#[unsafe(no_mangle)]
extern "C-unwind" fn _exit(code: c_int) -> ! {
    if inside() {
        ends::end(End::Exit(code));
    }
    host::EXIT_NOW.get().map_or_else(|| without_libc(), |real| real(code))
}

#[unsafe(no_mangle)]
extern "C-unwind" fn _Exit(code: c_int) -> ! {
    _exit(code)
}

#[unsafe(no_mangle)]
extern "C-unwind" fn quick_exit(code: c_int) -> ! {
    if inside() {
        ends::end(End::Exit(code));
    }
    host::QUICK_EXIT.get().map_or_else(|| without_libc(), |real| real(code))
}

#[unsafe(no_mangle)]
extern "C-unwind" fn __stack_chk_fail() -> ! {
    if inside() {
        message::write(b"*** stack smashing detected ***: terminated\n");
        ends::end(End::Abort);
    }
    host::STACK_CHK_FAIL.get().map_or_else(|| without_libc(), |real| real())
}

#[unsafe(no_mangle)]
extern "C-unwind" fn __chk_fail() -> ! {
    if inside() {
        message::write(b"*** buffer overflow detected ***: terminated\n");
        ends::end(End::Abort);
    }
    host::CHK_FAIL.get().map_or_else(|| without_libc(), |real| real())
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn __assert_fail(
    assertion: *const c_char,
    file: *const c_char,
    line: c_uint,
    function: *const c_char,
) -> ! {
    if inside() {
        // SAFETY: the C strings of an `assert`, and glibc's own; the latter is set before `main` and then stays.
        unsafe { write_assertion(program_invocation_short_name, assertion, file, line, function) };
        ends::end(End::Abort);
    }
    // SAFETY: the caller's own arguments.
    host::ASSERT_FAIL
        .get()
        .map_or_else(|| without_libc(), |real| unsafe { real(assertion, file, line, function) })
}

/// # Safety
/// Each pointer must be null or lead to a C string.
unsafe fn write_assertion(
    program: *const c_char,
    assertion: *const c_char,
    file: *const c_char,
    line: c_uint,
    function: *const c_char,
) {
    // SAFETY: the caller's promise; so below.
    let text = unsafe { Text::new().add_c(program) }.add(b": ");
    // SAFETY: as above.
    let text = unsafe { text.add_c(file) }.add(b":").add_number(line).add(b": ");
    // SAFETY: as above.
    let text = unsafe { text.add_c(function) }.add(if function.is_null() { b"" } else { b": " });
    // SAFETY: as above.
    let text = unsafe { text.add(b"Assertion `").add_c(assertion) }.add(b"' failed.\n");
    message::write(text.bytes());
}

/// Inside, SIGABRT is an abort; other signals are system calls, about which others decide.
#[unsafe(no_mangle)]
extern "C-unwind" fn raise(signal: c_int) -> c_int {
    if inside() && signal == libc::SIGABRT {
        ends::end(End::Abort);
    }
    host::RAISE.get().map_or(-1, |real| real(signal))
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn __cxa_thread_atexit_impl(
    destructor: Option<unsafe extern "C" fn(*mut c_void)>,
    object: *mut c_void,
    library: *mut c_void,
) -> c_int {
    if inside() {
        return 0;
    }
    // SAFETY: the caller's own arguments.
    host::THREAD_ATEXIT.get().map_or(-1, |real| unsafe { real(destructor, object, library) })
}

/// For a C library that lacks what its headers declare.
#[cold]
fn without_libc() -> ! {
    // SAFETY: takes a number, and does not return.
    unsafe { libc::syscall(libc::SYS_exit_group, 127) };
    loop {
        std::hint::spin_loop();
    }
}
