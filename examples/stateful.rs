//! Keeps an SQLite database in a session, crashes the session on purpose, and starts it again.
//!
//! ```sh
//! cargo run --release --example stateful [NAME=AMOUNT]…
//! ```
//!
//! # Safety
//! The function that crashes is called in a session of the process backend only.
#![expect(unsafe_code, reason = "calls a C function that crashes")]

#[path = "ffi/sqlite.rs"]
mod sqlite;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use ringfence::{Sandbox, Session};

const TABLE: &str = "CREATE TABLE stock (name TEXT NOT NULL, amount INTEGER NOT NULL)";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stateful: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    // Isolates descend from the program as it is here: small, and with one thread.
    ringfence::early()?;
    let rows = rows()?;
    let sandbox = Sandbox::process()?;

    // One isolate. What a call leaves behind, here a database, is there for the next.
    let mut session = sandbox.session()?;
    fill(&mut session, &rows)?;
    print_totals(&mut session)?;

    // SAFETY: a session of the process backend is a process of its own; the crash ends that process and nothing else.
    match session.call(|()| unsafe { ringfence_testkit::fixtures::null_write() }, ()) {
        Ok(()) => return Err("a write to address 0 succeeded".into()),
        Err(error) => println!("fault: {}", error.fault().ok_or("the crash did not begin")?),
    }

    // The database died with the isolate, and nothing pretends that it did not.
    match session.call(sqlite::totals, ()) {
        Err(ringfence::Error::Stale) => println!("next call: {}", ringfence::Error::Stale),
        other => return Err(format!("expected a stale session, found {other:?}").into()),
    }

    session.reset()?;
    match session.call(sqlite::totals, ())? {
        Err(message) => println!("after reset: {message}\n"),
        Ok(_) => return Err("the database outlived its isolate".into()),
    }
    fill(&mut session, &rows)?;
    print_totals(&mut session)
}

fn fill(session: &mut Session, rows: &[(String, i64)]) -> Result<(), Box<dyn Error>> {
    session.call(sqlite::open, ())??;
    session.call(sqlite::execute, TABLE)??;
    for (name, amount) in rows {
        session.call(sqlite::insert, (name.as_str(), *amount))??;
    }
    println!("inserted {} rows", rows.len());
    Ok(())
}

fn print_totals(session: &mut Session) -> Result<(), Box<dyn Error>> {
    for (name, count, sum) in session.call(sqlite::totals, ())?? {
        println!("  {name:<12} {count:>3} rows, {sum:>6} in all");
    }
    println!();
    Ok(())
}

/// The rows of the command line, or a few of our own.
fn rows() -> Result<Vec<(String, i64)>, String> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    if arguments.is_empty() {
        let rows = [("oil", 40), ("wicks", 12), ("oil", 25), ("glass", 2)];
        return Ok(rows.map(|(name, amount)| (name.to_owned(), amount)).to_vec());
    }
    let row = |argument: &std::ffi::OsString| {
        let (name, amount) = argument.to_str()?.split_once('=')?;
        Some((name.to_owned(), amount.parse().ok()?))
    };
    let parsed = arguments.iter().map(|argument| {
        row(argument).ok_or_else(|| {
            format!("{}: not a row; usage: stateful [NAME=AMOUNT]…", argument.to_string_lossy())
        })
    });
    parsed.collect()
}
