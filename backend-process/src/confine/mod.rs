//! Taking away what the code inside does not need.
//!
//! The zygote arms itself once, so that workers inherit nearly everything for nothing; a worker then gives up what only the zygote
//! needs. A snapshot, forked from the host, does it all itself.

mod descriptors;
mod filter;
mod privileges;
mod program;
mod resources;

pub(crate) use self::descriptors::{keep_only, null_device, point_at};
pub(crate) use self::filter::Filters;
pub(crate) use self::privileges::give_up_privileges;
pub(crate) use self::resources::{OwnSize, Resources, limit};
