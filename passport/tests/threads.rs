//! Several threads on one tracker: one order, and nobody waits for ever.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::Barrier;
use std::thread;

use ringfence_passport::{
    Crossing, Operation, Outcome, PassportEventType as E, PassportStatus as S, Region, Tracker,
};

fn cross(tracker: &Tracker, isolate: u64) {
    let region = Region { address: 0x1000, bytes: 8, type_name: "u64" };
    let crossing = Crossing {
        backend: "process",
        operation: Operation::Call,
        isolate,
        arguments: Some(region),
        location: Location::caller(),
    };
    let id = tracker.enter(crossing);
    tracker.leave(id, Outcome::Returned { reply: Some(region) });
}

#[test]
fn four_threads_make_one_order() {
    const CROSSINGS: u64 = 500;
    let tracker = Tracker::new();
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for isolate in 0..4 {
            let (tracker, start) = (&tracker, &start);
            scope.spawn(move || {
                start.wait();
                (0..CROSSINGS).for_each(|_| cross(tracker, isolate));
            });
        }
    });

    let snapshot = tracker.snapshot();
    assert_eq!(snapshot.crossings().len() as u64, 4 * CROSSINGS);
    assert!(snapshot.events().map(|event| event.sequence).eq(0..4 * CROSSINGS * 6), "no gap, none twice");
    assert!(snapshot.events().is_sorted_by_key(|event| event.timestamp));

    let mut per_crossing = HashMap::<_, Vec<_>>::new();
    for event in snapshot.events() {
        per_crossing.entry(event.crossing_id.unwrap()).or_default().push(event);
    }
    let expected = [
        E::DomainEntered,
        E::HandoverToFfi,
        E::DomainExited,
        E::ReclaimedByRust,
        E::AllocatedInForeign,
        E::ReclaimedByRust,
    ];
    for record in snapshot.crossings() {
        let events = &per_crossing[&record.crossing_id];
        assert!(events.iter().map(|event| event.event_type).eq(expected));
        assert!(events.iter().all(|event| event.thread_id == record.thread_id));
    }
    let mut threads: Vec<_> = snapshot.crossings().map(|record| (record.isolate, record.thread_id)).collect();
    threads.sort_unstable();
    threads.dedup();
    assert_eq!(threads.len(), 4, "one thread for each isolate");
    threads.dedup_by_key(|(_, thread)| *thread);
    assert_eq!(threads.len(), 4, "and another for each");
}

#[test]
fn creating_and_recording_from_two_threads_ends() {
    const PASSPORTS: usize = 20_000;
    let tracker = Tracker::builder().budget_bytes(64 << 20).build();
    let start = Barrier::new(3);
    thread::scope(|scope| {
        for half in 0..2 {
            let (tracker, start) = (&tracker, &start);
            scope.spawn(move || {
                start.wait();
                for number in 0..PASSPORTS {
                    let id = tracker.create_passport((half * PASSPORTS + number) * 64, 64, None, None);
                    tracker.record_handover(id, "free").unwrap();
                }
            });
        }
        start.wait();
        for _ in 0..5 {
            let snapshot = tracker.snapshot();
            let orphans = snapshot.passports().filter(|passport| passport.lifecycle_events.is_empty());
            assert_eq!(orphans.count(), 0, "a snapshot sees no half of a creation");
        }
    });
    let snapshot = tracker.snapshot();
    assert_eq!(snapshot.passports().len(), 2 * PASSPORTS);
    assert!(snapshot.passports().all(|passport| passport.status_at_shutdown == S::InForeignCustody));
}
