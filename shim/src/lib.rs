//! The `malloc` family and other C library symbols, routed to a domain's heap inside a domain and to the C library elsewhere.
//!
//! A domain runs on its caller's thread with a thread pointer of its own, and may write only its own memory. Where its copy of one
//! thread-local variable holds the address of a [`DomainHeap`], every allocation made there, by Rust, C or C++, comes from that heap;
//! where the variable is null, as in every ordinary thread, nothing changes but a handful of instructions.
//!
//! # Two ways in
//! | way | routes | for |
//! |---|---|---|
//! | feature `interpose` (default) | C, C++, and Rust through the default global allocator | programs that leave `malloc` to the C library |
//! | [`Routed`] | Rust only | programs with a `#[global_allocator]`, or with a `malloc`, of their own |
//!
//! [`routing`] tries out which of them holds in the running program.
//!
//! # How a shared library's calls come here
//! The dynamic linker binds `malloc` to the first definition in search order, and the program comes before its libraries. A program
//! exports such a definition by itself: linkers put a symbol into the dynamic table when a library on the link line, here `libc.so.6`,
//! defines or needs it too. What libc calls within itself (`abort` from its own assertions, `__chk_fail` from `__memcpy_chk`) it does
//! not look up, and it does not come here. Not routed either: a Rust library that a foreign program loads, whose own libraries come
//! first.
//!
//! # Platforms
//! x86-64 Linux. The interposed symbols exist with glibc, linked dynamically; with another C library the feature does nothing.

mod allocator;
mod chunk;
mod ends;
mod heap;
#[cfg(all(feature = "interpose", target_env = "gnu", not(target_feature = "crt-static")))]
mod interposed;
mod message;
mod region;
mod route;
mod signals;
mod trial;

pub use allocator::Routed;
pub use ends::{End, on_end};
pub use heap::DomainHeap;
pub use message::message_site;
#[doc(hidden)]
pub use route::set_route;
pub use route::{inside, route_offset};
pub use signals::{Sigaction, bit_of, keep_signals, on_sigaction};
pub use trial::{Routing, routing};
