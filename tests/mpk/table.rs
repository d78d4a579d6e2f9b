//! The column of the MPK backend, every row by call and by run.

use libtest_mimic::{Failed, Trial};
use ringfence_testkit::contract::Subject;
use ringfence_testkit::table::{self, Does, ROWS, Row};

use crate::build;

type Check = fn(&Subject<'_>, &str, Does) -> Result<Does, String>;

pub(crate) fn trials() -> Vec<Trial> {
    let ways: [(&str, Check); 2] = [("call", table::by_call), ("run", table::by_run)];
    ways.into_iter().flat_map(|(way, check)| ROWS.iter().map(move |row| trial(way, check, row))).collect()
}

fn trial(way: &str, check: Check, (name, row): &'static (&'static str, Row)) -> Trial {
    Trial::test(format!("table::{way}::{name}"), move || match check(&Subject::new(&build), name, row.mpk) {
        Ok(seen) if seen == row.mpk => Ok(()),
        seen => Err(Failed::from(format!("{}: {seen:?}, not {:?}", row.operation, row.mpk))),
    })
}
