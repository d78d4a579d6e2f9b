//! The backend that isolates nothing: the work runs in place, through the same encoding and decoding as everywhere.
//!
//! # Safety
//! Implements the unsafe backend traits for buffers of its own. It promises no isolation and records that; what remains is that
//! its regions are valid, which they are because they are plain vectors it owns.
#![expect(unsafe_code, reason = "implements the unsafe backend traits and performs entries in place")]

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::backend::{Backend, Data, Isolate, Outcome, Purpose, Work, sealed::Sealed};
use crate::codec::DecodeError;
use crate::config::Config;
use crate::error::{Error, Unavailable};
use crate::fault::{Details, Fault, FaultKind, Phase};
use crate::guarantees::{Guarantees, Item, Status};
use crate::region::{Outlet, Source};

const NAME: &str = "direct";

/// Runs the work in place. Panics are caught; a fault ends the program, as it would without a sandbox. For measuring what
/// isolation costs, and for debuggers.
#[derive(Debug)]
pub struct Direct {
    guarantees: Guarantees,
    request_bytes: usize,
    reply_bytes: usize,
    idle: Mutex<Vec<Buffers>>,
    /// Lent descriptors stay open for as long as there is anyone inside to use them.
    _lent: Vec<Arc<OwnedFd>>,
}

impl Direct {
    /// The backend with the argument and reply limits of `config`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the policy requires anything the backend does not enforce, which is nearly everything.
    pub fn new(config: &Config) -> Result<Self, Error> {
        config.validate()?;
        let mut guarantees = Guarantees::new(NAME);
        for &item in Item::ALL {
            match missing(item) {
                Some(reason) => guarantees.set(item, Status::NotAvailable, reason),
                None => guarantees.set(item, Status::Enforced, "the result is encoded into a bounded area"),
            }
        }
        guarantees.require(config.policy.required())?;
        Ok(Self {
            guarantees,
            request_bytes: config.limits.request_limit_bytes(),
            reply_bytes: config.limits.reply_limit_bytes(),
            idle: Mutex::new(Vec::new()),
            _lent: config.policy.lent().to_vec(),
        })
    }

    /// Why this backend holds against no threat.
    #[must_use]
    pub fn refuse(threat: crate::Threat) -> Unavailable {
        Unavailable::threat(NAME, threat, "it isolates nothing")
    }

    fn buffers(&self) -> Result<Buffers, Error> {
        let pooled = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match pooled {
            Some(buffers) => Ok(buffers),
            None => Buffers::new(self.request_bytes, self.reply_bytes),
        }
    }
}

impl Sealed for Direct {}

// SAFETY: records MemoryIntegrity as not available, so promises nothing about it; its isolates keep the promises below; it has no
// state but a mutex-guarded list of owned vectors, which threads share safely and a fork copies.
unsafe impl Backend for Direct {
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
        let mut buffers = self.buffers()?;
        let crossed = crossing(&mut buffers);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(buffers);
        crossed
    }

    fn open(&self) -> Result<Box<dyn Isolate>, Error> {
        Ok(Box::new(Buffers::new(self.request_bytes, self.reply_bytes)?))
    }

    fn reset(&self) -> Result<(), Error> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }
}

/// Why an item does not hold here; `None` for the one that does.
fn missing(item: Item) -> Option<&'static str> {
    match item {
        Item::ReplySize => None,
        Item::MemoryIntegrity => Some("the work runs in place: this backend isolates nothing"),
        Item::FaultContainment => Some("panics are caught; any other fault ends the program"),
        Item::SystemCalls | Item::Descriptors | Item::NoNewPrivileges | Item::NotDumpable => {
            Some("the work has what this process has")
        }
        Item::WallTime | Item::CpuTime => {
            Some("the work runs on the caller's thread, which nothing interrupts")
        }
        Item::Memory | Item::DescriptorCount | Item::Processes => {
            Some("the work counts as this process does")
        }
        Item::ForkedAlone => Some("nothing is forked: the work meets the locks of all threads"),
        Item::CrashReports => Some("a fault that is no panic ends the program before anything is reported"),
    }
}

/// A request and a reply area of this process.
#[derive(Debug)]
struct Buffers {
    id: u64,
    request: Vec<u8>,
    reply: Vec<u8>,
    broken: bool,
    entered: Instant,
}

impl Buffers {
    fn new(request_bytes: usize, reply_bytes: usize) -> Result<Self, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let reserve = |bytes: usize| -> Result<Vec<u8>, Error> {
            let mut area: Vec<u8> = Vec::new();
            let reserved = area.try_reserve_exact(bytes);
            reserved.map_err(|_| Error::os("reserve an area", std::io::ErrorKind::OutOfMemory))?;
            Ok(area)
        };
        Ok(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            request: reserve(request_bytes)?,
            reply: reserve(reply_bytes)?,
            broken: false,
            entered: Instant::now(),
        })
    }

    fn fault(&mut self, kind: FaultKind, phase: Phase, message: Option<String>) -> Fault {
        self.broken = true;
        Fault::new(NAME, kind, phase, self.entered.elapsed(), Details { message, ..Details::default() })
    }
}

impl Sealed for Buffers {}

// SAFETY: outlet and source view the spare capacity of vectors that are neither grown nor dropped while they are borrowed; the entry
// is performed once a call, on the calling thread, with a request area only this value holds.
unsafe impl Isolate for Buffers {
    fn id(&self) -> u64 {
        self.id
    }

    fn request(&mut self) -> Outlet<'_> {
        Outlet::uninit(self.request.spare_capacity_mut())
    }

    fn enter(&mut self, work: Work<'_>) -> Result<Source<'_>, Error> {
        self.entered = Instant::now();
        let (data, bytes) = match work.data() {
            Data::Request { bytes } => (self.request.as_ptr(), bytes),
            Data::Closure(closure) => (closure.address(), 0),
        };
        let reply = Outlet::uninit(self.reply.spare_capacity_mut());
        // SAFETY: for a call, core wrote `bytes` bytes at the start of the request area, which nothing writes while the borrow of
        // `self` lasts; for a run, the closure is borrowed by `work` and thus there and unchanged.
        let finish = unsafe { work.entry().perform(data, bytes, reply) };
        let filled = finish.reply_bytes.min(self.reply.capacity());
        // SAFETY: the entry reports how many bytes it wrote from the start of the area, all of them through the outlet; the vector
        // is not touched again while the source borrows `self`.
        let mut source = unsafe {
            Source::shared(std::ptr::NonNull::from(self.reply.spare_capacity_mut()).cast(), filled)
        };
        match finish.outcome {
            Outcome::Returned => Ok(source),
            Outcome::Panicked => {
                let text = source.read_vec(filled).unwrap_or_default();
                let message = String::from_utf8_lossy(&text).into_owned();
                Err(self.fault(FaultKind::Panic, Phase::Inside, Some(message)).into())
            }
            Outcome::ReplyTooLarge => Err(self.fault(FaultKind::ReplyLimit, Phase::Inside, None).into()),
            Outcome::ArgumentsRejected => Err(Error::ArgumentsRejected),
            Outcome::ReplyRefused => {
                Err(self.fault(FaultKind::MalformedReply { error: None }, Phase::Inside, None).into())
            }
        }
    }

    fn reject(&mut self, error: DecodeError) -> Fault {
        self.fault(FaultKind::MalformedReply { error: Some(error) }, Phase::Replied, None)
    }

    fn is_broken(&self) -> bool {
        self.broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_list_hides_nothing() {
        let direct = Direct::new(&Config::default()).unwrap();
        let printed = direct.guarantees().to_string();
        for &item in Item::ALL {
            let entry = direct.guarantees().get(item).unwrap();
            assert!(!entry.detail.is_empty() && printed.contains(&*entry.detail), "{item} in {printed}");
            assert_eq!(entry.status == Status::Enforced, item == Item::ReplySize, "{item}");
        }
        assert_eq!(printed.lines().count(), 1 + Item::ALL.len());
    }
}
