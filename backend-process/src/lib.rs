//! Runs work in forked processes: workers over shared memory for calls and sessions, a fork of the caller for closures.
//!
//! A **zygote** is forked when a sandbox is built, or at the top of `main` by [`early`]. It does nothing but fork **workers** and reap
//! them, so a worker costs the same however large the program has grown. Worker and caller share one sealed memory file, the
//! **channel**, and wake each other by futex. See ARCHITECTURE.md for who owns what and why.

mod autopsy;
mod backend;
mod caller_stack;
mod channel;
mod confine;
mod cpu;
mod fork_lock;
mod futex;
mod inside;
mod layout;
mod mapping;
mod pool;
mod report;
mod shared;
mod snapshot;
mod spin;
mod threads;
mod worker;
mod zygote;

pub use backend::Process;
pub use zygote::early;

/// The backend's name, as it stands in records.
const NAME: &str = "process";
