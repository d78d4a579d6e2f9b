//! The workers that serve calls, and a spare that is ready when one dies.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use ringfence_core::Error;
use ringfence_core::backend::Isolate;

use crate::shared::{Pending, Shared};
use crate::worker::Worker;

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
    spare: Option<Pending>,
    generation: u64,
}

impl Pool {
    /// A pool with one worker that is known to serve, and a spare on its way.
    pub(crate) fn new(shared: Arc<Shared>, most: usize) -> Result<Self, Error> {
        let first = shared.request()?.collect(0)?;
        first.await_ready()?;
        let spare = shared.request()?;
        let state = State { idle: vec![Box::new(first)], live: 1, spare: Some(spare), generation: 0 };
        Ok(Self { shared, state: Mutex::new(state), returned: Condvar::new(), most })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker; waits while all are busy.
    pub(crate) fn take(&self) -> Result<Box<Worker>, Error> {
        let cpu = crate::cpu::current();
        let mut state = self.state();
        loop {
            // One that served this CPU last need not be moved.
            let near = state.idle.iter().rposition(|worker| worker.last_cpu() == Some(cpu));
            let index = near.or(state.idle.len().checked_sub(1));
            if let Some(index) = index {
                return Ok(state.idle.swap_remove(index));
            }
            if state.live < self.most {
                state.live += 1;
                let generation = state.generation;
                drop(state);
                return self.fresh(generation).map(Box::new).inspect_err(|_| self.lose_one());
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes a worker back; one that is broken or of an older generation is discarded.
    pub(crate) fn give(&self, worker: Box<Worker>) {
        let mut state = self.state();
        if worker.is_broken() || worker.generation() != state.generation {
            let generation = state.generation;
            let spare = state.spare.take();
            drop(state);
            drop(worker);
            self.replace(spare, generation);
        } else {
            state.idle.push(worker);
            drop(state);
        }
        self.returned.notify_one();
    }

    /// Puts the spare in the place of a worker that was lost, and has another made.
    fn replace(&self, spare: Option<Pending>, generation: u64) {
        let spare = spare.filter(Pending::is_current).and_then(|spare| spare.collect(generation).ok());
        let mut state = self.state();
        match spare {
            Some(spare) if generation == state.generation => state.idle.push(Box::new(spare)),
            // The next caller makes one.
            _ => state.live -= 1,
        }
        drop(state);
        self.stock_up();
    }

    fn lose_one(&self) {
        self.state().live -= 1;
        self.returned.notify_one();
    }

    /// A worker beside those of the pool.
    pub(crate) fn fresh_alone(&self) -> Result<Worker, Error> {
        let generation = self.state().generation;
        let worker = self.fresh(generation)?;
        self.stock_up();
        Ok(worker)
    }

    /// The spare if there is one, else a new one.
    fn fresh(&self, generation: u64) -> Result<Worker, Error> {
        let spare = self.state().spare.take();
        if let Some(spare) = spare.filter(Pending::is_current) {
            // A spare can be lost with its zygote, or have been refused; a new one says why.
            if let Ok(worker) = spare.collect(generation) {
                return Ok(worker);
            }
        }
        self.shared.request()?.collect(generation)
    }

    /// Has a spare made if there is none. Does not wait for it; without one the next loss costs a fork more.
    fn stock_up(&self) {
        if self.state().spare.is_some() {
            return;
        }
        match self.shared.request() {
            Ok(spare) => {
                let surplus = self.state().spare.replace(spare);
                drop(surplus);
            }
            Err(error) => tracing::debug!(%error, "no spare worker"),
        }
    }

    /// After a worker died with its zygote: the idle ones did too.
    pub(crate) fn forget_orphans(&self) {
        if self.shared.has_zygote() {
            return;
        }
        let orphans: Vec<Box<Worker>> = {
            let mut state = self.state();
            let orphans = std::mem::take(&mut state.idle);
            state.live -= orphans.len();
            orphans
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
        self.give(Box::new(worker));
        self.stock_up();
        Ok(())
    }
}
