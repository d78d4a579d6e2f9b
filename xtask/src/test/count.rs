//! Counting tests by reading what `cargo test` prints.
//!
//! Every test binary announces `running N tests` and ends with `test result: …`. A binary that is killed in between leaves
//! the second line out: what it announced and did not report counts as failed.

use std::fmt;
use std::ops::AddAssign;

/// Tests by outcome.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} ignored", self.passed, self.failed, self.ignored)
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
}

impl fmt::Display for Unacceptable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ignored(number) => write!(f, "{number} ignored tests: a test runs or is removed"),
            Self::Unreported(number) => write!(f, "{number} tests were announced and never reported"),
            Self::Nothing => f.write_str("not one test was run"),
        }
    }
}

/// Reads the standard output of one `cargo test`, line by line.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    announced: u64,
    reported: u64,
    counts: Counts,
}

impl Counter {
    /// One line of output.
    pub(crate) fn line(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(number) = announcement(line) {
            self.announced += number;
        } else if let Some(result) = result(line) {
            self.reported += result.all();
            self.counts += Counts { passed: result.passed, failed: result.failed, ignored: result.ignored };
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
        assert_eq!(counter.counts(), Counts { passed: 3, failed: 1, ignored: 0 });
        assert_eq!(counter.check(), Ok(()));
    }

    #[test]
    fn a_binary_that_died_counts_what_it_announced_as_failed() {
        let counter = read("running 5 tests\ntest a ... ok\n");
        assert_eq!(counter.counts(), Counts { passed: 0, failed: 5, ignored: 0 });
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
    fn a_result_behind_other_output_is_found_and_other_lines_are_not_results() {
        let glued = "half a linetest result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(result(glued).map(|result| result.passed), Some(12));
        for line in ["test result_is_kept ... ok", "running for 3 tests", "running tests", "test result: ok"]
        {
            assert_eq!((announcement(line), result(line)), (None, None), "{line}");
        }
    }
}
