//! Point 4: whatever ends the work inside is a value that says what it was, by every way in.
//!
//! # Safety
//! Foreign code misbehaves in isolates only, whose memory nobody relies on afterwards.
#![expect(unsafe_code, reason = "calls foreign functions that misbehave")]

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::panic::panic_any;

use ringfence_core::fault::Access;
use ringfence_core::{FaultKind, Policy};

use super::expected::{Expected, Want};
use super::{Subject, Way};
use crate::fixtures;

/// `si_code` of the signals, from sigaction(2) and `asm-generic/siginfo.h`.
mod code {
    pub(super) const SEGV_MAPERR: i32 = 1;
    pub(super) const BUS_ADRERR: i32 = 2;
    pub(super) const FPE_INTDIV: i32 = 1;
    pub(super) const ILL_ILLOPN: i32 = 2;
    pub(super) const SYS_SECCOMP: i32 = 1;
}

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

/// Aborts: asked for, and provoked in libraries that notice corruption. What they said is kept.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_aborts(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let abort = || Expected::new(FaultKind::Abort).signal(libc::SIGABRT, Want::Open);
    abort().by("call_abort").from(&sandbox, inside!(call_abort()));
    abort().by("double_free").saying("double free").from(&sandbox, inside!(double_free()));
    abort().by("heap_overflow").saying("invalid next size").from(&sandbox, inside!(heap_overflow()));
    abort().by("destroy_own_heap").saying("invalid pointer").from(&sandbox, inside!(destroy_own_heap()));
    abort().by("stack_smash").saying("stack smashing detected").from(&sandbox, inside!(stack_smash()));
    let uncaught = abort().by("cpp_throw_uncaught");
    uncaught.saying("the fixture throws").from(&sandbox, inside!(cpp_throw_uncaught()));
    abort().from(&sandbox, || std::process::abort());
}

/// Ends of the process with a status, zero included: never a value, and never without the status.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_exits(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let exit = |code| Expected::new(FaultKind::Exit { code });
    exit(0).from(&sandbox, inside!(exit_with(0)));
    exit(3).from(&sandbox, inside!(exit_with(3)));
    exit(0).from(&sandbox, inside!(underscore_exit(0)));
    exit(3).from(&sandbox, inside!(underscore_exit(3)));
    exit(5).from(&sandbox, inside!(quick_exit_with(5)));
    exit(9).from(&sandbox, || std::process::exit(9));
}

/// What was written to standard error before the end is in the fault, its last lines if it was much.
///
/// # Panics
/// The backend breaks the contract.
pub fn keep_what_was_said(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let segv = || Expected::new(FaultKind::Signal).signal(libc::SIGSEGV, code::SEGV_MAPERR);
    // Not by `eprintln`, which a test harness keeps from the descriptor.
    let spoken = || {
        io::stderr().write_all(b"about to fail\n").unwrap();
        inside!(print_to_stderr(c"from c\n".as_ptr()))();
        inside!(null_write())();
    };
    segv().at(0, Access::Write).saying("about to fail\nfrom c\n").from(&sandbox, spoken);
    let much = || {
        for line in 0..3000 {
            io::stderr().write_all(format!("line {line}\n").as_bytes()).unwrap();
        }
        inside!(null_write())();
    };
    segv().at(0, Access::Write).saying("line 2999\n").from(&sandbox, much);
    // The next one has nothing of the last one's.
    let error = Way::Call.go(&sandbox, inside!(null_write())).unwrap_err();
    assert_eq!(error.fault().unwrap().stderr_tail(), b"");
}

/// Panics carry their text, in every form a text has, and never unwind into the host.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_panics(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let told = |way: Way, inside: fn(&super::Sandbox, Way) -> super::Error| {
        let error = inside(&sandbox, way);
        let fault = error.fault().unwrap();
        assert_eq!(fault.kind(), &FaultKind::Panic, "{way:?}: {fault}");
        fault.message().unwrap().to_owned()
    };
    for way in Way::ALL {
        let formatted = told(way, |sandbox, way| way.go(sandbox, || boom(7)).unwrap_err());
        assert!(formatted.contains("boom 7"), "{formatted}");
        let text = told(way, |sandbox, way| way.go(sandbox, plain).unwrap_err());
        assert!(text.contains("a plain text"), "{text}");
        let other = told(way, |sandbox, way| way.go(sandbox, || -> () { panic_any(5_u8) }).unwrap_err());
        assert!(other.contains("not text"), "{other}");
        let long = told(way, |sandbox, way| way.go(sandbox, long).unwrap_err());
        assert!((1000..=8 << 10).contains(&long.len()) && long.starts_with("xxxx"), "{} bytes", long.len());
        assert_eq!(way.go(&sandbox, || 1_u64).unwrap(), 1, "after panics");
    }
}

/// A panic also says where it was and who called whom; one while another unwinds is an abort.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_panics_have_a_place(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let panic = Expected::new(FaultKind::Panic).by("boom");
    panic.from(&sandbox, || boom(7));
    let fault = panic.check(&Way::Call.go(&sandbox, || boom(7)).unwrap_err(), Way::Call);
    let place = format!("{}:{BOOM_LINE}:", file!());
    assert!(fault.message().unwrap().contains(&place), "no {place} in {fault}");
    // A panic that was caught is none of the fault that comes after it.
    let caught = || {
        drop(std::panic::catch_unwind(|| boom(1)));
        inside!(null_write())();
    };
    let segv = Expected::new(FaultKind::Signal).signal(libc::SIGSEGV, code::SEGV_MAPERR);
    segv.at(0, Access::Write).from(&sandbox, caught);
    let twice = || {
        let _second = PanicsInDrop;
        boom(1);
    };
    Expected::new(FaultKind::Abort).signal(libc::SIGABRT, Want::Open).from(&sandbox, twice);
}

/// A system call that the policy denies is named.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_denied_calls(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let denied = |number| {
        let kind = FaultKind::Syscall { number: Some(number) };
        Expected::new(kind).signal(libc::SIGSYS, code::SYS_SECCOMP).by("raw_syscall")
    };
    denied(libc::SYS_socket).from(&sandbox, inside!(raw_syscall(libc::SYS_socket, 1, 1, 0, 0, 0, 0)));
    denied(libc::SYS_execve).from(&sandbox, inside!(raw_syscall(libc::SYS_execve, 0, 0, 0, 0, 0, 0)));
    let socket = inside!(raw_syscall(libc::SYS_socket, 1, 1, 0, 0, 0, 0));
    let error = Way::Call.go(&sandbox, socket).unwrap_err();
    assert!(error.to_string().contains("denied system call socket (41)"), "{error}");
}

const BOOM_LINE: u32 = line!() + 4;

#[inline(never)]
fn boom(number: u32) {
    assert!(std::hint::black_box(number) == 0, "boom {number}");
    std::hint::black_box(());
}

fn plain() {
    assert!(std::hint::black_box(false), "a plain text");
}

fn long() {
    assert!(std::hint::black_box(false), "{}", "x".repeat(100 << 10));
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        boom(2);
    }
}
