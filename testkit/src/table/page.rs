//! The table as a page for readers.

use std::fmt::Write as _;

use ringfence_core::fault::syscall_name;

use super::{Does, ROWS};
use crate::child::End;

const HEAD: &str = "\
# Operations and backends

What code inside a sandbox may do, and what comes of it. Every cell is a test (`tests/table.rs`, and `tests/mpk` for the MPK
column), and this page is printed from the same rows: `UPDATE_DOCS=1 cargo test -p ringfence --test table` rewrites it.

- **works**: as without a sandbox; what it changes is changed for the caller too, if there is anything to change.
- **private copy**: works inside, and the caller sees nothing of it. In a `Sandbox::call` the copy is gone after some call; in a `Session` it lives until
  the session ends; in a `run` it ends with the closure.
- **outdated**: works on what the caller had when the sandbox was built.
- **refused**: comes back with an error, and the code inside goes on.
- **fault**: the crossing ends with that fault; the caller goes on.
- **ends the program**, **hangs**: as without a sandbox.

The process and the MPK backend are shown with `Policy::compute()` and the default limits, unless the operation says otherwise.

On the MPK backend the code inside runs on the caller's thread, in the caller's process, and `call` and `run` do the same. It reads the caller's memory
as it is now and cannot write it: what changes a static, takes a lock, or runs into a library that does either, is a key violation. Its stack, heap and
thread-locals are its own.

| operation | process, `call` | process, `run` | MPK | direct | remark |
|---|---|---|---|---|---|
";

/// The page.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(HEAD);
    for (_, row) in ROWS {
        let [call, run, mpk, direct] = [row.call, row.run, row.mpk, row.direct].map(words);
        // A string takes every write.
        let _ = writeln!(page, "| {} | {call} | {run} | {mpk} | {direct} | {} |", row.operation, row.remark);
    }
    page
}

fn words(does: Does) -> String {
    match does {
        Does::Works => "works".to_owned(),
        Does::PrivateCopy => "private copy".to_owned(),
        Does::Outdated => "outdated".to_owned(),
        Does::Refused(number) => format!("refused: {}", errno_name(number)),
        Does::Denied(number) => {
            let name = syscall_name(number).map_or_else(|| number.to_string(), |name| format!("`{name}`"));
            format!("fault: system call {name}")
        }
        Does::Touches => "fault: key violation".to_owned(),
        Does::Panics => "fault: panic".to_owned(),
        Does::Aborts => "fault: abort".to_owned(),
        Does::Exits(status) => format!("fault: exit {status}"),
        Does::TimesOut => "fault: timeout".to_owned(),
        Does::Ends(End::Exit(status)) => format!("ends the program: exit {status}"),
        Does::Ends(End::Signal(libc::SIGABRT)) => "ends the program: abort".to_owned(),
        Does::Ends(End::Signal(signal)) => format!("ends the program: signal {signal}"),
        Does::Hangs => "hangs".to_owned(),
    }
}

fn errno_name(number: i32) -> String {
    match number {
        libc::EACCES => "`EACCES`".to_owned(),
        libc::EPERM => "`EPERM`".to_owned(),
        libc::EMFILE => "`EMFILE`".to_owned(),
        libc::EBADF => "`EBADF`".to_owned(),
        libc::ENOMEM => "`ENOMEM`".to_owned(),
        libc::ENOENT => "`ENOENT`".to_owned(),
        number => format!("error {number}"),
    }
}
