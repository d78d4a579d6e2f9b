//! How many sessions may be open on one sandbox, and an isolate that has such a seat: the same for every backend.
//!
//! # Safety
//! Passes an isolate's promises on.
#![expect(unsafe_code, reason = "implements the unsafe Isolate trait by another")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::backend::{Isolate, Work, sealed::Sealed};
use crate::codec::DecodeError;
use crate::error::Error;
use crate::fault::Fault;
use crate::origin;
use crate::region::{Outlet, Source};

/// Sessions that may be open on one sandbox at once.
const MOST: usize = 1024;

/// The sessions of one sandbox.
#[derive(Debug, Default)]
pub struct Seats(Arc<AtomicUsize>);

/// One of the sessions that may be open.
#[derive(Debug)]
struct Seat(Arc<AtomicUsize>);

impl Seats {
    /// Opens a session on what `make` makes.
    ///
    /// # Errors
    /// [`Error::TooManySessions`]; what `make` returns.
    pub fn open<I: Isolate + 'static>(
        &self,
        make: impl FnOnce() -> Result<Box<I>, Error>,
    ) -> Result<Box<dyn Isolate>, Error> {
        let admitted = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < MOST).then_some(open + 1));
        if admitted.is_err() {
            return Err(Error::TooManySessions);
        }
        let seat = Seat(Arc::clone(&self.0));
        Ok(Box::new(Seated { isolate: make()?, _seat: seat }))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A session's isolate.
#[derive(Debug)]
struct Seated<I> {
    isolate: Box<I>,
    _seat: Seat,
}

impl<I> Sealed for Seated<I> {}

// SAFETY: every promise is the isolate's own.
unsafe impl<I: Isolate> Isolate for Seated<I> {
    fn id(&self) -> u64 {
        self.isolate.id()
    }

    fn request(&mut self) -> Outlet<'_> {
        self.isolate.request()
    }

    fn enter(&mut self, work: Work<'_>) -> Result<Source<'_>, Error> {
        self.isolate.enter(work)
    }

    fn reject(&mut self, error: DecodeError) -> Fault {
        self.isolate.reject(error)
    }

    fn is_broken(&self) -> bool {
        self.isolate.is_broken()
    }

    fn ready(&self) -> Result<(), Error> {
        // The isolate's memory is not there in a forked child, and writing a request into it would be fatal.
        if origin::is_forked() { Err(Error::Forked) } else { self.isolate.ready() }
    }

    fn settle(&mut self) {
        self.isolate.settle();
    }
}
