//! One worker, as the host holds it.
//!
//! # Safety
//! Implements [`Isolate`] over a channel this value owns: outlets and sources view its sealed mapping and borrow the worker.
#![expect(unsafe_code, reason = "implements the unsafe Isolate trait")]

mod wait;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringfence_core::backend::{Data, Isolate, Outcome, Work, sealed::Sealed};
use ringfence_core::codec::DecodeError;
use ringfence_core::fault::{Fault, FaultKind, Phase};
use ringfence_core::region::{Outlet, Source};
use ringfence_core::{Error, Waiting};
use rustix::process::{Signal, pidfd_send_signal};

use self::wait::Waited;
use crate::autopsy::{Remains, phase_of};
use crate::channel::Channel;
use crate::cpu::CpuBudget;
use crate::futex;
use crate::inside::WHERE_ARE_YOU;
use crate::layout::{phase, reply};
use crate::shared::Shared;
use crate::zygote::{End, Spawned};
use ringfence_core::capture::Capture;

/// How long an isolate that overran has to say where it is before it is killed.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// The captured output is looked at once in so many calls.
const CALLS_BETWEEN_REWINDS: u32 = 64;

/// A worker and everything the host holds of it.
#[derive(Debug)]
pub(crate) struct Worker {
    slot: u64,
    channel: Channel,
    capture: Capture,
    process: Spawned,
    shared: Arc<Shared>,
    /// The generation of isolates it belongs to.
    generation: u64,
    /// The zygote that made it, and with which it dies.
    zygote: u64,
    broken: bool,
    calls: u32,
    /// Bytes of the two areas that the last call filled and nobody has given back.
    used: (usize, usize),
    /// The doorbell's number of the last call.
    number: u32,
    cpu: CpuBudget,
    placed: Placed,
    entered: Instant,
}

/// Where the worker was last allowed to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placed {
    Anywhere,
    On(u32),
    Off(u32),
}

impl Worker {
    pub(crate) fn new(
        slot: u64,
        channel: Channel,
        capture: Capture,
        process: Spawned,
        shared: Arc<Shared>,
        generation: u64,
        zygote: u64,
    ) -> Self {
        let cpu = CpuBudget::new(shared.cpu_limit);
        Self {
            slot,
            cpu,
            channel,
            capture,
            process,
            shared,
            generation,
            zygote,
            broken: false,
            calls: 0,
            used: (0, 0),
            number: 0,
            placed: Placed::Anywhere,
            entered: Instant::now(),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The CPU its last caller ran on, if it was placed by that.
    pub(crate) fn last_cpu(&self) -> Option<u32> {
        match self.placed {
            Placed::On(cpu) | Placed::Off(cpu) => Some(cpu),
            Placed::Anywhere => None,
        }
    }

    /// Marks it as unusable.
    pub(crate) fn condemn(&mut self) {
        self.broken = true;
        self.put_down();
    }

    /// Gives back what a large call has filled, once its reply is read. No system call after a small one.
    pub(crate) fn settle(&mut self) {
        let (request_bytes, reply_bytes) = std::mem::take(&mut self.used);
        self.channel.give_back(request_bytes, reply_bytes);
    }

    /// Waits until the worker is confined and serves.
    pub(crate) fn await_ready(&self) -> Result<(), Error> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.channel.words().phase().load(Ordering::Acquire) {
                phase::READY => return Ok(()),
                phase::UNFIT => return Err(self.unfit()),
                _ if self.channel.words().tomb().load(Ordering::Acquire) != 0 => {
                    return Err(Error::os("start a worker", nix::errno::Errno::ECHILD));
                }
                _ if Instant::now() >= deadline => {
                    return Err(Error::os("start a worker", nix::errno::Errno::ETIMEDOUT));
                }
                _ => std::thread::sleep(Duration::from_micros(50)),
            }
        }
    }

    /// Why the worker could not be confined.
    fn unfit(&self) -> Error {
        let errno = self.channel.words().reply_bytes().load(Ordering::Relaxed);
        Error::os("confine a worker", nix::errno::Errno::from_raw(i32::try_from(errno).unwrap_or(0)))
    }

    /// Puts the worker where this call's waiting wants it. No system call while the caller stays on its CPU.
    fn place(&mut self) {
        let cpu = crate::cpu::current();
        let wanted = match self.shared.waiting {
            Waiting::Spin if self.shared.placement.has_several() => Placed::Off(cpu),
            _ => Placed::On(cpu),
        };
        if self.placed == wanted {
            return;
        }
        match wanted {
            Placed::On(cpu) => self.shared.placement.pin(self.process.pid, cpu),
            Placed::Off(cpu) => self.shared.placement.keep_off(self.process.pid, cpu),
            Placed::Anywhere => {}
        }
        self.placed = wanted;
    }

    fn spins(&self) -> bool {
        matches!(self.placed, Placed::Off(_))
    }

    fn is_gone(&self) -> bool {
        self.ended_within(Duration::ZERO)
    }

    fn ended_within(&self, duration: Duration) -> bool {
        crate::zygote::ended_within(self.process.pidfd.as_fd(), duration)
    }

    fn kill(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.process.pidfd, signal);
    }

    /// Kills the worker, off this thread's CPU: taking an address space down takes longer than all that follows here. A dying worker
    /// sleeps at this moment, and one that sleeps is moved for the price of the call.
    fn put_down(&self) {
        if !self.is_dead() && !self.is_gone() {
            self.shared.placement.keep_off(self.process.pid, crate::cpu::current());
        }
        self.kill(Signal::KILL);
    }

    /// Whether its death is known already.
    pub(crate) fn is_dead(&self) -> bool {
        self.channel.words().tomb().load(Ordering::Acquire) != 0 || self.zygote != self.shared.zygote()
    }

    /// Calls it has served.
    pub(crate) fn calls(&self) -> u32 {
        self.calls
    }

    /// Asks an isolate that overran where it is, and gives it a moment to say so.
    fn ask_where(&self) {
        if let Some(signal) = Signal::from_named_raw(WHERE_ARE_YOU) {
            self.kill(signal);
            let asleep = reply::word(self.number, reply::ASLEEP);
            futex::await_change(self.channel.words().reply(), asleep, LAST_WORDS);
        }
    }

    /// Ends the worker and says why the crossing has no value.
    fn fault(&mut self, verdict: Option<FaultKind>, phase: Phase) -> Fault {
        let elapsed = self.entered.elapsed();
        self.condemn();
        let report = self.channel.take_report();
        let end = if verdict.is_none() && report.ending() == crate::report::Ending::Unknown {
            self.shared.end_of(self.slot)
        } else {
            End::Unknown
        };
        let stderr = self.capture.contents();
        let remains = Remains { report, end, verdict, phase, elapsed, stderr };
        remains.fault(&self.shared.images)
    }

    fn answered(&mut self, request_bytes: usize) -> Result<Source<'_>, Error> {
        let malformed = FaultKind::MalformedReply { error: None };
        let Some((outcome, bytes)) = self.channel.answer() else {
            return Err(self.fault(Some(malformed), Phase::Replied).into());
        };
        match outcome {
            Outcome::Returned => {
                self.calls = self.calls.wrapping_add(1);
                if self.calls.is_multiple_of(CALLS_BETWEEN_REWINDS) {
                    self.capture.rewind_if_full();
                }
                self.used = (request_bytes, bytes);
                Ok(self.channel.reply_source(bytes))
            }
            Outcome::Panicked => Err(self.fault(Some(FaultKind::Panic), Phase::Inside).into()),
            Outcome::ReplyTooLarge => Err(self.fault(Some(FaultKind::ReplyLimit), Phase::Inside).into()),
            Outcome::ArgumentsRejected => Err(Error::ArgumentsRejected),
            Outcome::ReplyRefused => Err(self.fault(Some(malformed), Phase::Inside).into()),
        }
    }
}

impl Sealed for Worker {}

// SAFETY: outlets and sources view the sealed mapping of the channel, which lives as long as the worker they borrow; sources read
// each byte once; an entry is rung for once, and the request area is written by the host only between calls; a wait ends at the wall
// limit, after which the worker is killed without waiting for it.
unsafe impl Isolate for Worker {
    fn id(&self) -> u64 {
        self.slot
    }

    fn request(&mut self) -> Outlet<'_> {
        self.settle();
        // Until it is known how much: arguments that do not fit leave the area full.
        self.used.0 = self.shared.layout.request_bytes;
        self.channel.request_outlet()
    }

    fn enter(&mut self, work: Work<'_>) -> Result<Source<'_>, Error> {
        if self.broken {
            return Err(Error::Stale);
        }
        let Data::Request { bytes } = work.data() else {
            // A worker has the memory of its zygote, not the caller's.
            return Err(Error::os("run a closure in a worker", nix::errno::Errno::EINVAL));
        };
        let address = work.entry().address();
        if !self.shared.images.contains_code(address) {
            return Err(Error::NotLoaded { address });
        }
        self.used = (bytes, 0);
        self.entered = Instant::now();
        self.cpu.start(self.process.pid);
        // A process that is gone has left its number to another.
        if !self.is_dead() {
            self.place();
        }
        let words = *self.channel.words();
        // What an earlier call left there says nothing about this one.
        if self.number != 0 {
            words.phase().store(phase::READY, Ordering::Relaxed);
        }
        words.entry().store(address as u64, Ordering::Relaxed);
        words.request_bytes().store(bytes as u64, Ordering::Relaxed);
        match self.ring_and_wait() {
            Waited::Replied => self.answered(bytes),
            Waited::Crashed | Waited::Dead => {
                let word = words.phase().load(Ordering::Relaxed);
                // Work that runs in a worker for the first time could write the same, and end the same way: it is given up either way.
                let unfit = self.calls == 0 && word == phase::UNFIT && self.is_dead();
                if unfit && self.shared.end_of(self.slot) == End::Exited(1) {
                    self.condemn();
                    return Err(self.unfit());
                }
                let phase = phase_of(word);
                Err(self.fault(None, phase).into())
            }
            Waited::Garbled => {
                let garbled = FaultKind::MalformedReply { error: None };
                Err(self.fault(Some(garbled), Phase::Replied).into())
            }
            Waited::Overran(limit) => {
                let phase = phase_of(words.phase().load(Ordering::Relaxed));
                self.ask_where();
                Err(self.fault(Some(limit), phase).into())
            }
        }
    }

    fn reject(&mut self, error: DecodeError) -> Fault {
        self.fault(Some(FaultKind::MalformedReply { error: Some(error) }), Phase::Replied)
    }

    fn is_broken(&self) -> bool {
        self.broken
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if ringfence_core::origin::is_forked() {
            return;
        }
        if !self.broken {
            self.put_down();
        }
        self.shared.release(self.slot);
    }
}
