//! Runs unsafe and foreign code where it cannot hurt the program that calls it.
//!
//! ```
//! use ringfence::Sandbox;
//!
//! let sandbox = Sandbox::process()?;
//! let text = String::from("captured as it is now");
//! let length = sandbox.run(|| text.len())?;
//! let sum = sandbox.call(|bytes: &[u8]| bytes.iter().map(|&b| u64::from(b)).sum::<u64>(), &[1, 2, 3][..])?;
//! assert_eq!((length, sum), (21, 6));
//!
//! let fault = sandbox.run(|| unsafe { std::ptr::null_mut::<u8>().write_volatile(1) }).unwrap_err();
//! println!("{fault:#}");
//! # Ok::<(), ringfence::Error>(())
//! ```
//!
//! A [`Sandbox`] runs closures ([`run`](ringfence_core::Sandbox::run)) and functions ([`call`](ringfence_core::Sandbox::call)); a [`Session`] keeps state from call to
//! call. Whatever goes wrong inside is a [`Fault`]. What is enforced here and now is in [`guarantees`](ringfence_core::Sandbox::guarantees).

mod builder;
mod mpk;
mod sandbox;

pub use builder::{Backend, Builder};
pub use ringfence_core::{
    Bincode, Codec, ConfigurationError, Confinement, Error, Fault, FaultKind, Guarantee, Guarantees, Item,
    Limits, OsError, Owned, Policy, Portable, Processes, Serde, Session, Status, Threat, Unavailable,
    Waiting, codec, fault,
};
pub use ringfence_passport as passport;
pub use ringfence_passport::Tracker;
pub use ringfence_process::early;
pub use sandbox::Sandbox;

/// The README's example is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
