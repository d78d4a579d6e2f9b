//! The contract every ringfence backend is held to, and the code that crosses the boundary on its behalf.
//!
//! A program depends on the `ringfence` facade; this package is what the backends and the facade share:
//!
//! | module | what it owns |
//! |---|---|
//! | [`backend`] | the sealed traits a backend implements, and their written contract |
//! | [`Sandbox`], [`Session`] | one crossing: encode, enter, take the reply, leave evidence |
//! | [`codec`] | how arguments go in and how a hostile reply is decoded |
//! | [`region`] | raw views of memory that the other side may write at any moment |
//! | [`Limits`], [`Policy`], [`Threat`] | what the caller asks for |
//! | [`Guarantees`] | what is enforced here and now |
//! | [`Fault`], [`Error`] | what went wrong inside, and what went wrong on this side |
//!
//! Nothing here assumes that the isolate is a process.

// The derive names its traits through the crate, also from within it.
#[allow(unused_extern_crates, reason = "used by derived code, in tests only")]
extern crate self as ringfence_core;

pub mod backend;
#[doc(hidden)]
pub mod capture;
pub mod codec;
mod config;
mod direct;
mod entry;
mod error;
mod evidence;
pub mod fault;
mod guarantees;
pub mod images;
mod limits;
#[doc(hidden)]
pub mod origin;
#[doc(hidden)]
pub mod panic_note;
mod policy;
pub mod region;
mod sandbox;
#[doc(hidden)]
pub mod seats;
mod session;
mod threat;
mod unwind;

#[cfg(feature = "serde")]
pub use codec::Serde;
pub use codec::{Bincode, Codec, Owned, Portable};
pub use config::{Config, Waiting};
pub use direct::Direct;
pub use error::{ConfigurationError, Error, OsError, Unavailable};
pub use fault::{Fault, FaultKind};
pub use guarantees::{Guarantee, Guarantees, Item, Status};
pub use limits::{Limits, Processes};
pub use policy::{Confinement, FILE_CALLS, Policy};
pub use ringfence_macros::Portable;
pub use sandbox::Sandbox;
pub use session::Session;
pub use threat::Threat;
