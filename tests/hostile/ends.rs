//! Attacks by the way it ends: exit handlers of the host, and stacks that run out.
//!
//! # Safety
//! Fixtures run inside isolates and forked children. The function that runs before `main` ends the program.
#![expect(unsafe_code, reason = "gettid, memfd_create, and a function that the loader runs")]

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;

use ringfence::{FaultKind, Policy};
use ringfence_testkit::alone::alone;
use ringfence_testkit::child::{self, End};

use crate::support::{defended, fault, fixture, limits, with};

#[test]
fn inside_runs_the_exit_handlers_of_the_host() {
    alone("ends::inside_runs_the_exit_handlers_of_the_host", || {
        // SAFETY: a C string.
        let number = unsafe { libc::memfd_create(c"witness".as_ptr(), libc::MFD_CLOEXEC) };
        // SAFETY: the kernel gave it out just now.
        let mut witness = unsafe { File::from_raw_fd(number) };
        let lent: OwnedFd = witness.try_clone().unwrap().into();
        // The handler writes to the number under which the file is open inside as well.
        assert_eq!(fixture!(leave_exit_handler(lent.as_raw_fd())), 0);
        let mut seen = || {
            let mut text = String::new();
            witness.rewind().unwrap();
            witness.read_to_string(&mut text).unwrap();
            text
        };
        let sandbox = with(Policy::compute().lend(lent), limits());
        for code in [0, 3] {
            assert_eq!(
                fault(sandbox.call(|code| fixture!(exit_with(code)), code)).kind(),
                &FaultKind::Exit { code }
            );
            assert_eq!(fault(sandbox.run(|| fixture!(exit_with(code)))).kind(), &FaultKind::Exit { code });
        }
        for way in [0, 1] {
            let end =
                |way: i32| if way == 0 { fixture!(quick_exit_with(5)) } else { fixture!(underscore_exit(5)) };
            assert_eq!(fault(sandbox.call(end, way)).kind(), &FaultKind::Exit { code: 5 });
            assert_eq!(fault(sandbox.run(|| end(way))).kind(), &FaultKind::Exit { code: 5 });
        }
        assert_eq!(seen(), "");
        // The control: a plain child runs them.
        let control = child::run(|| {
            fixture!(exit_with(3));
            0
        });
        assert_eq!((control.unwrap().end, seen().as_str()), (End::Exit(3), "exit handler ran\n"));
        // The descriptor has to stay open for this program's own end.
        std::mem::forget(sandbox);
    });
}

const LEAVES: &str = "RINGFENCE_HOSTILE_LEAVES";

#[test]
fn inside_takes_the_exit_handlers_from_the_host() {
    if std::env::var_os(LEAVES).is_some() {
        assert_eq!(fixture!(leave_exit_handler(1)), 0);
        let sandbox = defended();
        fault(sandbox.call(|()| fixture!(exit_with(3)), ()));
        fault(sandbox.run(|| fixture!(exit_with(3))));
        std::mem::forget(sandbox);
        return;
    }
    // A program of its own, which ends with a sandbox in use.
    let arguments = ["--exact", "ends::inside_takes_the_exit_handlers_from_the_host", "--nocapture"];
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args(arguments).env(LEAVES, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("exit handler ran").count(), 1, "once, at the host's own end: {text}");
}

fn overflow(_: ()) -> i64 {
    fixture!(stack_overflow())
}

#[test]
fn inside_overflows_its_stack() {
    let sandbox = defended();
    assert_eq!(fault(sandbox.call(overflow, ())).kind(), &FaultKind::StackOverflow);
    assert_eq!(fault(sandbox.session().unwrap().call(overflow, ())).kind(), &FaultKind::StackOverflow);
    // On the stack of a thread that the standard library made.
    assert_eq!(fault(sandbox.run(|| overflow(()))).kind(), &FaultKind::StackOverflow);
    let control = child::run(|| i32::try_from(overflow(())).unwrap_or(0)).unwrap();
    assert_eq!(control.end, End::Signal(libc::SIGSEGV));
}

const ON_MAIN: &str = "RINGFENCE_HOSTILE_ON_MAIN";

/// Run by the loader before `main`: the test harness runs no test on the main thread.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    if std::env::var_os(ON_MAIN).is_none() {
        return;
    }
    // SAFETY: has no obligation.
    let thread = unsafe { libc::gettid() };
    let overflowed = std::panic::catch_unwind(|| {
        assert_eq!(thread.cast_unsigned(), std::process::id());
        let sandbox = defended();
        assert_eq!(fault(sandbox.run(|| overflow(()))).kind(), &FaultKind::StackOverflow);
        assert_eq!(fault(sandbox.call(overflow, ())).kind(), &FaultKind::StackOverflow);
    });
    // SAFETY: takes any status and does not return.
    unsafe { libc::_exit(if overflowed.is_ok() { 42 } else { 1 }) }
}

#[test]
fn inside_overflows_the_stack_of_the_main_thread() {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).env(ON_MAIN, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(42), "{text}");
    let control = child::run(|| i32::try_from(overflow(())).unwrap_or(0)).unwrap();
    assert_eq!(control.end, End::Signal(libc::SIGSEGV));
}

#[test]
fn inside_corrupts_its_heap_and_leaves_by_a_panic() {
    let sandbox = defended();
    let destroyed = fault(sandbox.call(|()| fixture!(destroy_own_heap()), ()));
    assert_eq!(destroyed.kind(), &FaultKind::Abort);
    assert_eq!(fault(sandbox.run(|| fixture!(double_free()))).kind(), &FaultKind::Abort);
    let control = child::run(|| {
        fixture!(destroy_own_heap());
        0
    });
    assert_eq!(control.unwrap().end, End::Signal(libc::SIGABRT));
}
