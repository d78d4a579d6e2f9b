//! The gate without RDPKRU and WRPKRU: what of its cost is not theirs, on any machine.
//!
//! # Safety
//! Changes the gate of this process, at the end of everything.
#![expect(unsafe_code, reason = "takes instructions out of the gate")]

use ringfence::Error;
use ringfence_mpk::bench::Bare;

use super::clock::Clock;
use super::report::{Report, Target};

/// Has to be the last thing measured.
pub(crate) fn measure(clock: &Clock, report: &mut Report) -> Result<(), Error> {
    // SAFETY: nothing is measured after this, and nothing else in this program enters domains.
    let gate = match unsafe { Bare::new() } {
        Err(Error::Unavailable(reason)) => {
            println!("the gate without WRPKRU is not measured here: {reason}\n");
            return Ok(());
        }
        gate => gate?,
    };
    let taken = clock.measure(1, &mut || Ok(u64::from(gate.cross())))?;
    let name = "gate with RDPKRU and WRPKRU taken out, nothing inside";
    report.note(name, taken, Target::Nanoseconds(55.0), "");
    Ok(())
}
