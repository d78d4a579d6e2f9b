//! The handle through which everything is recorded.

use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::crossing::{Crossing, CrossingId, Outcome};
use crate::error::Error;
use crate::event::{Evidence, PassportEventType};
use crate::guard::ExportOnDrop;
use crate::passport::{PassportId, PassportStatus};
use crate::recorder::{Budget, Declaration, Note, Recorder};
use crate::snapshot::{Snapshot, TrackerInfo, WallClock};
use crate::source::AllocationSource;
use crate::thread;

/// A bounded, ordered record of the memory that crosses a boundary. Clones are handles to the same record.
///
/// One lock guards the record, nothing else is locked while it is held, and it is held for a few dozen instructions (longer
/// only while a snapshot copies the stores).
///
/// A forked child has a copy of the record, and what it records reaches only that copy. When another thread of the parent
/// was recording at the moment of the fork the copy cannot be used; it then behaves as [`Tracker::disabled`] does, and
/// waits for nobody.
#[derive(Debug, Clone)]
pub struct Tracker {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    recorder: Mutex<Recorder>,
    info: TrackerInfo,
}

/// Settings of a [`Tracker`].
#[derive(Debug, Clone)]
#[must_use]
pub struct TrackerBuilder {
    budget_bytes: usize,
}

impl TrackerBuilder {
    /// Bytes that the record may take, 4 MiB unless stated; taken from the system as they are first used. Half of them are
    /// for crossings, a quarter for the events of explicit calls and a quarter for their passports; each store holds at
    /// least one record. When a store is full, evidence of memory whose life has ended goes first, the oldest first; every
    /// drop is counted.
    pub const fn budget_bytes(mut self, bytes: usize) -> Self {
        self.budget_bytes = bytes;
        self
    }

    /// A tracker with an empty record. Its clock starts now.
    #[must_use]
    pub fn build(self) -> Tracker {
        let budget = Budget::new(self.budget_bytes);
        let recorder = Mutex::new(Recorder::new(Instant::now(), budget));
        let started_at = SystemTime::now().duration_since(UNIX_EPOCH).ok().map(WallClock::new);
        let process_id = Some(std::process::id());
        let info = TrackerInfo { process_id, started_at, budget_bytes: Some(budget.total_bytes()) };
        Tracker { shared: Some(Arc::new(Shared { recorder, info })) }
    }
}

impl Default for Tracker {
    fn default() -> Self {
        Self::new()
    }
}

impl Tracker {
    /// A tracker with an empty record and the default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// The default settings, to be changed.
    pub const fn builder() -> TrackerBuilder {
        TrackerBuilder { budget_bytes: 4 << 20 }
    }

    /// A tracker that records nothing. Its passports and crossings are all numbered 0, no call on it fails for want of a
    /// passport, and its snapshots are empty.
    #[must_use]
    pub const fn disabled() -> Self {
        Self { shared: None }
    }

    /// The process's own tracker, with the default settings; made when it is first asked for.
    #[must_use]
    pub fn global() -> Self {
        static GLOBAL: OnceLock<Tracker> = OnceLock::new();
        GLOBAL.get_or_init(Self::new).clone()
    }

    /// Whether this tracker records.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.shared.is_some()
    }

    /// Records that a thread goes into an isolate.
    ///
    /// In a snapshot this is `DomainEntered` and, when there are arguments, a passport of the argument area with
    /// `HandoverToFfi`.
    ///
    /// Cost: one uncontended lock, one clock read; no allocation, no system call.
    #[inline]
    pub fn enter(&self, crossing: Crossing) -> CrossingId {
        let entered = self.with(|recorder| recorder.enter(&crossing, thread::current()));
        entered.unwrap_or(CrossingId { number: 0, slot: u32::MAX })
    }

    /// Records that the thread came back out, or that the isolate died under it.
    ///
    /// In a snapshot a return is `DomainExited`, `ReclaimedByRust` of the argument area, and a passport of the reply with
    /// `AllocatedInForeign` and `ReclaimedByRust`. A fault is `DomainFaulted` and `FreedByRust` of the argument area: the host
    /// discards the isolate with its memory. A refusal is a return with no reply and the detail `refused`.
    ///
    /// Cost: as [`Tracker::enter`].
    #[inline]
    pub fn leave(&self, crossing: CrossingId, outcome: Outcome) {
        self.with(|recorder| recorder.leave(&crossing, outcome, thread::current()));
    }

    /// Makes a passport for memory that Rust allocated: `AllocatedInRust`, declared. Whatever else has lain at the address
    /// keeps its own passport.
    #[track_caller]
    pub fn create_passport(
        &self,
        address: usize,
        size_bytes: usize,
        type_name: Option<&'static str>,
        var_name: Option<&'static str>,
    ) -> PassportId {
        let declaration = Declaration { address, size_bytes, type_name, var_name, source: None };
        self.create(declaration, PassportEventType::AllocatedInRust)
    }

    /// Makes a passport for memory of a known source. Its first event follows from that: `AllocatedInRust` for Rust,
    /// `AllocatedInForeign` for a foreign function, `HandoverToFfi` or `ReclaimedByRust` for a copy made by a crossing.
    #[track_caller]
    pub fn create_passport_from(
        &self,
        source: AllocationSource,
        address: usize,
        size_bytes: usize,
        type_name: Option<&'static str>,
        var_name: Option<&'static str>,
    ) -> PassportId {
        let first = source.first_event();
        let declaration = Declaration { address, size_bytes, type_name, var_name, source: Some(source) };
        self.create(declaration, first)
    }

    /// Declares that Rust gave the memory to foreign code, and to which function if that is stated.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownPassport`](crate::ErrorKind::UnknownPassport) for an id that no explicit call gave, or whose
    /// passport was dropped.
    #[track_caller]
    pub fn record_handover(
        &self,
        id: PassportId,
        function: impl Into<Option<&'static str>>,
    ) -> Result<(), Error> {
        self.record_event(id, PassportEventType::HandoverToFfi, Evidence::Declared, function)
    }

    /// Declares that foreign code freed the memory, and with which function if that is stated.
    ///
    /// # Errors
    /// As [`Tracker::record_handover`].
    #[track_caller]
    pub fn record_freed_by_foreign(
        &self,
        id: PassportId,
        function: impl Into<Option<&'static str>>,
    ) -> Result<(), Error> {
        self.record_event(id, PassportEventType::FreedByForeign, Evidence::Declared, function)
    }

    /// Declares that Rust freed the memory.
    ///
    /// # Errors
    /// As [`Tracker::record_handover`].
    #[track_caller]
    pub fn record_freed_by_rust(&self, id: PassportId) -> Result<(), Error> {
        self.record_event(id, PassportEventType::FreedByRust, Evidence::Declared, None)
    }

    /// Declares that Rust has the memory back, and why if that is stated.
    ///
    /// # Errors
    /// As [`Tracker::record_handover`].
    #[track_caller]
    pub fn record_reclaimed(
        &self,
        id: PassportId,
        reason: impl Into<Option<&'static str>>,
    ) -> Result<(), Error> {
        self.record_event(id, PassportEventType::ReclaimedByRust, Evidence::Declared, reason)
    }

    /// Records any event of a passport that an explicit call made. An event that contradicts the recorded custody is kept,
    /// flagged [`Illegal`](crate::Legality::Illegal), and changes nothing else.
    ///
    /// # Errors
    /// As [`Tracker::record_handover`].
    #[track_caller]
    pub fn record_event(
        &self,
        id: PassportId,
        event_type: PassportEventType,
        evidence: Evidence,
        detail: impl Into<Option<&'static str>>,
    ) -> Result<(), Error> {
        let location = Location::caller();
        let note = Note { event_type, evidence, detail: detail.into(), location, thread: thread::current() };
        match self.with(|recorder| recorder.record(id, note)) {
            Some(false) => Err(Error::unknown_passport("record event", id)),
            Some(true) | None => Ok(()),
        }
    }

    /// The newest passport that an explicit call made for memory that holds `address`, at its start or inside, and that is
    /// not freed.
    ///
    /// The argument and reply areas of crossings have their passports in a [`Snapshot`] only.
    #[must_use]
    pub fn passport_at(&self, address: usize) -> Option<PassportId> {
        self.with(|recorder| recorder.passport_at(address)).flatten()
    }

    /// The status, as it is now, of a passport that an explicit call made; `None` for any other id.
    #[must_use]
    pub fn status(&self, id: PassportId) -> Option<PassportStatus> {
        self.with(|recorder| recorder.custody(id)).flatten().map(crate::Custody::status)
    }

    /// Everything that is recorded, as of one instant.
    ///
    /// Cost: a copy of the record, during which other threads wait; it is worked out and put in order after that.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        match (self.with(|recorder| recorder.copy()), &self.shared) {
            (Some(raw), Some(shared)) => Snapshot::new(shared.info.seen_from_here(), raw),
            _ => Snapshot::empty(),
        }
    }

    /// Writes `memory_passports.json` of a fresh snapshot into `directory`, as [`Snapshot::export_json`] does.
    ///
    /// # Errors
    /// As [`Snapshot::export_json`].
    pub fn export_json(&self, directory: impl AsRef<Path>) -> Result<PathBuf, Error> {
        self.snapshot().export_json(directory)
    }

    /// A guard that exports into `directory` when it goes out of scope.
    pub fn export_on_drop(&self, directory: impl Into<PathBuf>) -> ExportOnDrop {
        ExportOnDrop::new(self.clone(), directory.into())
    }

    #[track_caller]
    fn create(&self, declaration: Declaration, event_type: PassportEventType) -> PassportId {
        let location = Location::caller();
        let thread = thread::current();
        let note = Note { event_type, evidence: Evidence::Declared, detail: None, location, thread };
        self.with(|recorder| recorder.create(declaration, note)).unwrap_or(PassportId::new(0))
    }

    /// Uses the recorder under the lock. `None` when nothing is recorded here: disabled, or a forked child whose copy of
    /// the lock is held by a thread that it does not have.
    #[inline]
    fn with<R>(&self, use_it: impl FnOnce(&mut Recorder) -> R) -> Option<R> {
        let shared = self.shared.as_deref()?;
        // Nothing under the lock can panic half-way, so a poisoned record is whole.
        let mut recorder = match shared.recorder.try_lock() {
            Ok(recorder) => recorder,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if shared.info.is_of_another_process() => return None,
            Err(TryLockError::WouldBlock) => shared.recorder.lock().unwrap_or_else(PoisonError::into_inner),
        };
        Some(use_it(&mut recorder))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::PoisonError;

    use super::*;

    #[test]
    fn a_forked_copy_whose_lock_nobody_will_release_is_disabled() {
        let mut tracker = Tracker::new();
        tracker.create_passport(0x1000, 16, None, None);
        if let Some(shared) = tracker.shared.as_mut().and_then(Arc::get_mut) {
            shared.info.process_id = Some(std::process::id() + 1);
        }
        let shared = tracker.shared.clone().unwrap();
        let held = shared.recorder.lock().unwrap();
        assert_eq!(tracker.create_passport(0x2000, 16, None, None).get(), 0);
        assert_eq!(tracker.passport_at(0x1000), None);
        assert_eq!(tracker.snapshot().passports().len(), 0);
        drop(held);
        assert_eq!(tracker.snapshot().passports().len(), 1);
    }

    #[test]
    fn a_forked_copy_names_no_process_for_its_events() {
        let mut tracker = Tracker::new();
        tracker.create_passport(0x1000, 16, None, None);
        let here = Some(std::process::id());
        assert!(tracker.snapshot().events().all(|event| event.process_id == here));
        if let Some(shared) = tracker.shared.as_mut().and_then(Arc::get_mut) {
            shared.info.process_id = Some(std::process::id() + 1);
        }
        assert!(tracker.snapshot().events().all(|event| event.process_id.is_none()));
    }

    #[test]
    fn a_poisoned_lock_keeps_its_record() {
        let tracker = Tracker::new();
        let id = tracker.create_passport(0x1000, 16, None, None);
        let poisoner = tracker.clone();
        let panicked = std::thread::spawn(move || {
            let shared = poisoner.shared.unwrap();
            let _held = shared.recorder.lock().unwrap_or_else(PoisonError::into_inner);
            panic!("while the lock is held");
        });
        assert!(panicked.join().is_err());
        tracker.record_handover(id, None).unwrap();
        assert_eq!(tracker.snapshot().events().len(), 2);
    }
}
