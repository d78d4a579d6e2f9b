//! Points 2 and 3: values cross both ways, from many threads, and a session keeps its state.

use std::collections::BTreeMap;
use std::thread;

use ringfence_core::{Config, Policy, Sandbox};

use super::pipe::{Pipe, meet};
use super::{Order, Subject, count};

/// Owned and borrowed arguments go in, owned results come out, whatever their size, by call, session and run.
///
/// # Panics
/// The backend breaks the contract.
pub fn cross_both_ways(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    assert_eq!(sandbox.call(|()| (), ()).unwrap(), ());
    assert_eq!(sandbox.call(|text: &str| text.len() as u64, "four").unwrap(), 4);
    let nested = BTreeMap::from([(String::from("a"), vec![Some(1_u32), None]), (String::new(), vec![])]);
    let back = sandbox.call(|value: BTreeMap<String, Vec<Option<u32>>>| value, nested.clone());
    assert_eq!(back.unwrap(), nested);
    for length in [0, 1, 4095, 4096, 4097, 1 << 20, 5 << 20] {
        let bytes: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
        let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
        let back = sandbox.call(|bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<u8>>(), &bytes[..]);
        assert_eq!(back.unwrap(), reversed, "{length} bytes by call");
        assert_eq!(sandbox.run(|| bytes.clone()).unwrap(), bytes, "{length} bytes by run");
    }
    let mut session = sandbox.session().unwrap();
    let checked = |(a, b): (u64, u64)| a.checked_div(b).ok_or_else(|| String::from("division by zero"));
    assert_eq!(session.call(checked, (6_u64, 3_u64)).unwrap(), Ok(2));
    assert_eq!(session.call(checked, (6_u64, 0_u64)).unwrap(), Err(String::from("division by zero")));
}

/// A session keeps what its calls did; another one, and the pool, do not see it; a reset one starts over.
///
/// # Panics
/// The backend breaks the contract.
pub fn sessions_keep_their_state(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let mut first = sandbox.session().unwrap();
    let mut second = sandbox.session().unwrap();
    for round in 1..=3 {
        assert_eq!(first.call(|()| count(), ()).unwrap(), round);
    }
    assert_eq!(second.call(|()| count(), ()).unwrap(), 1, "a session of its own");
    assert_eq!(sandbox.call(|()| count(), ()).unwrap(), 1, "the pool");
    first.reset().unwrap();
    assert_eq!(first.call(|()| count(), ()).unwrap(), 1, "after a reset");
    drop(sandbox);
    assert_eq!(second.call(|()| count(), ()).unwrap(), 2, "a session outlives the sandbox it came from");
}

/// A pool of `workers` has as many calls inside at once, and serves more callers than that one after the other.
///
/// # Panics
/// The backend breaks the contract.
pub fn calls_run_side_by_side(subject: &Subject<'_>, workers: usize) {
    let (arrived, leave) = (Pipe::new().unwrap(), Pipe::new().unwrap());
    let (arrived_end, arrived_number) = arrived.lend_writer().unwrap();
    let (leave_end, leave_number) = leave.lend_reader().unwrap();
    let policy = Policy::compute().lend(arrived_end).lend(leave_end);
    let config = Config { policy, workers, ..Config::default() };
    let sandbox = subject.order(Order { config, ..Order::default() }).unwrap();
    let numbers = (arrived_number, leave_number);
    for callers in [workers, 3 * workers] {
        thread::scope(|scope| {
            let calls: Vec<_> = (0..callers)
                .map(|_| {
                    let sandbox = sandbox.clone();
                    scope.spawn(move || sandbox.call(meet, numbers))
                })
                .collect();
            // Nobody leaves before all that fit are inside.
            let all_inside = arrived.take(workers);
            leave.put(callers).unwrap();
            for call in calls {
                assert!(call.join().unwrap().unwrap(), "a call reads and writes what it was lent");
            }
            all_inside.unwrap();
            arrived.take(callers - workers).unwrap();
        });
    }
}

/// A sandbox is shared and cloned between threads; a session moves between them.
///
/// # Panics
/// The backend breaks the contract.
pub fn handles_travel(subject: &Subject<'_>) {
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    fn moved<T: Send>(_: &T) {}
    let sandbox = subject.sandbox();
    let mut session = sandbox.session().unwrap();
    shared(&sandbox);
    moved(&session);
    let twin: Sandbox = sandbox.clone();
    drop(sandbox);
    let doubled = thread::scope(|scope| {
        let inside = scope.spawn(|| twin.call(|x: u64| 2 * x, 21_u64).unwrap());
        let kept = scope.spawn(|| session.call(|x: u64| 2 * x, 4_u64).unwrap());
        (inside.join().unwrap(), kept.join().unwrap(), twin.run(|| 1_u64).unwrap())
    });
    assert_eq!(doubled, (42, 8, 1));
}
