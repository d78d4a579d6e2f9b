//! The operation × backend table: what code inside may do, and what comes of it on each backend.
//!
//! [`ROWS`] is the one list. The tests of the facade perform every row on every backend and compare; `docs/operations.md` is printed
//! from it.

mod check;
mod foreign;
mod kernel;
mod language;
mod page;
mod rows;

pub use self::check::{by_call, by_run};
pub use self::page::page;
pub use self::rows::ROWS;

use std::cell::Cell;
use std::os::fd::OwnedFd;

use ringfence_core::Processes;

use crate::child::End;

/// What an operation says of itself: [`WORKED`], [`OUTDATED`], [`WRONG`], or a negated error number.
pub type Answer = i32;
/// It did what its documentation says.
pub const WORKED: Answer = 0;
/// It worked on what the program had when the sandbox was built, not on what the program has now.
pub const OUTDATED: Answer = 1;
/// It came back with something else than it should.
pub const WRONG: Answer = 2;

/// What comes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// It works, and what it changes is changed for the caller too, if there is anything to change.
    Works,
    /// It works on a copy: the caller sees nothing of the change.
    PrivateCopy,
    /// It works on what the caller had when the sandbox was built.
    Outdated,
    /// It comes back with this error number.
    Refused(i32),
    /// A fault: a system call that the policy denies.
    Denied(i64),
    /// A fault: a key violation.
    Touches,
    /// A fault: a panic.
    Panics,
    /// A fault: an abort.
    Aborts,
    /// A fault: the isolate ended with this status.
    Exits(i32),
    /// A fault: the wall-time limit passed.
    TimesOut,
    /// The program itself ends.
    Ends(End),
    /// The caller waits for ever.
    Hangs,
}

/// One operation.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// What it is, for readers.
    pub operation: &'static str,
    /// What a reader should know beside the cells.
    pub remark: &'static str,
    /// Done by the caller before the sandbox is built.
    pub before: fn(),
    /// Done by the caller after the sandbox is built.
    pub after: fn(),
    /// The operation, done inside.
    pub perform: fn() -> Answer,
    /// Whether the caller sees what the operation changed.
    pub seen: fn() -> bool,
    /// A descriptor to lend.
    pub lend: Option<fn() -> std::io::Result<OwnedFd>>,
    /// What the limits permit.
    pub processes: Processes,
    /// `Sandbox::call` and sessions on the process backend.
    pub call: Does,
    /// `Sandbox::run` on the process backend.
    pub run: Does,
    /// Both on the MPK backend.
    pub mpk: Does,
    /// Both on the direct backend.
    pub direct: Does,
}

impl Row {
    const fn new(operation: &'static str, perform: fn() -> Answer) -> Self {
        Self {
            operation,
            remark: "",
            before: || (),
            after: || (),
            perform,
            seen: || true,
            lend: None,
            processes: Processes::Forbidden,
            call: Does::Works,
            run: Does::Works,
            mpk: Does::Works,
            direct: Does::Works,
        }
    }

    const fn remark(self, remark: &'static str) -> Self {
        Self { remark, ..self }
    }

    /// The process backend, both ways.
    const fn process(self, does: Does) -> Self {
        Self { call: does, run: does, ..self }
    }

    /// Both backends that isolate.
    const fn isolated(self, does: Does) -> Self {
        Self { call: does, run: does, mpk: does, ..self }
    }

    /// Every backend.
    const fn everywhere(self, does: Does) -> Self {
        Self { call: does, run: does, mpk: does, direct: does, ..self }
    }

    const fn call(self, does: Does) -> Self {
        Self { call: does, ..self }
    }

    const fn run(self, does: Does) -> Self {
        Self { run: does, ..self }
    }

    const fn mpk(self, does: Does) -> Self {
        Self { mpk: does, ..self }
    }

    /// On the MPK backend it writes to memory of the host.
    const fn touches(self) -> Self {
        self.mpk(Does::Touches)
    }

    const fn direct(self, does: Does) -> Self {
        Self { direct: does, ..self }
    }

    const fn before(self, before: fn()) -> Self {
        Self { before, ..self }
    }

    const fn after(self, after: fn()) -> Self {
        Self { after, ..self }
    }

    /// The operation changes something: on the process backend a copy of it; the MPK backend has no copy.
    const fn changes(self, seen: fn() -> bool) -> Self {
        Self { seen, call: Does::PrivateCopy, run: Does::PrivateCopy, mpk: Does::Touches, ..self }
    }

    const fn lend(self, lend: fn() -> std::io::Result<OwnedFd>) -> Self {
        Self { lend: Some(lend), ..self }
    }

    const fn processes(self, processes: Processes) -> Self {
        Self { processes, ..self }
    }
}

/// The row of a name.
#[must_use]
pub fn row(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|(other, _)| *other == name).map(|(_, row)| row)
}

thread_local! {
    /// A number that the caller has for the operation. It crosses with the work, so that tests which run side by side do not meet.
    static TOLD: Cell<i32> = const { Cell::new(0) };
}
