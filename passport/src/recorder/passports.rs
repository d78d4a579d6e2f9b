//! The passports of explicit calls: who holds what now. A status lives here, so an event that is dropped changes none.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Dropped;
use super::budget::Budget;
use super::index::IntervalIndex;
use crate::custody::{Custody, Transition};
use crate::event::PassportEventType;
use crate::source::AllocationSource;

/// What is kept of a passport beside its events.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) address: usize,
    pub(crate) size_bytes: usize,
    pub(crate) type_name: Option<&'static str>,
    pub(crate) var_name: Option<&'static str>,
    pub(crate) source: Option<Arc<AllocationSource>>,
    pub(crate) custody: Custody,
    pub(crate) created_at_ns: u64,
    pub(crate) updated_at_ns: u64,
    pub(crate) dropped_events: u64,
}

impl Entry {
    /// The entry, its key, its place in the index, and half as much again for what the trees leave empty.
    const FIXED_BYTES: usize =
        (size_of::<Self>() + size_of::<u64>() + IntervalIndex::ENTRY_BYTES) * 3 / 2 + size_of::<u64>();

    fn cost_bytes(&self) -> usize {
        let source = self.source.as_ref().map_or(0, |s| size_of::<AllocationSource>() + s.heap_bytes());
        Self::FIXED_BYTES + source
    }
}

#[derive(Debug)]
pub(super) struct PassportTable {
    entries: BTreeMap<u64, Entry>,
    live: IntervalIndex,
    /// In the order in which they ended.
    finished: VecDeque<u64>,
    used_bytes: usize,
    budget_bytes: usize,
}

impl PassportTable {
    pub(super) fn new(budget: Budget) -> Self {
        Self {
            entries: BTreeMap::new(),
            live: IntervalIndex::default(),
            finished: VecDeque::new(),
            used_bytes: 0,
            budget_bytes: budget.passports_bytes().max(Entry::FIXED_BYTES),
        }
    }

    /// Keeps a passport of live memory, and counts those that make room: the one that ended longest ago first, then the oldest.
    pub(super) fn insert(&mut self, id: u64, entry: Entry, dropped: &mut Dropped) {
        self.used_bytes += entry.cost_bytes();
        self.live.insert(entry.address, entry.size_bytes, id);
        self.entries.insert(id, entry);
        while self.used_bytes > self.budget_bytes {
            let (counter, evicted) = match self.finished.pop_front() {
                Some(oldest) => (&mut dropped.finished_passports, self.entries.remove_entry(&oldest)),
                None => (&mut dropped.live_passports, self.entries.pop_first()),
            };
            let Some((id, entry)) = evicted else { return };
            *counter += 1;
            self.used_bytes -= entry.cost_bytes();
            self.live.remove(entry.address, entry.size_bytes, id);
        }
    }

    /// Moves a passport along; `None` when there is no such passport.
    pub(super) fn apply(&mut self, id: u64, event: PassportEventType, at_ns: u64) -> Option<Transition> {
        let entry = self.entries.get_mut(&id)?;
        let was_freed = entry.custody.is_freed();
        let transition = entry.custody.step(event);
        entry.custody = transition.custody;
        entry.updated_at_ns = at_ns;
        if !was_freed && transition.custody.is_freed() {
            self.finished.push_back(id);
            self.live.remove(entry.address, entry.size_bytes, id);
        }
        Some(transition)
    }

    pub(super) fn at(&self, address: usize) -> Option<u64> {
        self.live.newest_holding(address)
    }

    pub(super) fn custody(&self, id: u64) -> Option<Custody> {
        self.entries.get(&id).map(|entry| entry.custody)
    }

    /// Whether the memory is gone, or nothing but an event is known of it any more.
    pub(super) fn is_finished(&self, id: u64) -> bool {
        self.custody(id).is_none_or(Custody::is_freed)
    }

    pub(super) fn count_dropped_event(&mut self, id: u64) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.dropped_events += 1;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&u64, &Entry)> {
        self.entries.iter()
    }
}
