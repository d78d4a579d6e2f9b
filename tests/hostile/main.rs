//! Attacks on the process backend. Each test has the attacker's wish as its name, and a control in which the defence is off and the
//! same attack succeeds.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what cannot be had, or goes through, fails the test")]

mod channel;
mod code;
mod descriptors;
mod ends;
mod memory;
mod processes;
mod reply;
mod report;
mod sizes;
mod support;
