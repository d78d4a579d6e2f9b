//! The events of explicit calls, in a ring.

use std::collections::VecDeque;

use super::Note;
use super::budget::Budget;
use super::passports::PassportTable;
use crate::custody::Custody;
use crate::event::Legality;

/// One event, with where the memory stood after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventRecord {
    pub(crate) sequence: u64,
    pub(crate) at_ns: u64,
    pub(crate) passport: u64,
    pub(crate) note: Note,
    pub(crate) custody: Custody,
    pub(crate) legality: Legality,
}

#[derive(Debug)]
pub(super) struct EventLog {
    records: VecDeque<EventRecord>,
    capacity: usize,
}

impl EventLog {
    pub(super) fn new(budget: Budget) -> Self {
        let capacity = budget.events(size_of::<EventRecord>());
        let mut records = VecDeque::new();
        // A budget that the system does not grant at once is grown into.
        let _ = records.try_reserve_exact(capacity);
        Self { records, capacity }
    }

    /// Keeps an event. Answers how many others had to go.
    pub(super) fn push(&mut self, record: EventRecord, passports: &mut PassportTable) -> u64 {
        let dropped = if self.records.len() < self.capacity { 0 } else { self.make_room(passports) };
        self.records.push_back(record);
        dropped
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &EventRecord> {
        self.records.iter()
    }

    /// Drops the oldest event of a finished passport; when that is not simply the oldest event, an eighth of the ring at
    /// once, so that the search costs each event only a few steps. Events of live passports go only when those of finished
    /// ones do not suffice.
    fn make_room(&mut self, passports: &mut PassportTable) -> u64 {
        if self.records.front().is_some_and(|oldest| passports.is_finished(oldest.passport)) {
            self.drop_oldest(passports);
            return 1;
        }
        let wanted = (self.capacity / 8).max(1);
        let mut missing = wanted;
        self.records.retain(|record| {
            let goes = missing > 0 && passports.is_finished(record.passport);
            if goes {
                missing -= 1;
                passports.count_dropped_event(record.passport);
            }
            !goes
        });
        for _ in 0..missing {
            self.drop_oldest(passports);
        }
        wanted as u64
    }

    fn drop_oldest(&mut self, passports: &mut PassportTable) {
        if let Some(record) = self.records.pop_front() {
            passports.count_dropped_event(record.passport);
        }
    }
}
