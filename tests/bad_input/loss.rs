//! Someone outside kills the zygote or a worker.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ringfence::fault::Phase;
use ringfence::{FaultKind, Policy, Sandbox};
use ringfence_testkit::alone::alone;
use ringfence_testkit::contract::pipe::{Pipe, meet};
use ringfence_testkit::resources::{children, process};

/// The zygotes of this process: its only children, as long as nothing runs.
fn zygotes() -> Vec<u32> {
    children(std::process::id()).unwrap().iter().map(|child| child.pid).collect()
}

/// The workers of the only zygote.
fn workers() -> Vec<u32> {
    let [zygote] = zygotes()[..] else { panic!("one zygote") };
    children(zygote).unwrap().iter().map(|worker| worker.pid).collect()
}

/// Kills a process and waits until it has run its last instruction.
fn kill_now(pid: u32) {
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
    while process(pid).is_some_and(|process| !process.is_zombie()) {
        std::thread::yield_now();
    }
}

fn lose_the_zygote(pool: usize) {
    let sandbox = Sandbox::builder().workers(pool).build().unwrap();
    for round in 0..3 {
        // All of the pool is idle and alive when the zygote goes.
        std::thread::scope(|scope| {
            for _ in 0..pool {
                scope.spawn(|| sandbox.call(|x: u64| x, 1_u64).unwrap());
            }
        });
        let [zygote] = zygotes()[..] else { panic!("one zygote, not {:?}", zygotes()) };
        let orphans = children(zygote).unwrap();
        kill_now(zygote);
        for orphan in orphans {
            while process(orphan.pid).is_some_and(|orphan| !orphan.is_zombie()) {
                std::thread::yield_now();
            }
        }
        let lost = (0..4).filter(|_| match sandbox.call(|x: u64| x, 1_u64) {
            Ok(value) => value != 1,
            Err(error) => {
                assert_eq!(error.fault().unwrap().kind(), &FaultKind::Killed, "{error}");
                true
            }
        });
        let lost = lost.count();
        assert!(lost <= 1, "{lost} calls lost in round {round}");
        assert_eq!(sandbox.run(|| 2_u64).unwrap(), 2);
        assert_eq!(sandbox.session().unwrap().call(|x: u64| x, 3_u64).unwrap(), 3);
    }
}

#[test]
fn a_lost_zygote_costs_one_call() {
    alone("loss::a_lost_zygote_costs_one_call", || lose_the_zygote(1));
}

#[test]
fn a_lost_zygote_costs_a_pool_one_call() {
    alone("loss::a_lost_zygote_costs_a_pool_one_call", || lose_the_zygote(3));
}

/// A session's worker dies with the zygote: the session says so, and a reset makes it whole.
#[test]
fn a_session_outlives_its_zygote_by_a_reset() {
    alone("loss::a_session_outlives_its_zygote_by_a_reset", || {
        let sandbox = Sandbox::process().unwrap();
        let mut session = sandbox.session().unwrap();
        session.call(|x: u64| x, 1_u64).unwrap();
        kill_now(zygotes()[0]);
        let error = session.call(|x: u64| x, 1_u64).unwrap_err();
        assert_eq!(error.fault().unwrap().kind(), &FaultKind::Killed, "{error}");
        session.reset().unwrap();
        assert_eq!(session.call(|x: u64| x, 2_u64).unwrap(), 2);
    });
}

/// Work that a dead worker cannot have begun is reported as not begun.
#[test]
fn a_worker_killed_while_it_is_idle() {
    alone("loss::a_worker_killed_while_it_is_idle", || {
        let sandbox = Sandbox::process().unwrap();
        assert_eq!(sandbox.call(|x: u64| x, 1_u64).unwrap(), 1);
        for worker in workers() {
            kill_now(worker);
        }
        // The zygote reaps them and marks their channels.
        while !workers().is_empty() {
            std::thread::yield_now();
        }
        // Whoever comes between the death and the mark loses one call, and is told that it did not begin.
        let mut lost = 0;
        for _ in 0..6 {
            if let Err(error) = sandbox.call(|x: u64| x, 2_u64) {
                let fault = error.fault().unwrap();
                assert_eq!((fault.kind(), fault.phase()), (&FaultKind::Killed, Phase::NotStarted), "{fault}");
                lost += 1;
            }
        }
        assert!(lost <= 1, "{lost} calls lost");
        assert_eq!(sandbox.run(|| 2_u64).unwrap(), 2);
    });
}

#[test]
fn a_worker_killed_while_it_works() {
    alone("loss::a_worker_killed_while_it_works", || {
        let (arrived, leave) = (Pipe::new().unwrap(), Pipe::new().unwrap());
        let (arrived_end, arrived_number) = arrived.lend_writer().unwrap();
        let (leave_end, leave_number) = leave.lend_reader().unwrap();
        let policy = Policy::compute().lend(arrived_end).lend(leave_end);
        let sandbox = Sandbox::builder().policy(policy).build().unwrap();
        for _ in 0..3 {
            let error = std::thread::scope(|scope| {
                let call = scope.spawn(|| sandbox.call(meet, (arrived_number, leave_number)));
                arrived.take(1).unwrap();
                workers().into_iter().for_each(kill_now);
                call.join().unwrap().unwrap_err()
            });
            let fault = error.fault().unwrap();
            assert_eq!((fault.kind(), fault.phase()), (&FaultKind::Killed, Phase::Inside), "{fault}");
            assert_eq!(fault.signal(), Some(libc::SIGKILL), "{fault}");
            let lost = (0..4).filter(|_| sandbox.call(|x: u64| x, 2_u64).is_err()).count();
            assert!(lost <= 1, "{lost} further calls lost: the spare was killed too");
        }
    });
}

/// The zygote dies while a call is inside: the call ends, rather than waiting for someone who is gone.
#[test]
fn a_zygote_killed_while_a_call_is_inside() {
    alone("loss::a_zygote_killed_while_a_call_is_inside", || {
        let (arrived, leave) = (Pipe::new().unwrap(), Pipe::new().unwrap());
        let (arrived_end, arrived_number) = arrived.lend_writer().unwrap();
        let (leave_end, leave_number) = leave.lend_reader().unwrap();
        let policy = Policy::compute().lend(arrived_end).lend(leave_end);
        let sandbox = Sandbox::builder().policy(policy).build().unwrap();
        let error = std::thread::scope(|scope| {
            let call = scope.spawn(|| sandbox.call(meet, (arrived_number, leave_number)));
            arrived.take(1).unwrap();
            kill_now(zygotes()[0]);
            call.join().unwrap().unwrap_err()
        });
        assert_eq!(error.fault().unwrap().kind(), &FaultKind::Killed, "{error}");
        assert_eq!(sandbox.call(|x: u64| x, 2_u64).unwrap(), 2);
    });
}
