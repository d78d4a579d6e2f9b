//! Taking away what the code inside does not need.
//!
//! The zygote arms itself once, so that workers inherit nearly everything for nothing; a worker then gives up what only the zygote
//! needs. A snapshot, forked from the host, does it all itself.

mod descriptors;
mod filter;
mod resources;

pub(crate) use self::descriptors::{keep_only, null_device, point_at};
pub(crate) use self::filter::Filters;
pub(crate) use self::resources::{OwnSize, Resources, limit};

use nix::errno::Errno;
use nix::sys::prctl;

/// Gives up gaining privileges by exec, and being attached to or dumped. Inherited by children.
pub(crate) fn give_up_privileges() -> Result<(), Errno> {
    prctl::set_no_new_privs()?;
    prctl::set_dumpable(false)
}
