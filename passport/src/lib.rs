//! A bounded, ordered record of the memory that crosses a trust boundary.
//!
//! A **passport** is the recorded life of one piece of memory: where it came from, who held it, who freed it. Its status is
//! derived from its events by one [state machine](Custody) and from nothing else; what is not known is `None`. It is
//! evidence, not proof.
//!
//! Events come from two places. A sandbox records each crossing ([`Tracker::enter`], [`Tracker::leave`]); a program that
//! runs foreign code without a sandbox states what it does:
//!
//! ```
//! use ringfence_passport::{AllocationSource, PassportStatus, Tracker};
//!
//! let tracker = Tracker::new();
//!
//! let buffer = vec![0_u8; 256];
//! let id = tracker.create_passport(buffer.as_ptr().addr(), buffer.len(), Some("Vec<u8>"), Some("buffer"));
//! tracker.record_handover(id, "fill")?;
//! tracker.record_reclaimed(id, None)?;
//! drop(buffer);
//! tracker.record_freed_by_rust(id)?;
//!
//! let from_c = AllocationSource::FfiC {
//!     resolved_function: Some("make_table".into()),
//!     call_stack: None,
//!     libc_hook_info: None,
//! };
//! let table = tracker.create_passport_from(from_c, 0x7f00_0000_1000, 4096, None, Some("table"));
//! assert_eq!(tracker.passport_at(0x7f00_0000_1800), Some(table));
//!
//! let snapshot = tracker.snapshot();
//! let status = |id| snapshot.passport(id).map(|passport| passport.status_at_shutdown);
//! assert_eq!(status(id), Some(PassportStatus::FreedByRust));
//! assert_eq!(status(table), Some(PassportStatus::InForeignCustody));
//! snapshot.write_memory_passports(std::io::sink())?;
//! # Ok::<(), ringfence_passport::Error>(())
//! ```
//!
//! # Guarantees
//! - One order: sequence numbers and time stamps are given under the lock that appends to the log.
//! - Identity is a number that is never reused; memory at a reused address has a passport of its own.
//! - Bounded: the record keeps to a byte budget, and every event, crossing and passport that it drops for that is counted.
//!   A dropped event has already counted for the status.
//! - One snapshot feeds an export, and a file is replaced whole or not at all.
//!
//! The form of `memory_passports.json` is described by `schema/memory_passports.schema.json`, version [`SCHEMA_VERSION`].

mod crossing;
mod custody;
mod error;
mod event;
mod export;
mod guard;
mod passport;
mod recorder;
mod snapshot;
mod source;
mod thread;
mod tracker;

pub use crossing::{Crossing, CrossingId, CrossingRecord, Operation, Outcome, OutcomeName, Region};
pub use custody::{Custody, Holder, Transition};
pub use error::{Error, ErrorKind};
pub use event::{Evidence, Legality, PassportEvent, PassportEventType, Timestamp};
pub use export::SCHEMA_VERSION;
pub use guard::ExportOnDrop;
pub use passport::{MemoryPassport, MetadataValue, PassportId, PassportStatus};
pub use recorder::{Dropped, Totals};
pub use snapshot::{Snapshot, TrackerInfo, WallClock};
pub use source::{
    AllocationSource, LibcHookInfo, RiskAssessment, RiskLevel, Side, StackFrame, TransferMetadata,
};
pub use tracker::{Tracker, TrackerBuilder};
