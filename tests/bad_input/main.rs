//! Hosts, machines and values that are not as one would like them: each gives an error that says so, and costs the program nothing
//! else.
//!
//! What is process-wide is changed in a process that runs that test only.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's own helpers cannot have fails the test"
)]

mod children;
mod environment;
mod forked;
mod loss;
mod not_loaded;
mod panics;
mod scarcity;
mod values;
