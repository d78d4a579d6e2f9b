//! What the two compact halves of a crossing mean in a snapshot.

use std::panic::Location;

use ringfence_passport::{
    AllocationSource, Crossing, Evidence, Holder, Legality, Operation, Outcome, OutcomeName,
    PassportEventType as E, PassportStatus as S, Region, Side, Snapshot, Tracker,
};

const ARGUMENTS: Region = Region { address: 0x1000, bytes: 64, type_name: "(u32, Vec<u8>)" };
const REPLY: Region = Region { address: 0x9000, bytes: 8, type_name: "u64" };

#[track_caller]
fn crossing(operation: Operation, arguments: Option<Region>) -> Crossing {
    Crossing { backend: "process", operation, isolate: 7, arguments, location: Location::caller() }
}

fn types(snapshot: &Snapshot) -> Vec<E> {
    snapshot.events().map(|event| event.event_type).collect()
}

#[test]
fn a_call_that_returns() {
    let tracker = Tracker::new();
    let id = tracker.enter(crossing(Operation::Call, Some(ARGUMENTS)));
    let line = line!() - 1;
    tracker.leave(id, Outcome::Returned { reply: Some(REPLY) });
    let snapshot = tracker.snapshot();

    let expected = [
        E::DomainEntered,
        E::HandoverToFfi,
        E::DomainExited,
        E::ReclaimedByRust,
        E::AllocatedInForeign,
        E::ReclaimedByRust,
    ];
    assert_eq!(types(&snapshot), expected);
    assert!(snapshot.events().map(|event| event.sequence).eq(0..6));
    assert!(snapshot.events().all(|event| event.legality == Legality::Legal));
    assert!(snapshot.events().all(|event| event.location.map(Location::line) == Some(line)));
    let inferred = snapshot.events().filter(|event| event.evidence == Evidence::Inferred);
    assert_eq!(inferred.map(|event| event.event_type).collect::<Vec<_>>(), [E::AllocatedInForeign]);

    let [arguments, reply] = snapshot.passports().collect::<Vec<_>>()[..] else { panic!("two passports") };
    assert_eq!((arguments.allocation_ptr, arguments.size_bytes), (0x1000, 64));
    assert_eq!(arguments.type_name, Some("(u32, Vec<u8>)"));
    assert_eq!(arguments.status_at_shutdown, S::ReclaimedByRust);
    assert_eq!(arguments.holder_at_shutdown, Some(Holder::Rust));
    assert_eq!(arguments.lifecycle_events.len(), 4);
    assert_eq!((reply.allocation_ptr, reply.size_bytes), (0x9000, 8));
    assert_eq!(reply.status_at_shutdown, S::ReclaimedByRust);
    assert_eq!(reply.lifecycle_events.len(), 2);
    let isolate = Side::Isolate { backend: "process", isolate: 7 };
    let Some(AllocationSource::CrossBoundary { from, to, .. }) = reply.source else { panic!("a crossing") };
    assert_eq!((from, to), (isolate, Side::Rust));

    let [record] = snapshot.crossings().collect::<Vec<_>>()[..] else { panic!("one crossing") };
    assert_eq!(record.outcome, Some(OutcomeName::Returned));
    assert_eq!(record.argument_passport_id, Some(arguments.passport_id));
    assert_eq!(record.reply_passport_id, Some(reply.passport_id));
    assert!(record.left_at >= Some(record.entered_at));
}

#[test]
fn a_fault_is_no_leak() {
    let tracker = Tracker::new();
    let id = tracker.enter(crossing(Operation::Session, Some(ARGUMENTS)));
    tracker.leave(id, Outcome::Faulted { kind: "segmentation fault" });
    let snapshot = tracker.snapshot();

    assert_eq!(types(&snapshot), [E::DomainEntered, E::HandoverToFfi, E::DomainFaulted, E::FreedByRust]);
    assert!(snapshot.events().all(|event| event.legality == Legality::Legal));
    let fault = snapshot.events().find(|event| event.event_type == E::DomainFaulted).unwrap();
    assert_eq!(fault.detail, Some("segmentation fault"));
    assert_eq!(fault.evidence, Evidence::Observed);
    assert_eq!(snapshot.events().last().unwrap().evidence, Evidence::Inferred, "nobody saw the area go");
    let passport = snapshot.passports().next().unwrap();
    assert_eq!(passport.status_at_shutdown, S::FreedByRust);
    assert_eq!(snapshot.crossings().next().unwrap().fault_kind, Some("segmentation fault"));
}

#[test]
fn a_refusal_returns_the_arguments() {
    let tracker = Tracker::new();
    let id = tracker.enter(crossing(Operation::Call, Some(ARGUMENTS)));
    tracker.leave(id, Outcome::Refused);
    let snapshot = tracker.snapshot();
    assert_eq!(types(&snapshot), [E::DomainEntered, E::HandoverToFfi, E::DomainExited, E::ReclaimedByRust]);
    assert_eq!(snapshot.passports().next().unwrap().status_at_shutdown, S::ReclaimedByRust);
    assert_eq!(snapshot.crossings().next().unwrap().outcome, Some(OutcomeName::Refused));
}

#[test]
fn a_closure_hands_nothing_over() {
    let tracker = Tracker::new();
    let id = tracker.enter(crossing(Operation::Run, None));
    tracker.leave(id, Outcome::Returned { reply: Some(REPLY) });
    let id = tracker.enter(crossing(Operation::Run, None));
    tracker.leave(id, Outcome::Faulted { kind: "abort" });
    let snapshot = tracker.snapshot();
    let expected = [
        E::DomainEntered,
        E::DomainExited,
        E::AllocatedInForeign,
        E::ReclaimedByRust,
        E::DomainEntered,
        E::DomainFaulted,
    ];
    assert_eq!(types(&snapshot), expected);
    assert_eq!(snapshot.passports().len(), 1);
}

#[test]
fn an_open_crossing_leaves_its_arguments_in_foreign_custody() {
    let tracker = Tracker::new();
    let id = tracker.enter(crossing(Operation::Call, Some(ARGUMENTS)));
    let snapshot = tracker.snapshot();
    let passport = snapshot.passports().next().unwrap();
    assert_eq!(passport.status_at_shutdown, S::InForeignCustody);
    assert_eq!(snapshot.crossings().next().unwrap().outcome, None);
    tracker.leave(id, Outcome::Returned { reply: None });
    assert_eq!(tracker.snapshot().passports().next().unwrap().status_at_shutdown, S::ReclaimedByRust);
}

#[test]
fn crossings_and_explicit_calls_share_one_order_and_one_numbering() {
    let tracker = Tracker::new();
    let outer = tracker.enter(crossing(Operation::Call, Some(ARGUMENTS)));
    let declared = tracker.create_passport(0x4000, 16, None, None);
    let inner = tracker.enter(crossing(Operation::Call, None));
    tracker.record_handover(declared, "inside").unwrap();
    tracker.leave(inner, Outcome::Refused);
    tracker.leave(outer, Outcome::Returned { reply: Some(REPLY) });
    let snapshot = tracker.snapshot();
    let expected = [
        E::DomainEntered,
        E::HandoverToFfi,
        E::AllocatedInRust,
        E::DomainEntered,
        E::HandoverToFfi,
        E::DomainExited,
        E::DomainExited,
        E::ReclaimedByRust,
        E::AllocatedInForeign,
        E::ReclaimedByRust,
    ];
    assert_eq!(types(&snapshot), expected);
    assert!(snapshot.events().map(|event| event.sequence).eq(0..10));
    assert!(snapshot.passports().map(|passport| passport.passport_id.get()).eq(1..=3));
    assert!(snapshot.crossings().map(|record| record.crossing_id).eq(1..=2));
}

#[test]
fn an_id_of_another_tracker_closes_nothing() {
    let (one, other) = (Tracker::new(), Tracker::new());
    let _open = one.enter(crossing(Operation::Call, None));
    let first = other.enter(crossing(Operation::Call, None));
    other.leave(first, Outcome::Refused);
    let stranger = other.enter(crossing(Operation::Call, None));
    one.leave(stranger, Outcome::Refused);
    let snapshot = one.snapshot();
    assert_eq!(snapshot.dropped().unmatched_leaves, 1);
    assert_eq!(snapshot.crossings().next().unwrap().outcome, None);
}

#[test]
fn a_disabled_tracker_records_nothing() {
    let tracker = Tracker::disabled();
    let id = tracker.enter(crossing(Operation::Call, Some(ARGUMENTS)));
    assert_eq!(id.get(), 0);
    tracker.leave(id, Outcome::Returned { reply: Some(REPLY) });
    let passport = tracker.create_passport(0x1000, 16, None, None);
    tracker.record_handover(passport, None).unwrap();
    assert_eq!(tracker.passport_at(0x1000), None);
    let snapshot = tracker.snapshot();
    assert_eq!(snapshot.events().len() + snapshot.passports().len() + snapshot.crossings().len(), 0);
    assert_eq!(snapshot.recorded(), ringfence_passport::Totals::default());
    assert!(!tracker.is_enabled());
}
