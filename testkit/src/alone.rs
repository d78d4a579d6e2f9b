//! A test in a process of its own: for what is process-wide (limits, signal dispositions, the environment) and for what is counted
//! through `/proc`, where other tests would be counted with it.
//!
//! # Safety
//! The only unsafe code sets an alarm.
#![expect(unsafe_code, reason = "alarm has no safe form")]
#![expect(clippy::unwrap_used, reason = "part of tests: what cannot be started fails the test")]

use std::env;
use std::process::Command;

/// Names the test that the process was started for.
const VARIABLE: &str = "RINGFENCE_ALONE";

/// Seconds after which the process is ended by `SIGALRM`.
const PATIENCE_SECONDS: u32 = 240;

/// Runs `body` in a process that runs this test only. `test` is the test's full name.
///
/// # Panics
/// The test fails there, the process ends in any other way than by running exactly this test, or takes more than four minutes.
#[track_caller]
pub fn alone(test: &str, body: impl FnOnce()) {
    alone_with(test, &[], body);
}

/// As [`alone`], with these environment variables.
///
/// # Panics
/// As [`alone`].
#[track_caller]
pub fn alone_with(test: &str, variables: &[(&str, &str)], body: impl FnOnce()) {
    if env::var_os(VARIABLE).is_some_and(|name| name == test) {
        // SAFETY: takes any number.
        unsafe { libc::alarm(PATIENCE_SECONDS) };
        body();
        return;
    }
    let output = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1", "--include-ignored"])
        .env(VARIABLE, test)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    print!("{stdout}");
    eprint!("{stderr}");
    assert!(output.status.success(), "{test} in a process of its own: {}", output.status);
    // A name that matches no test makes the harness report success.
    assert!(stdout.contains("test result: ok. 1 passed"), "no test is named {test}");
}
