//! What runs in an isolate beside the work itself: waiting for it, and saying how it died.

mod crash;
mod serve;

pub(crate) use self::crash::{Stacks, arm, begin, note_panics};
pub(crate) use self::serve::{answer, perform, serve, warm_up};

/// The signal by which the host asks an isolate that overran its time where it is.
pub(crate) const WHERE_ARE_YOU: libc::c_int = libc::SIGXCPU;
