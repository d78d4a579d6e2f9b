//! What ends a process ends the domain's work inside, with the words glibc has for it, and is glibc's own in the host.
//!
//! Each case runs in a child, which is this program again with one test and a case's name.
//!
//! # Safety
//! A child does what its case says, which for most is undefined behaviour that the case expects to be caught.
#![cfg(all(feature = "interpose", target_env = "gnu"))]
#![expect(unsafe_code, reason = "calls to the C library")]
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::env;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::ptr;

use ringfence_shim::{End, inside, on_end, set_route};
use support::{Domain, malloc};

const CASE: &str = "RINGFENCE_SHIM_CASE";
/// How a child whose work was ended as an abort leaves.
const ABORTED: i32 = 70;
/// How a child whose work was ended by an exit leaves, the code added.
const EXITED: i32 = 80;

unsafe extern "C" {
    safe fn abort() -> !;
    safe fn raise(signal: c_int) -> c_int;
    safe fn exit(code: c_int) -> !;
    safe fn _exit(code: c_int) -> !;
    #[link_name = "_Exit"]
    safe fn exit_without_handlers(code: c_int) -> !;
    safe fn quick_exit(code: c_int) -> !;
    safe fn __stack_chk_fail() -> !;
    safe fn __chk_fail() -> !;
    fn __assert_fail(
        assertion: *const c_char,
        file: *const c_char,
        line: c_uint,
        function: *const c_char,
    ) -> !;
    safe fn atexit(handler: extern "C" fn()) -> c_int;
    safe fn __cxa_thread_atexit_impl(
        destructor: extern "C" fn(*mut c_void),
        object: *mut c_void,
        library: *mut c_void,
    ) -> c_int;
}

fn say(text: &CStr) {
    // SAFETY: reads a string's bytes.
    unsafe { libc::write(2, text.as_ptr().cast(), text.count_bytes()) };
}

extern "C" fn end(kind: u32, code: i32) -> ! {
    assert!(inside());
    // SAFETY: back to the host, which nothing allocated inside is given to.
    unsafe { set_route(None) };
    let status = match End::from_parts(kind, code) {
        Some(End::Abort) => ABORTED,
        Some(End::Exit(code)) => EXITED + code,
        None => 1,
    };
    _exit(status)
}

extern "C" fn at_exit() {
    say(c"the handler ran\n");
}

extern "C" fn at_thread_exit(_: *mut c_void) {
    say(c"the destructor ran\n");
}

extern "C" fn abort_on_signal(_: c_int) {
    abort()
}

fn free(memory: *mut c_void) {
    // SAFETY: a case's wish; what is wrong with the pointer is to be noticed before anything is done with it.
    unsafe { libc::free(memory) };
}

fn resize(memory: *mut c_void) {
    // SAFETY: as for `free`.
    black_box(unsafe { libc::realloc(memory, 9000) });
}

fn fail_assertion(function: *const c_char) -> ! {
    // SAFETY: C strings, and null where no function is known.
    unsafe { __assert_fail(c"1 == 2".as_ptr(), c"some/file.c".as_ptr(), 1234, function) }
}

/// Writes over the end of an allocation that has a neighbour.
fn overflow() -> *mut c_void {
    let [memory, _next] = [black_box(malloc(2000)), black_box(malloc(2000))];
    // SAFETY: a case's wish; the neighbour is there.
    unsafe { memory.cast::<u8>().write_bytes(b'A', 2100) };
    black_box(memory)
}

/// What each case does, on either side; it comes back only where nothing ends it.
fn act(case: &str) {
    match case {
        "abort" => abort(),
        "raise" => _ = raise(libc::SIGABRT),
        "exit" => exit(3),
        "_exit" => _exit(4),
        "_Exit" => exit_without_handlers(5),
        "quick_exit" => quick_exit(6),
        "stack" => __stack_chk_fail(),
        "fortify" => __chk_fail(),
        "assert" => fail_assertion(c"some_function".as_ptr()),
        "assert nowhere" => fail_assertion(ptr::null()),
        "free a part" => free(black_box(malloc(100)).wrapping_byte_add(8)),
        "free twice" => {
            let memory = black_box(malloc(5000));
            free(memory);
            free(memory);
        }
        "overflow" => free(overflow()),
        "overflow, then resize" => resize(overflow()),
        "abort in a handler" => {
            // SAFETY: the handler ends the child.
            unsafe { libc::signal(libc::SIGUSR1, abort_on_signal as *const () as usize) };
            raise(libc::SIGUSR1);
        }
        "thread" => _ = __cxa_thread_atexit_impl(at_thread_exit, ptr::null_mut(), ptr::null_mut()),
        _ => say(c"no such case\n"),
    }
}

/// Does nothing in the parent: the tests below run it in children.
#[test]
fn child() {
    let Ok(case) = env::var(CASE) else { return };
    atexit(at_exit);
    match case.split_once(": ") {
        Some(("host", case)) if case == "thread" => {
            let case = case.to_owned();
            std::thread::spawn(move || act(&case)).join().unwrap();
        }
        Some(("host", case)) => act(case),
        Some(("inside", case)) => {
            on_end(end);
            let domain = Domain::new(1 << 20);
            let lent = malloc(100);
            domain.within(|| match case {
                "free the host's" => free(lent),
                "resize the host's" => resize(lent),
                case => act(case),
            });
        }
        Some(("no hook", case)) => Domain::new(1 << 20).within(|| act(case)),
        _ => say(c"no such side\n"),
    }
}

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    signal: Option<i32>,
    code: Option<i32>,
    said: String,
}

fn run(case: &str) -> Outcome {
    let program = env::current_exe().unwrap();
    let output =
        Command::new(program).args(["--exact", "child", "--nocapture"]).env(CASE, case).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    Outcome { signal: output.status.signal(), code: output.status.code(), said }
}

fn left(code: i32, said: &str) -> Outcome {
    Outcome { signal: None, code: Some(code), said: said.to_owned() }
}

fn killed(signal: i32, said: &str) -> Outcome {
    Outcome { signal: Some(signal), code: None, said: said.to_owned() }
}

#[test]
fn inside_the_work_ends_and_no_handler_of_the_host_runs() {
    for case in ["abort", "raise"] {
        assert_eq!(run(&format!("inside: {case}")), left(ABORTED, ""), "{case}");
    }
    for (case, code) in [("exit", 3), ("_exit", 4), ("_Exit", 5), ("quick_exit", 6)] {
        assert_eq!(run(&format!("inside: {case}")), left(EXITED + code, ""), "{case}");
    }
}

#[test]
fn inside_a_destructor_of_a_thread_is_forgotten_and_the_work_goes_on() {
    assert_eq!(run("inside: thread"), left(0, "the handler ran\n"));
}

#[test]
fn in_the_host_each_is_glibcs_own() {
    for case in ["abort", "raise", "abort in a handler"] {
        assert_eq!(run(&format!("host: {case}")), killed(libc::SIGABRT, ""), "{case}");
    }
    assert_eq!(run("host: exit"), left(3, "the handler ran\n"));
    for (case, code) in [("_exit", 4), ("_Exit", 5), ("quick_exit", 6)] {
        assert_eq!(run(&format!("host: {case}")), left(code, ""), "{case}");
    }
    assert_eq!(run("host: thread"), left(0, "the destructor ran\nthe handler ran\n"));
}

#[test]
fn inside_says_what_glibc_says() {
    for case in ["stack", "fortify", "assert", "assert nowhere", "free a part"] {
        let host = run(&format!("host: {case}"));
        let inside = run(&format!("inside: {case}"));
        assert_eq!((host.signal, inside.code), (Some(libc::SIGABRT), Some(ABORTED)), "{case}");
        assert!(host.said.ends_with('\n'), "{host:?}");
        assert_eq!(inside.said, host.said, "{case}");
    }
}

#[test]
fn a_broken_heap_ends_the_work_inside() {
    for (case, words) in [
        ("free the host's", "free(): invalid pointer\n"),
        ("resize the host's", "realloc(): invalid pointer\n"),
        ("free twice", "free(): double free detected\n"),
        ("overflow", "free(): invalid next size (normal)\n"),
        ("overflow, then resize", "realloc(): invalid next size\n"),
    ] {
        assert_eq!(run(&format!("inside: {case}")), left(ABORTED, words), "{case}");
    }
}

#[test]
fn without_a_hook_the_work_ends_in_an_undefined_instruction() {
    assert_eq!(run("no hook: abort"), killed(libc::SIGILL, ""));
    assert_eq!(run("no hook: stack"), killed(libc::SIGILL, "*** stack smashing detected ***: terminated\n"));
}
