//! SQLite as a few Rust functions for a session: the connection lives in a static of the isolate, and its pointer never leaves it.
//!
//! # Safety
//! A connection is never closed, so one that was loaded from the static stays valid. A [`Statement`] is finalized once, by its drop.
#![expect(unsafe_code, reason = "calls SQLite")]

use std::ffi::{CStr, c_int};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicPtr, Ordering};

use libsqlite3_sys as ffi;

static DATABASE: AtomicPtr<ffi::sqlite3> = AtomicPtr::new(ptr::null_mut());

/// Opens an empty database in memory, in place of the one before.
pub(crate) fn open((): ()) -> Result<(), String> {
    let mut database = ptr::null_mut();
    // SAFETY: the name is a C string and `database` is writable.
    let status = unsafe { ffi::sqlite3_open(c":memory:".as_ptr(), &raw mut database) };
    if status != ffi::SQLITE_OK {
        return Err(message(status));
    }
    DATABASE.store(database, Ordering::Release);
    Ok(())
}

/// Runs a statement that has no result.
pub(crate) fn execute(sql: &str) -> Result<(), String> {
    Statement::prepare(sql)?.step().map(drop)
}

pub(crate) fn insert((name, amount): (&str, i64)) -> Result<(), String> {
    let mut insert = Statement::prepare("INSERT INTO stock (name, amount) VALUES (?1, ?2)")?;
    insert.bind_text(1, name)?;
    insert.bind_number(2, amount)?;
    insert.step().map(drop)
}

/// For each name, how many rows there are and what they add up to.
pub(crate) fn totals((): ()) -> Result<Vec<(String, i64, i64)>, String> {
    let mut query = Statement::prepare(
        "SELECT name, count(*), sum(amount) FROM stock GROUP BY name ORDER BY sum(amount) DESC, name",
    )?;
    let mut rows = Vec::new();
    while query.step()? {
        rows.push((query.text(0), query.number(1), query.number(2)));
    }
    Ok(rows)
}

/// INVARIANT: the pointer is a prepared statement that nobody else has.
struct Statement(NonNull<ffi::sqlite3_stmt>);

impl Statement {
    fn prepare(sql: &str) -> Result<Self, String> {
        let database = DATABASE.load(Ordering::Acquire);
        if database.is_null() {
            return Err("no database is open".to_owned());
        }
        let mut statement = ptr::null_mut();
        let (text, rest) = (sql.as_ptr().cast(), ptr::null_mut());
        // SAFETY: the connection is open, `text` is readable for the given length, `statement` is writable, and SQLite permits a
        // null `rest`.
        let status =
            unsafe { ffi::sqlite3_prepare_v2(database, text, length(sql)?, &raw mut statement, rest) };
        check(status)?;
        NonNull::new(statement).map(Self).ok_or_else(|| "the statement is empty".to_owned())
    }

    fn bind_text(&mut self, index: c_int, text: &str) -> Result<(), String> {
        let (start, length, copied) = (text.as_ptr().cast(), length(text)?, ffi::SQLITE_TRANSIENT());
        // SAFETY: the statement is prepared; `start` is readable for `length` bytes, and SQLite makes its own copy of them now.
        check(unsafe { ffi::sqlite3_bind_text(self.0.as_ptr(), index, start, length, copied) })
    }

    fn bind_number(&mut self, index: c_int, number: i64) -> Result<(), String> {
        // SAFETY: the statement is prepared.
        check(unsafe { ffi::sqlite3_bind_int64(self.0.as_ptr(), index, number) })
    }

    /// Whether there is another row.
    fn step(&mut self) -> Result<bool, String> {
        // SAFETY: the statement is prepared.
        match unsafe { ffi::sqlite3_step(self.0.as_ptr()) } {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => Ok(false),
            status => Err(message(status)),
        }
    }

    fn number(&self, column: c_int) -> i64 {
        // SAFETY: the statement is prepared; a column that is not there is null, which is 0 as a number.
        unsafe { ffi::sqlite3_column_int64(self.0.as_ptr(), column) }
    }

    fn text(&self, column: c_int) -> String {
        // SAFETY: the statement is prepared; a column that is not there is null.
        let start = unsafe { ffi::sqlite3_column_text(self.0.as_ptr(), column) };
        // SAFETY: as above; asked for after the text, it is the text's length.
        let length = unsafe { ffi::sqlite3_column_bytes(self.0.as_ptr(), column) };
        match usize::try_from(length) {
            Ok(length) if !start.is_null() => {
                // SAFETY: SQLite keeps `length` bytes at `start` until the next step, which the borrow of `self` excludes.
                let bytes = unsafe { slice::from_raw_parts(start, length) };
                String::from_utf8_lossy(bytes).into_owned()
            }
            _ => String::new(),
        }
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        // SAFETY: the statement is prepared and nobody uses it after this. The status repeats that of the last step.
        unsafe { ffi::sqlite3_finalize(self.0.as_ptr()) };
    }
}

fn length(text: &str) -> Result<c_int, String> {
    c_int::try_from(text.len()).map_err(|_| "the text is longer than SQLite takes".to_owned())
}

fn check(status: c_int) -> Result<(), String> {
    if status == ffi::SQLITE_OK { Ok(()) } else { Err(message(status)) }
}

fn message(status: c_int) -> String {
    // SAFETY: takes any number.
    let text = unsafe { ffi::sqlite3_errstr(status) };
    // SAFETY: it is a C string that lives as long as the program.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
