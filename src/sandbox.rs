//! The sandbox with the backends of this build.

use std::ops::Deref;

use ringfence_core::{Bincode, Error};

use crate::builder::{Backend, Builder};

/// Runs closures and functions where they cannot hurt the caller: [`ringfence_core::Sandbox`], with ways to build it.
#[derive(Debug)]
pub struct Sandbox<C = Bincode>(pub(crate) ringfence_core::Sandbox<C>);

impl Sandbox {
    /// A builder, with [`Backend::Auto`] and the default limits and policy.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Forked workers, with the defaults.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn process() -> Result<Self, Error> {
        Self::builder().backend(Backend::Process).build()
    }

    /// Domains of this process behind memory protection keys, with the defaults.
    ///
    /// # Errors
    /// As [`Builder::build`]; [`Error::Unavailable`] names what the machine, the kernel or the program lacks.
    pub fn mpk() -> Result<Self, Error> {
        Self::builder().backend(Backend::Mpk).build()
    }

    /// No isolation at all, for measuring and debugging.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn direct() -> Result<Self, Error> {
        Self::builder().backend(Backend::Direct).build()
    }

    /// The backend that runs the most code unchanged: the process backend.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn auto() -> Result<Self, Error> {
        Self::builder().build()
    }
}

impl<C> Clone for Sandbox<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> Deref for Sandbox<C> {
    type Target = ringfence_core::Sandbox<C>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
