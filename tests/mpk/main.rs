//! The MPK backend: the contract as far as it claims it, and its column of the operation × backend table, each cell by call and by run.
//!
//! Where the backend is not available nothing runs, and that is what is printed; with `REQUIRE_MPK` in the environment it is a failure.

mod contract;
mod gate;
mod hostile;
mod libraries;
mod scarcity;
mod signals;
mod soak;
#[path = "../support/mod.rs"]
mod support;
mod table;

use std::process::ExitCode;

use libtest_mimic::Arguments;
use ringfence::{Backend, Error, Sandbox};
use ringfence_testkit::contract::Order;
use ringfence_testkit::trial::conclude;

fn build(order: Order) -> Result<ringfence_core::Sandbox, Error> {
    support::build(Sandbox::builder().backend(Backend::Mpk), order)
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = [
        contract::trials(),
        table::trials(),
        gate::trials(),
        hostile::trials(),
        libraries::trials(),
        scarcity::trials(),
        signals::trials(),
        soak::trials(),
    ];
    let trials = trials.into_iter().flatten().collect();
    if std::env::var_os(scarcity::UNTRIED).is_some() {
        return conclude(&arguments, trials, Ok::<(), Error>(()));
    }
    match build(Order::default()) {
        Err(Error::Unavailable(reason)) => conclude(&arguments, trials, Err(reason)),
        // What else goes wrong the tests will meet.
        _ => conclude(&arguments, trials, Ok::<(), Error>(())),
    }
}
