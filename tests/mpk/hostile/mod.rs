//! What code inside might try, each with a control in which the defence is off.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests: what is not as it should be fails them")]

mod answers;
mod calls;
mod doors;
mod forged;
mod gaps;
mod jumps;
mod leaving;
mod machine;
mod memory;
mod registers;
mod storm;
mod support;
mod syscalls;

use libtest_mimic::Trial;

pub(crate) use machine::own_wrpkru;

pub(crate) fn trials() -> Vec<Trial> {
    support::all([
        answers::trials(),
        doors::trials(),
        gaps::trials(),
        jumps::trials(),
        leaving::trials(),
        memory::trials(),
        registers::trials(),
        storm::trials(),
        syscalls::trials(),
    ])
}
