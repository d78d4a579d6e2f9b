//! The wall-time limit: one thread looks at who has been inside for too long, and sends a signal to that thread.
//!
//! A crossing costs no system call for this: it publishes its number and its limit. The watchdog sleeps while nobody has been inside for a
//! while, and the next one to go in wakes it.
//!
//! # Safety
//! Sends a signal to a thread by number.
#![expect(unsafe_code, reason = "tgkill")]

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use ringfence_core::Error;

use crate::control::Control;

/// The signal that says that time is over; zero before there is one.
static SIGNAL: AtomicI32 = AtomicI32::new(0);
/// The watchdog sleeps until somebody goes inside.
static ASLEEP: AtomicBool = AtomicBool::new(false);
static WATCHED: Mutex<Vec<Watch>> = Mutex::new(Vec::new());
static WAKE: Condvar = Condvar::new();

/// The shortest limit there has been.
static SHORTEST_LIMIT_NS: AtomicU64 = AtomicU64::new(u64::MAX);

/// The watchdog looks this often in the time of the shortest limit. A crossing is seen one look late, and ended one look late.
const LOOKS: u32 = 16;
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(250);
/// Looks without anybody inside, after which it sleeps.
const PATIENCE: u32 = 16;

/// A thread, and the crossing it was seen in.
#[derive(Debug)]
struct Watch {
    control: &'static Control,
    crossing: u64,
    since: Instant,
}

/// The signal that says that time is over.
pub(crate) fn signal() -> i32 {
    SIGNAL.load(Ordering::Relaxed)
}

/// Whether the crossing under way has to end.
pub(crate) fn has_doomed(control: &Control) -> bool {
    control.doomed.load(Ordering::Relaxed) == control.crossing.load(Ordering::Relaxed)
}

/// Sends the signal to a thread.
pub(crate) fn send(control: &Control) -> Result<(), Errno> {
    let process = nix::unistd::getpid().as_raw();
    let thread = control.thread.load(Ordering::Relaxed);
    // SAFETY: plain numbers; the signal is ours, and ends the crossing of the doomed number only.
    Errno::result(unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal()) }).map(drop)
}

/// Starts the thread, once.
pub(crate) fn start(signal: i32) -> Result<(), Error> {
    static STARTED: Mutex<bool> = Mutex::new(false);
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*started {
        SIGNAL.store(signal, Ordering::Relaxed);
        let thread = std::thread::Builder::new().name("ringfence-watchdog".into()).stack_size(64 << 10);
        thread.spawn(watch).map_err(|error| Error::os("start the watchdog", error))?;
        *started = true;
    }
    Ok(())
}

/// Looks often enough for crossings of this limit.
pub(crate) fn expect(limit: Duration) {
    SHORTEST_LIMIT_NS.fetch_min(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    // It may be in a pause that is too long for this one.
    WAKE.notify_one();
}

/// Looks after a thread from now on.
pub(crate) fn add(control: &'static Control) {
    let crossing = control.crossing.load(Ordering::Relaxed);
    let watch = Watch { control, crossing, since: Instant::now() };
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner).push(watch);
}

/// The thread ends.
pub(crate) fn remove(control: &'static Control) {
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    watched.retain(|watch| !std::ptr::eq(watch.control, control));
}

/// To be called by who goes inside, after its number is published.
pub(crate) fn notice() {
    if ASLEEP.load(Ordering::SeqCst) {
        wake();
    }
}

#[cold]
fn wake() {
    let _watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    ASLEEP.store(false, Ordering::SeqCst);
    WAKE.notify_one();
}

fn watch() {
    // Signals of the program are for its own threads.
    let _ = SigSet::all().thread_block();
    let mut idle = 0;
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let anybody = watched.iter_mut().fold(false, |anybody, watch| watch.look() | anybody);
        idle = if anybody { 0 } else { idle + 1 };
        if idle < PATIENCE {
            let limit = Duration::from_nanos(SHORTEST_LIMIT_NS.load(Ordering::Relaxed));
            let pause = (limit / LOOKS).clamp(SHORTEST, LONGEST);
            let waited = WAKE.wait_timeout(watched, pause).unwrap_or_else(PoisonError::into_inner);
            watched = waited.0;
            continue;
        }
        ASLEEP.store(true, Ordering::SeqCst);
        // Whoever went in before it could see that has published its number.
        if watched.iter().any(Watch::is_inside) {
            ASLEEP.store(false, Ordering::SeqCst);
        }
        while ASLEEP.load(Ordering::SeqCst) {
            watched = WAKE.wait(watched).unwrap_or_else(PoisonError::into_inner);
        }
        idle = 0;
    }
}

impl Watch {
    fn is_inside(&self) -> bool {
        self.control.is_inside()
    }

    /// Ends a crossing that has lasted too long. Whether somebody is inside.
    fn look(&mut self) -> bool {
        let control = self.control;
        let crossing = control.crossing.load(Ordering::Acquire);
        if !control.is_inside() {
            return false;
        }
        let limit = Duration::from_nanos(control.limit_ns.load(Ordering::Relaxed));
        if crossing != self.crossing {
            self.crossing = crossing;
            self.since = Instant::now();
        } else if self.since.elapsed() >= limit {
            control.doomed.store(crossing, Ordering::Relaxed);
            // The thread is watched, so it lives: it takes itself off the list, under the lock, before it ends. A signal that cannot
            // be queued now is sent again at the next look.
            let _ = send(control);
        }
        true
    }
}
