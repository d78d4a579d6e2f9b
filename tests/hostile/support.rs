//! What the attacks share.
//!
//! # Safety
//! The macro calls fixtures inside isolates and forked children, whose memory and descriptors nobody else relies on.
#![expect(
    unsafe_code,
    reason = "installs a signal handler that counts, and calls fixtures through the macro"
)]

use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, thread};

use ringfence::{Error, Fault, FaultKind, Limits, Policy, Processes, Sandbox};
use ringfence_testkit::fixtures;

/// A fixture, called inside an isolate or in a forked child.
macro_rules! fixture {
    ($($call:tt)+) => {{
        // SAFETY: runs in an isolate or a forked child, with arguments that are valid or whose misuse is the attack.
        let returned = unsafe { ringfence_testkit::fixtures::$($call)+ };
        returned
    }};
}
pub(crate) use fixture;

/// The aim of an attack that has none.
pub(crate) const NOWHERE: [u64; 2] = [0, 0];

/// Room for arguments, and room for a reply.
pub(crate) const AREA_BYTES: usize = 65536;

pub(crate) fn limits() -> Limits {
    Limits::new().wall(Duration::from_secs(20)).request_bytes(AREA_BYTES).reply_bytes(AREA_BYTES)
}

pub(crate) fn with(policy: Policy, limits: Limits) -> Sandbox {
    Sandbox::builder().policy(policy).limits(limits).build().unwrap()
}

/// The defence as it is by default.
pub(crate) fn defended() -> Sandbox {
    with(Policy::compute(), limits())
}

/// No filter, and room to open files: the isolate is still a process of its own.
pub(crate) fn unfiltered() -> Sandbox {
    with(Policy::unfiltered(), limits().descriptors(64).processes(Processes::Allowed))
}

/// The default, but for these system calls.
pub(crate) fn allowing(numbers: &[i64]) -> Sandbox {
    let policy = numbers.iter().fold(Policy::compute(), |policy, &number| policy.allow_syscall(number));
    with(policy, limits())
}

/// The same attack from a worker and from a snapshot.
pub(crate) fn both<F>(sandbox: &Sandbox, attack: F, aim: [u64; 2]) -> [Result<i64, Error>; 2]
where
    F: Fn([u64; 2]) -> i64 + Copy + 'static,
{
    [sandbox.call::<F, [u64; 2], i64>(attack, aim), sandbox.run(|| attack(aim))]
}

#[track_caller]
pub(crate) fn fault<R>(result: Result<R, Error>) -> Fault {
    match result {
        Ok(_) => panic!("the attack went through"),
        Err(Error::Fault(fault)) => *fault,
        Err(error) => panic!("not a fault: {error}"),
    }
}

/// The attack ends in a fault for this system call, from both kinds of isolate.
#[track_caller]
pub(crate) fn assert_denied<F>(number: i64, attack: F, aim: [u64; 2])
where
    F: Fn([u64; 2]) -> i64 + Copy + 'static,
{
    for result in both(&defended(), attack, aim) {
        assert_eq!(fault(result).kind(), &FaultKind::Syscall { number: Some(number) });
    }
}

pub(crate) fn host() -> u64 {
    u64::from(std::process::id())
}

pub(crate) fn int(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(-1)
}

/// How often this process was hit by a harmless signal.
pub(crate) fn hits() -> &'static AtomicUsize {
    static HITS: AtomicUsize = AtomicUsize::new(0);
    static INSTALLED: Once = Once::new();
    extern "C" fn count(_: libc::c_int) {
        HITS.fetch_add(1, Ordering::SeqCst);
    }
    INSTALLED.call_once(|| {
        // SAFETY: the handler does one atomic addition; nothing else here uses the signal.
        unsafe { libc::signal(libc::SIGURG, count as *const () as libc::sighandler_t) };
    });
    &HITS
}

/// Waits for something that another process is about to do.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("never came true: {what}");
}

/// Whether a process is gone, or dead and not yet reaped.
pub(crate) fn is_dead(pid: i64) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(text) => text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X'])),
        Err(_) => true,
    }
}

/// A process that waits to be attacked, in the place of the host.
pub(crate) struct Victim(pub(crate) i64);

impl Victim {
    pub(crate) fn new() -> Self {
        let pid = fixture!(fork_child());
        assert!(pid > 0, "the fork was refused");
        Self(pid)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0).unwrap_or(-1);
        // SAFETY: the child is this value's own and was not waited for.
        unsafe { fixtures::kill_process(pid, libc::SIGKILL) };
        // SAFETY: no status is asked for.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) };
    }
}
