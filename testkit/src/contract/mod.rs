//! The contract that every backend keeps, as functions to be run for each: the backend is given as a way to build a sandbox, what
//! the functions hold it to is its points.
//!
//! | module | point |
//! |---|---|
//! | [`isolation`] | nothing inside changes memory of the host |
//! | [`captures`] | `run` sees what it captured, as it is now |
//! | [`results`] | values cross both ways, from many threads, in sessions that keep their state |
//! | [`faults`], [`panics`], [`limits`] | whatever goes wrong inside is a value that says what it was |
//! | [`rewind`] | after it the next use is pristine |
//! | [`replies`] | nothing that comes out is believed |
//! | [`evidence`] | every crossing leaves its events, in order |
//! | [`honesty`] | what is promised is enforced, and what cannot be enforced is refused |
//!
//! A backend that claims a point passes its functions, and each function is the same for all who claim it. What the tests of the facade
//! list for a backend is what it claims. What the functions themselves do inside is therefore what every backend allows: they take no lock of
//! the host's, and speak through descriptor 2 and not through a stream.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "part of tests: what is not as the contract says fails the test"
)]

pub mod captures;
mod code;
pub mod evidence;
mod expected;
pub mod faults;
pub mod honesty;
pub mod isolation;
pub mod limits;
pub mod panics;
pub mod pipe;
pub mod replies;
pub mod results;
pub mod rewind;

use std::cell::Cell;
use std::fmt;

use ringfence_core::{Config, Error, Limits, Owned, Policy, Sandbox, Threat};
use ringfence_passport::Tracker;

/// What a sandbox under test is to be built from.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// Limits, policy, workers.
    pub config: Config,
    /// What it must hold against.
    pub threat: Option<Threat>,
    /// Where its evidence goes.
    pub tracker: Tracker,
}

/// A backend under test.
pub struct Subject<'b> {
    build: &'b (dyn Fn(Order) -> Result<Sandbox, Error> + Sync),
}

impl fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

impl<'b> Subject<'b> {
    /// The backend whose sandboxes `build` builds.
    #[must_use]
    pub fn new(build: &'b (dyn Fn(Order) -> Result<Sandbox, Error> + Sync)) -> Self {
        Self { build }
    }

    pub(crate) fn order(&self, order: Order) -> Result<Sandbox, Error> {
        (self.build)(order)
    }

    #[track_caller]
    fn sandbox(&self) -> Sandbox {
        self.order(Order::default()).unwrap()
    }

    #[track_caller]
    fn limited(&self, limits: Limits) -> Sandbox {
        self.order(Order { config: Config { limits, ..Config::default() }, ..Order::default() }).unwrap()
    }

    #[track_caller]
    fn with_policy(&self, policy: Policy) -> Sandbox {
        self.order(Order { config: Config { policy, ..Config::default() }, ..Order::default() }).unwrap()
    }
}

/// A way to get inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Call,
    Run,
    Session,
}

impl Way {
    const ALL: [Self; 3] = [Self::Call, Self::Run, Self::Session];

    /// Does `inside` inside.
    #[track_caller]
    fn go<R, F>(self, sandbox: &Sandbox, inside: F) -> Result<R, Error>
    where
        R: Owned,
        F: Fn() -> R + Copy + 'static,
    {
        match self {
            Self::Call => sandbox.call(move |()| inside(), ()),
            Self::Run => sandbox.run(inside),
            Self::Session => sandbox.session()?.call(move |()| inside(), ()),
        }
    }
}

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Counts in a thread-local, which every isolate has for itself: 1 where nothing was counted before. Nobody counts outside.
fn count() -> u64 {
    COUNT.set(COUNT.get() + 1);
    COUNT.get()
}
