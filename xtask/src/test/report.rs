//! The end of a run: minutes per stage, what failed, and the sum of the tests.

use std::fmt::Write;
use std::time::Duration;

use super::count::{Counts, NotRun};

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything it checks holds.
    Passed,
    /// Something does not hold.
    Failed,
    /// This system lacks what it needs: nothing was checked.
    NotCovered,
}

/// One stage of the report.
#[derive(Debug)]
pub(crate) struct Line {
    /// The stage's name.
    pub(crate) stage: &'static str,
    /// How long it took.
    pub(crate) time: Duration,
    /// How it ended.
    pub(crate) verdict: Verdict,
    /// Why it failed.
    pub(crate) failure: Option<String>,
    /// The tests of it that this machine cannot run.
    pub(crate) not_run: Vec<NotRun>,
}

/// Prints the report. Its last line is `N passed, N failed`.
pub(crate) fn print(lines: &[Line], counts: Counts) {
    print!("\n{}", render(lines, counts));
}

fn render(lines: &[Line], counts: Counts) -> String {
    let mut text = format!("{:<10} {:>7}  verdict\n", "stage", "minutes");
    // Writing to a String cannot fail.
    for line in lines {
        let verdict = match line.verdict {
            Verdict::Passed => "passed",
            Verdict::Failed => "FAILED",
            Verdict::NotCovered => "not covered",
        };
        let _ = writeln!(text, "{:<10} {:>7.2}  {verdict}", line.stage, line.time.as_secs_f64() / 60.0);
    }
    let total: Duration = lines.iter().map(|line| line.time).sum();
    let _ = writeln!(text, "{:<10} {:>7.2}", "total", total.as_secs_f64() / 60.0);
    for line in lines {
        if let Some(failure) = &line.failure {
            let _ = writeln!(text, "stage {} failed: {failure}", line.stage);
        }
    }
    for line in lines {
        for NotRun { number, reason } in &line.not_run {
            let _ = writeln!(text, "stage {}: {number} tests not run: {reason}", line.stage);
        }
    }
    let _ = writeln!(text, "{} passed, {} failed", counts.passed, counts.failed);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_sum_and_failures_are_named() {
        let line = |stage, seconds, verdict| Line {
            stage,
            time: Duration::from_secs(seconds),
            verdict,
            failure: None,
            not_run: Vec::new(),
        };
        let passed = Line {
            not_run: vec![NotRun { number: 5, reason: "no keys".to_owned() }],
            ..line("fmt", 90, Verdict::Passed)
        };
        let failed =
            Line { failure: Some("2 tests failed".to_owned()), ..line("tests", 30, Verdict::Failed) };
        let counts = Counts { passed: 7, failed: 2, ..Counts::default() };
        let text = render(&[passed, failed], counts);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "fmt           1.50  passed");
        assert_eq!(lines[2], "tests         0.50  FAILED");
        assert_eq!(lines[3], "total         2.00");
        assert_eq!(lines[4], "stage tests failed: 2 tests failed");
        assert_eq!(lines[5], "stage fmt: 5 tests not run: no keys");
        assert_eq!(lines.last(), Some(&"7 passed, 2 failed"));
    }
}
