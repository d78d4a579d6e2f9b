//! Point 7: every crossing leaves its events, in order, also when it ends in a fault.

use ringfence_core::{Error, Limits, Sandbox};
use ringfence_passport::{OutcomeName, PassportEventType as E, Snapshot, Tracker};

use super::{Order, Subject};
use ringfence_core::Config;

/// A call's events, a run's, and those of a session; each with the place it was made from.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_values(subject: &Subject<'_>) {
    let (sandbox, tracker) = watched(subject);
    let mut lines = Vec::new();
    sandbox.call(|x: u64| x, 1_u64).unwrap();
    lines.push(line!() - 1);
    sandbox.run(|| 1_u64).unwrap();
    lines.push(line!() - 1);
    sandbox.session().unwrap().call(|x: u64| x, 1_u64).unwrap();
    lines.push(line!() - 1);

    let arguments = [E::DomainEntered, E::HandoverToFfi, E::DomainExited, E::ReclaimedByRust];
    let reply = [E::AllocatedInForeign, E::ReclaimedByRust];
    let call = [&arguments[..], &reply].concat();
    // What a closure captures is not handed over: it is read where it is.
    let run = [&[E::DomainEntered, E::DomainExited][..], &reply].concat();
    let snapshot = tracker.snapshot();
    assert_eq!(types(&snapshot), [call.clone(), run, call].concat());
    assert!(snapshot.events().map(|event| event.sequence).eq(0..16));
    for (record, line) in snapshot.crossings().zip(&lines) {
        assert_eq!(record.outcome, Some(OutcomeName::Returned));
        assert_eq!(record.backend, sandbox.backend_name());
        let place = record.location.unwrap();
        assert_eq!((place.file(), place.line()), (file!(), *line));
        assert!(record.left_at >= Some(record.entered_at));
    }
    let operations: Vec<_> = snapshot.crossings().map(|record| record.operation.name()).collect();
    assert_eq!(operations, ["call", "run", "session"]);
}

/// A fault is in the record, with its kind, and the argument area is freed with the isolate.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_faults(subject: &Subject<'_>) {
    let (sandbox, tracker) = watched(subject);
    let mut isolates = Vec::new();
    for _ in 0..2 {
        assert!(sandbox.call(|x: u64| assert!(x == 0, "on purpose"), 1_u64).unwrap_err().fault().is_some());
        assert!(sandbox.run(|| assert!(sandbox.backend_name().is_empty(), "on purpose")).is_err());
        assert_eq!(sandbox.call(|x: u64| x, 1_u64).unwrap(), 1);
        let snapshot = tracker.snapshot();
        isolates.extend(snapshot.crossings().map(|record| record.isolate));
    }
    let snapshot = tracker.snapshot();
    let called = [E::DomainEntered, E::HandoverToFfi, E::DomainFaulted, E::FreedByRust];
    let run = [E::DomainEntered, E::DomainFaulted];
    let returned = [E::DomainEntered, E::HandoverToFfi, E::DomainExited, E::ReclaimedByRust];
    let reply = [E::AllocatedInForeign, E::ReclaimedByRust];
    let round = [&called[..], &run, &returned, &reply].concat();
    assert_eq!(types(&snapshot), round.repeat(2));
    let kinds: Vec<_> = snapshot.crossings().map(|record| record.fault_kind).collect();
    assert_eq!(kinds, [Some("panic"), Some("panic"), None].repeat(2));
    assert!(snapshot.crossings().all(|record| record.left_at.is_some()), "nothing stays open");
}

/// A crossing that never began left nothing; one that was refused inside is told from a fault.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_refusals(subject: &Subject<'_>) {
    let tracker = Tracker::new();
    let config = Config { limits: Limits::new().request_bytes(64), ..Config::default() };
    let order = Order { config, tracker: tracker.clone(), ..Order::default() };
    let sandbox = subject.order(order).unwrap();
    let refused = sandbox.call(|bytes: Vec<u8>| bytes.len() as u64, vec![0_u8; 65]);
    assert!(matches!(refused, Err(Error::Arguments(_))), "{refused:?}");
    assert_eq!(tracker.snapshot().events().len(), 0, "nothing crossed");
}

/// From many threads at once, each crossing's events are complete and in their own order.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_many_threads(subject: &Subject<'_>) {
    let (sandbox, tracker) = watched(subject);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..25_u64 {
                    sandbox.call(|x: u64| x, number).unwrap();
                }
            });
        }
    });
    let snapshot = tracker.snapshot();
    assert_eq!(snapshot.crossings().len(), 100);
    assert!(
        snapshot.events().map(|event| event.sequence).eq(0..600),
        "six events each, numbered without a gap"
    );
    for record in snapshot.crossings() {
        let own = snapshot.events().filter(|event| event.crossing_id == Some(record.crossing_id));
        let own: Vec<_> = own.map(|event| event.event_type).collect();
        let expected = [
            E::DomainEntered,
            E::HandoverToFfi,
            E::DomainExited,
            E::ReclaimedByRust,
            E::AllocatedInForeign,
            E::ReclaimedByRust,
        ];
        assert_eq!(own, expected, "crossing {}", record.crossing_id);
    }
}

fn watched(subject: &Subject<'_>) -> (Sandbox, Tracker) {
    let tracker = Tracker::new();
    let order = Order { tracker: tracker.clone(), ..Order::default() };
    (subject.order(order).unwrap(), tracker)
}

fn types(snapshot: &Snapshot) -> Vec<E> {
    snapshot.events().map(|event| event.event_type).collect()
}
