//! The workers that serve calls, and a spare that is ready when one dies.
//!
//! After a loss the spare takes over at once. Clearing away what was lost, and having another spare made, waits until the new worker
//! has answered: the caller who met the fault is the last who should pay for that.

use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use ringfence_core::Error;
use ringfence_core::backend::Isolate;

use crate::shared::{Pending, Shared};
use crate::worker::Worker;
use crate::zygote::Haste;

/// The call of a worker after which a missing spare is asked for.
const STOCK_UP_AT: u32 = 2;
/// The call of a worker after which a spare that was asked for is taken into the house.
const COLLECT_AT: u32 = 4;

thread_local! {
    /// Workers this thread has on loan, of any sandbox: a call made while arguments of another are encoded.
    static ON_LOAN: Cell<u32> = const { Cell::new(0) };
}

/// Up to a number of workers, made when they are needed.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    state: Mutex<State>,
    returned: Condvar,
    most: usize,
}

#[derive(Debug)]
#[expect(clippy::vec_box, reason = "a worker moves twice a call; a box moves as one word")]
struct State {
    idle: Vec<Box<Worker>>,
    /// Workers idle or lent.
    live: usize,
    spare: Spare,
    /// Broken workers that nobody has cleared away.
    lost: Vec<Box<Worker>>,
    generation: u64,
    /// Threads that wait for a worker. To notify a condition variable is a system call, waiters or none.
    waiting: usize,
}

#[derive(Debug)]
enum Spare {
    Missing,
    Asked(Pending),
    Ready(Box<Worker>),
}

/// A worker on loan.
#[derive(Debug)]
pub(crate) struct Loan {
    pub(crate) worker: Box<Worker>,
    /// Whether it is one of the pool's; else it ends with the loan.
    pooled: bool,
}

impl Pool {
    /// A pool with one worker that is known to serve, and a spare on its way.
    pub(crate) fn new(shared: Arc<Shared>, most: usize) -> Result<Self, Error> {
        let first = shared.request(Haste::Now)?.collect(0)?;
        first.await_ready()?;
        let spare = Spare::Asked(shared.request(Haste::Later)?);
        let state = State {
            idle: vec![Box::new(first)],
            live: 1,
            spare,
            lost: Vec::new(),
            generation: 0,
            waiting: 0,
        };
        Ok(Self { shared, state: Mutex::new(state), returned: Condvar::new(), most })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker. Waits while all are busy, unless this very thread keeps one busy: it would wait for itself.
    pub(crate) fn take(&self) -> Result<Loan, Error> {
        let cpu = crate::cpu::current();
        let mut state = self.state();
        loop {
            // One that served this CPU last need not be moved.
            let near = state.idle.iter().rposition(|worker| worker.last_cpu() == Some(cpu));
            if let Some(index) = near.or(state.idle.len().checked_sub(1)) {
                let worker = state.idle.swap_remove(index);
                if worker.is_dead() {
                    state.live -= 1;
                    state.lost.push(worker);
                    continue;
                }
                return Ok(Loan::new(worker, true));
            }
            if state.live < self.most {
                state.live += 1;
                let generation = state.generation;
                drop(state);
                let worker = self.fresh(generation).inspect_err(|_| self.lose_one())?;
                return Ok(Loan::new(worker, true));
            }
            if ON_LOAN.get() > 0 {
                drop(state);
                return Ok(Loan::new(self.fresh_alone()?, false));
            }
            state.waiting += 1;
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    /// Takes a worker back.
    pub(crate) fn give(&self, loan: Loan) {
        ON_LOAN.set(ON_LOAN.get().saturating_sub(1));
        let Loan { worker, pooled } = loan;
        if !pooled {
            return;
        }
        let mut state = self.state();
        let pristine = worker.generation() == state.generation;
        if worker.is_broken() || !pristine {
            // One that is not broken is alive, and must not stay so.
            let retired = if worker.is_broken() {
                state.lost.push(worker);
                None
            } else {
                Some(worker)
            };
            match std::mem::replace(&mut state.spare, Spare::Missing) {
                Spare::Ready(spare) if spare.generation() == state.generation && !spare.is_dead() => {
                    state.idle.push(spare);
                }
                // The next caller gets it, or makes one.
                other => {
                    state.spare = other;
                    state.live -= 1;
                }
            }
            let crowded = state.lost.len() > self.most;
            drop(state);
            drop(retired);
            if crowded {
                // Nothing but losses: there is no better moment.
                self.clear_away();
            }
            self.returned.notify_one();
        } else {
            let calls = worker.calls();
            let awaited = state.waiting > 0;
            state.idle.push(worker);
            drop(state);
            if awaited {
                self.returned.notify_one();
            }
            match calls {
                STOCK_UP_AT => self.stock_up(),
                COLLECT_AT => self.collect_spare(),
                _ => {}
            }
        }
    }

    fn lose_one(&self) {
        self.state().live -= 1;
        self.returned.notify_one();
    }

    /// A worker beside those of the pool.
    pub(crate) fn fresh_alone(&self) -> Result<Box<Worker>, Error> {
        let generation = self.state().generation;
        let worker = self.fresh(generation)?;
        self.stock_up();
        Ok(worker)
    }

    /// The spare if there is one, else a new worker, with a spare to follow.
    fn fresh(&self, generation: u64) -> Result<Box<Worker>, Error> {
        let spare = std::mem::replace(&mut self.state().spare, Spare::Missing);
        match spare {
            Spare::Ready(worker) if worker.generation() == generation && !worker.is_dead() => {
                return Ok(worker);
            }
            // A spare can be lost with its zygote, or have been refused; a new one says why.
            Spare::Asked(pending) if pending.is_current() => {
                let collected = pending.collect(generation);
                if let Some(worker) = collected.ok().filter(|worker| !worker.is_dead()) {
                    return Ok(Box::new(worker));
                }
            }
            _ => {}
        }
        let wanted = self.shared.request(Haste::Now)?;
        // Losses come in rows: the next one should find a spare.
        self.stock_up();
        Ok(Box::new(wanted.collect(generation)?))
    }

    /// Has a spare made if there is none, and clears away what was lost. Does not wait for the spare; without one the next loss costs
    /// a fork more.
    fn stock_up(&self) {
        self.clear_away();
        if !matches!(self.state().spare, Spare::Missing) {
            return;
        }
        match self.shared.request(Haste::Later) {
            Ok(spare) => {
                let surplus = std::mem::replace(&mut self.state().spare, Spare::Asked(spare));
                drop(surplus);
            }
            Err(error) => tracing::debug!(%error, "no spare worker"),
        }
    }

    /// Makes a spare that was asked for ready to take over.
    fn collect_spare(&self) {
        let (pending, generation) = {
            let mut state = self.state();
            match std::mem::replace(&mut state.spare, Spare::Missing) {
                Spare::Asked(pending) => (pending, state.generation),
                other => {
                    state.spare = other;
                    return;
                }
            }
        };
        let collected = pending.is_current().then(|| pending.collect(generation));
        if let Some(Ok(worker)) = collected {
            let surplus = std::mem::replace(&mut self.state().spare, Spare::Ready(Box::new(worker)));
            drop(surplus);
        }
    }

    fn clear_away(&self) {
        let lost = std::mem::take(&mut self.state().lost);
        drop(lost);
    }

    /// After a worker died with its zygote: the idle ones did too.
    pub(crate) fn forget_orphans(&self) {
        if self.shared.has_zygote() {
            return;
        }
        let orphans = {
            let mut state = self.state();
            let orphans = std::mem::take(&mut state.idle);
            state.live -= orphans.len();
            (orphans, std::mem::replace(&mut state.spare, Spare::Missing))
        };
        drop(orphans);
        self.returned.notify_all();
    }

    /// Discards every worker: idle ones now, lent ones when they return. One pristine worker is made at once.
    pub(crate) fn reset(&self) -> Result<(), Error> {
        let (old, generation) = {
            let mut state = self.state();
            state.generation += 1;
            let old = std::mem::take(&mut state.idle);
            state.live -= old.len();
            (old, state.generation)
        };
        drop(old);
        self.returned.notify_all();
        let mut state = self.state();
        if state.live >= self.most {
            return Ok(());
        }
        state.live += 1;
        drop(state);
        let worker = self.fresh(generation).inspect_err(|_| self.lose_one())?;
        self.give(Loan::new(worker, true));
        self.stock_up();
        Ok(())
    }
}

impl Loan {
    fn new(worker: Box<Worker>, pooled: bool) -> Self {
        ON_LOAN.set(ON_LOAN.get() + 1);
        Self { worker, pooled }
    }
}
