//! A domain: memory with a key of its own, in which work runs on its caller's thread.
//!
//! # Safety
//! Implements [`Isolate`]. While the host touches a domain's memory nobody is inside: a domain is entered by the one thread that holds it.
#![expect(unsafe_code, reason = "implements the unsafe Isolate trait, and enters the gate")]

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ringfence_core::backend::{Isolate, Outcome, Work, sealed::Sealed};
use ringfence_core::capture::Capture;
use ringfence_core::codec::DecodeError;
use ringfence_core::fault::{Details, Fault, FaultKind, Phase};
use ringfence_core::origin;
use ringfence_core::region::{Outlet, Source};
use ringfence_core::{Error, Unavailable};
use ringfence_shim::DomainHeap;

use crate::NAME;
use crate::autopsy::Remains;
use crate::clock::Stamp;
use crate::control::{Control, OWNERS, rights};
use crate::gate::{self, Crossed, places};
use crate::job::{JobAt, perform};
use crate::keys::Tenant;
use crate::region::{NEAR_BYTES, Part, Region};
use crate::shared::{Shared, TLS_OFFSET};
use crate::tls::Image;
use crate::{thread, watchdog};

/// A domain.
#[derive(Debug)]
pub(crate) struct Domain {
    id: u64,
    tenant: Tenant,
    /// Whether the tenant has its key for now.
    held: AtomicBool,
    image: Image,
    heap: ptr::NonNull<DomainHeap>,
    job: JobAt,
    capture: Capture,
    broken: bool,
    entered: Stamp,
    shared: Arc<Shared>,
}

// SAFETY: the pointers are addresses in the domain's own region, used by whoever holds the domain.
unsafe impl Send for Domain {}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Domain {
    /// A pristine domain that holds its key.
    ///
    /// # Cost
    /// About fifteen system calls.
    pub(crate) fn new(shared: &Arc<Shared>) -> Result<Self, Error> {
        let tenant = Tenant::new(Region::reserve(shared.sizes()?)?);
        let region = tenant.region();
        let fixed = region.start_of(Part::Fixed);
        // SAFETY: the job lies at the start of the fixed part, which has room for it and lives as long as the domain; it is touched by who
        // holds the domain and its key.
        let job = unsafe { JobAt::new(fixed) };
        // SAFETY: the fixed part is larger than this.
        let tls = unsafe { fixed.add(TLS_OFFSET) };
        let tls_bytes = region.bytes_of(Part::Fixed) - TLS_OFFSET;
        let mut image = shared.template.image(tls, tls_bytes, random()?).map_err(other)?;
        let heap: ptr::NonNull<DomainHeap> = region.start_of(Part::Heap).cast();
        image.set_word(ringfence_shim::route_offset(), heap.as_ptr().addr()).map_err(other)?;
        let capture = Capture::new()?;
        let shared = Arc::clone(shared);
        let held = AtomicBool::new(false);
        let entered = Stamp::now();
        let mut domain =
            Self { id: 0, tenant, held, image, heap, job, capture, broken: false, entered, shared };
        domain.hold()?;
        domain.furnish()?;
        Ok(domain)
    }

    /// Has its key until [`let_go`](Self::let_go), and gives the calling thread the rights to its memory.
    pub(crate) fn hold(&self) -> Result<&'static Control, Error> {
        if !self.held.load(Ordering::Relaxed) {
            self.tenant.acquire()?;
            self.held.store(true, Ordering::Relaxed);
        }
        thread::control().inspect_err(|_| self.let_go())
    }

    /// Has it made pristine before it is used again.
    pub(crate) fn condemn(&mut self) {
        self.broken = true;
    }

    /// Other domains may take its key.
    pub(crate) fn let_go(&self) {
        if self.held.swap(false, Ordering::Relaxed) {
            self.tenant.release();
        }
    }

    /// Makes it pristine again. It is a new isolate then.
    pub(crate) fn renew(&mut self) -> Result<(), Error> {
        self.hold()?;
        self.tenant.region().wipe()?;
        self.furnish()
    }

    /// Puts what a domain begins with into memory of which stack and heap are all zero.
    fn furnish(&mut self) -> Result<(), Error> {
        let heap_bytes = self.tenant.region().bytes_of(Part::Heap);
        // SAFETY: the memory is the domain's, mapped, zero, and this thread holds the domain.
        let heap = unsafe { DomainHeap::init(self.heap.cast(), NEAR_BYTES, heap_bytes) };
        self.heap = heap.ok_or_else(|| Error::os("make a domain's heap", nix::errno::Errno::ENOMEM))?;
        // SAFETY: the fixed part is mapped and writable for this thread; the block lies behind the job; nobody is inside.
        unsafe { self.image.restore() };
        let region = self.tenant.region();
        let reply_bytes = self.shared.config.limits.reply_limit_bytes();
        self.job.furnish(region.start_of(Part::Reply), reply_bytes, region.addresses_of(Part::Stack).end);
        self.id = next_id();
        self.broken = false;
        Ok(())
    }

    /// Goes inside.
    fn cross(&mut self, control: &'static Control, work: &Work<'_>) -> Result<Crossed, Error> {
        if !control.is_free() {
            let reason = "this thread is inside a domain already, or in a signal handler";
            return Err(Unavailable::backend(NAME, reason).into());
        }
        let key = self.tenant.key();
        if !self.shared.platform.frames_open {
            thread::sign_over_signal_stack(control, key)?;
        }
        if control.domain.load(Ordering::Relaxed) != self.id || control.key.load(Ordering::Relaxed) != key {
            self.describe(control, key);
        }
        if let Some(owner) = OWNERS.get(key as usize) {
            owner.store(ptr::from_ref(control).cast_mut(), Ordering::Relaxed);
        }
        self.job.set(work, self.tenant.region().start_of(Part::Request));
        control.resume_rax.store(perform as *const () as u64, Ordering::Relaxed);
        control.resume_rip.store(places::call(), Ordering::Relaxed);
        control.resume_selector.store(self.shared.rules.selector(), Ordering::Relaxed);
        control.record.clear();
        let crossing = control.crossing.load(Ordering::Relaxed) + 1;
        control.crossing.store(crossing, Ordering::Release);
        watchdog::notice();
        self.entered = Stamp::now();
        // SAFETY: the control block is this thread's, and describes this domain: its memory carries the key, which the tenant holds; this value
        // is borrowed mutably, so nobody else is inside; the entry takes the job.
        Ok(unsafe { gate::cross(control) })
    }

    /// Describes the domain in the thread's control block, which keeps it until the thread enters another one.
    fn describe(&self, control: &Control, key: u32) {
        let stack_end = self.tenant.region().addresses_of(Part::Stack).end;
        control.domain.store(self.id, Ordering::Relaxed);
        control.domain_rsp.store(stack_end as u64, Ordering::Relaxed);
        control.domain_fs.store(self.image.fs_base() as u64, Ordering::Relaxed);
        control.domain_pkru.store(rights(key), Ordering::Relaxed);
        control.argument.store(self.job.address(), Ordering::Relaxed);
        control.key.store(key, Ordering::Relaxed);
        let region = ptr::from_ref(self.tenant.region());
        control.region.store(region.cast_mut().cast(), Ordering::Relaxed);
        control.rules.store(ptr::from_ref(&self.shared.rules).cast_mut().cast(), Ordering::Relaxed);
        control.capture.store(self.capture.number(), Ordering::Relaxed);
        control.limit_ns.store(self.shared.limit_ns, Ordering::Relaxed);
    }

    /// What is known of a crossing that ended without a value.
    fn fault(&mut self, control: &Control) -> Fault {
        self.broken = true;
        let remains = Remains {
            record: &control.record,
            region: self.tenant.region(),
            job: self.job,
            // SAFETY: the heap's memory is mapped, and nobody is inside.
            refusals: unsafe { DomainHeap::refusals(self.heap) },
            stderr: self.capture.take(),
            elapsed: self.entered.elapsed(),
            images: &self.shared.images,
            caller: control.host_rsp.load(Ordering::Relaxed),
        };
        remains.fault()
    }

    fn plain_fault(&mut self, kind: FaultKind, phase: Phase) -> Fault {
        self.broken = true;
        let details =
            Details { stderr_tail: ringfence_core::capture::tail(self.capture.take()), ..Details::default() };
        Fault::new(NAME, kind, phase, self.entered.elapsed(), details)
    }
}

impl Sealed for Domain {}

// SAFETY: outlet and source are windows on the domain's request and reply parts, mapped as long as it lives, in bounds by the limits they
// were made from; no thread writes them but the one inside, which is gone when the host reads; a crossing performs its entry once; the
// watchdog ends it at its limit.
unsafe impl Isolate for Domain {
    fn id(&self) -> u64 {
        self.id
    }

    fn request(&mut self) -> Outlet<'_> {
        let region = self.tenant.region();
        let capacity = self.shared.config.limits.request_limit_bytes();
        // SAFETY: the part is at least this large, writable for this thread, which holds the domain, and nothing refers to it.
        unsafe { Outlet::from_raw(region.start_of(Part::Request), capacity) }
    }

    fn enter(&mut self, work: Work<'_>) -> Result<Source<'_>, Error> {
        let control = self.hold()?;
        if self.cross(control, &work)? == Crossed::Rewound {
            return Err(self.fault(control).into());
        }
        let limit = self.shared.config.limits.reply_limit_bytes();
        match self.job.finish() {
            (Some(Outcome::Returned), bytes) if bytes <= limit => {
                let reply = self.tenant.region().start_of(Part::Reply);
                // SAFETY: so many bytes of the part are mapped and readable for this thread; nobody is inside any more.
                Ok(unsafe { Source::shared(reply, bytes) })
            }
            (outcome, bytes) => Err(self.without_a_value(outcome, bytes)),
        }
    }

    fn reject(&mut self, error: DecodeError) -> Fault {
        self.plain_fault(FaultKind::MalformedReply { error: Some(error) }, Phase::Replied)
    }

    fn is_broken(&self) -> bool {
        self.broken
    }

    fn ready(&self) -> Result<(), Error> {
        if origin::is_forked() {
            return Err(Error::Forked);
        }
        if self.broken {
            return Err(Error::Stale);
        }
        self.hold().map(drop)
    }

    fn settle(&mut self) {
        self.let_go();
    }
}

impl Domain {
    /// What came back, where it is no value.
    #[cold]
    fn without_a_value(&mut self, outcome: Option<Outcome>, bytes: usize) -> Error {
        match outcome {
            Some(Outcome::ArgumentsRejected) => Error::ArgumentsRejected,
            Some(Outcome::ReplyTooLarge) => self.plain_fault(FaultKind::ReplyLimit, Phase::Inside).into(),
            Some(Outcome::Panicked) => self.panicked(bytes).into(),
            Some(Outcome::ReplyRefused) => {
                self.plain_fault(FaultKind::MalformedReply { error: None }, Phase::Inside).into()
            }
            Some(Outcome::Returned) | None => {
                self.plain_fault(FaultKind::MalformedReply { error: None }, Phase::Replied).into()
            }
        }
    }

    /// A panic that nothing inside caught, of which the entry wrote the text into the reply.
    fn panicked(&mut self, bytes: usize) -> Fault {
        let region = self.tenant.region();
        let mut details =
            Details { stderr_tail: ringfence_core::capture::tail(self.capture.take()), ..Details::default() };
        match self.job.note() {
            Some(note) => note.into_details(&mut details, &self.shared.images),
            None => {
                let bytes = bytes.min(region.bytes_of(Part::Reply));
                // SAFETY: the part is mapped and at least so large, and this thread holds the domain.
                let text = unsafe { crate::job::copied(region.start_of(Part::Reply).as_ptr(), bytes) };
                details.message = Some(String::from_utf8_lossy(&text).into_owned());
            }
        }
        self.broken = true;
        Fault::new(NAME, FaultKind::Panic, Phase::Inside, self.entered.elapsed(), details)
    }
}

fn other(error: crate::tls::Error) -> Error {
    Error::os("make a domain's thread-local storage", std::io::Error::other(error))
}

/// For canary and pointer guard.
fn random() -> Result<[u8; 16], Error> {
    let mut bytes = [0; 16];
    // SAFETY: the array has room for what is asked.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if usize::try_from(got) == Ok(bytes.len()) {
        Ok(bytes)
    } else {
        Err(Error::os("draw random bytes", nix::errno::Errno::last()))
    }
}
