//! From a crash inside to the next answer.
//!
//! # Safety
//! The crash is a store through a null pointer, in an isolate.

#![expect(unsafe_code, reason = "crashes an isolate")]

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use ringfence::Sandbox;

use super::work;

/// Median times from the call that crashes to the answer of the call after it.
#[derive(Clone, Copy)]
pub(crate) struct Recovery {
    /// With a spare that had time to get ready.
    pub(crate) with_spare_ns: f64,
    /// With none: a session is opened, which takes it, crashes, and is reset.
    pub(crate) without_spare_ns: f64,
}

/// Measures both, `repeats` times each. Between two crashes a few calls with pauses let the sandbox get a spare ready.
pub(crate) fn measure(sandbox: &Sandbox, repeats: usize) -> io::Result<Recovery> {
    let mut with_spare = Vec::with_capacity(repeats);
    let mut without_spare = Vec::with_capacity(repeats);
    for round in 0..repeats as u64 {
        settle(sandbox)?;
        let start = Instant::now();
        crash(sandbox)?;
        answer(sandbox, round)?;
        with_spare.push(start.elapsed());

        // Two crashes in a row: the second finds the spare taken and no other made.
        settle(sandbox)?;
        crash(sandbox)?;
        let start = Instant::now();
        crash(sandbox)?;
        answer(sandbox, round)?;
        without_spare.push(start.elapsed());
    }
    Ok(Recovery {
        with_spare_ns: median_ns(&mut with_spare),
        without_spare_ns: median_ns(&mut without_spare),
    })
}

fn settle(sandbox: &Sandbox) -> io::Result<()> {
    for round in 0..6 {
        answer(sandbox, round)?;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn answer(sandbox: &Sandbox, x: u64) -> io::Result<()> {
    match sandbox.call(work::step, x) {
        Ok(value) if value == work::step(x) => Ok(()),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "wrong answer")),
        Err(error) => Err(io::Error::other(error)),
    }
}

fn crash(sandbox: &Sandbox) -> io::Result<()> {
    // SAFETY: none is claimed: the store faults, in an isolate, which is what is measured.
    let crashed = sandbox.call(|()| unsafe { std::ptr::null_mut::<u8>().write_volatile(1) }, ());
    match crashed {
        Err(error) if error.fault().is_some() => Ok(()),
        Err(error) => Err(io::Error::other(error)),
        Ok(()) => Err(io::Error::new(io::ErrorKind::InvalidData, "a crash came back as success")),
    }
}

fn median_ns(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_nanos() as f64)
}
