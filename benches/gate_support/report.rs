//! The printed table.

use std::fmt;

use super::clock::Unit;

/// One line: what it is and what it costs.
#[derive(Debug)]
struct Row {
    name: String,
    value: f64,
    /// What is taken off for comparisons.
    baseline: Option<f64>,
    at_most: Option<f64>,
    /// What others take, counted the same way.
    peers: &'static str,
}

/// What a cost is meant to stay within.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// So many instructions.
    Instructions(f64),
    /// So many nanoseconds.
    Nanoseconds(f64),
    /// None.
    None,
}

/// Everything that was measured, in its order.
#[derive(Debug)]
pub(crate) struct Report {
    unit: Unit,
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new(unit: Unit) -> Self {
        Self { unit, rows: Vec::new() }
    }

    /// Adds a line.
    pub(crate) fn note(&mut self, name: impl Into<String>, value: f64, target: Target, peers: &'static str) {
        self.add(name.into(), value, None, target, peers);
    }

    /// Adds a line of which only what it has more than a baseline is compared.
    pub(crate) fn beyond(
        &mut self,
        name: impl Into<String>,
        value: f64,
        baseline: f64,
        target: Target,
        peers: &'static str,
    ) {
        self.add(name.into(), value, Some(baseline), target, peers);
    }

    fn add(&mut self, name: String, value: f64, baseline: Option<f64>, target: Target, peers: &'static str) {
        let at_most = match (target, self.unit) {
            (Target::Instructions(at_most), Unit::Instructions)
            | (Target::Nanoseconds(at_most), Unit::Nanoseconds) => Some(at_most),
            _ => None,
        };
        let peers = if self.unit == Unit::Instructions { peers } else { "" };
        self.rows.push(Row { name, value, baseline, at_most, peers });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, peers) = match self.unit {
            Unit::Instructions => ("instructions", "others, counted the same way"),
            Unit::Nanoseconds => ("nanoseconds", ""),
        };
        let line = format!(
            "{:<58}{unit:>13}{:>10}{:>9}{:>7}  {:<12}  {peers}",
            "", "beyond", "at most", "ratio", ""
        );
        writeln!(f, "{}", line.trim_end())?;
        for Row { name, value, baseline, at_most, peers } in &self.rows {
            let part = value - baseline.unwrap_or(0.0);
            let beyond = baseline.map(|_| format!("+ {}", number(part))).unwrap_or_default();
            let (ratio, verdict) = match at_most {
                Some(at_most) if part <= *at_most => (format!("{:.2}", part / at_most), "reached"),
                Some(at_most) => (format!("{:.2}", part / at_most), "not reached"),
                None => (String::new(), ""),
            };
            let at_most = at_most.map(number).unwrap_or_default();
            let value = number(*value);
            let line =
                format!("{name:<58}{value:>13}{beyond:>10}{at_most:>9}{ratio:>7}  {verdict:<12}  {peers}");
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}
