//! `run`: a fork of the caller, which sees the caller's memory as it is at that moment and whose writes are its own.
//!
//! # Safety
//! Forks a process that may have many threads. Between the fork and the closure the child makes system calls and touches memory
//! of its own; it allocates only where that is said. What the closure itself may meet after such a fork (a lock another thread held)
//! is bounded by the wall-time limit.
#![expect(unsafe_code, reason = "fork, and performing the closure's entry in the child")]

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal as NixSignal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid, setpgid};
use ringfence_core::backend::{Closure, Data, Isolate, Outcome, Work, sealed::Sealed};
use ringfence_core::codec::DecodeError;
use ringfence_core::fault::{Fault, FaultKind, Phase};
use ringfence_core::images::Images;
use ringfence_core::region::{Outlet, Source};
use ringfence_core::{Error, Processes};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::autopsy::{Remains, phase_of};
use crate::channel::Channel;
use crate::confine::{self, OwnSize, Resources, keep_only, point_at};
use crate::cpu::CpuBudget;
use crate::futex;
use crate::inside::{self, Stacks, WHERE_ARE_YOU};
use crate::layout::{doorbell, phase, reply};
use crate::shared::{Shared, next_isolate};
use crate::zygote::{End, ended_within, vanish};
use ringfence_core::capture::Capture;

/// How long a snapshot that overran has to say where it is before it is killed.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How far beyond the wall-time limit an end counts as in time: what the scheduler may take to tell.
const LATE: Duration = Duration::from_millis(100);
/// How often the CPU-time limit is looked at, when there is one.
const LOOK: Duration = Duration::from_millis(5);

/// The number of a snapshot's one call.
const ONLY: u32 = doorbell::NEXT;

/// What snapshots of one sandbox use one after the other.
#[derive(Debug)]
pub(crate) struct Snapshot {
    number: u64,
    channel: Channel,
    file: OwnedFd,
    capture: Capture,
    stacks: Stacks,
    shared: Arc<Shared>,
    broken: bool,
    /// Bytes of the last reply that nobody has given back.
    reply_bytes: usize,
    entered: Instant,
}

impl Snapshot {
    pub(crate) fn new(shared: Arc<Shared>) -> Result<Self, Error> {
        let (channel, file) = Channel::new(shared.layout)?;
        Ok(Self {
            number: next_isolate(),
            channel,
            file,
            capture: Capture::new()?,
            stacks: Stacks::new(None)?,
            shared,
            broken: false,
            reply_bytes: 0,
            entered: Instant::now(),
        })
    }

    /// Gives back what a large reply has filled, once it is read.
    pub(crate) fn settle(&mut self) {
        self.channel.give_back(0, std::mem::take(&mut self.reply_bytes));
    }

    /// The child's whole life.
    fn live(&self, entry: usize, closure: Closure<'_>, host: Pid) -> ! {
        let Ok(mut channel) = Channel::attach(self.file.as_fd(), self.shared.layout) else { vanish(1) };
        let words = *channel.words();
        if let Err((step, errno)) = self.confine(&channel, host) {
            words.outcome().store(step, Ordering::Relaxed);
            words.reply_bytes().store(errno as u64, Ordering::Relaxed);
            words.phase().store(phase::UNFIT, Ordering::Release);
            vanish(1);
        }
        words.phase().store(phase::INSIDE, Ordering::Relaxed);
        // SAFETY: the address is that of the closure's own entry, in a copy of the memory in which the caller holds the closure.
        let finish = unsafe { inside::perform(&mut channel, ONLY, entry, closure.address(), 0) };
        inside::answer(&words, ONLY, finish);
        vanish(0)
    }

    /// Each step has a number, told to the host when it fails. Allocates two short lists, after glibc's fork has made the heap usable.
    fn confine(&self, channel: &Channel, host: Pid) -> Result<(), (u32, Errno)> {
        let step = |number: u32| move |errno: Errno| (number, errno);
        // The forking thread waits for this process, so it lives as long as anyone wants the answer.
        nix::sys::prctl::set_pdeathsig(NixSignal::SIGKILL).map_err(step(1))?;
        if getppid() != host {
            vanish(0);
        }
        setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(step(2))?;
        point_at(0, self.shared.null.as_fd()).map_err(step(3))?;
        point_at(1, self.shared.null.as_fd()).map_err(step(3))?;
        point_at(2, self.capture.as_fd()).map_err(step(3))?;
        let mut kept = vec![0, 1, 2];
        kept.extend(self.shared.config.policy.lent_numbers());
        // SAFETY: a snapshot runs the closure and ends by `_exit`: the host's owners of what is closed are never dropped in it. A closure
        // that uses one finds it closed, and no other opened in its place but by itself.
        unsafe { keep_only(&kept) }.map_err(step(5))?;
        inside::arm(channel, &self.stacks, crate::caller_stack::bounds()).map_err(step(6))?;
        let highest = kept.last().copied().unwrap_or(2);
        let limits = &self.shared.config.limits;
        // The host's own size would count all of its channels, of which this process has one, mapped by now.
        let own_bytes =
            self.shared.own_size.as_ref().map(|_| OwnSize::measure()).transpose().map_err(step(7))?;
        let resources = Resources::new(limits, own_bytes, 0, highest);
        // A caller with real-time priority would lend it to code that may never give the CPU back.
        crate::cpu::take_turns();
        confine::limit(&resources).map_err(step(7))?;
        confine::give_up_privileges().map_err(step(8))?;
        self.shared.filters.apply_to_snapshot().map_err(step(9))
    }

    /// Waits for the child's end. `Some` says which limit ended it.
    fn attend(&self, pid: Pid, pidfd: &OwnedFd) -> Option<FaultKind> {
        let mut cpu = CpuBudget::new(self.shared.cpu_limit);
        // A child's clock starts at zero.
        if self.shared.cpu_limit.is_none() {
            if ended_within(pidfd.as_fd(), self.shared.wall) {
                return None;
            }
            return Some(FaultKind::Timeout);
        }
        cpu.start(nix::unistd::Pid::from_raw(pid.as_raw()));
        loop {
            let left = self.shared.wall.saturating_sub(self.entered.elapsed());
            if ended_within(pidfd.as_fd(), LOOK.min(left)) {
                return None;
            }
            if cpu.left(pid).is_zero() {
                return Some(FaultKind::CpuLimit);
            }
            if self.entered.elapsed() >= self.shared.wall {
                return Some(FaultKind::Timeout);
            }
        }
    }

    /// Kills what is left, and says how the child ended. A host that reaps every child may have been faster.
    fn bury(&self, pid: Pid, pidfd: &OwnedFd) -> End {
        if self.shared.config.limits.process_limit() != Processes::Forbidden || self.shared.filters.is_empty()
        {
            // Before it is reaped, while its number cannot belong to anyone else.
            let _ = nix::sys::signal::killpg(pid, NixSignal::SIGKILL);
        }
        let _ = pidfd_send_signal(pidfd, Signal::KILL);
        loop {
            match waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED) {
                Err(Errno::EINTR) => {}
                Ok(WaitStatus::Exited(_, status)) => return End::Exited(status),
                Ok(WaitStatus::Signaled(_, signal, _)) => return End::Signaled(signal as i32),
                _ => return End::Unknown,
            }
        }
    }

    fn fault(&mut self, end: End, verdict: Option<FaultKind>, phase: Phase) -> Fault {
        self.broken = true;
        let elapsed = self.entered.elapsed();
        let report = self.channel.take_report();
        let stderr = self.capture.contents();
        // The child had what is loaded now, which may be more than at construction.
        Remains { report, end, verdict, phase, elapsed, stderr }.fault(&Images::capture())
    }

    fn judge(&mut self, end: End, verdict: Option<FaultKind>) -> Result<Source<'_>, Error> {
        let words = *self.channel.words();
        let phase_word = words.phase().load(Ordering::Acquire);
        let unfit = verdict.is_none() && end == End::Exited(1) && phase_word == phase::UNFIT;
        if verdict.is_some() || words.reply().load(Ordering::Acquire) != reply::word(ONLY, reply::DONE) {
            if unfit {
                let errno = i32::try_from(words.reply_bytes().load(Ordering::Relaxed)).unwrap_or(0);
                return Err(Error::os("confine a snapshot", Errno::from_raw(errno)));
            }
            return Err(self.fault(end, verdict, phase_of(phase_word)).into());
        }
        let malformed = FaultKind::MalformedReply { error: None };
        let Some((outcome, bytes)) = self.channel.answer() else {
            return Err(self.fault(end, Some(malformed), Phase::Replied).into());
        };
        let kind = match outcome {
            Outcome::Returned => {
                self.reply_bytes = bytes;
                return Ok(self.channel.reply_source(bytes));
            }
            Outcome::Panicked => FaultKind::Panic,
            Outcome::ReplyTooLarge => FaultKind::ReplyLimit,
            // A closure has no arguments.
            Outcome::ReplyRefused | Outcome::ArgumentsRejected => malformed,
        };
        Err(self.fault(end, Some(kind), Phase::Inside).into())
    }
}

impl Sealed for Snapshot {}

// SAFETY: outlets and sources view the sealed mapping of the channel, which lives as long as the snapshot they borrow; sources read
// each byte once, and the child is dead by the time there is one; an entry is performed in one child; the wait ends at the wall limit.
unsafe impl Isolate for Snapshot {
    fn id(&self) -> u64 {
        self.number
    }

    fn request(&mut self) -> Outlet<'_> {
        self.channel.request_outlet()
    }

    fn enter(&mut self, work: Work<'_>) -> Result<Source<'_>, Error> {
        let Data::Closure(closure) = work.data() else {
            return Err(Error::os("call a function in a snapshot", Errno::EINVAL));
        };
        self.entered = Instant::now();
        self.channel.clear();
        self.capture.rewind();
        // Found out here, where it is remembered for the next time.
        crate::caller_stack::bounds();
        let host = getpid();
        let held = crate::fork_lock::forking();
        // SAFETY: the child runs `live` only, which keeps to what the module's Safety section says and never returns.
        let pid = match unsafe { fork() }.map_err(|errno| Error::os("fork a snapshot", errno))? {
            ForkResult::Child => self.live(work.entry().address(), closure, host),
            ForkResult::Parent { child } => child,
        };
        drop(held);
        let known = rustix::process::Pid::from_raw(pid.as_raw());
        let pidfd = known.and_then(|known| pidfd_open(known, PidfdFlags::empty()).ok());
        let Some(pidfd) = pidfd else {
            return self.lost(pid);
        };
        let verdict = self.attend(pid, &pidfd);
        let late = self.entered.elapsed() > self.shared.wall + LATE;
        let verdict = verdict.or_else(|| late.then_some(FaultKind::Timeout));
        let overran = verdict.as_ref().and_then(|_| Signal::from_named_raw(WHERE_ARE_YOU));
        if let Some(signal) = overran {
            let words = *self.channel.words();
            let asleep = reply::word(ONLY, reply::ASLEEP);
            let slept = words.reply().compare_exchange(0, asleep, Ordering::AcqRel, Ordering::Acquire);
            let _ = pidfd_send_signal(&pidfd, signal);
            if slept.is_ok() {
                futex::await_change(words.reply(), asleep, LAST_WORDS);
            }
        }
        let end = self.bury(pid, &pidfd);
        self.judge(end, verdict)
    }

    fn reject(&mut self, error: DecodeError) -> Fault {
        self.fault(End::Exited(0), Some(FaultKind::MalformedReply { error: Some(error) }), Phase::Replied)
    }

    fn is_broken(&self) -> bool {
        self.broken
    }
}

impl Snapshot {
    /// No pidfd could be had: either the child has ended and was reaped by a host that ignores its children, or this process has no
    /// descriptor left, and the child is still its own to kill and reap.
    fn lost(&mut self, pid: Pid) -> Result<Source<'_>, Error> {
        let gone = nix::sys::wait::waitpid(pid, Some(WaitPidFlag::WNOHANG));
        if gone == Err(Errno::ECHILD) {
            return self.judge(End::Unknown, None);
        }
        if gone == Ok(WaitStatus::StillAlive) {
            let _ = nix::sys::signal::kill(pid, NixSignal::SIGKILL);
            let _ = nix::sys::wait::waitpid(pid, None);
        }
        self.broken = true;
        Err(Error::os("watch a snapshot", Errno::EMFILE))
    }
}
