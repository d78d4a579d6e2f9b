//! Choosing a backend and building it.

use std::env;
use std::str::FromStr;

use ringfence_core::{Codec, Config, ConfigurationError, Direct, Error, Limits, Policy, Threat, Waiting};
use ringfence_passport::Tracker;
use ringfence_process::Process;

use crate::mpk;
use crate::sandbox::Sandbox;

/// Which backend to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Backend {
    /// The one that runs the most code unchanged: [`Backend::Process`].
    #[default]
    Auto,
    /// The one with the cheapest crossing that is there and meets the threat and what is required: [`Backend::Mpk`], else
    /// [`Backend::Process`].
    Fastest,
    /// Forked workers over shared memory.
    Process,
    /// Memory protection keys, in this process.
    Mpk,
    /// No isolation.
    Direct,
}

impl FromStr for Backend {
    type Err = ConfigurationError;

    /// `auto`, `fastest`, `process`, `mpk` or `direct`.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "auto" => Ok(Self::Auto),
            "fastest" => Ok(Self::Fastest),
            "process" => Ok(Self::Process),
            "mpk" => Ok(Self::Mpk),
            "direct" => Ok(Self::Direct),
            _ => Err(ConfigurationError::new("backend must be auto, fastest, process, mpk or direct")),
        }
    }
}

/// The environment variable that [`Builder::backend_from_env`] reads.
const VARIABLE: &str = "RINGFENCE_BACKEND";

/// Collects what a sandbox is built from.
///
/// ```
/// use std::time::Duration;
/// use ringfence::{Backend, Limits, Policy, Sandbox};
///
/// let sandbox = Sandbox::builder()
///     .backend(Backend::Process)
///     .limits(Limits::new().wall(Duration::from_millis(500)))
///     .policy(Policy::compute())
///     .workers(2)
///     .build()?;
/// # Ok::<(), ringfence::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Builder {
    backend: Backend,
    from_env: bool,
    config: Config,
    threat: Option<Threat>,
    tracker: Option<Tracker>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The backend.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// Lets the environment variable `RINGFENCE_BACKEND` (`auto`, `fastest`, `process`, `mpk` or `direct`) choose the backend where it is set. It never goes
    /// below what the threat or a required item asks for: a choice that cannot meet them is an error.
    pub fn backend_from_env(mut self) -> Self {
        self.from_env = true;
        self
    }

    /// The limits of each isolate.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// What the isolates may ask of the kernel.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.config.policy = policy;
        self
    }

    /// What the sandbox must hold against. Without it, whatever the backend enforces is taken.
    pub fn threat(mut self, threat: Threat) -> Self {
        self.threat = Some(threat);
        self
    }

    /// How many calls may run side by side: 1 to 1,024, and 1 by default. Further callers wait.
    pub fn workers(mut self, workers: usize) -> Self {
        self.config.workers = workers;
        self
    }

    /// How caller and worker wait for one another.
    pub fn waiting(mut self, waiting: Waiting) -> Self {
        self.config.waiting = waiting;
        self
    }

    /// Where crossings leave their evidence; the [global tracker](Tracker::global) without it.
    pub fn tracker(mut self, tracker: Tracker) -> Self {
        self.tracker = Some(tracker);
        self
    }

    /// Builds the sandbox with the default codec.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a value out of range; [`Error::Unavailable`] where the backend is not there or cannot meet the threat
    /// or a required item; [`Error::Os`] where the kernel refuses.
    pub fn build(self) -> Result<Sandbox, Error> {
        self.build_with()
    }

    /// Builds the sandbox with a codec.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_with<C: Codec>(self) -> Result<Sandbox<C>, Error> {
        self.config.validate()?;
        let backend: Box<dyn ringfence_core::backend::Backend> = match self.chosen()? {
            Backend::Auto | Backend::Process => Box::new(Process::new(&self.config, self.threat)?),
            Backend::Mpk => mpk::build(&self.config, self.threat)?,
            Backend::Fastest => match mpk::build(&self.config, self.threat) {
                Ok(mpk) => mpk,
                Err(Error::Unavailable(_)) => Box::new(Process::new(&self.config, self.threat)?),
                Err(error) => return Err(error),
            },
            Backend::Direct => {
                if let Some(threat) = self.threat {
                    return Err(Direct::refuse(threat).into());
                }
                Box::new(Direct::new(&self.config)?)
            }
        };
        let tracker = self.tracker.unwrap_or_else(Tracker::global);
        Ok(Sandbox(ringfence_core::Sandbox::new(backend, &self.config.limits, tracker)))
    }

    fn chosen(&self) -> Result<Backend, Error> {
        match env::var(VARIABLE) {
            Ok(name) if self.from_env => Ok(name.parse()?),
            _ => Ok(self.backend),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact() {
        assert_eq!("process".parse(), Ok(Backend::Process));
        assert!("Process".parse::<Backend>().is_err());
    }
}
