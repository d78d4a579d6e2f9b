//! The domains of one sandbox that serve calls.

use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use ringfence_core::Error;
use ringfence_core::backend::Isolate;

use crate::domain::Domain;
use crate::shared::Shared;

thread_local! {
    /// Domains this thread has on loan, of any sandbox: a call made while arguments of another are encoded.
    static ON_LOAN: Cell<u32> = const { Cell::new(0) };
}

/// Up to a number of domains, made when they are needed.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    state: Mutex<State>,
    returned: Condvar,
    most: usize,
}

#[derive(Debug)]
#[expect(clippy::vec_box, reason = "a domain moves twice a call; a box moves as one word")]
struct State {
    idle: Vec<Box<Domain>>,
    /// Domains idle or lent.
    live: usize,
    /// Counts resets: a domain lent before the last one is not taken back.
    generation: u64,
    /// Threads that wait for a domain. To notify a condition variable is a system call, waiters or none.
    waiting: usize,
}

/// A domain on loan.
#[derive(Debug)]
pub(crate) struct Loan {
    pub(crate) domain: Box<Domain>,
    generation: u64,
    /// Whether it is one of the pool's; else it ends with the loan.
    is_pooled: bool,
}

impl Pool {
    /// A pool with one domain in it.
    pub(crate) fn new(shared: Arc<Shared>, most: usize) -> Result<Self, Error> {
        let first = Box::new(Domain::new(&shared)?);
        first.let_go();
        let state = State { idle: vec![first], live: 1, generation: 0, waiting: 0 };
        Ok(Self { shared, state: Mutex::new(state), returned: Condvar::new(), most })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A domain that holds its key. Waits while all are lent; a thread that has one already gets one beside the pool instead, since it
    /// could wait for itself.
    pub(crate) fn take(&self) -> Result<Loan, Error> {
        let mut state = self.lock();
        loop {
            let generation = state.generation;
            if let Some(domain) = state.idle.pop() {
                drop(state);
                return self.loan(domain, generation, true);
            }
            let is_pooled = state.live < self.most;
            if is_pooled || ON_LOAN.get() > 0 {
                state.live += usize::from(is_pooled);
                drop(state);
                return match Domain::new(&self.shared) {
                    Ok(domain) => self.loan(Box::new(domain), generation, is_pooled),
                    Err(error) => {
                        self.forget(is_pooled);
                        Err(error)
                    }
                };
            }
            state.waiting += 1;
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    fn loan(&self, domain: Box<Domain>, generation: u64, is_pooled: bool) -> Result<Loan, Error> {
        if let Err(error) = domain.hold() {
            domain.let_go();
            self.give_back(domain, generation, is_pooled);
            return Err(error);
        }
        ON_LOAN.set(ON_LOAN.get() + 1);
        Ok(Loan { domain, generation, is_pooled })
    }

    /// Takes a domain back; one that is broken is made pristine first, or given up.
    pub(crate) fn give(&self, loan: Loan) {
        let Loan { mut domain, generation, is_pooled } = loan;
        ON_LOAN.set(ON_LOAN.get().saturating_sub(1));
        if domain.is_broken()
            && let Err(error) = domain.renew()
        {
            tracing::warn!(%error, "a domain is given up");
            drop(domain);
            return self.forget(is_pooled);
        }
        domain.let_go();
        self.give_back(domain, generation, is_pooled);
    }

    fn give_back(&self, domain: Box<Domain>, generation: u64, is_pooled: bool) {
        let mut state = self.lock();
        if is_pooled && state.generation == generation {
            state.idle.push(domain);
            let is_awaited = state.waiting > 0;
            drop(state);
            if is_awaited {
                self.returned.notify_one();
            }
        } else {
            drop(state);
            drop(domain);
            self.forget(is_pooled);
        }
    }

    /// A domain is no longer there.
    fn forget(&self, is_pooled: bool) {
        if is_pooled {
            let mut state = self.lock();
            state.live -= 1;
            let is_awaited = state.waiting > 0;
            drop(state);
            if is_awaited {
                self.returned.notify_one();
            }
        }
    }

    /// A pristine domain beside the pool.
    pub(crate) fn alone(&self) -> Result<Domain, Error> {
        let domain = Domain::new(&self.shared)?;
        domain.let_go();
        Ok(domain)
    }

    /// Ends every domain: idle ones now, lent ones when they come back.
    pub(crate) fn reset(&self) {
        let mut state = self.lock();
        state.generation += 1;
        let ended = std::mem::take(&mut state.idle);
        state.live -= ended.len();
        drop(state);
        drop(ended);
    }
}
