//! Keeps an SQLite database in a session, crashes the session on purpose, and starts it again.
//!
//! ```sh
//! cargo run --release --example stateful -- [NAME=AMOUNT]… [--backend process|mpk|direct]
//! ```
//!
//! SQLite writes variables of its own, which are memory of the program: a domain of the MPK backend ends at the first of them, and says so.
//! Where the backend is not available it says why, and its exit status is 2.
//!
//! # Safety
//! The function that crashes is called only where the sandbox says that it contains faults.
#![expect(unsafe_code, reason = "calls a C function that crashes")]

#[path = "ffi/sqlite.rs"]
mod sqlite;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use ringfence::{Backend, FaultKind, Item, Sandbox, Session, Status};

/// Names and amounts.
type Rows = Vec<(String, i64)>;

const USAGE: &str = "usage: stateful [NAME=AMOUNT]… [--backend process|mpk|direct]";
const FAILED: u8 = 1;
const UNAVAILABLE: u8 = 2;
const TABLE: &str = "CREATE TABLE stock (name TEXT NOT NULL, amount INTEGER NOT NULL)";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stateful: {error}");
            let is_unavailable = matches!(error.downcast_ref(), Some(ringfence::Error::Unavailable(_)));
            ExitCode::from(if is_unavailable { UNAVAILABLE } else { FAILED })
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let (rows, backend) = options()?;
    if matches!(backend, Backend::Auto | Backend::Process) {
        // Isolates descend from the program as it is here: small, and with one thread.
        ringfence::early()?;
    }
    let sandbox = Sandbox::builder().backend(backend).build()?;

    // One isolate. What a call leaves behind, here a database, is there for the next.
    let mut session = sandbox.session()?;
    fill(&mut session, &rows)?;
    print_totals(&mut session)?;

    if sandbox.guarantees().status(Item::FaultContainment) != Status::Enforced {
        println!("this backend contains no faults, so the crash is left out");
        return Ok(());
    }
    // SAFETY: it runs in an isolate that contains faults, as checked above: the crash ends that isolate and nothing else.
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
    let opened = session.call(sqlite::open, ());
    if let Err(error) = &opened
        && error.fault().is_some_and(|fault| fault.kind() == &FaultKind::KeyViolation)
    {
        return Err(format!("SQLite writes variables of its own, and a domain cannot: {error}").into());
    }
    opened??;
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

/// The rows of the command line, or a few of our own; and the backend.
fn options() -> Result<(Rows, Backend), Box<dyn Error>> {
    let (mut rows, mut backend) = (Rows::new(), Backend::Process);
    let mut arguments = env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    while let Some(argument) = arguments.next() {
        if argument == "--backend" {
            let name = arguments.next().ok_or_else(|| format!("--backend needs a value; {USAGE}"))?;
            backend = name.parse()?;
            continue;
        }
        let row = argument.split_once('=').and_then(|(name, amount)| Some((name, amount.parse().ok()?)));
        let (name, amount) = row.ok_or_else(|| format!("{argument}: not a row; {USAGE}"))?;
        rows.push((name.to_owned(), amount));
    }
    if rows.is_empty() {
        let some = [("oil", 40), ("wicks", 12), ("oil", 25), ("glass", 2)];
        rows = some.map(|(name, amount)| (name.to_owned(), amount)).to_vec();
    }
    Ok((rows, backend))
}
