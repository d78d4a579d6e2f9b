//! The stages that are cargo commands.

use super::count::Counter;
use super::report::Verdict;
use super::{Context, Failure};
use crate::process::{self, cargo};

/// Packages whose tests must also hold without overflow checks: they read bytes that a hostile isolate wrote.
const RELEASE_PACKAGES: &[&str] = &["ringfence-core", "ringfence-mpk", "ringfence-shim"];

/// Each package alone, since a workspace build unites features and hides a missing one, and each combination of features.
const FEATURE_COMBINATIONS: &[(&str, &[&str])] = &[
    ("ringfence", &[]),
    ("ringfence", &["--no-default-features"]),
    ("ringfence-core", &["--no-default-features"]),
    ("ringfence-core", &["--all-features"]),
    ("ringfence-macros", &[]),
    ("ringfence-mpk", &[]),
    ("ringfence-mpk", &["--no-default-features"]),
    ("ringfence-passport", &[]),
    ("ringfence-process", &[]),
    ("ringfence-shim", &[]),
    ("ringfence-shim", &["--no-default-features"]),
];

/// Every file is formatted.
pub(super) fn format(context: &mut Context<'_>) -> Result<Verdict, Failure> {
    process::run(cargo(context.workspace, &["fmt", "--all", "--check"]))?;
    Ok(Verdict::Passed)
}

/// No lint speaks, in tests, examples and benches either.
pub(super) fn clippy(context: &mut Context<'_>) -> Result<Verdict, Failure> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    process::run(cargo(context.workspace, &arguments))?;
    Ok(Verdict::Passed)
}

/// The documentation builds without a warning.
pub(super) fn documentation(context: &mut Context<'_>) -> Result<Verdict, Failure> {
    let mut command = cargo(context.workspace, &["doc", "--workspace", "--no-deps", "--locked"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    process::run(command)?;
    Ok(Verdict::Passed)
}

/// Every test of the workspace, examples in the documentation included.
pub(super) fn tests(context: &mut Context<'_>) -> Result<Verdict, Failure> {
    run_tests(context, &["test", "--workspace", "--locked", "--no-fail-fast"])
}

/// The tests of [`RELEASE_PACKAGES`] as users build them.
pub(super) fn release_tests(context: &mut Context<'_>) -> Result<Verdict, Failure> {
    let mut arguments = vec!["test", "--release", "--locked", "--no-fail-fast"];
    for package in RELEASE_PACKAGES {
        arguments.extend(["--package", package]);
    }
    run_tests(context, &arguments)
}

fn run_tests(context: &mut Context<'_>, arguments: &[&str]) -> Result<Verdict, Failure> {
    let mut counter = Counter::default();
    let outcome = process::run_and_read(cargo(context.workspace, arguments), |line| counter.line(line));
    let mut counts = counter.counts();
    if outcome.is_err() && counts.failed == 0 {
        // What does not build has not passed, and the last line of the run must not say that nothing failed.
        counts.failed = 1;
    }
    println!("{counts}");
    context.counts += counts;
    context.not_run.extend_from_slice(counter.not_run());
    outcome?;
    counter.check().map_err(Failure::Counts)?;
    Ok(Verdict::Passed)
}

/// Every row of [`FEATURE_COMBINATIONS`] builds.
pub(super) fn features(context: &mut Context<'_>) -> Result<Verdict, Failure> {
    for (package, features) in FEATURE_COMBINATIONS {
        let mut arguments = vec!["check", "--locked", "--package", package];
        arguments.extend(*features);
        process::run(cargo(context.workspace, &arguments))?;
    }
    Ok(Verdict::Passed)
}

/// Dependencies keep to deny.toml. Advisories are left out: they change without a change here.
pub(super) fn deny(context: &mut Context<'_>) -> Result<Verdict, Failure> {
    if !process::succeeds(&mut cargo(context.workspace, &["deny", "--version"])) {
        println!("cargo-deny is not installed: bans, licences and sources of dependencies are not covered");
        return Ok(Verdict::NotCovered);
    }
    process::run(cargo(context.workspace, &["deny", "--locked", "check", "bans", "licenses", "sources"]))?;
    Ok(Verdict::Passed)
}
