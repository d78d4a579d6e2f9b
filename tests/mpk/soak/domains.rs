//! More domains than keys: each keeps its state, also after others had its key, and none keeps a key it does not have any more.
//!
//! # Safety
//! As the parent module.
#![expect(unsafe_code, reason = "calls foreign functions that misbehave")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use ringfence::{Backend, Error, FaultKind, Limits, Sandbox, Session};
use ringfence_testkit::alone::alone;
use ringfence_testkit::fixtures;

use super::inside;

const DOMAINS: usize = 20;
/// Of protection keys there are 16, of which one is everybody's (`pkeys(7)`).
const KEYS: usize = 15;

pub(super) fn trials() -> Vec<Trial> {
    let trial = |name: &'static str, check: fn()| {
        Trial::test(name, move || {
            alone(name, check);
            Ok(())
        })
    };
    vec![
        trial("soak::twenty_domains_take_turns", twenty_domains_take_turns),
        trial("soak::twenty_domains_on_five_threads", twenty_domains_on_five_threads),
        trial("soak::twenty_threads_at_once", twenty_threads_at_once),
        trial("soak::four_threads_with_four_domains_each", four_threads_with_four_domains_each),
    ]
}

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Adds to a number that every domain has for itself.
fn add(number: u64) -> u64 {
    COUNT.set(COUNT.get() + number);
    COUNT.get()
}

fn small() -> Sandbox {
    limited(Duration::from_secs(30))
}

fn limited(wall: Duration) -> Sandbox {
    let limits = Limits::new().memory_bytes(1 << 20).stack_bytes(64 << 10);
    let limits = limits.request_bytes(64 << 10).reply_bytes(64 << 10).wall(wall);
    Sandbox::builder().backend(Backend::Mpk).limits(limits).build().unwrap()
}

fn sessions() -> Vec<Session> {
    // From one sandbox, and from sandboxes of their own.
    let shared = small();
    (0..DOMAINS)
        .map(|number| if number % 2 == 0 { shared.session() } else { small().session() }.unwrap())
        .collect()
}

/// Addresses in a domain's memory: its stack, its thread-local storage, its heap, its arguments.
fn places(session: &mut Session) -> Vec<u64> {
    let places = |arguments: &[u8]| {
        let (local, heap) = (0_u8, Box::new(0_u8));
        let thread = COUNT.with(|count| std::ptr::from_ref(count).addr());
        let addresses =
            [(&raw const local).addr(), thread, (&raw const *heap).addr(), arguments.as_ptr().addr()];
        addresses.map(|address| address as u64).to_vec()
    };
    session.call(places, &b"arguments"[..]).unwrap()
}

/// By the start of each mapping: its end, its key, its permissions (`proc_pid_smaps(5)`).
type Mappings = BTreeMap<u64, (u64, u32, String)>;

fn mappings() -> Mappings {
    let text = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut mappings = Mappings::new();
    let mut range = None;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let first = words.next().unwrap();
        if let Some((start, end)) = first.split_once('-') {
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            range = Some((number(start), number(end), words.next().unwrap().to_owned()));
        } else if first == "ProtectionKey:" {
            let (start, end, permissions) = range.take().unwrap();
            mappings.insert(start, (end, words.next().unwrap().parse().unwrap(), permissions));
        }
    }
    mappings
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Held {
    Key(u32),
    Nothing,
}

/// What all of a domain's memory carries: one key of its own, or none, and then nobody may touch it.
fn held(mappings: &Mappings, addresses: &[u64]) -> Held {
    let all = addresses.iter().map(|address| {
        let (_, (end, key, permissions)) = mappings.range(..=address).next_back().unwrap();
        assert!(address < end, "{address:#x} is mapped");
        (*key, permissions.as_str())
    });
    let mut all: Vec<_> = all.collect();
    all.dedup();
    match all[..] {
        [(0, "---p")] => Held::Nothing,
        [(key @ 1.., "rw-p")] => Held::Key(key),
        _ => panic!("memory of one domain: {all:?}"),
    }
}

fn twenty_domains_take_turns() {
    let mut sessions = sessions();
    let places: Vec<_> = sessions.iter_mut().map(places).collect();
    for round in 1..=25 {
        for (number, session) in (1..).zip(&mut sessions) {
            assert_eq!(session.call(add, number).unwrap(), round * number, "domain {number}");
        }
        if round % 5 != 0 {
            continue;
        }
        let mappings = mappings();
        let held = places.iter().map(|places| held(&mappings, places));
        let mut keys: Vec<Held> = held.filter(|held| *held != Held::Nothing).collect();
        let holders = keys.len();
        assert!((2..=KEYS).contains(&holders), "{holders} domains have keys");
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), holders, "no key twice: {keys:?}");
    }
    // Nobody writes what is another's.
    let theirs = places[1][2];
    let store = |address: u64| {
        // SAFETY: as the parent module says: the store is refused, and ends the crossing.
        unsafe { fixtures::store_at(address as usize, 1) };
    };
    let fault = sessions[0].call(store, theirs).unwrap_err();
    assert!(matches!(fault.fault().unwrap().kind(), FaultKind::KeyViolation | FaultKind::Signal), "{fault}");
    assert_eq!(sessions[1].call(add, 2_u64).unwrap(), 26 * 2);
}

/// Sessions wander from thread to thread.
fn twenty_domains_on_five_threads() {
    let mut sessions: Vec<(u64, Session)> = (1..).zip(sessions()).collect();
    for round in 1..=10 {
        sessions.rotate_left(3);
        thread::scope(|scope| {
            for group in sessions.chunks_mut(4) {
                scope.spawn(move || {
                    for (number, session) in group {
                        assert_eq!(session.call(add, *number).unwrap(), round * *number, "domain {number}");
                    }
                });
            }
        });
    }
}

/// Twenty are inside at once, as far as there are keys; who finds none waits.
fn twenty_threads_at_once() {
    let sessions = sessions();
    thread::scope(|scope| {
        for (number, mut session) in (1..).zip(sessions) {
            scope.spawn(move || {
                let sum = |number: u64| {
                    // Others get to run meanwhile.
                    (0..20).for_each(|_| thread::yield_now());
                    add(number)
                };
                for round in 1..=10 {
                    assert_eq!(session.call(sum, number).unwrap(), round * number, "domain {number}");
                }
            });
        }
    });
}

/// Values and faults by chance.
fn four_threads_with_four_domains_each() {
    const CROSSINGS: u64 = 400;
    let work = |seed: u64| {
        let mut sessions: Vec<(Session, u64)> = (0..4).map(|_| (small().session().unwrap(), 0)).collect();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for _ in 0..CROSSINGS {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            step(&mut sessions, state);
        }
    };
    let start = Instant::now();
    thread::scope(|scope| {
        for seed in 1..=4 {
            scope.spawn(move || work(seed));
        }
    });
    println!("{} crossings in {:.1?}", 4 * CROSSINGS, start.elapsed());
}

/// One crossing of one of the sessions, each with the sum that it should have.
fn step(sessions: &mut [(Session, u64)], chance: u64) {
    let chosen = chance as usize % sessions.len();
    let (session, sum) = &mut sessions[chosen];
    let (result, kind): (Result<(), Error>, FaultKind) = match chance >> 32 & 63 {
        0 => (limited(Duration::from_millis(5)).run(inside!(endless_loop())), FaultKind::Timeout),
        1..=4 => (session.call(|()| inside!(null_write())(), ()), FaultKind::Signal),
        5..=8 => (session.call(|()| inside!(call_abort())(), ()), FaultKind::Abort),
        9..=10 => (session.call(|()| inside!(stack_overflow())(), ()), FaultKind::StackOverflow),
        11 => (session.call(|()| assert!(std::hint::black_box(false)), ()), FaultKind::Panic),
        12..=13 => (session.call(|()| inside!(exit_with(3))(), ()), FaultKind::Exit { code: 3 }),
        _ => {
            *sum += 3;
            assert_eq!(session.call(add, 3_u64).unwrap(), *sum);
            return;
        }
    };
    let error = result.unwrap_err();
    assert_eq!(error.fault().unwrap().kind(), &kind, "{error}");
    session.reset().unwrap();
    *sum = 0;
}
