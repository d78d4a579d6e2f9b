//! What the fixtures that reach for other processes do to them when nothing stands in between.
//!
//! # Safety
//! Every process they are aimed at is a child of this test, made for it and killed with it.
#![expect(unsafe_code, reason = "calls foreign functions that misbehave")]

use std::fs;
use std::ptr;

use ringfence_testkit::child::{self, End};
use ringfence_testkit::fixtures;

/// A child that waits to be killed.
struct Victim {
    pid: i32,
    /// Its number may be another process's by now.
    reaped: bool,
}

impl Victim {
    fn new() -> Self {
        // SAFETY: the child is killed and waited for on drop.
        let pid = unsafe { fixtures::fork_child() };
        let pid = i32::try_from(pid).unwrap_or(-1);
        assert!(pid > 0, "the fork was refused");
        Self { pid, reaped: false }
    }

    /// Waits for it to stop or end, and gives the raw status.
    fn wait(&mut self) -> i32 {
        let mut status = 0;
        // SAFETY: `status` is writable for the call's duration, and the child is this test's own.
        assert_eq!(unsafe { libc::waitpid(self.pid, &raw mut status, 0) }, self.pid);
        self.reaped = !libc::WIFSTOPPED(status);
        status
    }

    fn ends_by(&mut self, signal: i32) -> bool {
        let status = self.wait();
        libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == signal
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        // SAFETY: the child is this test's own and was not waited for, so the number is still its.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        // SAFETY: no status is asked for.
        unsafe { libc::waitpid(self.pid, ptr::null_mut(), 0) };
    }
}

#[test]
fn a_signal_reaches_another_process_by_each_call() {
    let mut victim = Victim::new();
    // SAFETY: the victim is this test's own.
    assert_eq!(unsafe { fixtures::kill_process(victim.pid, libc::SIGTERM) }, 0);
    assert!(victim.ends_by(libc::SIGTERM));

    let mut victim = Victim::new();
    // SAFETY: the victim is this test's own, and its only thread has its number.
    assert_eq!(unsafe { fixtures::tkill_thread(victim.pid, libc::SIGUSR1) }, 0);
    assert!(victim.ends_by(libc::SIGUSR1));

    let mut victim = Victim::new();
    // SAFETY: as above.
    assert_eq!(unsafe { fixtures::tgkill_thread(victim.pid, victim.pid, libc::SIGUSR2) }, 0);
    assert!(victim.ends_by(libc::SIGUSR2));
}

#[test]
fn a_child_can_kill_its_parent() {
    let parent = child::run(|| {
        let child = child::run(|| {
            // SAFETY: the parent is the child of the test.
            i32::from(unsafe { fixtures::kill_parent() } != 0)
        });
        i32::from(child.is_err())
    });
    assert_eq!(parent.unwrap().end, End::Signal(libc::SIGKILL));
}

#[test]
fn an_attached_process_stops() {
    let mut victim = Victim::new();
    // SAFETY: the victim is this test's own.
    assert_eq!(unsafe { fixtures::ptrace_attach(victim.pid) }, 0);
    assert!(libc::WIFSTOPPED(victim.wait()));
}

#[test]
fn memory_of_another_process_is_written_and_read() {
    let value = Box::new(0x11_u64);
    let address = (&raw const *value).addr();
    let victim = Victim::new();
    let (new, mut seen) = (0x22_u64, 0_u64);
    // SAFETY: `new` is readable for 8 bytes. In the victim, which only waits, nothing relies on its copy of `value`.
    let written = unsafe { fixtures::process_vm_write(victim.pid, address, (&raw const new).cast(), 8) };
    assert_eq!(written, 8);
    // SAFETY: `seen` is writable for 8 bytes.
    let read = unsafe { fixtures::process_vm_read(victim.pid, address, (&raw mut seen).cast(), 8) };
    assert_eq!((read, seen, *value), (8, 0x22, 0x11));
}

#[test]
fn limits_of_another_process_change() {
    let victim = Victim::new();
    // SAFETY: the victim is this test's own.
    assert_eq!(unsafe { fixtures::prlimit_other(victim.pid, 4242) }, 0);
    let limits = fs::read_to_string(format!("/proc/{}/limits", victim.pid)).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max msgqueue size")).unwrap();
    assert_eq!(line.split_whitespace().nth(3), Some("4242"));
}

#[test]
fn a_process_that_is_not_there_is_an_error_number() {
    let victim = Victim::new();
    let gone = victim.pid;
    drop(victim);
    let no_such_process = -i64::from(libc::ESRCH);
    // SAFETY: signal 0 asks only.
    assert_eq!(unsafe { fixtures::kill_process(gone, 0) }, no_such_process);
    // SAFETY: as above.
    assert_eq!(unsafe { fixtures::tkill_thread(gone, 0) }, no_such_process);
    // SAFETY: there is no process to change.
    assert_eq!(unsafe { fixtures::prlimit_other(gone, 1) }, no_such_process);
}
