//! What all isolates of one sandbox share on the host's side: settings, and the link to the zygote that makes them.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use ringfence_core::images::Images;
use ringfence_core::{Config, Confinement, Error, Processes, Waiting};

use crate::channel::Channel;
use crate::confine::{Filters, OwnSize, null_device};
use crate::cpu::Placement;
use crate::layout::Layout;
use crate::worker::Worker;
use crate::zygote::{Armed, End, Haste, Link, PATIENCE, Setup, early_images};
use ringfence_core::capture::Capture;

/// How long the zygote may take to say how a worker ended, once it is dead.
const OBITUARY: Duration = Duration::from_secs(2);

/// How long a thread keeps the link to itself while it waits for a notice.
const SLICE: Duration = Duration::from_millis(10);

/// Isolates are numbered through the whole process.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The number of a new isolate.
pub(crate) fn next_isolate() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// One sandbox's settings and its zygote.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) images: Arc<Images>,
    pub(crate) placement: Placement,
    pub(crate) waiting: Waiting,
    pub(crate) wall: Duration,
    pub(crate) cpu_limit: Option<Duration>,
    pub(crate) layout: Layout,
    pub(crate) config: Config,
    pub(crate) filters: Filters,
    pub(crate) null: OwnedFd,
    pub(crate) own_size: Option<OwnSize>,
    link: Mutex<Link>,
    /// The number of the zygote the link leads to.
    zygote: AtomicU64,
}

/// A worker that was asked for.
#[derive(Debug)]
pub(crate) struct Pending {
    slot: u64,
    channel: Option<(Channel, Capture)>,
    shared: Arc<Shared>,
    zygote: u64,
}

impl Shared {
    /// Starts the zygote.
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        ringfence_core::origin::mark()?;
        crate::inside::note_panics();
        let limits = &config.limits;
        let layout =
            Layout { request_bytes: limits.request_limit_bytes(), reply_bytes: limits.reply_limit_bytes() };
        // Before the fork: what is loaded between the two would otherwise be believed to be in the workers.
        let images_now = Images::capture();
        let placement =
            Placement::of_caller().map_err(|errno| Error::os("read the CPUs to run on", errno))?;
        let link = Link::start(setup(config, &placement), config.policy.lent())?;
        Ok(Self {
            images: early_images().filter(|_| link.is_from_early()).unwrap_or(images_now),
            placement,
            waiting: config.waiting,
            wall: limits.wall_limit(),
            cpu_limit: limits.cpu_limit(),
            layout,
            filters: Filters::compile(&config.policy, limits),
            null: null_device().map_err(|errno| Error::os("open the null device", errno))?,
            own_size: OwnSize::open().ok(),
            zygote: AtomicU64::new(link.number()),
            link: Mutex::new(link),
            config: config.clone(),
        })
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How confinement of the zygote went, and whether the early one made it.
    pub(crate) fn armed(&self) -> (Armed, bool) {
        let link = self.link();
        (link.armed(), link.is_from_early())
    }

    /// Asks the zygote for a worker, of a new zygote if the old one is gone.
    pub(crate) fn request(self: &Arc<Self>, haste: Haste) -> Result<Pending, Error> {
        let slot = next_isolate();
        let (channel, file) = Channel::new(self.layout)?;
        let capture = Capture::new()?;
        let mut link = self.link();
        if let Err(errno) = link.request(slot, haste, file.as_fd(), capture.as_fd()) {
            if link.is_alive() && errno != Errno::EPIPE {
                return Err(Error::os("ask for a worker", errno));
            }
            tracing::warn!("the zygote is gone, starting another");
            *link = Link::start(setup(&self.config, &self.placement), self.config.policy.lent())?;
            let asked = link.request(slot, haste, file.as_fd(), capture.as_fd());
            asked.map_err(|errno| Error::os("ask for a worker", errno))?;
        }
        let zygote = link.number();
        self.zygote.store(zygote, Ordering::Release);
        drop(link);
        Ok(Pending { slot, channel: Some((channel, capture)), shared: Arc::clone(self), zygote })
    }

    /// The number of the zygote that workers come from now.
    pub(crate) fn zygote(&self) -> u64 {
        self.zygote.load(Ordering::Acquire)
    }

    /// How a dead worker ended.
    pub(crate) fn end_of(&self, slot: u64) -> End {
        let deadline = Instant::now() + OBITUARY;
        loop {
            let now = Instant::now();
            // In slices, so that others get their turn at the link.
            if let Some(end) = self.link().end_of(slot, deadline.min(now + SLICE)) {
                return end;
            }
            if now >= deadline || !self.has_zygote() {
                return End::Unknown;
            }
        }
    }

    /// Nobody will ask about this worker again.
    pub(crate) fn release(&self, slot: u64) {
        self.link().release(slot);
    }

    /// Whether the zygote that made a worker is there: without it the worker is dead too.
    pub(crate) fn has_zygote(&self) -> bool {
        self.link().is_alive()
    }
}

impl Pending {
    /// The worker, once it is born.
    pub(crate) fn collect(mut self, generation: u64) -> Result<Worker, Error> {
        let deadline = Instant::now() + PATIENCE;
        let collected = loop {
            let now = Instant::now();
            let collected = self.shared.link().collect(self.slot, deadline.min(now + SLICE));
            if collected.as_ref().err() != Some(&Errno::ETIMEDOUT) || now >= deadline {
                break collected;
            }
        };
        let process = collected.map_err(|errno| Error::os("fork a worker", errno))?;
        let Some((channel, capture)) = self.channel.take() else {
            return Err(Error::os("fork a worker", Errno::EINVAL));
        };
        tracing::debug!(isolate = self.slot, pid = process.pid.as_raw(), "worker");
        let shared = Arc::clone(&self.shared);
        Ok(Worker::new(self.slot, channel, capture, process, shared, generation, self.zygote))
    }

    /// Whether the zygote that was asked is still the one.
    pub(crate) fn is_current(&self) -> bool {
        let link = self.shared.link();
        link.number() == self.zygote && link.is_alive()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.channel.is_some() && !ringfence_core::origin::is_forked() {
            self.shared.link().discard(self.slot);
        }
    }
}

fn setup(config: &Config, placement: &Placement) -> Setup {
    let (limits, policy) = (&config.limits, &config.policy);
    Setup {
        unfiltered: policy.confinement() == Confinement::Unfiltered,
        allowed_syscalls: policy.allowed_syscalls().to_vec(),
        lent: policy.lent_numbers(),
        processes: match limits.process_limit() {
            Processes::Forbidden => 0,
            Processes::Threads => 1,
            Processes::Allowed => 2,
        },
        memory_bytes: limits.memory_limit_bytes(),
        descriptors: limits.descriptor_limit(),
        stack_bytes: limits.stack_limit_bytes(),
        request_bytes: limits.request_limit_bytes(),
        reply_bytes: limits.reply_limit_bytes(),
        // On one CPU a spinning worker would keep the host from answering.
        spin: config.waiting == Waiting::Spin && placement.has_several(),
    }
}
