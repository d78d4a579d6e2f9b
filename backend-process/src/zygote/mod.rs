//! The zygote: a small process that forks workers, so that a new worker costs the same however large the host has grown.
//!
//! The host keeps a [`Link`] to each. Commands and notices go over ipc-channel; each is accompanied by one packet on a
//! `SOCK_SEQPACKET` pair, which carries descriptors, can be polled with a deadline, and whose hang-up tells either side that the
//! other is gone. A worker holds no end of either.

mod birth;
mod early;
mod link;
mod packet;
mod process;
mod protocol;

pub(crate) use self::birth::{adopt_descriptor, vanish};
pub(crate) use self::link::{Link, PATIENCE, Spawned};
pub(crate) use self::protocol::{Armed, End, Haste, Setup};

pub use self::early::early;
pub(crate) use self::early::{images as early_images, was_alone};

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Whether the process of a pidfd has ended, or does so in time.
pub(crate) fn ended_within(pidfd: BorrowedFd<'_>, duration: Duration) -> bool {
    // A pidfd becomes readable when its process ends.
    packet::wait(pidfd, Instant::now() + duration).unwrap_or(false)
}
