//! Doing a row's operation on a backend and telling what came of it.
#![expect(clippy::unwrap_used, reason = "part of tests: what cannot be had fails the test")]

use std::time::Duration;

use ringfence_core::{Config, Error, Fault, FaultKind, Limits, Policy, Sandbox};

use super::{Answer, Does, OUTDATED, Row, TOLD, WORKED, WRONG, row};
use crate::contract::{Order, Subject};

/// Does the operation by a call on a backend on which `cell` is to come of it: what came of it, or what else happened.
///
/// # Errors
/// The operation came back with something, or the crossing ended in a fault, that is in no cell of the table.
///
/// # Panics
/// There is no such row, or no sandbox.
pub fn by_call(subject: &Subject<'_>, name: &str, cell: Does) -> Result<Does, String> {
    let row = row(name).unwrap();
    let sandbox = prepare(subject, row, cell);
    judge(sandbox.call(|(name, told): (&str, i32)| perform(name, told), (name, TOLD.get())), row)
}

/// As [`by_call`], by a run.
///
/// # Errors
/// As [`by_call`].
///
/// # Panics
/// As [`by_call`].
pub fn by_run(subject: &Subject<'_>, name: &str, cell: Does) -> Result<Does, String> {
    let row = row(name).unwrap();
    let sandbox = prepare(subject, row, cell);
    let told = TOLD.get();
    judge(sandbox.run(|| perform(name, told)), row)
}

/// Inside.
fn perform(name: &str, told: i32) -> Answer {
    TOLD.set(told);
    row(name).map_or(WRONG, |row| (row.perform)())
}

fn prepare(subject: &Subject<'_>, row: &Row, cell: Does) -> Sandbox {
    (row.before)();
    let policy = match row.lend {
        Some(lend) => Policy::compute().lend(lend().unwrap()),
        None => Policy::compute(),
    };
    let wall = if cell == Does::TimesOut { Duration::from_millis(300) } else { Duration::from_secs(20) };
    let limits = Limits::new().wall(wall).processes(row.processes);
    let sandbox =
        subject.order(Order { config: Config { limits, policy, ..Config::default() }, ..Order::default() });
    (row.after)();
    sandbox.unwrap()
}

/// What was seen, to be compared with a cell.
fn judge(result: Result<Answer, Error>, row: &Row) -> Result<Does, String> {
    let error = match result {
        Ok(WORKED) if (row.seen)() => return Ok(Does::Works),
        Ok(WORKED) => return Ok(Does::PrivateCopy),
        Ok(OUTDATED) => return Ok(Does::Outdated),
        Ok(number) if number < 0 => return Ok(Does::Refused(-number)),
        Ok(_) => return Err("the operation came back with something else".to_owned()),
        Err(error) => error,
    };
    match error.fault().map(Fault::kind) {
        Some(FaultKind::Syscall { number: Some(number) }) => Ok(Does::Denied(*number)),
        Some(FaultKind::KeyViolation) => Ok(Does::Touches),
        Some(FaultKind::Panic) => Ok(Does::Panics),
        Some(FaultKind::Abort) => Ok(Does::Aborts),
        Some(FaultKind::Exit { code }) => Ok(Does::Exits(*code)),
        Some(FaultKind::Timeout) => Ok(Does::TimesOut),
        _ => Err(format!("{error:#}")),
    }
}
