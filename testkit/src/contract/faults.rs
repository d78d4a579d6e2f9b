//! Point 4: whatever ends the work inside is a value that says what it was, by every way in.
//!
//! # Safety
//! Foreign code misbehaves in isolates only, whose memory nobody relies on afterwards.
#![expect(unsafe_code, reason = "calls foreign functions that misbehave")]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::AsRawFd;

use ringfence_core::fault::Access;
use ringfence_core::{FaultKind, Policy};

use super::expected::{Expected, Want};
use super::{Subject, Way, code};
use crate::fixtures;

/// A fixture as the inside of a crossing.
macro_rules! inside {
    ($($call:tt)+) => {
        || {
            // SAFETY: as the module says: an isolate is ended by this, or thrown away after it.
            let _ = unsafe { fixtures::$($call)+ };
        }
    };
}

/// Faults of the processor say their signal, code, address and access, and who did it.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_the_processor(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let signal = |signal, code| Expected::new(FaultKind::Signal).signal(signal, code);
    let segv = || signal(libc::SIGSEGV, code::SEGV_MAPERR);
    segv().at(0, Access::Write).by("null_write").from(&sandbox, inside!(null_write()));
    segv().at(0, Access::Read).by("null_read").from(&sandbox, inside!(null_read()));
    segv().at(16, Access::Execute).by("wild_jump").from(&sandbox, inside!(wild_jump(16)));
    segv().at(0x1234, Access::Write).by("store_at").from(&sandbox, inside!(store_at(0x1234, 1)));
    // Not an address at all: a general protection fault, for which the kernel knows none.
    let wild = Expected::new(FaultKind::Signal).signal(libc::SIGSEGV, Want::Open);
    wild.by("store_at").from(&sandbox, inside!(store_at(1 << 60, 1)));
    signal(libc::SIGFPE, code::FPE_INTDIV).by("divide_by_zero").from(&sandbox, inside!(divide_by_zero(1)));
    let illegal = signal(libc::SIGILL, code::ILL_ILLOPN);
    illegal.by("illegal_instruction").from(&sandbox, inside!(illegal_instruction()));
}

/// A read behind the end of a file that shrank.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_a_mapped_file(subject: &Subject<'_>) {
    let file = File::open("/proc/self/exe").unwrap();
    let file_bytes = file.metadata().unwrap().len();
    let number = file.as_raw_fd();
    let sandbox = subject.with_policy(Policy::compute().lend(file));
    let read = |(number, file_bytes): (i32, u64)| {
        // SAFETY: as the module says: an isolate is ended by this.
        unsafe { fixtures::bus_error(number, file_bytes.cast_signed()) };
    };
    let expected = Expected::new(FaultKind::Signal)
        .signal(libc::SIGBUS, code::BUS_ADRERR)
        .at(Want::Open, Access::Read)
        .by("bus_error");
    expected.check(&sandbox.call(read, (number, file_bytes)).unwrap_err(), Way::Call);
    expected.check(&sandbox.run(|| read((number, file_bytes))).unwrap_err(), Way::Run);
}

/// A stack that ran into its guard is told from a wild pointer.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_the_stack(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    // The guard of a thread is mapped and denied, that of a first thread is not mapped.
    let overflow = Expected::new(FaultKind::StackOverflow).signal(libc::SIGSEGV, Want::Open);
    overflow.at(Want::Open, Access::Write).by("recurse").from(&sandbox, inside!(stack_overflow()));
}

/// Aborts: asked for in C and in Rust, and by the compiler's guard of the stack, whose words are kept.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_aborts(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    abort().by("call_abort").from(&sandbox, inside!(call_abort()));
    abort().by("stack_smash").saying("stack smashing detected").from(&sandbox, inside!(stack_smash()));
    abort().from(&sandbox, || std::process::abort());
}

/// Aborts of glibc's `malloc` where it notices that its heap is corrupted, with its words.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_corrupted_heaps(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    abort().by("double_free").saying("double free").from(&sandbox, inside!(double_free()));
    abort().by("heap_overflow").saying("invalid next size").from(&sandbox, inside!(heap_overflow()));
    abort().by("destroy_own_heap").saying("invalid pointer").from(&sandbox, inside!(destroy_own_heap()));
}

/// The abort of a C++ exception that nothing catches, with its text.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_uncaught_exceptions(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let uncaught = abort().by("cpp_throw_uncaught");
    uncaught.saying("the fixture throws").from(&sandbox, inside!(cpp_throw_uncaught()));
}

/// Ends of the process with a status, zero included: never a value, and never without the status.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_exits(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    exit(0).from(&sandbox, inside!(exit_with(0)));
    exit(3).from(&sandbox, inside!(exit_with(3)));
    exit(0).from(&sandbox, inside!(underscore_exit(0)));
    exit(3).from(&sandbox, inside!(underscore_exit(3)));
    exit(5).from(&sandbox, inside!(quick_exit_with(5)));
}

/// As [`of_exits`], by way of Rust's standard library, which takes a lock of its own before it exits.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_exits_of_rust(subject: &Subject<'_>) {
    exit(9).from(&subject.sandbox(), || std::process::exit(9));
}

/// What was written to standard error before the end is in the fault, its last lines if it was much.
///
/// # Panics
/// The backend breaks the contract.
pub fn keep_what_was_said(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let segv = || Expected::new(FaultKind::Signal).signal(libc::SIGSEGV, code::SEGV_MAPERR);
    let spoken = || {
        say(c"about to fail\n");
        say(c"once more\n");
        inside!(null_write())();
    };
    segv().at(0, Access::Write).saying("about to fail\nonce more\n").from(&sandbox, spoken);
    let much = || {
        for line in 0..3000 {
            say(&CString::new(format!("line {line}\n")).unwrap());
        }
        inside!(null_write())();
    };
    segv().at(0, Access::Write).saying("line 2999\n").from(&sandbox, much);
    // The next one has nothing of the last one's.
    let error = Way::Call.go(&sandbox, inside!(null_write())).unwrap_err();
    assert_eq!(error.fault().unwrap().stderr_tail(), b"");
}

/// A system call that the policy denies is named.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_denied_calls(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let denied = |number| {
        let kind = FaultKind::Syscall { number: Some(number) };
        let by = Want::Either(code::SYS_SECCOMP, code::SYS_USER_DISPATCH);
        Expected::new(kind).signal(libc::SIGSYS, by).by("raw_syscall")
    };
    denied(libc::SYS_socket).from(&sandbox, inside!(raw_syscall(libc::SYS_socket, 1, 1, 0, 0, 0, 0)));
    denied(libc::SYS_execve).from(&sandbox, inside!(raw_syscall(libc::SYS_execve, 0, 0, 0, 0, 0, 0)));
    let socket = inside!(raw_syscall(libc::SYS_socket, 1, 1, 0, 0, 0, 0));
    let error = Way::Call.go(&sandbox, socket).unwrap_err();
    assert!(error.to_string().contains("denied system call socket (41)"), "{error}");
}

fn abort() -> Expected {
    Expected::new(FaultKind::Abort).signal(libc::SIGABRT, Want::Open)
}

fn exit(code: i32) -> Expected {
    Expected::new(FaultKind::Exit { code })
}

/// Inside: writes to descriptor 2, through no stream and under no lock.
fn say(text: &CStr) {
    // SAFETY: a C string, and a descriptor that takes writes.
    let written = unsafe { fixtures::write_to_descriptor(2, text.as_ptr()) };
    assert_eq!(usize::try_from(written), Ok(text.count_bytes()));
}
