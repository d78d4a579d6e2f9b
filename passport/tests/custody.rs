//! The state machine against a second formulation of its rules, over every sequence of up to four events.

use ringfence_passport::{
    Custody, Evidence, Holder, Legality, PassportEventType as E, PassportStatus as S, Tracker,
};

/// What is true of the memory, told in independent facts instead of states.
#[derive(Clone, Copy, Default)]
struct Oracle {
    /// The last event that moved the memory.
    last_move: Option<E>,
    foreign_owns: bool,
}

impl Oracle {
    fn freed(self) -> bool {
        matches!(self.last_move, Some(E::FreedByRust | E::FreedByForeign))
    }

    fn foreign_holds(self) -> bool {
        matches!(self.last_move, Some(E::HandoverToFfi | E::AllocatedInForeign))
    }

    fn rust_holds(self) -> bool {
        self.last_move.is_some() && !self.freed() && !self.foreign_holds()
    }

    /// Whether the event was legal.
    fn see(&mut self, event: E) -> bool {
        let fresh = self.last_move.is_none();
        let legal = match event {
            E::AllocatedInRust | E::AllocatedInForeign => fresh,
            E::HandoverToFfi | E::FreedByRust => fresh || self.rust_holds(),
            E::ReclaimedByRust | E::FreedByForeign => fresh || self.foreign_holds(),
            E::BoundaryAccess | E::OwnershipTransfer => !self.freed(),
            _ => true,
        };
        let moves = match event {
            E::BoundaryAccess
            | E::OwnershipTransfer
            | E::ValidationCheck
            | E::CorruptionDetected
            | E::DomainEntered
            | E::DomainExited => false,
            E::DomainFaulted => self.foreign_holds(),
            _ => legal,
        };
        if moves {
            self.last_move = Some(event);
            self.foreign_owns = event == E::AllocatedInForeign;
        }
        self.foreign_owns |= event == E::OwnershipTransfer && self.foreign_holds();
        legal
    }

    fn status(self) -> S {
        match self.last_move {
            None | Some(E::AllocatedInRust) => S::Unknown,
            Some(E::FreedByRust) => S::FreedByRust,
            Some(E::FreedByForeign) => S::FreedByForeign,
            Some(_) if self.rust_holds() => S::ReclaimedByRust,
            Some(_) if self.foreign_owns => S::InForeignCustody,
            Some(_) => S::HandoverToFfi,
        }
    }

    fn status_at_shutdown(self) -> S {
        if self.foreign_holds() { S::InForeignCustody } else { self.status() }
    }

    fn holder(self) -> Option<Holder> {
        self.last_move.map(|_| match (self.freed(), self.foreign_holds()) {
            (true, _) => Holder::Nobody,
            (false, true) => Holder::Foreign,
            (false, false) => Holder::Rust,
        })
    }
}

/// Every sequence of exactly `length` events.
fn sequences(length: u32) -> impl Iterator<Item = Vec<E>> {
    let kinds = E::ALL.len();
    (0..kinds.pow(length)).map(move |number| {
        let digits = (0..length).scan(number, |rest, _| {
            let digit = *rest % kinds;
            *rest /= kinds;
            Some(digit)
        });
        digits.filter_map(|digit| E::ALL.get(digit).copied()).collect()
    })
}

#[test]
fn every_sequence_of_up_to_four_events_agrees_with_the_oracle() {
    let mut seen = 0;
    for sequence in (0..=4).flat_map(sequences) {
        let (mut custody, mut oracle) = (Custody::default(), Oracle::default());
        for &event in &sequence {
            let transition = custody.step(event);
            custody = transition.custody;
            assert_eq!(
                transition.legality == Legality::Legal,
                oracle.see(event),
                "{sequence:?} at {event:?}"
            );
            assert_eq!(custody.status(), oracle.status(), "{sequence:?} at {event:?}");
        }
        assert_eq!(Custody::after(sequence.iter().copied()), custody, "{sequence:?}");
        assert_eq!(custody.status_at_shutdown(), oracle.status_at_shutdown(), "{sequence:?}");
        assert_eq!(custody.holder(), oracle.holder(), "{sequence:?}");
        seen += 1;
    }
    assert_eq!(seen, 1 + 13 + 169 + 2197 + 28561);
}

#[test]
fn the_tracker_derives_the_same_statuses() {
    let tracker = Tracker::builder().budget_bytes(16 << 20).build();
    let mut expected = Vec::new();
    for sequence in (0..=3).flat_map(sequences) {
        let id = tracker.create_passport(0x1000, 16, None, None);
        let mut oracle = Oracle::default();
        let mut legal = vec![oracle.see(E::AllocatedInRust)];
        for event in sequence {
            tracker.record_event(id, event, Evidence::Declared, None).unwrap();
            legal.push(oracle.see(event));
            assert_eq!(tracker.status(id), Some(oracle.status()));
        }
        expected.push((id, oracle, legal));
    }
    let snapshot = tracker.snapshot();
    assert_eq!(snapshot.dropped().events, 0);
    for (id, oracle, legal) in expected {
        let passport = snapshot.passport(id).unwrap();
        assert_eq!(passport.status_at_shutdown, oracle.status_at_shutdown());
        assert_eq!(passport.holder_at_shutdown, oracle.holder());
        let flags = passport.lifecycle_events.iter().map(|event| event.legality == Legality::Legal);
        assert_eq!(flags.collect::<Vec<_>>(), legal);
        assert_eq!(passport.lifecycle_events.last().unwrap().status, Some(oracle.status()));
    }
}

#[test]
fn every_status_is_reached() {
    let reached: Vec<_> = (0..=3).flat_map(sequences).map(|s| Custody::after(s).status()).collect();
    assert!(S::ALL.iter().all(|status| reached.contains(status)));
}
