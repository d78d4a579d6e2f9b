//! Hosts that reap children who are not theirs to reap.
//!
//! # Safety
//! Signal dispositions are set in a process of its own, to actions that run no code.
#![expect(unsafe_code, reason = "signal has no safe form")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::wait::{WaitPidFlag, waitpid};
use ringfence::{Error, FaultKind, Sandbox};
use ringfence_testkit::alone::alone;
use ringfence_testkit::fixtures;
use ringfence_testkit::resources::descendants;

fn null_write() {
    // SAFETY: has no safe use: it ends the isolate that it runs in.
    unsafe { fixtures::null_write() };
}

/// Values and faults, by every way in.
fn use_it(sandbox: &Sandbox) {
    assert_eq!(sandbox.call(|x: u64| x, 1_u64).unwrap(), 1);
    assert_eq!(sandbox.run(|| 2_u64).unwrap(), 2);
    let kind = |error: Error| error.fault().unwrap().kind().clone();
    assert_eq!(kind(sandbox.call(|()| null_write(), ()).unwrap_err()), FaultKind::Signal);
    assert_eq!(kind(sandbox.run(null_write).unwrap_err()), FaultKind::Signal);
    let exit = |(): ()| -> () { std::process::exit(3) };
    assert_eq!(kind(sandbox.call(exit, ()).unwrap_err()), FaultKind::Exit { code: 3 });
    assert_eq!(kind(sandbox.run(|| exit(())).unwrap_err()), FaultKind::Exit { code: 3 });
    let panic = |(): ()| assert!(std::hint::black_box(false), "on purpose");
    assert_eq!(kind(sandbox.run(|| panic(())).unwrap_err()), FaultKind::Panic);
    assert_eq!(kind(sandbox.call(panic, ()).unwrap_err()), FaultKind::Panic);
    // How a process ended that said nothing, only its parent can know: another who waits may have been told instead.
    let silent = || {
        // SAFETY: ends the isolate that it runs in.
        unsafe { fixtures::underscore_exit(3) };
    };
    let told = kind(sandbox.run(silent).unwrap_err());
    assert!(matches!(told, FaultKind::Exit { code: 3 } | FaultKind::Killed), "{told:?}");
    assert_eq!(kind(sandbox.call(move |()| silent(), ()).unwrap_err()), FaultKind::Exit { code: 3 });
}

#[test]
fn a_host_that_ignores_its_children() {
    alone("children::a_host_that_ignores_its_children", || {
        // SAFETY: the action runs no code.
        let previous = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        assert_ne!(previous, libc::SIG_ERR);
        for _ in 0..3 {
            let sandbox = Sandbox::process().unwrap();
            (0..20).for_each(|_| use_it(&sandbox));
        }
        assert_eq!(descendants(std::process::id()).unwrap(), [], "nobody is left");
    });
}

#[test]
fn a_host_that_waits_for_everyone() {
    alone("children::a_host_that_waits_for_everyone", || {
        let done = AtomicBool::new(false);
        let used = thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = waitpid(None, Some(WaitPidFlag::WNOHANG));
                    thread::yield_now();
                }
            });
            let used = std::panic::catch_unwind(|| {
                for _ in 0..3 {
                    let sandbox = Sandbox::process().unwrap();
                    (0..20).for_each(|_| use_it(&sandbox));
                }
            });
            done.store(true, Ordering::Relaxed);
            used
        });
        assert!(used.is_ok(), "a use failed, see above");
        assert_eq!(descendants(std::process::id()).unwrap(), [], "nobody is left");
    });
}
