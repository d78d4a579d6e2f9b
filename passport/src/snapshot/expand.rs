//! From the recorder's records to events and passports. A crossing is recorded as two compact halves; here they become the
//! events they stand for, with the sequence numbers that were set aside for them.

use std::collections::BTreeMap;

use crate::crossing::{CrossingRecord, Outcome, OutcomeName, Region};
use crate::custody::Custody;
use crate::event::{Evidence, PassportEvent, PassportEventType, Timestamp};
use crate::passport::{MemoryPassport, MetadataValue, PassportId};
use crate::recorder::{Entered, Entry, EventRecord, Left, RawSnapshot};
use crate::source::{AllocationSource, Side, TransferMetadata};

/// The three lists of a snapshot, each in its order.
#[derive(Debug)]
pub(super) struct Expansion {
    pub(super) events: Vec<PassportEvent>,
    pub(super) passports: Vec<MemoryPassport>,
    pub(super) crossings: Vec<CrossingRecord>,
}

impl Expansion {
    pub(super) fn of(raw: RawSnapshot, process_id: Option<u32>) -> Self {
        let mut out = Self { events: Vec::new(), passports: Vec::new(), crossings: Vec::new() };
        for (id, entry) in raw.passports {
            out.passports.push(passport_of(id, entry));
        }
        for entered in &raw.open {
            out.crossing(entered, None, process_id);
        }
        for closed in &raw.closed {
            out.crossing(&closed.entered, Some(&closed.left), process_id);
        }
        out.events.extend(raw.events.iter().map(|record| event_of(record, process_id)));
        out.events.sort_unstable_by_key(|event| event.sequence);
        out.passports.sort_unstable_by_key(|passport| passport.passport_id);
        out.crossings.sort_unstable_by_key(|crossing| crossing.crossing_id);
        out.give_passports_their_events();
        out
    }

    fn give_passports_their_events(&mut self) {
        for event in &self.events {
            let Some(id) = event.passport_id else { continue };
            let place = self.passports.binary_search_by_key(&id, |passport| passport.passport_id);
            if let Some(passport) = place.ok().and_then(|place| self.passports.get_mut(place)) {
                passport.lifecycle_events.push(*event);
            }
        }
    }

    fn crossing(&mut self, entered: &Entered, left: Option<&Left>, process_id: Option<u32>) {
        let crossing = &entered.crossing;
        self.crossings.push(CrossingRecord {
            crossing_id: entered.number,
            backend: crossing.backend,
            operation: crossing.operation,
            isolate: crossing.isolate,
            location: Some(crossing.location),
            thread_id: Some(entered.thread),
            entered_at: Timestamp::from_nanos(entered.at_ns),
            left_at: left.map(|left| Timestamp::from_nanos(left.at_ns)),
            outcome: left.map(|left| OutcomeName::from(left.outcome)),
            fault_kind: left.and_then(|left| fault_kind(left.outcome)),
            argument_passport_id: passport_id(entered.argument_id),
            reply_passport_id: left.and_then(|left| passport_id(left.reply_id)),
        });

        let mut life = Life::new(entered, passport_id(entered.argument_id), process_id);
        life.enter();
        if let Some(left) = left {
            life.leave(left);
        }
        if let Some(arguments) = &crossing.arguments {
            self.passports.push(area(entered, arguments, Direction::Inward(left), life.custody));
        }
        self.events.append(&mut life.events);

        let Some(left) = left else { return };
        let Outcome::Returned { reply: Some(reply) } = left.outcome else { return };
        let mut life = Life::new(entered, passport_id(left.reply_id), process_id);
        life.reply(left);
        self.passports.push(area(entered, &reply, Direction::Outward(left), life.custody));
        self.events.append(&mut life.events);
    }
}

/// The events of one area, or of a crossing that has none, while they are put together.
struct Life<'a> {
    entered: &'a Entered,
    passport_id: Option<PassportId>,
    process_id: Option<u32>,
    custody: Custody,
    sequence: u64,
    at_ns: u64,
    thread: u64,
    events: Vec<PassportEvent>,
}

impl<'a> Life<'a> {
    fn new(entered: &'a Entered, passport_id: Option<PassportId>, process_id: Option<u32>) -> Self {
        let custody = Custody::Unseen;
        let events = Vec::with_capacity(4);
        Self { entered, passport_id, process_id, custody, sequence: 0, at_ns: 0, thread: 0, events }
    }

    fn enter(&mut self) {
        self.at(self.entered.sequence, self.entered.at_ns, self.entered.thread);
        self.observed(PassportEventType::DomainEntered);
        if self.entered.crossing.arguments.is_some() {
            self.observed(PassportEventType::HandoverToFfi);
        }
    }

    fn leave(&mut self, left: &Left) {
        use PassportEventType::{DomainExited, DomainFaulted, FreedByRust, ReclaimedByRust};
        self.at(left.sequence, left.at_ns, left.thread);
        let has_arguments = self.entered.crossing.arguments.is_some();
        match left.outcome {
            Outcome::Faulted { kind } => {
                self.push(DomainFaulted, Evidence::Observed, Some(kind));
                if has_arguments {
                    self.push(FreedByRust, Evidence::Inferred, None);
                }
            }
            Outcome::Returned { .. } | Outcome::Refused => {
                let detail = matches!(left.outcome, Outcome::Refused).then_some("refused");
                self.push(DomainExited, Evidence::Observed, detail);
                if has_arguments {
                    self.observed(ReclaimedByRust);
                }
            }
        }
    }

    /// Comes after the exit, and after the return of the arguments if there were any.
    fn reply(&mut self, left: &Left) {
        let before = 1 + u64::from(self.entered.crossing.arguments.is_some());
        self.at(left.sequence + before, left.at_ns, left.thread);
        self.push(PassportEventType::AllocatedInForeign, Evidence::Inferred, None);
        self.observed(PassportEventType::ReclaimedByRust);
    }

    fn at(&mut self, sequence: u64, at_ns: u64, thread: u64) {
        (self.sequence, self.at_ns, self.thread) = (sequence, at_ns, thread);
    }

    fn observed(&mut self, event_type: PassportEventType) {
        self.push(event_type, Evidence::Observed, None);
    }

    fn push(&mut self, event_type: PassportEventType, evidence: Evidence, detail: Option<&'static str>) {
        let transition = self.custody.step(event_type);
        self.custody = transition.custody;
        self.events.push(PassportEvent {
            sequence: self.sequence,
            timestamp: Timestamp::from_nanos(self.at_ns),
            event_type,
            evidence,
            legality: transition.legality,
            status: self.passport_id.map(|_| transition.custody.status()),
            passport_id: self.passport_id,
            crossing_id: Some(self.entered.number),
            process_id: self.process_id,
            thread_id: Some(self.thread),
            location: Some(self.entered.crossing.location),
            detail,
        });
        self.sequence += 1;
    }
}

/// Which way an area went, and the end of the crossing if there is one.
enum Direction<'a> {
    Inward(Option<&'a Left>),
    Outward(&'a Left),
}

/// A passport of an argument or reply area, without events.
fn area(entered: &Entered, region: &Region, direction: Direction<'_>, custody: Custody) -> MemoryPassport {
    let crossing = &entered.crossing;
    let isolate = Side::Isolate { backend: crossing.backend, isolate: crossing.isolate };
    let (id, role, from, to) = match direction {
        Direction::Inward(_) => (entered.argument_id, "arguments", Side::Rust, isolate),
        Direction::Outward(left) => (left.reply_id, "reply", isolate, Side::Rust),
    };
    let (created_at_ns, updated_at_ns) = match direction {
        Direction::Inward(left) => (entered.at_ns, left.map_or(entered.at_ns, |left| left.at_ns)),
        Direction::Outward(left) => (left.at_ns, left.at_ns),
    };
    MemoryPassport {
        passport_id: PassportId::new(id),
        allocation_ptr: region.address,
        size_bytes: region.bytes,
        type_name: Some(region.type_name),
        var_name: None,
        source: Some(AllocationSource::CrossBoundary {
            from,
            to,
            transfer_timestamp: Some(Timestamp::from_nanos(created_at_ns)),
            transfer_metadata: Some(TransferMetadata {
                crossing_id: entered.number,
                operation: crossing.operation,
            }),
        }),
        status_at_shutdown: custody.status_at_shutdown(),
        holder_at_shutdown: custody.holder(),
        lifecycle_events: Vec::new(),
        dropped_events: 0,
        created_at: Timestamp::from_nanos(created_at_ns),
        updated_at: Timestamp::from_nanos(updated_at_ns),
        metadata: BTreeMap::from([
            ("crossing_id", MetadataValue::Number(entered.number)),
            ("role", MetadataValue::Text(role)),
        ]),
    }
}

fn passport_of(id: u64, entry: Entry) -> MemoryPassport {
    MemoryPassport {
        passport_id: PassportId::new(id),
        allocation_ptr: entry.address,
        size_bytes: entry.size_bytes,
        type_name: entry.type_name,
        var_name: entry.var_name,
        source: entry.source.as_deref().cloned(),
        status_at_shutdown: entry.custody.status_at_shutdown(),
        holder_at_shutdown: entry.custody.holder(),
        lifecycle_events: Vec::new(),
        dropped_events: entry.dropped_events,
        created_at: Timestamp::from_nanos(entry.created_at_ns),
        updated_at: Timestamp::from_nanos(entry.updated_at_ns),
        metadata: BTreeMap::new(),
    }
}

fn event_of(record: &EventRecord, process_id: Option<u32>) -> PassportEvent {
    PassportEvent {
        sequence: record.sequence,
        timestamp: Timestamp::from_nanos(record.at_ns),
        event_type: record.note.event_type,
        evidence: record.note.evidence,
        legality: record.legality,
        status: Some(record.custody.status()),
        passport_id: Some(PassportId::new(record.passport)),
        crossing_id: None,
        process_id,
        thread_id: Some(record.note.thread),
        location: Some(record.note.location),
        detail: record.note.detail,
    }
}

fn passport_id(id: u64) -> Option<PassportId> {
    (id != 0).then(|| PassportId::new(id))
}

const fn fault_kind(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Faulted { kind } => Some(kind),
        Outcome::Returned { .. } | Outcome::Refused => None,
    }
}
