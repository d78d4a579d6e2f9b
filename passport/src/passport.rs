//! The passport: the whole recorded life of one piece of memory.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::custody::Holder;
use crate::event::{PassportEvent, Timestamp};
use crate::source::AllocationSource;

/// Identity of a passport. A tracker never gives one twice, so memory that reuses an address has another passport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct PassportId(u64);

impl PassportId {
    pub(crate) const fn new(id: u64) -> Self {
        Self(id)
    }

    /// The number. Passports are numbered from 1 in the order in which they were made; a tracker that records nothing gives 0.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for PassportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The fate of a piece of memory, derived from its events and from nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum PassportStatus {
    /// Rust freed it.
    FreedByRust,
    /// Rust gave it to foreign code, and it may still come back. Never a final status.
    HandoverToFfi,
    /// Foreign code freed it.
    FreedByForeign,
    /// Foreign code had it, Rust has it back.
    ReclaimedByRust,
    /// Foreign code holds it.
    InForeignCustody,
    /// None of these is known to have happened. Memory that Rust allocated and kept is here; the holder says that Rust has it.
    Unknown,
}

impl PassportStatus {
    /// Every status, in the order of their declaration.
    pub const ALL: [Self; 6] = [
        Self::FreedByRust,
        Self::HandoverToFfi,
        Self::FreedByForeign,
        Self::ReclaimedByRust,
        Self::InForeignCustody,
        Self::Unknown,
    ];
}

/// One fact beside the fixed fields of a passport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum MetadataValue {
    /// A number.
    Number(u64),
    /// A word.
    Text(&'static str),
}

/// The recorded life of one piece of memory, as a snapshot saw it. What is not known is `None`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MemoryPassport {
    /// Identity; the address is none.
    pub passport_id: PassportId,
    /// Address of the first byte. Never dereferenced.
    #[serde(serialize_with = "crate::export::hex")]
    pub allocation_ptr: usize,
    /// Size.
    pub size_bytes: usize,
    /// Type of what lies there.
    pub type_name: Option<&'static str>,
    /// Variable that held it.
    pub var_name: Option<&'static str>,
    /// Where it came from.
    pub source: Option<AllocationSource>,
    /// Its fate when the snapshot was taken. Dropped events have counted.
    pub status_at_shutdown: PassportStatus,
    /// The side that held it when the snapshot was taken.
    pub holder_at_shutdown: Option<Holder>,
    /// Events, oldest first.
    pub lifecycle_events: Vec<PassportEvent>,
    /// Number of events that are missing from `lifecycle_events` because the tracker's budget was spent.
    pub dropped_events: u64,
    /// When the passport was made.
    pub created_at: Timestamp,
    /// When its last event was recorded.
    pub updated_at: Timestamp,
    /// What else is known.
    pub metadata: BTreeMap<&'static str, MetadataValue>,
}
