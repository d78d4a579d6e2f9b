//! Calls and closures, beside the plain functions.

use std::hint::black_box;

use ringfence::{Backend, Error, Sandbox, Tracker};

use super::clock::Clock;
use super::report::{Report, Target};
use crate::work;

/// The sandboxes that are measured.
#[derive(Debug)]
pub(crate) struct Subjects {
    /// Domains, without a record.
    pub(crate) quiet: Sandbox,
    /// Domains that leave evidence.
    recording: Sandbox,
    /// No isolation, and no record: what encoding and decoding alone cost.
    direct: Sandbox,
}

impl Subjects {
    pub(crate) fn new() -> Result<Self, Error> {
        let build = |backend, tracker| Sandbox::builder().backend(backend).tracker(tracker).build();
        Ok(Self {
            quiet: build(Backend::Mpk, Tracker::disabled())?,
            recording: build(Backend::Mpk, Tracker::new())?,
            direct: build(Backend::Direct, Tracker::disabled())?,
        })
    }
}

const ARGUMENT: u64 = 0x0123_4567_89ab_cdef;

/// What a `call` of [`work::step`] costs in domains without a record.
pub(crate) fn step(clock: &Clock, sandbox: &Sandbox) -> Result<f64, Error> {
    clock.measure(work::step(ARGUMENT), &mut || {
        sandbox.call(work::step, black_box(ARGUMENT)).map_err(Box::new)
    })
}

pub(crate) fn measure(clock: &Clock, report: &mut Report, subjects: &Subjects) -> Result<(), Error> {
    let Subjects { quiet, recording, direct } = subjects;
    let plain = clock.measure(work::step(ARGUMENT), &mut || Ok(work::step(black_box(ARGUMENT))))?;
    report.note("u64 → u64, plain function", plain, Target::None, "");
    report.note("  call, direct backend", step(clock, direct)?, Target::None, "");
    report.note("  call", step(clock, quiet)?, Target::Instructions(270.0), "SDRaD-FFI 338, of nothing");
    report.note("  call, recorded", step(clock, recording)?, Target::Instructions(450.0), "");
    for (bytes, target, peers) in [
        (64, Target::Instructions(350.0), "SDRaD-FFI + 3851"),
        (4 << 10, Target::None, "SDRaD-FFI + 5498"),
        (64 << 10, Target::None, "SDRaD-FFI + 28555"),
    ] {
        let input = input(bytes);
        let expected = work::sum(&input);
        let plain = clock.measure(expected, &mut || Ok(work::sum(black_box(&input))))?;
        report.note(format!("{bytes} bytes → u64, plain function"), plain, Target::None, "");
        let call = clock
            .measure(expected, &mut || quiet.call(work::sum, black_box(&input[..])).map_err(Box::new))?;
        report.beyond("  call", call, plain, target, peers);
    }
    let input = input(1 << 20);
    let expected = work::sum(&input);
    let plain = clock.measure(expected, &mut || Ok(work::sum(black_box(&input))))?;
    report.note("1 MiB, captured → u64, plain function", plain, Target::None, "");
    let run =
        clock.measure(expected, &mut || quiet.run(|| work::sum(black_box(&input))).map_err(Box::new))?;
    report.beyond("  run", run, plain, Target::Instructions(300.0), "SDRaD-FFI + 397464");
    Ok(())
}

/// Bytes of no particular order.
fn input(bytes: usize) -> Vec<u8> {
    let mut x = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()[3]
    };
    (0..bytes).map(|_| next()).collect()
}
