//! Questions that a published tracker of this kind answers wrongly, with the right answers.

use ringfence_passport::{
    AllocationSource, Evidence, Holder, Legality, MemoryPassport, PassportEventType as E, PassportId,
    PassportStatus as S, Tracker,
};

/// The passport in a fresh snapshot.
#[track_caller]
fn seen(tracker: &Tracker, id: PassportId) -> MemoryPassport {
    match tracker.snapshot().passport(id) {
        Some(passport) => passport.clone(),
        None => unreachable!("passport {id} is not there"),
    }
}

#[test]
fn created_and_never_freed_is_live_in_rust() {
    let tracker = Tracker::new();
    let id = tracker.create_passport(0x1000, 64, None, None);
    let passport = seen(&tracker, id);
    assert_eq!(passport.holder_at_shutdown, Some(Holder::Rust));
    assert_eq!(passport.status_at_shutdown, S::Unknown);
    assert_eq!((passport.type_name, passport.var_name, &passport.source), (None, None, &None));
}

#[test]
fn handed_over_again_is_in_foreign_custody() {
    let tracker = Tracker::new();
    let id = tracker.create_passport(0x1000, 64, None, None);
    tracker.record_handover(id, "put").unwrap();
    assert_eq!(tracker.status(id), Some(S::HandoverToFfi));
    tracker.record_reclaimed(id, "got it back").unwrap();
    assert_eq!(tracker.status(id), Some(S::ReclaimedByRust));
    tracker.record_handover(id, "put").unwrap();
    let passport = seen(&tracker, id);
    assert_eq!(passport.status_at_shutdown, S::InForeignCustody);
    let details: Vec<_> = passport.lifecycle_events.iter().map(|event| event.detail).collect();
    assert_eq!(details, [None, Some("put"), Some("got it back"), Some("put")]);
}

#[test]
fn freed_twice_and_then_handed_over_is_flagged() {
    let tracker = Tracker::new();
    let id = tracker.create_passport(0x1000, 64, None, None);
    tracker.record_handover(id, None).unwrap();
    tracker.record_freed_by_foreign(id, "free").unwrap();
    tracker.record_freed_by_foreign(id, "free").unwrap();
    tracker.record_handover(id, None).unwrap();
    let passport = seen(&tracker, id);
    assert_eq!(passport.status_at_shutdown, S::FreedByForeign);
    let flags: Vec<_> = passport.lifecycle_events.iter().map(|event| event.legality).collect();
    let (good, bad) = (Legality::Legal, Legality::Illegal);
    assert_eq!(flags, [good, good, good, bad, bad]);
    let lines: Vec<_> = passport
        .lifecycle_events
        .iter()
        .filter_map(|event| event.location)
        .map(|place| place.line())
        .collect();
    assert!(lines.is_sorted_by(|a, b| a < b), "each event names its own call: {lines:?}");
}

#[test]
fn a_reused_address_has_a_passport_of_its_own() {
    let tracker = Tracker::new();
    let first = tracker.create_passport(0x1000, 64, None, None);
    tracker.record_handover(first, None).unwrap();
    let second = tracker.create_passport(0x1000, 32, None, None);
    assert_ne!(first, second);
    assert_eq!(tracker.passport_at(0x1000), Some(second));
    assert_eq!(tracker.passport_at(0x1000 + 48), Some(first));
    tracker.record_freed_by_rust(second).unwrap();
    assert_eq!(tracker.passport_at(0x1000), Some(first));
    assert_eq!(seen(&tracker, first).status_at_shutdown, S::InForeignCustody);
    assert_eq!(seen(&tracker, second).status_at_shutdown, S::FreedByRust);
}

#[test]
fn evidence_that_overflows_changes_no_status() {
    let tracker = Tracker::builder().budget_bytes(8 << 10).build();
    let id = tracker.create_passport(0x1000, 64, None, None);
    tracker.record_handover(id, None).unwrap();
    for _ in 0..1000 {
        tracker.record_event(id, E::BoundaryAccess, Evidence::Observed, None).unwrap();
    }
    let passport = seen(&tracker, id);
    assert!(passport.lifecycle_events.iter().all(|event| event.event_type == E::BoundaryAccess));
    assert_eq!(passport.lifecycle_events.len() as u64 + passport.dropped_events, 1002);
    assert_eq!(passport.status_at_shutdown, S::InForeignCustody);
}

#[test]
fn ten_thousand_freed_passports_make_room() {
    let tracker = Tracker::builder().budget_bytes(64 << 10).build();
    for number in 0..10_000 {
        let id = tracker.create_passport(number * 64, 64, None, None);
        tracker.record_freed_by_rust(id).unwrap();
    }
    let id = tracker.create_passport(0, 64, None, None);
    tracker.record_handover(id, None).unwrap();
    assert_eq!(seen(&tracker, id).status_at_shutdown, S::InForeignCustody);
    assert_eq!(tracker.snapshot().dropped().live_passports, 0);
}

#[test]
fn an_interior_pointer_finds_the_passport() {
    let tracker = Tracker::new();
    let id = tracker.create_passport(0x1000, 64, None, None);
    assert_eq!(tracker.passport_at(0x1000 + 63), Some(id));
    assert_eq!(tracker.passport_at(0x1000 + 64), None);
    assert_eq!(tracker.passport_at(0xfff), None);
    tracker.record_freed_by_rust(id).unwrap();
    assert_eq!(tracker.passport_at(0x1000), None);
}

#[test]
fn corruption_hides_no_leak() {
    let tracker = Tracker::new();
    let id = tracker.create_passport(0x1000, 64, None, None);
    tracker.record_handover(id, None).unwrap();
    tracker.record_event(id, E::CorruptionDetected, Evidence::Observed, "canary").unwrap();
    assert_eq!(seen(&tracker, id).status_at_shutdown, S::InForeignCustody);
}

#[test]
fn what_foreign_code_allocates_is_not_allocated_in_rust() {
    let tracker = Tracker::new();
    let source = AllocationSource::FfiC { resolved_function: None, call_stack: None, libc_hook_info: None };
    let id = tracker.create_passport_from(source, 0x1000, 64, None, None);
    let passport = seen(&tracker, id);
    assert_eq!(passport.lifecycle_events.first().map(|event| event.event_type), Some(E::AllocatedInForeign));
    assert_eq!(passport.status_at_shutdown, S::InForeignCustody);
    tracker.record_freed_by_foreign(id, "free").unwrap();
    assert_eq!(seen(&tracker, id).status_at_shutdown, S::FreedByForeign);
}
