//! Attacks through the reply: what the host is told is not what is so.
//!
//! # Safety
//! Fixtures run inside isolates and forked children, whose memory is thrown away.
#![expect(unsafe_code, reason = "calls fixtures through a macro")]

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use ringfence::{Error, FaultKind, Policy, Session};
use ringfence_testkit::alone::alone;

use crate::channel::{Found, REPLY};
use crate::support::{AREA_BYTES, eventually, fault, fixture, is_dead, limits, unfiltered, with};

const PENDING: u32 = 0;
const DONE: u32 = 2;
const CRASHED: u32 = 3;
const DEAD: u32 = 4;
const RETURNED: u32 = 1;

/// Writes the header, tells the host, and does not come back. A state below 8 is that of the present call; more is the whole word.
fn forge((word, outcome, bytes): Forged) {
    let channel = Found::own();
    channel.outcome().store(outcome, Ordering::SeqCst);
    channel.reply_bytes().store(bytes, Ordering::SeqCst);
    channel.note().store(u32::MAX, Ordering::SeqCst);
    channel.announce(if word < 8 { channel.answer(word) } else { word });
    loop {
        thread::park();
    }
}

/// The same from a snapshot, which is believed only once it has ended.
fn forge_and_end((word, outcome, bytes): Forged) {
    const ONLY: u32 = 2;
    let channel = Found::own();
    channel.outcome().store(outcome, Ordering::SeqCst);
    channel.reply_bytes().store(bytes, Ordering::SeqCst);
    channel.reply().store(ONLY << 2 | word, Ordering::SeqCst);
    fixture!(underscore_exit(0));
}

fn pid_of(session: &mut Session) -> i64 {
    session.call(|()| i64::from(std::process::id()), ()).unwrap()
}

#[test]
fn inside_announces_a_reply_that_is_none() {
    let sandbox = unfiltered();
    let garbage: [Forged; 11] = [
        (DONE, RETURNED, 1 << 63),
        (DONE, RETURNED, u64::MAX),
        (DONE, RETURNED, AREA_BYTES as u64 + 1),
        (DONE, 77, 8),
        (DONE, 0, 8),
        (DONE, u32::MAX, 8),
        (PENDING, RETURNED, 8),
        (99, RETURNED, 8),
        (u32::MAX, RETURNED, 8),
        // The answer to another call.
        ((2 << 20) | DONE, RETURNED, 8),
        // A reply of no bytes, where eight are needed.
        (DONE, RETURNED, 0),
    ];
    for forged in garbage {
        let mut session = sandbox.session().unwrap();
        let pid = pid_of(&mut session);
        let result = session.call(
            |forged: Forged| {
                forge(forged);
                1_u64
            },
            forged,
        );
        let fault = fault(result);
        assert!(matches!(fault.kind(), FaultKind::MalformedReply { .. }), "{forged:?}: {fault}");
        eventually("its worker is killed", || is_dead(pid));
        assert!(matches!(session.call(|()| (), ()), Err(Error::Stale)));
    }
    for forged in garbage.into_iter().filter(|(word, ..)| *word == DONE) {
        let fault = fault(sandbox.run(|| {
            forge_and_end(forged);
            1_u64
        }));
        assert!(matches!(fault.kind(), FaultKind::MalformedReply { .. }), "{forged:?}: {fault}");
    }
    // The control: what is well formed is believed, whoever wrote it.
    let mut session = sandbox.session().unwrap();
    assert!(session.call(forge, (DONE, RETURNED, 0_u64)).is_ok());
    assert!(sandbox.run(|| forge_and_end((DONE, RETURNED, 0))).is_ok());
}

#[test]
fn inside_says_that_it_is_dead() {
    let sandbox = unfiltered();
    for word in [DEAD, CRASHED] {
        let mut session = sandbox.session().unwrap();
        let pid = pid_of(&mut session);
        println!("{}", fault(session.call(forge, (word, RETURNED, 0_u64))));
        eventually("its worker is killed, as it said", || is_dead(pid));
    }
    let mut session = sandbox.session().unwrap();
    let pid = pid_of(&mut session);
    // The mark of the zygote, set while all is well: found at the next call.
    let marked = session.call(|()| Found::own().tomb().store(1, Ordering::SeqCst), ());
    assert!(marked.is_ok(), "{marked:?}");
    fault(session.call(|()| (), ()));
    eventually("its worker is killed", || is_dead(pid));
}

#[test]
fn inside_has_the_host_keep_something_for_each_lie() {
    alone("reply::inside_has_the_host_keep_something_for_each_lie", || {
        let sandbox = unfiltered();
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let mapped = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
        let lie = || {
            for word in [DEAD, CRASHED, 99, DONE] {
                fault(sandbox.call(|word: u32| forge((word, 77, u64::MAX)), word));
            }
        };
        // The first ones fill pools and caches.
        (0..10).for_each(|_| lie());
        let before = (open(), mapped());
        (0..100).for_each(|_| lie());
        let after = (open(), mapped());
        // The spare may or may not be there at the moment.
        assert!(after.0 <= before.0 + 4 && after.1 <= before.1 + 16, "{before:?} became {after:?}");
    });
}

/// Reply word, outcome, length.
type Forged = (u32, u32, u64);

type Reply = Vec<(String, Vec<u32>, Option<bool>)>;

fn reply(_: ()) -> Reply {
    (0..8).map(|number| ("a text".repeat(number), vec![7; number], Some(number % 2 == 0))).collect()
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Starts a thread that changes the reply, and its length, at all times; and the reply word too if that is asked.
fn start_changing((seed, word_too): (u64, bool)) {
    let channel = Found::own();
    thread::spawn(move || {
        let mut state = seed | 1;
        loop {
            let offset = random(&mut state) as usize % 256;
            channel.store(REPLY + offset, random(&mut state) as u8);
            match random(&mut state) % 64 {
                0 => channel.reply_bytes().store(random(&mut state), Ordering::SeqCst),
                1..8 => channel.reply_bytes().store(random(&mut state) % 512, Ordering::SeqCst),
                8 if word_too => channel.announce(channel.answer(random(&mut state) as u32 % 6)),
                _ => {}
            }
            for _ in 0..random(&mut state) % 256 {
                std::hint::spin_loop();
            }
        }
    });
}

/// How many of so many calls gave a value, and how many a fault.
fn change(word_too: bool, tries: u64) -> (u64, u64) {
    let limits = limits().descriptors(8).wall(Duration::from_secs(5));
    let sandbox = with(Policy::unfiltered(), limits);
    let (mut values, mut faults) = (0, 0);
    let mut session = sandbox.session().unwrap();
    let mut is_changing = false;
    for seed in 1.. {
        if values + faults >= tries {
            break;
        }
        if !is_changing {
            // It may fail already: the thread changes that reply too.
            let _ = session.call(start_changing, (seed * 0x9e37_79b9_u64, word_too));
            is_changing = true;
        }
        match session.call(reply, ()) {
            Ok(_) => values += 1,
            Err(Error::ArgumentsRejected) => {}
            Err(Error::Fault(_) | Error::Stale) => {
                faults += 1;
                session.reset().unwrap();
                is_changing = false;
            }
            Err(error) => panic!("{error}"),
        }
    }
    (values, faults)
}

#[test]
fn inside_changes_the_reply_after_it_was_announced() {
    let (values, faults) = change(false, 2000);
    println!("{values} values, {faults} faults");
    assert!(values > 0 && faults > 0, "the thread inside never won, or always");
    // The control: nobody changes anything.
    assert_eq!(unfiltered().call(reply, ()).unwrap(), reply(()));
}

#[test]
fn inside_answers_before_it_is_asked() {
    let (values, faults) = change(true, 500);
    println!("{values} values, {faults} faults");
    assert!(faults > 0, "the thread inside never won");
}
