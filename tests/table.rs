//! Every cell of the operation × backend table but those of MPK, and the page that is printed from it.
//!
//! The direct backend runs in a forked child, which an operation may change or end at will.
//!
//! # Safety
//! A child writes its verdict to a descriptor it owns.
#![expect(
    unsafe_code,
    reason = "writes to a duplicate of the child's output, since the operation may close the output itself"
)]
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

mod support;

use std::{env, fs};

use ringfence::{Backend, Error, Sandbox};
use ringfence_testkit::child::{self, End};
use ringfence_testkit::contract::{Order, Subject};
use ringfence_testkit::table::{self, Does};

fn process(order: Order) -> Result<ringfence_core::Sandbox, Error> {
    support::build(Sandbox::builder().backend(Backend::Process), order)
}

fn direct(order: Order) -> Result<ringfence_core::Sandbox, Error> {
    support::build(Sandbox::builder().backend(Backend::Direct), order)
}

fn check_call(name: &str) {
    let row = table::row(name).unwrap();
    assert_eq!(table::by_call(&Subject::new(&process), name, row.call), Ok(row.call), "{}", row.operation);
}

fn check_run(name: &str) {
    let row = table::row(name).unwrap();
    assert_eq!(table::by_run(&Subject::new(&process), name, row.run), Ok(row.run), "{}", row.operation);
}

fn check_direct(name: &str) {
    let row = table::row(name).unwrap();
    let work = || {
        // SAFETY: a duplicate of this child's own output, above what an operation opens or closes.
        let output = unsafe { libc::fcntl(1, libc::F_DUPFD, 500) };
        let text = format!("{:?}", table::by_run(&Subject::new(&direct), name, row.direct));
        // SAFETY: the text is readable for its length.
        let written = unsafe { libc::write(output, text.as_ptr().cast(), text.len()) };
        i32::from(usize::try_from(written) != Ok(text.len()))
    };
    match row.direct {
        Does::Hangs => {
            assert_eq!(child::run_stuck(work).unwrap().end, End::Signal(libc::SIGALRM), "{}", row.operation);
        }
        Does::Ends(end) => {
            let outcome = child::run(work).unwrap();
            let seen = String::from_utf8_lossy(&outcome.stdout).into_owned();
            assert_eq!((outcome.end, seen.contains("Ok(")), (end, false), "{}: {seen}", row.operation);
        }
        does => {
            let outcome = child::run(work).unwrap();
            let seen = String::from_utf8_lossy(&outcome.stdout).into_owned();
            let expected = format!("{:?}", Ok::<Does, String>(does));
            assert!(
                outcome.end == End::Exit(0) && seen.ends_with(&expected),
                "{}: {seen}, {:?}",
                row.operation,
                outcome.end
            );
        }
    }
}

macro_rules! cells {
    ($($name:ident)*) => {
        mod call {
            $(#[test] fn $name() { super::check_call(stringify!($name)); })*
        }
        mod run {
            $(#[test] fn $name() { super::check_run(stringify!($name)); })*
        }
        mod direct {
            $(#[test] fn $name() { super::check_direct(stringify!($name)); })*
        }
    };
}

ringfence_testkit::every_row!(cells);

#[test]
fn the_page_is_printed_from_the_rows() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
    let page = table::page();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, &page).unwrap();
    }
    let on_disk = fs::read_to_string(path).unwrap_or_default();
    assert!(on_disk == page, "docs/operations.md is not what the rows say: run with UPDATE_DOCS=1");
}

#[test]
fn what_was_written_to_standard_error_is_in_the_fault() {
    let sandbox = Sandbox::process().unwrap();
    let noisy = || {
        use std::io::Write as _;
        // Not `eprintln!`, which the test harness catches.
        writeln!(std::io::stderr(), "the last words").unwrap();
        std::process::abort()
    };
    let results: [Result<(), Error>; 2] = [sandbox.call(move |()| noisy(), ()), sandbox.run(noisy)];
    for result in results {
        let error = result.unwrap_err();
        let tail = error.fault().unwrap().stderr_tail();
        assert_eq!(String::from_utf8_lossy(tail), "the last words\n");
    }
}

#[test]
fn state_lives_from_call_to_call_of_one_session() {
    let sandbox = Sandbox::process().unwrap();
    // SAFETY: an isolate has one thread.
    let count = |()| unsafe { ringfence_testkit::fixtures::static_counter() };
    let mut session = sandbox.session().unwrap();
    let first: Vec<i64> = (0..3).map(|_| session.call(count, ()).unwrap()).collect();
    session.reset().unwrap();
    let after_reset = session.call(count, ()).unwrap();
    assert_eq!((first[1] - first[0], first[2] - first[0], after_reset), (1, 2, first[0]));
}

#[test]
fn a_captured_cell_is_a_copy() {
    let cell = std::cell::Cell::new(1);
    let inside = Sandbox::process().unwrap().run(|| {
        cell.set(2);
        cell.get()
    });
    assert_eq!((inside.unwrap(), cell.get()), (2, 1));
    let direct = Sandbox::direct().unwrap().run(|| cell.set(3));
    assert_eq!((direct.is_ok(), cell.get()), (true, 3));
}
