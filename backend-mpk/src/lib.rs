//! Runs work on its caller's thread, in **domains** of this process: memory with a protection key of its own, entered through a gate that
//! takes away the right to store anywhere else. A fault inside rewinds to the gate.
//!
//! | module | what it owns |
//! |---|---|
//! | `gate`, `gate.s`, `control` | the way in and out, and what it knows of a thread |
//! | `signal`, `context`, `dispositions` | what happens on a signal, inside and outside |
//! | `thread`, `arena` | what a thread needs before it can go inside |
//! | `domain`, `region`, `keys`, `tls` | a domain's memory, its key, its thread-local storage |
//! | `job`, `words`, `trap` | what runs inside beside the work |
//! | `syscalls`, `watchdog` | what code inside may ask of the kernel, and for how long |
//! | `autopsy`, `record`, `touched` | from a signal to a fault |
//! | `machine`, `probe` | whether all this works here |
//! | `backend`, `pool`, `shared` | the contract's traits |
//!
//! With another C library than glibc the package is empty.

#![cfg(target_env = "gnu")]

mod arena;
mod autopsy;
mod backend;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod clock;
mod context;
mod control;
mod dispositions;
mod domain;
mod gate;
mod job;
mod keys;
mod machine;
mod pool;
mod probe;
mod record;
mod region;
mod shared;
mod signal;
mod syscalls;
mod thread;
mod tls;
mod touched;
mod trap;
mod watchdog;
mod words;

pub use backend::Mpk;

/// The backend's name, as it stands in records.
const NAME: &str = "mpk";
