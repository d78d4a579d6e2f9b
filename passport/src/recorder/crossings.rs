//! Crossings: a slab of open ones, a ring of closed ones. Fixed-size records, no allocation after the stores have reached their
//! size; what a record means as events is worked out when a snapshot is taken.

use std::collections::VecDeque;

use super::budget::Budget;
use crate::crossing::{Crossing, CrossingId, Outcome};

/// Slot of a crossing that did not fit.
pub(super) const NO_SLOT: u32 = u32::MAX;

/// How a crossing began. Passport number 0 is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entered {
    pub(crate) number: u64,
    pub(crate) sequence: u64,
    pub(crate) at_ns: u64,
    pub(crate) thread: u64,
    pub(crate) crossing: Crossing,
    pub(crate) argument_id: u64,
}

/// How a crossing ended. Passport number 0 is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left {
    pub(crate) sequence: u64,
    pub(crate) at_ns: u64,
    pub(crate) thread: u64,
    pub(crate) outcome: Outcome,
    pub(crate) reply_id: u64,
}

/// A whole crossing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closed {
    pub(crate) entered: Entered,
    pub(crate) left: Left,
}

impl Entered {
    /// Sequence numbers that entering takes: the entry, and the handover of the arguments.
    pub(crate) const fn event_count(&self) -> u64 {
        1 + (self.argument_id != 0) as u64
    }
}

impl Closed {
    /// Sequence numbers that the crossing takes: those of entering, the exit, the return of the arguments, and two of the
    /// reply.
    pub(crate) const fn event_count(&self) -> u64 {
        let returned_arguments = (self.entered.argument_id != 0) as u64;
        let reply = (self.left.reply_id != 0) as u64;
        self.entered.event_count() + 1 + returned_arguments + 2 * reply
    }

    pub(super) const fn passport_count(&self) -> u64 {
        (self.entered.argument_id != 0) as u64 + (self.left.reply_id != 0) as u64
    }
}

#[derive(Debug)]
pub(super) struct CrossingLog {
    open: Vec<Option<Entered>>,
    free_slots: Vec<u32>,
    open_capacity: usize,
    closed: VecDeque<Closed>,
    closed_capacity: usize,
}

impl CrossingLog {
    pub(super) fn new(budget: Budget) -> Self {
        let open_capacity =
            budget.open_crossings(size_of::<Option<Entered>>() + size_of::<u32>()).min(NO_SLOT as usize);
        let closed_capacity = budget.closed_crossings(size_of::<Closed>());
        let mut log = Self {
            open: Vec::new(),
            free_slots: Vec::new(),
            open_capacity,
            closed: VecDeque::new(),
            closed_capacity,
        };
        // A budget that the system does not grant at once is grown into.
        let _ = log.open.try_reserve_exact(open_capacity);
        let _ = log.free_slots.try_reserve_exact(open_capacity);
        let _ = log.closed.try_reserve_exact(closed_capacity);
        log
    }

    /// The slot that now holds `entered`, or [`NO_SLOT`] when all are taken.
    #[inline]
    pub(super) fn open(&mut self, entered: &Entered) -> u32 {
        if let Some(slot) = self.free_slots.pop() {
            if let Some(place) = self.open.get_mut(slot as usize) {
                *place = Some(*entered);
            }
            return slot;
        }
        if self.open.len() == self.open_capacity {
            return NO_SLOT;
        }
        self.open.push(Some(*entered));
        (self.open.len() - 1) as u32
    }

    /// Takes a crossing out of its slot; `None` when it is not the one that lies there.
    #[inline]
    pub(super) fn take(&mut self, id: &CrossingId) -> Option<Entered> {
        let place = self.open.get_mut(id.slot as usize)?;
        let entered = place.take_if(|entered| entered.number == id.number)?;
        self.free_slots.push(id.slot);
        Some(entered)
    }

    /// Keeps a whole crossing. The oldest comes back when it had to make room.
    #[inline]
    pub(super) fn close(&mut self, closed: &Closed) -> Option<Closed> {
        let oldest = if self.closed.len() == self.closed_capacity { self.closed.pop_front() } else { None };
        self.closed.push_back(*closed);
        oldest
    }

    pub(super) fn iter_open(&self) -> impl Iterator<Item = &Entered> {
        self.open.iter().flatten()
    }

    pub(super) fn iter_closed(&self) -> impl Iterator<Item = &Closed> {
        self.closed.iter()
    }
}
