//! From a fault, and from a reset, to the next answer.
//!
//! # Safety
//! Writes through a null pointer, inside.
#![expect(unsafe_code, reason = "the fault that is measured")]

use std::cell::RefCell;
use std::hint::black_box;
use std::ptr;

use ringfence::{Error, FaultKind};

use super::calls::{Subjects, step};
use super::clock::Clock;
use super::report::{Report, Target};
use crate::work;

pub(crate) fn measure(clock: &Clock, report: &mut Report, subjects: &Subjects) -> Result<(), Error> {
    let sandbox = &subjects.quiet;
    let usual = step(clock, sandbox)?;
    let expected = work::step(1);
    let [fault, after] = clock.sequence([
        (1, &mut || {
            let ended = sandbox.run(|| {
                // SAFETY: there is no such byte; the fault ends the closure.
                unsafe { black_box(ptr::null_mut::<u8>()).write_volatile(1) }
            });
            let kind =
                ended.as_ref().err().and_then(Error::fault).map(|fault| fault.kind() == &FaultKind::Signal);
            Ok(u64::from(kind == Some(true)))
        }),
        (expected, &mut || sandbox.call(work::step, black_box(1_u64)).map_err(Box::new)),
    ])?;
    report.note("a write to NULL inside, to the fault in hand", fault, Target::None, "SDRaD 5150");
    report.note("  the call after it", after, Target::None, "");
    let usable = fault + after - usual;
    let peers = "SDRaD 6000–8200; SDRaD-FFI 69000 and more";
    report.note("  from the write to usable again", usable, Target::Instructions(8000.0), peers);

    let [reset, after] = clock.sequence([
        (1, &mut || sandbox.reset().map(|()| 1).map_err(Box::new)),
        (expected, &mut || sandbox.call(work::step, black_box(1_u64)).map_err(Box::new)),
    ])?;
    report.note("reset of a sandbox", reset, Target::None, "");
    report.note("  the call after it", after, Target::None, "");
    let session = RefCell::new(sandbox.session()?);
    let [reset, after] = clock.sequence([
        (1, &mut || session.borrow_mut().reset().map(|()| 1).map_err(Box::new)),
        (expected, &mut || session.borrow_mut().call(work::step, black_box(1_u64)).map_err(Box::new)),
    ])?;
    report.note("reset of a session", reset, Target::None, "");
    report.note("  the call after it", after, Target::None, "");
    Ok(())
}
