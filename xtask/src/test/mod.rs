//! `cargo xtask test`: every check that a change must pass, stage by stage, on a fresh machine too.
//!
//! A stage that fails does not stop the next one, so that one run shows everything that is wrong; only missing needs end it at
//! once. The last line is `N passed, N failed`, summed over all test runs.

mod cargo_stages;
pub(crate) mod count;
mod report;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use self::count::{Counts, NotRun};
use self::report::{Line, Verdict};
use crate::guest;
use crate::needs::{self, Install};
use crate::process;
use crate::tidy;

/// What a run was asked to do.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    install: Install,
    stages: Vec<&'static str>,
}

/// Why a stage failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A command of it did.
    Command(process::Failure),
    /// The system lacks something.
    Needs(needs::Missing),
    /// The tests ran, and their sum is not acceptable.
    Counts(count::Unacceptable),
    /// A guest did not do what it should.
    Guest(guest::Failure),
    /// Rules that files break.
    Tidy(tidy::Findings),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(failure) => failure.fmt(f),
            Self::Needs(missing) => missing.fmt(f),
            Self::Counts(unacceptable) => unacceptable.fmt(f),
            Self::Guest(failure) => failure.fmt(f),
            Self::Tidy(findings) => findings.fmt(f),
        }
    }
}

impl From<process::Failure> for Failure {
    fn from(failure: process::Failure) -> Self {
        Self::Command(failure)
    }
}

/// What the stages share.
pub(crate) struct Context<'a> {
    workspace: &'a Path,
    install: Install,
    counts: Counts,
    /// The tests of the present stage that this machine cannot run.
    not_run: Vec<NotRun>,
}

type Stage = fn(&mut Context<'_>) -> Result<Verdict, Failure>;

/// The stages in their order.
const STAGES: &[(&str, Stage)] = &[
    ("needs", |context| {
        needs::check(context.workspace, context.install).map_err(Failure::Needs)?;
        Ok(Verdict::Passed)
    }),
    ("fmt", cargo_stages::format),
    ("clippy", cargo_stages::clippy),
    ("docs", cargo_stages::documentation),
    ("tests", cargo_stages::tests),
    ("guest", guest_tests),
    ("release", cargo_stages::release_tests),
    ("features", cargo_stages::features),
    ("deny", cargo_stages::deny),
    ("tidy", |context| {
        tidy::check(context.workspace).map_err(Failure::Tidy)?;
        Ok(Verdict::Passed)
    }),
];

/// The suites that need protection keys, in guests that have them.
fn guest_tests(context: &mut Context<'_>) -> Result<Verdict, Failure> {
    let tested = guest::test_all(context.workspace, context.install);
    context.counts += tested.counts;
    match tested.result {
        Ok(()) => Ok(Verdict::Passed),
        Err(guest::Failure::System(name)) => {
            println!("guests need Debian 12, and this is {name}: tests with protection keys are not covered");
            Ok(Verdict::NotCovered)
        }
        Err(failure) => Err(Failure::Guest(failure)),
    }
}

/// The stages' names, for people.
pub(crate) fn stage_names() -> String {
    STAGES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}

/// Runs what the arguments ask for and prints the report.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let request = match parse(arguments) {
        Ok(request) => request,
        Err(unknown) => return crate::usage_error(&format!("unknown stage or option `{unknown}`")),
    };
    let workspace = match crate::root::workspace() {
        Ok(workspace) => workspace,
        Err(error) => return crate::usage_error(&error.to_string()),
    };
    let mut context = Context {
        workspace: &workspace,
        install: request.install,
        counts: Counts::default(),
        not_run: Vec::new(),
    };
    let lines = run_stages(&request.stages, &mut context);
    report::print(&lines, context.counts);
    if lines.iter().all(|line| line.failure.is_none()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_stages(wanted: &[&'static str], context: &mut Context<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for (name, stage) in STAGES.iter().filter(|(name, _)| wanted.contains(name)) {
        println!("\n== {name}");
        let start = Instant::now();
        let outcome = stage(context);
        let not_run = std::mem::take(&mut context.not_run);
        let time = start.elapsed();
        let mut line = Line { stage: name, time, verdict: Verdict::Failed, failure: None, not_run };
        match outcome {
            Ok(verdict) => line.verdict = verdict,
            Err(failure) => {
                eprintln!("xtask: stage {name} failed: {failure}");
                line.failure = Some(failure.to_string());
            }
        }
        let ends = matches!((name, &line.failure), (&"needs", Some(_)));
        lines.push(line);
        if ends {
            break;
        }
    }
    lines
}

/// The request that the arguments spell, or the first one that spells nothing. No stage named means all of them.
fn parse(arguments: &[String]) -> Result<Request, &str> {
    let mut request = Request { install: Install::Allowed, stages: Vec::new() };
    for argument in arguments {
        if argument == "--no-install" {
            request.install = Install::Forbidden;
        } else if let Some((name, _)) = STAGES.iter().find(|(name, _)| name == argument) {
            request.stages.push(name);
        } else {
            return Err(argument);
        }
    }
    if request.stages.is_empty() {
        request.stages = STAGES.iter().map(|(name, _)| *name).collect();
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn no_stage_named_means_all() {
        let all = parse(&[]).unwrap();
        assert_eq!(all.stages.len(), STAGES.len());
        assert_eq!(all.install, Install::Allowed);
        let some = words("tidy --no-install fmt");
        let some = parse(&some).unwrap();
        assert_eq!(some, Request { install: Install::Forbidden, stages: vec!["tidy", "fmt"] });
    }

    #[test]
    fn an_unknown_word_is_refused() {
        assert_eq!(parse(&words("fmt lint")), Err("lint"));
        assert_eq!(parse(&words("--install")), Err("--install"));
    }
}
