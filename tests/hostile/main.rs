//! Attacks on the process backend. Each test has the attacker's wish as its name, and a control in which the defence is off and the
//! same attack succeeds.

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
