//! How the bytes of the budget are shared out.

/// Bytes of the whole recorder. Half is for crossings (an eighth of that for those that are open), a quarter for the events of
/// explicit calls, a quarter for their passports. Each store holds at least one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    total_bytes: usize,
}

impl Budget {
    pub(crate) const fn new(total_bytes: usize) -> Self {
        Self { total_bytes }
    }

    pub(crate) const fn total_bytes(self) -> usize {
        self.total_bytes
    }

    pub(super) const fn open_crossings(self, record_bytes: usize) -> usize {
        at_least_one(self.total_bytes / 16 / record_bytes)
    }

    pub(super) const fn closed_crossings(self, record_bytes: usize) -> usize {
        at_least_one((self.total_bytes / 2 - self.total_bytes / 16) / record_bytes)
    }

    pub(super) const fn events(self, record_bytes: usize) -> usize {
        at_least_one(self.total_bytes / 4 / record_bytes)
    }

    pub(super) const fn passports_bytes(self) -> usize {
        self.total_bytes / 4
    }
}

const fn at_least_one(count: usize) -> usize {
    if count == 0 { 1 } else { count }
}
