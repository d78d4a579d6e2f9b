//! The backend: domains for calls, sessions and closures alike.
//!
//! # Safety
//! Implements [`Backend`]: what is inside can store to its domain's memory only, by the rights its thread has there.
#![expect(unsafe_code, reason = "implements the unsafe Backend trait")]

use std::sync::Arc;

use ringfence_core::backend::{Backend, Isolate, Purpose, sealed::Sealed};
use ringfence_core::origin;
use ringfence_core::seats::Seats;
use ringfence_core::{Config, Confinement, Error, Guarantees, Item, Status, Threat, Unavailable};

use crate::NAME;
use crate::pool::{Loan, Pool};
use crate::probe::{self, Platform};
use crate::shared::Shared;
use crate::watchdog;

/// Runs work on its caller's thread, in domains of this process that memory protection keys fence in.
#[derive(Debug)]
pub struct Mpk {
    pool: Pool,
    sessions: Seats,
    guarantees: Guarantees,
}

impl Mpk {
    /// Finds out whether domains work here, once in a process, and makes a first one.
    ///
    /// # Errors
    /// [`Error::Configuration`] for values out of range; [`Error::Unavailable`] where the machine, the kernel or the program lacks
    /// something, or the policy requires, or the threat needs, what domains do not enforce; [`Error::Os`] where the kernel refuses.
    ///
    /// # Cost
    /// The first time in a process a fork of it, in which everything is tried, some ten milliseconds; later about fifteen system calls.
    pub fn new(config: &Config, threat: Option<Threat>) -> Result<Self, Error> {
        config.validate()?;
        if origin::is_forked() {
            return Err(Error::Forked);
        }
        let platform = probe::platform()?;
        let guarantees = guarantees(config);
        guarantees.require(config.policy.required())?;
        if threat == Some(Threat::Hostile) {
            let reason =
                "code inside can reach instructions that change its rights: nothing keeps them out yet";
            return Err(Unavailable::threat(NAME, Threat::Hostile, reason).into());
        }
        Self::assemble(config, platform)
    }

    /// The backend on a platform that may not have been tried yet.
    pub(crate) fn assemble(config: &Config, platform: &'static Platform) -> Result<Self, Error> {
        let shared = Arc::new(Shared::new(config, platform)?);
        watchdog::expect(config.limits.wall_limit());
        Ok(Self {
            pool: Pool::new(shared, config.workers)?,
            sessions: Seats::default(),
            guarantees: guarantees(config),
        })
    }
}

impl Sealed for Mpk {}

/// A domain on loan. If the borrower panics it is given back broken.
struct Lent<'p> {
    loan: Option<Loan>,
    pool: &'p Pool,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(mut loan) = self.loan.take() {
            if std::thread::panicking() {
                loan.domain.condemn();
            }
            self.pool.give(loan);
        }
    }
}

// SAFETY: a domain's thread has no right to store anywhere but in the domain, which the processor enforces; isolates keep their promises, as
// `Domain` says. State is behind a mutex and atomics; a process forked by the application is told apart before a domain is touched.
unsafe impl Backend for Mpk {
    fn name(&self) -> &'static str {
        NAME
    }

    fn guarantees(&self) -> &Guarantees {
        &self.guarantees
    }

    fn lend(
        &self,
        _: Purpose,
        crossing: &mut dyn FnMut(&mut dyn Isolate) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if origin::is_forked() {
            return Err(Error::Forked);
        }
        let mut lent = Lent { loan: Some(self.pool.take()?), pool: &self.pool };
        let Some(loan) = lent.loan.as_mut() else { return Err(Error::Stale) };
        crossing(&mut *loan.domain)
    }

    fn open(&self) -> Result<Box<dyn Isolate>, Error> {
        if origin::is_forked() {
            return Err(Error::Forked);
        }
        self.sessions.open(|| self.pool.alone().map(Box::new))
    }

    fn reset(&self) -> Result<(), Error> {
        if origin::is_forked() {
            return Err(Error::Forked);
        }
        self.pool.reset();
        Ok(())
    }
}

/// The outcome of each item, with its reason.
fn guarantees(config: &Config) -> Guarantees {
    use Status::{BestEffort, Enforced, NotAvailable};
    let mut all = Guarantees::new(NAME);
    let filtered = config.policy.confinement() != Confinement::Unfiltered;
    all.set(Item::MemoryIntegrity, Enforced, "stores outside the domain are refused by its protection key");
    if filtered {
        all.set(
            Item::FaultContainment,
            Enforced,
            "faults, system calls and ends of the program rewind to the gate",
        );
        all.set(Item::SystemCalls, Enforced, "syscall user dispatch; what is made has the domain's rights");
        all.set(Item::Descriptors, Enforced, "calls on descriptors that were not lent are not made");
        all.set(Item::Processes, Enforced, "clone, fork and exec are not made");
    } else {
        let reason =
            "the policy asks for no filter, so code inside can end or change the program by a system call";
        all.set(Item::FaultContainment, BestEffort, reason);
        for item in [Item::SystemCalls, Item::Descriptors, Item::Processes] {
            all.set(item, NotAvailable, "the policy asks for no filter");
        }
    }
    for item in [Item::NoNewPrivileges, Item::NotDumpable] {
        all.set(item, NotAvailable, "the domain is part of this process");
    }
    all.set(
        Item::WallTime,
        Enforced,
        "a watchdog signals the thread, an eighth of the limit later at most, or 2 ms",
    );
    all.set(Item::CpuTime, NotAvailable, "domains have a wall-time limit only");
    all.set(Item::Memory, Enforced, "the domain's heap has this size, and no other memory can be had");
    all.set(
        Item::ReplySize,
        Enforced,
        "the reply area has this size; decoding allocates eight times that at most",
    );
    if filtered {
        all.set(Item::DescriptorCount, Enforced, "none can be opened");
    } else {
        all.set(Item::DescriptorCount, NotAvailable, "the policy asks for no filter");
    }
    all.set(
        Item::ForkedAlone,
        NotAvailable,
        "nothing is forked; a lock of the program cannot be taken inside at all",
    );
    all.set(Item::CrashReports, Enforced, "the program's own signal handler writes them");
    all
}
