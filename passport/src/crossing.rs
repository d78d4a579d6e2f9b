//! A crossing of the boundary: into an isolate, and back out or not.

use std::panic::Location;

use serde::Serialize;

use crate::event::Timestamp;
use crate::passport::PassportId;

/// What goes in.
#[derive(Debug, Clone, Copy)]
pub struct Crossing {
    /// Name of the backend.
    pub backend: &'static str,
    /// What kind of crossing it is.
    pub operation: Operation,
    /// The backend's number for the isolate.
    pub isolate: u64,
    /// Where the encoded arguments lie; `None` when nothing is handed over (what a closure captures is read in place or is a
    /// snapshot).
    pub arguments: Option<Region>,
    /// Place in the caller's source.
    pub location: &'static Location<'static>,
}

/// Kinds of crossing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum Operation {
    /// A function with arguments, in any isolate of a pool.
    Call,
    /// A closure with captures.
    Run,
    /// A function with arguments, in one isolate that keeps its state.
    Session,
}

impl Operation {
    /// The operation in lower case, for logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Run => "run",
            Self::Session => "session",
        }
    }
}

/// A piece of memory that crosses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Address of the first byte. Never dereferenced.
    pub address: usize,
    /// Size in bytes.
    pub bytes: usize,
    /// Type of the value whose encoding lies there.
    pub type_name: &'static str,
}

/// How a crossing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A value came back.
    Returned {
        /// Where the encoded reply lay.
        reply: Option<Region>,
    },
    /// The isolate died and is discarded with its memory.
    Faulted {
        /// Kind of the fault.
        kind: &'static str,
    },
    /// No value came back, and the isolate lives.
    Refused,
}

/// A crossing that has entered and not left. To be given to [`Tracker::leave`](crate::Tracker::leave), once.
#[derive(Debug)]
#[must_use = "a crossing whose id is lost stays open for ever"]
pub struct CrossingId {
    pub(crate) number: u64,
    pub(crate) slot: u32,
}

impl CrossingId {
    /// The number. Crossings are numbered from 1 in the order in which they entered; a tracker that records nothing gives 0.
    #[must_use]
    pub const fn get(&self) -> u64 {
        self.number
    }
}

/// A crossing as a snapshot saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CrossingRecord {
    /// Number of the crossing.
    pub crossing_id: u64,
    /// Name of the backend.
    pub backend: &'static str,
    /// What kind of crossing it was.
    pub operation: Operation,
    /// The backend's number for the isolate.
    pub isolate: u64,
    /// Place in the caller's source.
    #[serde(serialize_with = "crate::export::location")]
    pub location: Option<&'static Location<'static>>,
    /// Thread that entered.
    pub thread_id: Option<u64>,
    /// When it entered.
    pub entered_at: Timestamp,
    /// When it left; `None` while it is open.
    pub left_at: Option<Timestamp>,
    /// How it ended; `None` while it is open.
    pub outcome: Option<OutcomeName>,
    /// Kind of the fault, when it ended in one.
    pub fault_kind: Option<&'static str>,
    /// Passport of the argument area.
    pub argument_passport_id: Option<PassportId>,
    /// Passport of the reply.
    pub reply_passport_id: Option<PassportId>,
}

/// An [`Outcome`] without what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum OutcomeName {
    /// A value came back.
    Returned,
    /// The isolate died.
    Faulted,
    /// No value came back, and the isolate lives.
    Refused,
}

impl From<Outcome> for OutcomeName {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Returned { .. } => Self::Returned,
            Outcome::Faulted { .. } => Self::Faulted,
            Outcome::Refused => Self::Refused,
        }
    }
}
