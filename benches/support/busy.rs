//! A long call while another thread keeps the caller's CPU busy.
//!
//! A child whose affinity is the caller's CPU is right for a short call and wrong for a long one: it shares that CPU with
//! whatever else runs there, while another may be idle.

use std::hint::{black_box, spin_loop};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

use super::placement::only;

/// Median wall times of two calls that do the same work.
#[derive(Clone, Copy)]
pub(crate) struct Beside {
    pub(crate) call: Duration,
    pub(crate) baseline: Duration,
}

/// Times `call` and `baseline` in turns, `repeats` times each, while a thread spins on the caller's CPU.
///
/// The caller is pinned to that CPU meanwhile, so that it is busy from the first to the last moment; its affinity is
/// restored at the end. The isolates and children that the closures use must exist already: one forked or a thread started
/// inside a closure would inherit the pin, and a fork would be one of a process with two threads.
///
/// # Errors
/// The first error of a closure.
pub(crate) fn compare(
    repeats: u32,
    mut call: impl FnMut() -> io::Result<()>,
    mut baseline: impl FnMut() -> io::Result<()>,
) -> io::Result<Beside> {
    let me = Pid::from_raw(0);
    let allowed = sched_getaffinity(me)?;
    let here = only(sched_getcpu()?)?;
    let stop = AtomicBool::new(false);
    let (mut calls, mut baselines) = (Vec::new(), Vec::new());
    let measured = thread::scope(|scope| {
        let busy = scope.spawn(|| occupy(&here, &stop));
        let measured = sched_setaffinity(me, &here).map_err(io::Error::from).and_then(|()| {
            for _ in 0..repeats {
                calls.push(time(&mut call)?);
                baselines.push(time(&mut baseline)?);
            }
            Ok(())
        });
        stop.store(true, Relaxed);
        let occupied = busy.join().unwrap_or_else(|_| Err(io::Error::other("the busy thread panicked")));
        measured.and(occupied)
    });
    sched_setaffinity(me, &allowed)?;
    measured?;
    Ok(Beside { call: median(&mut calls), baseline: median(&mut baselines) })
}

/// Keeps one CPU busy until told to stop.
fn occupy(cpu: &CpuSet, stop: &AtomicBool) -> io::Result<()> {
    sched_setaffinity(Pid::from_raw(0), cpu)?;
    while !stop.load(Relaxed) {
        spin_loop();
    }
    Ok(())
}

fn time(call: &mut impl FnMut() -> io::Result<()>) -> io::Result<Duration> {
    let start = Instant::now();
    black_box(call())?;
    Ok(start.elapsed())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
