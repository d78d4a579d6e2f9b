//! A small budget: what stays, what goes, and that every drop is counted.

use std::panic::Location;

use ringfence_passport::{
    Crossing, CrossingId, ErrorKind, Evidence, Operation, Outcome, PassportEventType as E,
    PassportStatus as S, Region, Snapshot, Tracker,
};

const REGION: Region = Region { address: 0x1000, bytes: 8, type_name: "u64" };

fn small() -> Tracker {
    Tracker::builder().budget_bytes(16 << 10).build()
}

fn enter(tracker: &Tracker) -> CrossingId {
    tracker.enter(Crossing {
        backend: "process",
        operation: Operation::Call,
        isolate: 1,
        arguments: Some(REGION),
        location: Location::caller(),
    })
}

/// What was recorded is what is there and what was dropped.
#[track_caller]
fn assert_balanced(snapshot: &Snapshot) {
    let (recorded, dropped) = (snapshot.recorded(), snapshot.dropped());
    assert_eq!(recorded.events, snapshot.events().len() as u64 + dropped.events);
    assert_eq!(recorded.crossings, snapshot.crossings().len() as u64 + dropped.crossings);
    let dropped_passports = dropped.finished_passports + dropped.live_passports;
    assert_eq!(recorded.passports, snapshot.passports().len() as u64 + dropped_passports);
}

#[test]
fn the_oldest_crossings_go() {
    let tracker = small();
    for _ in 0..10_000 {
        let id = enter(&tracker);
        tracker.leave(id, Outcome::Returned { reply: Some(REGION) });
    }
    let snapshot = tracker.snapshot();
    assert_balanced(&snapshot);
    assert_eq!(snapshot.recorded().events, 60_000);
    let kept = snapshot.crossings().len() as u64;
    assert!((10..100).contains(&kept), "{kept} kept");
    assert_eq!(snapshot.dropped().events, (10_000 - kept) * 6);
    assert_eq!(snapshot.dropped().live_passports, 0);
    assert!(snapshot.crossings().map(|crossing| crossing.crossing_id).eq(10_001 - kept..=10_000));
}

#[test]
fn open_crossings_are_bounded_and_outlive_closed_ones() {
    let tracker = small();
    let first = enter(&tracker);
    for _ in 0..1000 {
        let id = enter(&tracker);
        tracker.leave(id, Outcome::Refused);
    }
    let open: Vec<_> = (0..1000).map(|_| enter(&tracker)).collect();
    let snapshot = tracker.snapshot();
    assert_balanced(&snapshot);
    assert_eq!(snapshot.crossings().next().unwrap().crossing_id, first.get());
    let kept_open = snapshot.crossings().filter(|crossing| crossing.outcome.is_none()).count() as u64;
    assert!((2..100).contains(&kept_open), "{kept_open} open");
    assert_eq!(snapshot.dropped().live_passports, 1001 - kept_open);
    for id in open {
        tracker.leave(id, Outcome::Refused);
    }
    tracker.leave(first, Outcome::Refused);
    let snapshot = tracker.snapshot();
    assert_balanced(&snapshot);
    assert!(snapshot.crossings().all(|crossing| crossing.outcome.is_some()));
    assert_eq!(snapshot.dropped().unmatched_leaves, 0);
}

#[test]
fn events_of_finished_passports_go_first() {
    let tracker = small();
    let old = tracker.create_passport(0x10, 1, None, Some("old"));
    tracker.record_handover(old, None).unwrap();
    let middle = tracker.create_passport(0x20, 1, None, None);
    tracker.record_freed_by_rust(middle).unwrap();
    let talker = tracker.create_passport(0x30, 1, None, None);
    while tracker.snapshot().dropped().events == 0 {
        tracker.record_event(talker, E::ValidationCheck, Evidence::Declared, None).unwrap();
    }
    let snapshot = tracker.snapshot();
    assert_balanced(&snapshot);
    assert_eq!(snapshot.passport(middle).unwrap().lifecycle_events.len(), 0);
    assert_eq!(snapshot.passport(middle).unwrap().dropped_events, 2);
    assert_eq!(snapshot.passport(middle).unwrap().status_at_shutdown, S::FreedByRust);
    let per_passport: u64 = snapshot.passports().map(|passport| passport.dropped_events).sum();
    assert_eq!(per_passport, snapshot.dropped().events);
    let ever: Vec<_> =
        snapshot.passports().map(|p| p.lifecycle_events.len() as u64 + p.dropped_events).collect();
    assert_eq!(ever.iter().sum::<u64>(), snapshot.recorded().events);
}

#[test]
fn a_stream_of_finished_passports_leaves_the_live_one_alone() {
    let tracker = small();
    let live = tracker.create_passport(0x10, 1, None, None);
    tracker.record_handover(live, None).unwrap();
    for _ in 0..5000 {
        let id = tracker.create_passport(0x1000, 64, None, None);
        tracker.record_freed_by_rust(id).unwrap();
    }
    let snapshot = tracker.snapshot();
    assert_balanced(&snapshot);
    assert_eq!(snapshot.dropped().live_passports, 0);
    let passport = snapshot.passport(live).unwrap();
    assert_eq!(passport.lifecycle_events.len(), 2);
    assert_eq!(passport.status_at_shutdown, S::InForeignCustody);
}

#[test]
fn live_passports_go_when_nothing_else_is_left_and_then_are_unknown() {
    let tracker = small();
    let first = tracker.create_passport(0, 64, None, None);
    for number in 1..1000 {
        tracker.create_passport(number * 64, 64, None, None);
    }
    let snapshot = tracker.snapshot();
    assert_balanced(&snapshot);
    assert_eq!(snapshot.dropped().live_passports, 1000 - snapshot.passports().len() as u64);
    assert_eq!(snapshot.passports().last().unwrap().passport_id.get(), 1000);
    let error = tracker.record_freed_by_rust(first).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownPassport);
    assert_eq!(error.to_string(), "record event: unknown passport 1");
    assert_eq!(tracker.passport_at(0), None);
}

#[test]
fn no_budget_at_all_still_counts() {
    let tracker = Tracker::builder().budget_bytes(0).build();
    for number in 0..10 {
        let id = enter(&tracker);
        tracker.leave(id, Outcome::Refused);
        let id = tracker.create_passport(number, 1, None, None);
        tracker.record_freed_by_rust(id).unwrap();
    }
    let snapshot = tracker.snapshot();
    assert_balanced(&snapshot);
    assert_eq!(snapshot.recorded().events, 60);
    assert_eq!(snapshot.crossings().len(), 1);
}

#[test]
fn a_budget_beyond_the_machine_is_no_failure() {
    let tracker = Tracker::builder().budget_bytes(usize::MAX).build();
    let id = enter(&tracker);
    tracker.leave(id, Outcome::Refused);
    tracker.create_passport(0x1000, 1, None, None);
    assert_balanced(&tracker.snapshot());
    assert_eq!(tracker.snapshot().events().len(), 5);
}
