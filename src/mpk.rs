//! Domains, where the C library is one whose threads they know how to imitate.

use ringfence_core::backend::Backend;
use ringfence_core::{Config, Error, Threat};

/// The MPK backend.
#[cfg(target_env = "gnu")]
pub(crate) fn build(config: &Config, threat: Option<Threat>) -> Result<Box<dyn Backend>, Error> {
    Ok(Box::new(ringfence_mpk::Mpk::new(config, threat)?))
}

/// Why there is none.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn build(_: &Config, _: Option<Threat>) -> Result<Box<dyn Backend>, Error> {
    Err(ringfence_core::Unavailable::backend("mpk", "this program's C library is not glibc").into())
}
