//! What going into a domain and coming back costs: `cargo bench --bench gate`.
//!
//! In a guest whose clock advances by one nanosecond per instruction it counts instructions, the least of many single shots:
//!
//! ```text
//! cargo bench --bench gate --config 'target.x86_64-unknown-linux-gnu.runner=["cargo","xtask","guest","run","--icount"]'
//! ```
//!
//! On a processor with protection keys it gives nanoseconds, medians; in a guest with another clock these mean nothing. Everywhere it ends
//! with the gate without its RDPKRU and WRPKRU, which goes nowhere. Every answer is checked; a wrong one ends the bench with an error.

mod gate_support;
#[expect(dead_code, reason = "this bench needs two of the functions")]
#[path = "support/work.rs"]
mod work;

use std::process::ExitCode;

use ringfence::Error;

use gate_support::clock::Clock;
use gate_support::report::Report;
use gate_support::{bare, calls, heap, recovery, rights};

fn main() -> ExitCode {
    let clock = Clock::new();
    println!("measured in {}\n", clock.unit());
    let mut report = Report::new(clock.unit());
    let measured = measure(&clock, &mut report);
    // Last: from here on there are no domains in this process.
    let measured = measured.and_then(|()| bare::measure(&clock, &mut report));
    print!("{report}");
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gate: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What needs domains. Where there are none, says why.
fn measure(clock: &Clock, report: &mut Report) -> Result<(), Error> {
    let subjects = match calls::Subjects::new() {
        Err(Error::Unavailable(reason)) => {
            println!("MPK is not measured here: {reason}\n");
            return Ok(());
        }
        subjects => subjects?,
    };
    rights::measure(clock, report)?;
    calls::measure(clock, report, &subjects)?;
    heap::measure(clock, report, &subjects)?;
    recovery::measure(clock, report, &subjects)
}
