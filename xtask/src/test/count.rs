//! Counting tests by reading what `cargo test` prints.
//!
//! Every test binary announces `running N tests` and ends with `test result: …`. A binary that is killed in between leaves
//! the second line out: what it announced and did not report counts as failed.
//!
//! A test program that cannot run its tests on this machine prints `N tests not run: REASON` instead.

use std::fmt;
use std::ops::AddAssign;

/// Tests by outcome.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
    /// Not possible on this machine.
    pub(crate) not_run: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.not_run += other.not_run;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} ignored", self.passed, self.failed, self.ignored)?;
        if self.not_run > 0 { write!(f, ", {} not run", self.not_run) } else { Ok(()) }
    }
}

/// A sum that must fail the run although no command did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unacceptable {
    /// Tests that were not run.
    Ignored(u64),
    /// Tests that were announced and never reported.
    Unreported(u64),
    /// Not one test passed.
    Nothing,
    /// Tests that this machine cannot run, where it should be able to.
    NotRun(NotRun),
}

/// Tests that cannot be run on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotRun {
    pub(crate) number: u64,
    pub(crate) reason: String,
}

impl fmt::Display for Unacceptable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ignored(number) => write!(f, "{number} ignored tests: a test runs or is removed"),
            Self::Unreported(number) => write!(f, "{number} tests were announced and never reported"),
            Self::Nothing => f.write_str("not one test was run"),
            Self::NotRun(NotRun { number, reason }) => {
                write!(f, "{number} tests not run where every test runs: {reason}")
            }
        }
    }
}

/// Reads the standard output of one `cargo test`, line by line.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    announced: u64,
    reported: u64,
    counts: Counts,
    /// Each reason once.
    not_run: Vec<NotRun>,
}

impl Counter {
    /// One line of output.
    pub(crate) fn line(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(number) = announcement(line) {
            self.announced += number;
        } else if let Some(result) = result(line) {
            self.reported += result.all();
            self.counts.passed += result.passed;
            self.counts.failed += result.failed;
            self.counts.ignored += result.ignored;
        } else if let Some(not_run) = not_run(line) {
            self.counts.not_run += not_run.number;
            match self.not_run.iter_mut().find(|other| other.reason == not_run.reason) {
                Some(other) => other.number += not_run.number,
                None => self.not_run.push(not_run),
            }
        }
    }

    /// The sum. Tests announced and never reported are among the failed.
    pub(crate) fn counts(&self) -> Counts {
        Counts { failed: self.counts.failed + self.unreported(), ..self.counts }
    }

    /// Whether the sum of a run that ended well may stand.
    pub(crate) fn check(&self) -> Result<(), Unacceptable> {
        match (self.unreported(), self.counts.ignored, self.counts.passed) {
            (0, 0, 0) => Err(Unacceptable::Nothing),
            (0, 0, _) => Ok(()),
            (0, ignored, _) => Err(Unacceptable::Ignored(ignored)),
            (unreported, _, _) => Err(Unacceptable::Unreported(unreported)),
        }
    }

    /// What this machine could not run, reason by reason.
    pub(crate) fn not_run(&self) -> &[NotRun] {
        &self.not_run
    }

    /// Whether everything could be run on this machine.
    pub(crate) fn check_all_run(&self) -> Result<(), Unacceptable> {
        self.not_run.first().map_or(Ok(()), |not_run| Err(Unacceptable::NotRun(not_run.clone())))
    }

    fn unreported(&self) -> u64 {
        self.announced.saturating_sub(self.reported)
    }
}

/// `running 3 tests`.
fn announcement(line: &str) -> Option<u64> {
    let rest = line.strip_prefix("running ")?;
    let number = rest.strip_suffix(" tests").or_else(|| rest.strip_suffix(" test"))?;
    number.parse().ok()
}

/// `3 tests not run: REASON`.
fn not_run(line: &str) -> Option<NotRun> {
    let (number, reason) = line.split_once(" tests not run: ")?;
    Some(NotRun { number: number.parse().ok()?, reason: reason.to_owned() })
}

#[derive(Debug, Default, PartialEq, Eq)]
struct TestResult {
    passed: u64,
    failed: u64,
    ignored: u64,
    measured: u64,
}

impl TestResult {
    fn all(&self) -> u64 {
        self.passed + self.failed + self.ignored + self.measured
    }
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`, which may stand behind
/// output of a test that ended without a line break.
fn result(line: &str) -> Option<TestResult> {
    let (_, rest) = line.split_once("test result: ")?;
    let (_, fields) = rest.split_once(". ")?;
    let mut result = TestResult::default();
    for field in fields.split("; ") {
        let Some((number, word)) = field.split_once(' ') else { continue };
        let place = match word {
            "passed" => &mut result.passed,
            "failed" => &mut result.failed,
            "ignored" => &mut result.ignored,
            "measured" => &mut result.measured,
            _ => continue,
        };
        *place = number.parse().ok()?;
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str) -> Counter {
        let mut counter = Counter::default();
        output.lines().for_each(|line| counter.line(line));
        counter
    }

    #[test]
    fn results_of_several_binaries_are_summed() {
        let counter = read(
            "\nrunning 3 tests\ntest a ... ok\ntest b ... FAILED\ntest c ... ok\n\
             \ntest result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.00s\n\
             \n   Doc-tests core\n\nrunning 1 test\ntest src/lib.rs - (line 3) ... ok\n\
             \ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.2s\n",
        );
        assert_eq!(counter.counts(), Counts { passed: 3, failed: 1, ..Counts::default() });
        assert_eq!(counter.check(), Ok(()));
    }

    #[test]
    fn a_binary_that_died_counts_what_it_announced_as_failed() {
        let counter = read("running 5 tests\ntest a ... ok\n");
        assert_eq!(counter.counts(), Counts { failed: 5, ..Counts::default() });
        assert_eq!(counter.check(), Err(Unacceptable::Unreported(5)));
    }

    #[test]
    fn an_ignored_test_and_an_empty_run_are_not_acceptable() {
        let one = "running 2 tests\n\
            test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        assert_eq!(read(one).check(), Err(Unacceptable::Ignored(1)));
        let none = "running 0 tests\n\
            test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.00s\n";
        assert_eq!(read(none).check(), Err(Unacceptable::Nothing));
    }

    #[test]
    fn what_a_machine_cannot_run_is_counted_by_reason() {
        let counter = read(
            "running 1 test\n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             57 tests not run: no protection keys: CPUID\n2 tests not run: other\n\
             3 tests not run: no protection keys: CPUID\nsome tests not run: x\n",
        );
        assert_eq!(counter.counts(), Counts { passed: 1, not_run: 62, ..Counts::default() });
        assert_eq!(counter.counts().to_string(), "1 passed, 0 failed, 0 ignored, 62 not run");
        let keys = NotRun { number: 60, reason: "no protection keys: CPUID".to_owned() };
        assert_eq!(counter.not_run(), [keys.clone(), NotRun { number: 2, reason: "other".to_owned() }]);
        assert_eq!(counter.check(), Ok(()));
        assert_eq!(counter.check_all_run(), Err(Unacceptable::NotRun(keys)));
        assert_eq!(Counter::default().check_all_run(), Ok(()));
    }

    #[test]
    fn a_result_behind_other_output_is_found_and_other_lines_are_not_results() {
        let glued = "half a linetest result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(result(glued).map(|result| result.passed), Some(12));
        for line in ["test result_is_kept ... ok", "running for 3 tests", "running tests", "test result: ok"]
        {
            assert_eq!((announcement(line), result(line)), (None, None), "{line}");
        }
    }
}
