//! Printed tables: medians with ratios to named baselines, and the targets.

use std::fmt;

use super::sample::Row;

/// One sampled group of variants.
pub(crate) struct Table {
    title: String,
    /// The rows that ratio columns refer to.
    baselines: Vec<String>,
    rows: Vec<Row>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, baselines: &[&str], rows: Vec<Row>) -> Self {
        Self { title: title.into(), baselines: baselines.iter().map(|&name| name.to_owned()).collect(), rows }
    }

    /// The median of one row, in nanoseconds.
    pub(crate) fn p50_ns(&self, name: &str) -> Option<f64> {
        self.rows.iter().find(|row| row.name == name).map(|row| row.p50_ns)
    }

    /// The median of one row over that of another.
    pub(crate) fn ratio(&self, name: &str, baseline: &str) -> Option<f64> {
        Some(self.p50_ns(name)? / self.p50_ns(baseline)?)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}", self.title)?;
        let known: Vec<&String> = self.baselines.iter().filter(|name| self.p50_ns(name).is_some()).collect();
        for (index, name) in known.iter().enumerate() {
            writeln!(f, "   ×{} = over the median of \"{name}\"", letter(index))?;
        }
        write!(f, "{:<36}{:>10}", "", "median")?;
        for index in 0..known.len() {
            write!(f, "{:>9}", format!("×{}", letter(index)))?;
        }
        writeln!(f, "{:>10}{:>11}{:>9}{:>9}", "p99", "quartiles", "rounds", "calls")?;
        for row in &self.rows {
            write!(f, "{:<36}{:>10}", row.name, duration(row.p50_ns))?;
            for name in &known {
                let ratio = self.ratio(&row.name, name).unwrap_or(f64::NAN);
                write!(f, "{:>9}", number(ratio))?;
            }
            writeln!(
                f,
                "{:>10}{:>11}{:>9}{:>9}",
                duration(row.p99_ns),
                percent(row.quartile_spread),
                percent(row.round_spread),
                row.calls
            )?;
        }
        Ok(())
    }
}

/// A ratio that is meant to stay at or below a bound.
pub(crate) struct Target {
    pub(crate) name: String,
    /// `None` when a row was not measured here.
    pub(crate) value: Option<f64>,
    pub(crate) at_most: f64,
}

/// The final table: which targets were reached in this run.
pub(crate) struct Targets(pub(crate) Vec<Target>);

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## Ratios")?;
        writeln!(f, "{:<76}{:>9}{:>9}", "", "value", "at most")?;
        for target in &self.0 {
            let (value, verdict) = match target.value {
                Some(value) if value <= target.at_most => (number(value), "reached"),
                Some(value) => (number(value), "not reached"),
                None => ("–".to_owned(), "not measured"),
            };
            writeln!(f, "{:<76}{value:>9}{:>9}  {verdict}", target.name, number(target.at_most))?;
        }
        Ok(())
    }
}

fn letter(index: usize) -> char {
    char::from(b'A' + (index % 26) as u8)
}

/// Three significant digits with a unit.
pub(crate) fn duration(ns: f64) -> String {
    match ns {
        _ if ns < 1e3 => format!("{} ns", number(ns)),
        _ if ns < 1e6 => format!("{} µs", number(ns / 1e3)),
        _ if ns < 1e9 => format!("{} ms", number(ns / 1e6)),
        _ => format!("{} s", number(ns / 1e9)),
    }
}

fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

fn number(value: f64) -> String {
    match value.abs() {
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
