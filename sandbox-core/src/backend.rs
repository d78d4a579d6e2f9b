//! What a backend is, and the contract it is held to.
//!
//! # Safety
//! Both traits are `unsafe` to implement: the code that crosses the boundary relies on the promises below, and a backend that
//! breaks one lets code inside reach the caller.
#![expect(unsafe_code, reason = "declares the unsafe traits that backends implement")]

use std::fmt;

use crate::codec::DecodeError;
use crate::error::Error;
use crate::fault::Fault;
use crate::guarantees::Guarantees;
use crate::region::{Outlet, Source};

pub use crate::entry::{Entry, Finish, Outcome};

/// Keeps the traits to the packages of this workspace.
#[doc(hidden)]
pub mod sealed {
    /// Implemented by the backends of this workspace only.
    pub trait Sealed {}
}

/// What an isolate is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A stateless call: any idle isolate will do.
    Call,
    /// A closure that reads the caller's memory as it is now.
    Run,
}

/// The work of one crossing.
#[derive(Debug, Clone, Copy)]
pub struct Work<'w> {
    entry: Entry,
    data: Data<'w>,
}

/// What the entry is given.
#[derive(Debug, Clone, Copy)]
pub enum Data<'w> {
    /// The first bytes of the request area, written by [`Isolate::request`].
    Request {
        /// How many.
        bytes: usize,
    },
    /// A closure of the caller, to be seen inside as it is at this moment.
    Closure(Closure<'w>),
}

/// A closure of the caller, borrowed for one crossing.
#[derive(Clone, Copy)]
pub struct Closure<'w> {
    address: *const u8,
    borrow: std::marker::PhantomData<&'w ()>,
}

impl<'w> Closure<'w> {
    pub(crate) fn new<F>(closure: &'w F) -> Self {
        Self { address: std::ptr::from_ref(closure).cast(), borrow: std::marker::PhantomData }
    }

    /// Where it is. Readable while the borrow lasts.
    #[must_use]
    pub fn address(self) -> *const u8 {
        self.address
    }
}

impl fmt::Debug for Closure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Closure({:p})", self.address)
    }
}

impl<'w> Work<'w> {
    pub(crate) fn new(entry: Entry, data: Data<'w>) -> Self {
        Self { entry, data }
    }

    /// Work put together by hand, for tests of a backend.
    ///
    /// # Safety
    /// The data is what the entry is to be given, as [`Entry::perform`] says.
    #[doc(hidden)]
    #[must_use]
    pub unsafe fn from_parts(entry: Entry, data: Data<'w>) -> Self {
        Self::new(entry, data)
    }

    /// The code to run.
    #[must_use]
    pub fn entry(&self) -> Entry {
        self.entry
    }

    /// What it is given.
    #[must_use]
    pub fn data(&self) -> Data<'w> {
        self.data
    }
}

/// A way to run code apart from its caller.
///
/// # Safety
/// An implementation promises that nothing an entry does inside an isolate it hands out changes memory of the caller other than
/// the isolate's request and reply areas, to the extent [`Backend::guarantees`] records [`MemoryIntegrity`] as enforced; that
/// [`Isolate`]'s promises hold for each isolate it hands out; and that it stays sound when it is used from many threads and when
/// the process is forked.
///
/// [`MemoryIntegrity`]: crate::Item::MemoryIntegrity
pub unsafe trait Backend: sealed::Sealed + Send + Sync + fmt::Debug {
    /// The backend's constant name, as it stands in records.
    fn name(&self) -> &'static str;

    /// What is enforced here and now.
    fn guarantees(&self) -> &Guarantees;

    /// Lends an isolate to `crossing` and takes it back. Waits while all isolates are busy. An isolate that faulted, or whose
    /// borrower panicked, is discarded.
    ///
    /// # Errors
    /// What `crossing` returns, or why no isolate can be had.
    fn lend(
        &self,
        purpose: Purpose,
        crossing: &mut dyn FnMut(&mut dyn Isolate) -> Result<(), Error>,
    ) -> Result<(), Error>;

    /// An isolate of one's own, beside the pool; it ends when it is dropped.
    ///
    /// # Errors
    /// Why none can be had.
    fn open(&self) -> Result<Box<dyn Isolate>, Error>;

    /// Discards every isolate of the pool: idle ones now, busy ones when they come back.
    ///
    /// # Errors
    /// Why no pristine isolate can be had.
    fn reset(&self) -> Result<(), Error>;
}

/// A place where code runs apart.
///
/// # Safety
/// An implementation promises that the outlet of [`request`](Self::request) and the source of [`enter`](Self::enter) are valid
/// for as long as they borrow the isolate, whatever the code inside does; that the source reads each byte from memory the inside
/// can write at most once; that an entry is entered at most once a call of `enter`, with a request area that nobody else writes
/// while it runs; and that `enter` returns within the wall-time limit plus a moment, where the guarantees say that it is enforced.
pub unsafe trait Isolate: sealed::Sealed + Send + fmt::Debug {
    /// The isolate's number, unique in the process for its life.
    fn id(&self) -> u64;

    /// Where the arguments go. Writing starts at the beginning each time.
    fn request(&mut self) -> Outlet<'_>;

    /// Enters, waits for the end, and gives the reply to be decoded.
    ///
    /// # Errors
    /// [`Error::Fault`] when the work ended without a reply; the isolate is then broken. Other errors when it never began.
    fn enter(&mut self, work: Work<'_>) -> Result<Source<'_>, Error>;

    /// Reports that the reply was not a value. The isolate is then broken.
    fn reject(&mut self, error: DecodeError) -> Fault;

    /// Whether a fault has made the isolate unusable.
    fn is_broken(&self) -> bool;

    /// Whether it can be used by this process, now. To be asked before [`request`](Self::request) of an isolate that is kept.
    ///
    /// # Errors
    /// [`Error::Stale`] after a fault; [`Error::Forked`] in a process that is not the isolate's.
    fn ready(&self) -> Result<(), Error> {
        if self.is_broken() { Err(Error::Stale) } else { Ok(()) }
    }

    /// After each crossing of an isolate that is kept: what was needed for it only can be given up until the next
    /// [`ready`](Self::ready).
    fn settle(&mut self) {}
}
