//! The end of a test program that needs something which the machine may not have. What was not run is said, and never counted as passed.

use std::env;
use std::fmt;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// Names the variable that makes a missing capability a failure.
const REQUIRE_MPK: &str = "REQUIRE_MPK";

/// The status of a test program that failed, as libtest's.
const FAILED: u8 = 101;

/// Runs the trials that the arguments select, lists them where that is asked for, and gives the program's status.
///
/// Where `availability` is an error nothing runs: the program prints `N tests not run: REASON` on its standard output and succeeds, or, with
/// `REQUIRE_MPK` in the environment, prints the reason on its standard error and fails with 101. N counts what the arguments select.
pub fn conclude(
    arguments: &Arguments,
    trials: Vec<Trial>,
    availability: Result<(), impl fmt::Display>,
) -> ExitCode {
    let selected = trials.iter().filter(|trial| !arguments.is_filtered_out(trial)).count();
    match (availability, selected) {
        (Err(reason), 1..) if !arguments.list => {
            if env::var_os(REQUIRE_MPK).is_some() {
                eprintln!("{REQUIRE_MPK} is set, and {selected} tests cannot run: {reason}");
                return ExitCode::from(FAILED);
            }
            println!("{selected} tests not run: {reason}");
            ExitCode::SUCCESS
        }
        _ => libtest_mimic::run(arguments, trials).exit_code(),
    }
}
