//! Everything that was recorded, as of one instant. Every export is made of one.

mod expand;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::crossing::CrossingRecord;
use crate::error::Error;
use crate::event::{PassportEvent, Timestamp};
use crate::export;
use crate::passport::{MemoryPassport, PassportId};
use crate::recorder::{Dropped, RawSnapshot, Totals};
use expand::Expansion;

/// Everything that a tracker holds, as of one instant.
#[derive(Debug, Clone)]
pub struct Snapshot {
    tracker: TrackerInfo,
    taken_at: Timestamp,
    recorded: Totals,
    dropped: Dropped,
    events: Vec<PassportEvent>,
    passports: Vec<MemoryPassport>,
    crossings: Vec<CrossingRecord>,
}

/// What is known of the tracker itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct TrackerInfo {
    /// Process that made the tracker; `None` when it records nothing.
    pub process_id: Option<u32>,
    /// When its clock started. Time stamps count from here.
    pub started_at: Option<WallClock>,
    /// Bytes that the record may take; `None` when it records nothing.
    pub budget_bytes: Option<usize>,
}

/// A time of day, in seconds since 1970 (UTC) and a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct WallClock {
    /// Whole seconds.
    pub unix_seconds: u64,
    /// Nanoseconds beyond them.
    pub subsec_nanos: u32,
}

impl WallClock {
    pub(crate) const fn new(since_epoch: Duration) -> Self {
        Self { unix_seconds: since_epoch.as_secs(), subsec_nanos: since_epoch.subsec_nanos() }
    }
}

impl TrackerInfo {
    pub(crate) fn is_of_another_process(&self) -> bool {
        self.process_id != Some(std::process::id())
    }

    /// In a forked child nobody knows which events were recorded before the fork, so no process is named for them.
    pub(crate) fn seen_from_here(self) -> (Self, Option<u32>) {
        let events_process = if self.is_of_another_process() { None } else { self.process_id };
        (self, events_process)
    }
}

impl Snapshot {
    pub(crate) fn empty() -> Self {
        Self::new((TrackerInfo::default(), None), RawSnapshot::default())
    }

    pub(crate) fn new((tracker, process_id): (TrackerInfo, Option<u32>), raw: RawSnapshot) -> Self {
        let (taken_at, recorded, dropped) =
            (Timestamp::from_nanos(raw.taken_at_ns), raw.recorded, raw.dropped);
        let Expansion { events, passports, crossings } = Expansion::of(raw, process_id);
        Self { tracker, taken_at, recorded, dropped, events, passports, crossings }
    }

    /// What is known of the tracker.
    #[must_use]
    pub const fn tracker(&self) -> &TrackerInfo {
        &self.tracker
    }

    /// When the snapshot was taken.
    #[must_use]
    pub const fn taken_at(&self) -> Timestamp {
        self.taken_at
    }

    /// Numbers of everything that the tracker has recorded: what is in this snapshot and what was [dropped](Self::dropped).
    #[must_use]
    pub const fn recorded(&self) -> Totals {
        self.recorded
    }

    /// Numbers of what is missing.
    #[must_use]
    pub const fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Every event, in the order of the log.
    pub fn events(&self) -> impl ExactSizeIterator<Item = &PassportEvent> {
        self.events.iter()
    }

    /// Every passport, in the order of their numbers.
    pub fn passports(&self) -> impl ExactSizeIterator<Item = &MemoryPassport> {
        self.passports.iter()
    }

    /// Every crossing, in the order in which they entered.
    pub fn crossings(&self) -> impl ExactSizeIterator<Item = &CrossingRecord> {
        self.crossings.iter()
    }

    /// One passport.
    #[must_use]
    pub fn passport(&self, id: PassportId) -> Option<&MemoryPassport> {
        let place = self.passports.binary_search_by_key(&id, |passport| passport.passport_id).ok()?;
        self.passports.get(place)
    }

    /// Writes the passports as JSON, in the form of `schema/memory_passports.schema.json`. Each event is written once: in its
    /// passport, or beside them if it has none here.
    ///
    /// # Errors
    /// [`ErrorKind::Write`](crate::ErrorKind::Write) when the writer fails; what it had taken by then is no whole document.
    pub fn write_memory_passports(&self, writer: impl Write) -> Result<(), Error> {
        export::write_memory_passports(self, writer)
    }

    /// Writes `memory_passports.json` into `directory`, which is made if it is missing, and answers with its path. Who
    /// reads the path sees the old file or the whole new one.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) or [`ErrorKind::Write`](crate::ErrorKind::Write); the old file is then as it
    /// was.
    pub fn export_json(&self, directory: impl AsRef<Path>) -> Result<PathBuf, Error> {
        export::export_json(self, directory.as_ref())
    }
}
