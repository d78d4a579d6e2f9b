//! Attacks on other processes, and on the ties that bind an isolate to its host.
//!
//! # Safety
//! Reads this process's limits and its user.
#![expect(unsafe_code, reason = "geteuid and system calls by number")]

use std::fs;
use std::sync::atomic::Ordering;

use ringfence::{FaultKind, Policy, Processes};
use ringfence_testkit::child;

use crate::support::{
    NOWHERE, allowing, assert_denied, both, defended, eventually, fault, fixture, hits, host, int, is_dead,
    limits, unfiltered, with,
};

#[test]
fn inside_kills_the_host() {
    let kill = |[pid, signal]: [u64; 2]| fixture!(kill_process(int(pid), int(signal)));
    let own = |[pid, signal]: [u64; 2]| fixture!(tgkill_thread(int(pid), int(pid), int(signal)));
    let one = |[pid, signal]: [u64; 2]| fixture!(tkill_thread(int(pid), int(signal)));
    let deadly = [host(), libc::SIGKILL as u64];
    assert_denied(libc::SYS_kill, kill, deadly);
    assert_denied(libc::SYS_tgkill, own, deadly);
    assert_denied(libc::SYS_tkill, one, deadly);

    let harmless = [host(), libc::SIGURG as u64];
    let before = hits().load(Ordering::SeqCst);
    let sandbox = allowing(&[libc::SYS_kill, libc::SYS_tgkill, libc::SYS_tkill]);
    for attack in [0, 1, 2] {
        let results = match attack {
            0 => both(&sandbox, kill, harmless),
            1 => both(&sandbox, own, harmless),
            _ => both(&sandbox, one, harmless),
        };
        assert!(results.into_iter().all(|result| result.unwrap() == 0));
        eventually("the control's signal arrives", || hits().load(Ordering::SeqCst) > before + attack);
    }
}

#[test]
fn inside_kills_its_parent() {
    assert_denied(libc::SYS_kill, |_| fixture!(kill_parent()), NOWHERE);
    // The parent of a worker is its zygote: with the call allowed it dies, and the host makes another.
    let sandbox = allowing(&[libc::SYS_kill]);
    let killed = sandbox.call(|()| fixture!(kill_parent()), ());
    println!("{killed:?}");
    eventually("the pool recovers from the loss of its zygote", || {
        sandbox.call(|x: u64| x + 1, 1_u64).is_ok()
    });
}

#[test]
fn inside_changes_the_limits_of_the_host() {
    let change = |[pid, bytes]: [u64; 2]| fixture!(prlimit_other(int(pid), bytes));
    assert_denied(libc::SYS_prlimit64, change, [host(), 4242]);
    for (bytes, result) in
        [4242_u64, 4242].into_iter().zip(both(&allowing(&[libc::SYS_prlimit64]), change, [host(), 4242]))
    {
        assert_eq!(result.unwrap(), 0);
        let text = fs::read_to_string("/proc/self/limits").unwrap();
        let line = text.lines().find(|line| line.starts_with("Max msgqueue size")).unwrap();
        assert_eq!(line.split_whitespace().nth(3), Some(bytes.to_string().as_str()));
    }
}

fn new_session(_: [u64; 2]) -> i64 {
    fixture!(raw_syscall(libc::SYS_setsid, 0, 0, 0, 0, 0, 0))
}

fn new_group(_: [u64; 2]) -> i64 {
    // Into the group of its parent, from which it was taken. As leader of none it could.
    fixture!(raw_syscall(libc::SYS_setpgid, 0, 0, 0, 0, 0, 0))
}

#[test]
fn inside_leaves_its_process_group() {
    assert_denied(libc::SYS_setsid, new_session, NOWHERE);
    assert_denied(libc::SYS_setpgid, new_group, NOWHERE);
    // A group leader cannot: the control is its child.
    let control = child::run(|| i32::from(new_session(NOWHERE) <= 0)).unwrap();
    assert_eq!(control.end, child::End::Exit(0));
    for result in both(&unfiltered(), new_group, NOWHERE) {
        assert_eq!(result.unwrap(), 0);
    }
}

#[test]
fn inside_outlives_its_parent() {
    assert_denied(libc::SYS_prctl, |_| fixture!(set_pdeathsig_off()), NOWHERE);
    for result in both(&unfiltered(), |_| fixture!(set_pdeathsig_off()), NOWHERE) {
        assert_eq!(result.unwrap(), 0);
    }
}

fn dumpable(_: [u64; 2]) -> i64 {
    fixture!(raw_syscall(libc::SYS_prctl, i64::from(libc::PR_GET_DUMPABLE), 0, 0, 0, 0, 0))
}

#[test]
fn inside_is_opened_by_another_process_of_the_user() {
    assert_denied(libc::SYS_prctl, |_| fixture!(set_dumpable()), NOWHERE);
    for result in both(&allowing(&[libc::SYS_prctl]), dumpable, NOWHERE) {
        assert_eq!(result.unwrap(), 0);
    }
    let control = child::run(|| i32::try_from(dumpable(NOWHERE)).unwrap_or(-1)).unwrap();
    assert_eq!(control.end, child::End::Exit(1));

    let sandbox = defended();
    let mut session = sandbox.session().unwrap();
    let pid = session.call(|()| i64::from(std::process::id()), ()).unwrap();
    // SAFETY: has no obligation.
    if unsafe { libc::geteuid() } == 0 {
        println!("not tested as root: root may open any process, dumpable or not");
    } else {
        let opened = fs::File::open(format!("/proc/{pid}/mem"));
        assert_eq!(opened.map(drop).unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    }
}

/// Leaves a child behind.
fn leave_child(_: [u64; 2]) -> i64 {
    fixture!(fork_child())
}

#[test]
fn a_child_of_the_inside_outlives_it() {
    assert_denied(libc::SYS_fork, leave_child, NOWHERE);
    let permitted = || with(Policy::compute(), limits().processes(Processes::Allowed));

    // After `run`, whose isolate ends with it.
    let grandchild = permitted().run(|| leave_child(NOWHERE)).unwrap();
    eventually("the snapshot's child is dead", || is_dead(grandchild));

    // After a session, and after a fault in one.
    let sandbox = permitted();
    let mut session = sandbox.session().unwrap();
    let grandchild = session.call(leave_child, NOWHERE).unwrap();
    assert!(!is_dead(grandchild), "it lives while its isolate does");
    drop(session);
    eventually("the session's child is dead", || is_dead(grandchild));
    let mut session = sandbox.session().unwrap();
    let grandchild = session.call(leave_child, NOWHERE).unwrap();
    fault(session.call(|()| fixture!(null_write()), ()));
    eventually("the child of a session that faulted is dead", || is_dead(grandchild));

    // The control: a child of a plain child stays.
    let control = child::run(|| {
        let text = leave_child(NOWHERE).to_string();
        println_raw(&text);
        0
    });
    let left: i64 = String::from_utf8_lossy(&control.unwrap().stdout).parse().unwrap();
    assert!(!is_dead(left), "with nothing to kill it, it stays");
    fixture!(kill_process(int(u64::try_from(left).unwrap()), libc::SIGKILL));
}

/// To descriptor 1, past the test harness.
fn println_raw(text: &str) {
    // SAFETY: the text is readable for its length.
    unsafe { libc::write(1, text.as_ptr().cast(), text.len()) };
}

#[test]
fn a_thread_of_the_inside_outlives_it() {
    let start = |()| fixture!(spawn_thread_outliving_call());
    assert_eq!(defended().call(start, ()).unwrap(), libc::EAGAIN, "no thread was to start");

    let sandbox = with(Policy::compute(), limits().processes(Processes::Threads));
    let mut session = sandbox.session().unwrap();
    let pid = session.call(|()| i64::from(std::process::id()), ()).unwrap();
    assert_eq!(session.call(start, ()).unwrap(), 0);
    // The control: as long as the isolate lives, so does the thread.
    let turns = session.call(|()| fixture!(outliving_thread_turns()), ()).unwrap();
    eventually("it turns between calls", || {
        session.call(|()| fixture!(outliving_thread_turns()), ()).unwrap() > turns
    });
    drop(session);
    eventually("the isolate and its threads are dead", || is_dead(pid));
    // A snapshot ends with its closure, whatever its threads do.
    assert_eq!(sandbox.run(|| fixture!(spawn_thread_outliving_call())).unwrap(), 0);
}

#[test]
fn a_thread_starts_a_process_where_threads_are_permitted() {
    let sandbox = with(Policy::compute(), limits().processes(Processes::Threads));
    let clone = |[flags, _]: [u64; 2]| fixture!(raw_syscall(libc::SYS_clone, flags as i64, 0, 0, 0, 0, 0));
    for result in both(&sandbox, clone, [libc::SIGCHLD as u64, 0]) {
        assert_eq!(fault(result).kind(), &FaultKind::Syscall { number: Some(libc::SYS_clone) });
    }
    // `clone3` hides its flags from a filter: it must answer that it does not exist, or a process could be made by it.
    let clone3 = |_: [u64; 2]| {
        let mut arguments = [0_u64; 8];
        arguments[4] = libc::SIGCHLD as u64;
        let made = fixture!(raw_syscall(libc::SYS_clone3, arguments.as_mut_ptr() as i64, 64, 0, 0, 0, 0));
        if made == 0 {
            fixture!(underscore_exit(0));
        }
        made
    };
    for result in both(&sandbox, clone3, NOWHERE) {
        assert_eq!(result.unwrap(), -i64::from(libc::ENOSYS));
    }
    for result in both(&unfiltered(), clone3, NOWHERE) {
        assert!(result.unwrap() > 0, "unfiltered, it makes a process");
    }
}
