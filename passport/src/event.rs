//! One thing that happened to memory, or to the domain that held it.

use std::panic::Location;

use serde::Serialize;

use crate::passport::{PassportId, PassportStatus};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub enum PassportEventType {
    /// Rust allocated the memory.
    AllocatedInRust,
    /// Foreign code allocated the memory.
    AllocatedInForeign,
    /// Rust gave the memory to foreign code.
    HandoverToFfi,
    /// Foreign code freed the memory.
    FreedByForeign,
    /// Rust freed the memory.
    FreedByRust,
    /// Rust has the memory back.
    ReclaimedByRust,
    /// One side touched memory across the boundary.
    BoundaryAccess,
    /// Whoever holds the memory now also owns it: a handover is no loan any more.
    OwnershipTransfer,
    /// Somebody looked whether the memory is as it should be.
    ValidationCheck,
    /// The memory was not as it should be.
    CorruptionDetected,
    /// A thread went into a domain.
    DomainEntered,
    /// A thread came back out of a domain.
    DomainExited,
    /// A domain died; the host holds again what the domain held.
    DomainFaulted,
}

impl PassportEventType {
    /// Every event type, in the order of their declaration.
    pub const ALL: [Self; 13] = [
        Self::AllocatedInRust,
        Self::AllocatedInForeign,
        Self::HandoverToFfi,
        Self::FreedByForeign,
        Self::FreedByRust,
        Self::ReclaimedByRust,
        Self::BoundaryAccess,
        Self::OwnershipTransfer,
        Self::ValidationCheck,
        Self::CorruptionDetected,
        Self::DomainEntered,
        Self::DomainExited,
        Self::DomainFaulted,
    ];
}

/// How the tracker came to know of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum Evidence {
    /// A gate, a channel or an allocator saw it happen.
    Observed,
    /// The program said so.
    Declared,
    /// It follows from something that was observed.
    Inferred,
}

/// Whether an event fits what was recorded of the same passport before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Legality {
    /// It fits.
    Legal,
    /// It contradicts the recorded custody (a second free, a handover of memory that Rust does not hold), and changed nothing.
    Illegal,
}

/// Nanoseconds since the tracker was made, on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The time stamp in nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
}

/// One event of the log. What is not known is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PassportEvent {
    /// Place in the one order of the tracker's log; never given twice.
    pub sequence: u64,
    /// When it was recorded; never decreases as `sequence` increases.
    pub timestamp: Timestamp,
    /// What happened.
    pub event_type: PassportEventType,
    /// How the tracker knows.
    pub evidence: Evidence,
    /// Whether it fits what was recorded before.
    pub legality: Legality,
    /// Status of the passport just after the event; `None` when the event belongs to no passport.
    pub status: Option<PassportStatus>,
    /// Passport of the memory it happened to.
    pub passport_id: Option<PassportId>,
    /// Number of the crossing it is part of.
    pub crossing_id: Option<u64>,
    /// Process in which it happened.
    pub process_id: Option<u32>,
    /// Thread in which it happened: a number that a process never gives twice, not the kernel's (which is reused).
    pub thread_id: Option<u64>,
    /// Place in the source that caused it.
    #[serde(serialize_with = "crate::export::location")]
    pub location: Option<&'static Location<'static>>,
    /// The foreign function, the kind of fault, or the reason.
    pub detail: Option<&'static str>,
}
