//! The backend: workers for calls and sessions, snapshots for closures.
//!
//! # Safety
//! Implements [`Backend`]: isolates are processes with copies of the caller's memory; what they share with the caller is their channel,
//! kept from every other child.
#![expect(unsafe_code, reason = "implements the unsafe Backend trait")]

use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use ringfence_core::backend::{Backend, Isolate, Purpose, sealed::Sealed};
use ringfence_core::seats::Seats;
use ringfence_core::{Config, Error, Guarantees, Item, Processes, Status, Threat, Unavailable};

use crate::NAME;
use crate::pool::{Loan, Pool};
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::zygote::was_alone;

/// Runs work in forked processes.
#[derive(Debug)]
pub struct Process {
    // Dropped in this order: isolates before the zygote they came from.
    pool: Arc<Pool>,
    snapshots: Mutex<Vec<Snapshot>>,
    sessions: Seats,
    shared: Arc<Shared>,
    guarantees: Guarantees,
}

impl Process {
    /// Starts a zygote, confines it, and has it make a first worker and a spare.
    ///
    /// # Errors
    /// [`Error::Configuration`] for values out of range; [`Error::Unavailable`] where the policy requires, or the threat needs, what
    /// this machine cannot enforce; [`Error::Os`] where the kernel refuses.
    ///
    /// # Cost
    /// A fork of the caller, or of the [early](crate::early) zygote, and two of the zygote.
    pub fn new(config: &Config, threat: Option<Threat>) -> Result<Self, Error> {
        config.validate()?;
        if ringfence_core::origin::is_forked() {
            return Err(Error::Forked);
        }
        let threads = crate::threads::count();
        let shared = Arc::new(Shared::new(config)?);
        let guarantees = guarantees(&shared, threads);
        guarantees.require(config.policy.required())?;
        if threat == Some(Threat::Hostile) {
            for item in AGAINST_HOSTILE {
                if guarantees.status(item) != Status::Enforced {
                    let reason = guarantees.get(item).map(|entry| entry.detail.clone()).unwrap_or_default();
                    return Err(
                        Unavailable::threat(NAME, Threat::Hostile, format!("{item}: {reason}")).into()
                    );
                }
            }
        }
        let pool = Arc::new(Pool::new(Arc::clone(&shared), config.workers)?);
        Ok(Self { pool, snapshots: Mutex::new(Vec::new()), sessions: Seats::default(), shared, guarantees })
    }

    fn with_worker(
        &self,
        crossing: &mut dyn FnMut(&mut dyn Isolate) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut lent = Lent { loan: Some(self.pool.take()?), pool: &self.pool };
        let Some(loan) = lent.loan.as_mut() else { return Err(Error::Stale) };
        let crossed = crossing(&mut *loan.worker);
        lent.finish();
        crossed
    }

    fn with_snapshot(
        &self,
        crossing: &mut dyn FnMut(&mut dyn Isolate) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let kept = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut snapshot = match kept {
            Some(snapshot) => snapshot,
            None => Snapshot::new(Arc::clone(&self.shared))?,
        };
        let crossed = crossing(&mut snapshot);
        if !snapshot.is_broken() {
            snapshot.settle();
            self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).push(snapshot);
        }
        crossed
    }
}

/// What must be enforced for the backend to hold against hostile code.
const AGAINST_HOSTILE: [Item; 8] = [
    Item::MemoryIntegrity,
    Item::FaultContainment,
    Item::SystemCalls,
    Item::Descriptors,
    Item::NoNewPrivileges,
    Item::NotDumpable,
    Item::WallTime,
    Item::Memory,
];

/// A worker on loan. If the borrower panics, it is discarded: it may be in the middle of a call.
struct Lent<'p> {
    loan: Option<Loan>,
    pool: &'p Pool,
}

impl Lent<'_> {
    fn finish(mut self) {
        if let Some(mut loan) = self.loan.take() {
            loan.worker.settle();
            // First, since giving a lost one back can start another zygote.
            if loan.worker.is_broken() {
                self.pool.forget_orphans();
            }
            self.pool.give(loan);
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(mut loan) = self.loan.take() {
            loan.worker.condemn();
            self.pool.give(loan);
        }
    }
}

impl Sealed for Process {}

// SAFETY: isolates are processes: their stores reach their own copies, and the channel, which holds nothing but requests, replies and
// reports; every channel is MADV_DONTFORK, so no isolate has another's. All state is behind mutexes and atomics; a process forked by the
// application is told apart before anything of an isolate is touched.
unsafe impl Backend for Process {
    fn name(&self) -> &'static str {
        NAME
    }

    fn guarantees(&self) -> &Guarantees {
        &self.guarantees
    }

    fn lend(
        &self,
        purpose: Purpose,
        crossing: &mut dyn FnMut(&mut dyn Isolate) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if ringfence_core::origin::is_forked() {
            return Err(Error::Forked);
        }
        match purpose {
            Purpose::Call => self.with_worker(crossing),
            Purpose::Run => self.with_snapshot(crossing),
        }
    }

    fn open(&self) -> Result<Box<dyn Isolate>, Error> {
        if ringfence_core::origin::is_forked() {
            return Err(Error::Forked);
        }
        self.sessions.open(|| self.pool.fresh_alone())
    }

    fn reset(&self) -> Result<(), Error> {
        if ringfence_core::origin::is_forked() {
            return Err(Error::Forked);
        }
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.pool.reset()
    }
}

/// The outcome of each item, with its reason.
fn guarantees(shared: &Shared, threads: Option<usize>) -> Guarantees {
    use Status::{BestEffort, Enforced, NotAvailable};
    let (armed, from_early) = shared.armed();
    let mut all = Guarantees::new(NAME);
    all.set(Item::MemoryIntegrity, Enforced, "the isolate is another process; it shares its channel only");
    all.set(Item::FaultContainment, Enforced, "a fault ends the isolate's process");
    let filtered = !shared.filters.is_empty() && armed.filter == 0;
    match (shared.filters.is_empty(), armed.filter) {
        (true, _) => all.set(Item::SystemCalls, NotAvailable, "the policy asks for no filter"),
        (false, 0) => all.set(Item::SystemCalls, Enforced, "seccomp filter, armed in the zygote"),
        (false, errno) => {
            all.set(Item::SystemCalls, NotAvailable, format!("seccomp: {}", Errno::from_raw(errno).desc()));
        }
    }
    all.set(Item::Descriptors, Enforced, "all others are closed by close_range");
    let (privileges, reason) = match armed.privileges {
        0 => (Enforced, "prctl and capset, armed in the zygote".into()),
        errno => (NotAvailable, format!("prctl: {}", Errno::from_raw(errno).desc())),
    };
    all.set(Item::NoNewPrivileges, privileges, reason.clone());
    all.set(Item::NotDumpable, privileges, reason);
    all.set(Item::WallTime, Enforced, "the caller has its answer, or the isolate is killed, at the deadline");
    match shared.cpu_limit {
        Some(_) => all.set(Item::CpuTime, BestEffort, "read while the caller waits; not after an answer"),
        None => all.set(Item::CpuTime, NotAvailable, "no limit was set"),
    }
    let measured = armed.measured && shared.own_size.is_some();
    if measured {
        let several = shared.config.limits.process_limit() == Processes::Allowed;
        let (status, scope) = if several {
            (BestEffort, "RLIMIT_AS, for each process the isolate starts")
        } else {
            (Enforced, "RLIMIT_AS, counted from the size at birth")
        };
        all.set(Item::Memory, status, scope);
    } else {
        all.set(Item::Memory, NotAvailable, "the size at birth cannot be read without /proc");
    }
    all.set(
        Item::ReplySize,
        Enforced,
        "the reply area has this size; decoding allocates eight times that at most",
    );
    all.set(Item::DescriptorCount, Enforced, "RLIMIT_NOFILE");
    match (filtered, shared.config.limits.process_limit()) {
        (false, _) => all.set(Item::Processes, NotAvailable, "there is no filter on system calls"),
        (true, Processes::Forbidden) => {
            all.set(Item::Processes, Enforced, "seccomp refuses threads and denies forks");
        }
        (true, Processes::Threads) => {
            all.set(Item::Processes, Enforced, "seccomp permits clone for threads only, in any number");
        }
        (true, Processes::Allowed) => {
            all.set(Item::Processes, BestEffort, "children are killed with the isolate's group, not counted");
        }
    }
    let (alone, why) = match (from_early, threads) {
        (true, _) if was_alone() => (Enforced, "calls: the early zygote was forked from one thread".into()),
        (true, _) => (BestEffort, "the early zygote was forked while other threads existed".into()),
        (false, Some(1)) => (Enforced, "calls: the zygote was forked from one thread".into()),
        (false, Some(count)) => (BestEffort, format!("the zygote was forked while {count} threads existed")),
        (false, None) => (BestEffort, "threads cannot be counted without /proc".into()),
    };
    all.set(Item::ForkedAlone, alone, why);
    all.set(
        Item::CrashReports,
        BestEffort,
        "written by the dying isolate itself, so hostile code can forge them",
    );
    all
}
