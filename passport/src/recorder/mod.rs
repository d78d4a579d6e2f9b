//! What the tracker's one lock guards: three bounded stores, and the counters that put what they hold in one order.

mod budget;
mod crossings;
mod events;
mod index;
mod passports;

use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

pub(crate) use budget::Budget;
pub(crate) use crossings::{Closed, Entered, Left};
pub(crate) use events::EventRecord;
pub(crate) use passports::Entry;

use crate::crossing::{Crossing, CrossingId, Outcome};
use crate::custody::Custody;
use crate::event::{Evidence, Legality, PassportEventType};
use crate::passport::PassportId;
use crate::source::AllocationSource;
use crossings::{CrossingLog, NO_SLOT};
use events::EventLog;
use passports::PassportTable;

/// Numbers of things; how many of them depends on where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Totals {
    /// Events.
    pub events: u64,
    /// Crossings.
    pub crossings: u64,
    /// Passports, those of crossings included.
    pub passports: u64,
}

/// What is missing from a snapshot because the budget was spent, and what did not fit anything.
///
/// For each kind, what was recorded is what the snapshot holds and what was dropped, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Dropped {
    /// Events.
    pub events: u64,
    /// Crossings. When one was dropped because too many were open, only the events of its entry were ever counted.
    pub crossings: u64,
    /// Passports of memory whose life had ended.
    pub finished_passports: u64,
    /// Passports of memory that somebody still held: a leak among them cannot be seen any more.
    pub live_passports: u64,
    /// Leaves whose crossing was not open, because it was another tracker's; counted and not recorded.
    pub unmatched_leaves: u64,
}

/// What a caller says of memory that is new to the tracker.
#[derive(Debug)]
pub(crate) struct Declaration {
    pub(crate) address: usize,
    pub(crate) size_bytes: usize,
    pub(crate) type_name: Option<&'static str>,
    pub(crate) var_name: Option<&'static str>,
    pub(crate) source: Option<AllocationSource>,
}

/// What a caller says happened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Note {
    pub(crate) event_type: PassportEventType,
    pub(crate) evidence: Evidence,
    pub(crate) detail: Option<&'static str>,
    pub(crate) location: &'static Location<'static>,
    pub(crate) thread: u64,
}

/// A copy of everything that is recorded, as it lies in the stores.
#[derive(Debug, Default)]
pub(crate) struct RawSnapshot {
    pub(crate) taken_at_ns: u64,
    pub(crate) open: Vec<Entered>,
    pub(crate) closed: Vec<Closed>,
    pub(crate) events: Vec<EventRecord>,
    pub(crate) passports: Vec<(u64, Entry)>,
    pub(crate) recorded: Totals,
    pub(crate) dropped: Dropped,
}

#[derive(Debug)]
pub(crate) struct Recorder {
    started: Instant,
    recorded: Totals,
    dropped: Dropped,
    crossings: CrossingLog,
    events: EventLog,
    passports: PassportTable,
}

impl Recorder {
    pub(crate) fn new(started: Instant, budget: Budget) -> Self {
        Self {
            started,
            recorded: Totals::default(),
            dropped: Dropped::default(),
            crossings: CrossingLog::new(budget),
            events: EventLog::new(budget),
            passports: PassportTable::new(budget),
        }
    }

    #[inline]
    pub(crate) fn enter(&mut self, crossing: &Crossing, thread: u64) -> CrossingId {
        self.recorded.crossings += 1;
        let entered = Entered {
            number: self.recorded.crossings,
            sequence: self.recorded.events,
            at_ns: self.now_ns(),
            thread,
            crossing: *crossing,
            argument_id: self.passport_for(crossing.arguments.is_some()),
        };
        self.recorded.events += entered.event_count();
        let slot = self.crossings.open(&entered);
        if slot == NO_SLOT {
            self.dropped.crossings += 1;
            self.dropped.events += entered.event_count();
            self.dropped.live_passports += u64::from(entered.argument_id != 0);
        }
        CrossingId { number: entered.number, slot }
    }

    #[inline]
    pub(crate) fn leave(&mut self, id: &CrossingId, outcome: Outcome, thread: u64) {
        if id.slot == NO_SLOT {
            return;
        }
        let Some(entered) = self.crossings.take(id) else {
            self.dropped.unmatched_leaves += 1;
            return;
        };
        let has_reply = matches!(outcome, Outcome::Returned { reply: Some(_) });
        let left = Left {
            sequence: self.recorded.events,
            at_ns: self.now_ns(),
            thread,
            outcome,
            reply_id: self.passport_for(has_reply),
        };
        let closed = Closed { entered, left };
        self.recorded.events += closed.event_count() - entered.event_count();
        if let Some(oldest) = self.crossings.close(&closed) {
            self.dropped.crossings += 1;
            self.dropped.events += oldest.event_count();
            self.dropped.finished_passports += oldest.passport_count();
        }
    }

    /// A passport of its own for memory that is declared, with the event that begins its record.
    pub(crate) fn create(&mut self, declaration: Declaration, note: Note) -> PassportId {
        let id = self.passport_for(true);
        let at_ns = self.now_ns();
        let entry = Entry {
            address: declaration.address,
            size_bytes: declaration.size_bytes,
            type_name: declaration.type_name,
            var_name: declaration.var_name,
            source: declaration.source.map(Arc::new),
            custody: Custody::Unseen,
            created_at_ns: at_ns,
            updated_at_ns: at_ns,
            dropped_events: 0,
        };
        self.passports.insert(id, entry, &mut self.dropped);
        // It is not there when it alone is larger than the budget: then it was counted, and its event is all that is kept.
        if !self.append(id, note, at_ns) {
            let custody = Custody::Unseen.step(note.event_type);
            self.push_event(id, note, at_ns, custody.custody, custody.legality);
        }
        PassportId::new(id)
    }

    /// Records an event of a passport. False when there is no such passport.
    pub(crate) fn record(&mut self, id: PassportId, note: Note) -> bool {
        let at_ns = self.now_ns();
        self.append(id.get(), note, at_ns)
    }

    /// The newest passport of memory that is not freed and holds `address`.
    pub(crate) fn passport_at(&self, address: usize) -> Option<PassportId> {
        self.passports.at(address).map(PassportId::new)
    }

    pub(crate) fn custody(&self, id: PassportId) -> Option<Custody> {
        self.passports.custody(id.get())
    }

    pub(crate) fn copy(&self) -> RawSnapshot {
        RawSnapshot {
            taken_at_ns: self.now_ns(),
            open: self.crossings.iter_open().copied().collect(),
            closed: self.crossings.iter_closed().copied().collect(),
            events: self.events.iter().copied().collect(),
            passports: self.passports.iter().map(|(id, entry)| (*id, entry.clone())).collect(),
            recorded: self.recorded,
            dropped: self.dropped,
        }
    }

    fn append(&mut self, id: u64, note: Note, at_ns: u64) -> bool {
        let Some(transition) = self.passports.apply(id, note.event_type, at_ns) else { return false };
        self.push_event(id, note, at_ns, transition.custody, transition.legality);
        true
    }

    fn push_event(&mut self, id: u64, note: Note, at_ns: u64, custody: Custody, legality: Legality) {
        let sequence = self.recorded.events;
        self.recorded.events += 1;
        let record = EventRecord { sequence, at_ns, passport: id, note, custody, legality };
        self.dropped.events += self.events.push(record, &mut self.passports);
    }

    /// The next passport's number, or 0 for none.
    #[inline]
    fn passport_for(&mut self, wanted: bool) -> u64 {
        if !wanted {
            return 0;
        }
        self.recorded.passports += 1;
        self.recorded.passports
    }

    /// Read under the lock, so that time stamps never decrease as sequence numbers increase.
    #[inline]
    fn now_ns(&self) -> u64 {
        let elapsed = self.started.elapsed();
        elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos())
    }
}
