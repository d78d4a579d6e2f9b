//! Everything a backend is built from.

use std::time::Duration;

use crate::error::ConfigurationError;
use crate::limits::Limits;
use crate::policy::Policy;

/// How a caller and a worker wait for one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Waiting {
    /// Sleep. The worker follows the caller's CPU for short calls, which spares two cross-CPU wake-ups.
    #[default]
    Sleep,
    /// Spin on another CPU for a moment, then sleep: the shortest round trip for calls up to about 6 KiB, paid for with CPU
    /// time on both sides. Falls back to [`Waiting::Sleep`] where the caller may use one CPU only.
    Spin,
}

impl Waiting {
    /// How long [`Waiting::Spin`] spins before it sleeps. Below about 50 µs a pair can end up asleep on every call, since a wake-up
    /// outlasts the other side's patience.
    pub const SPIN: Duration = Duration::from_micros(100);
}

/// What a backend is built from.
#[derive(Debug, Clone)]
pub struct Config {
    /// Limits of each isolate.
    pub limits: Limits,
    /// What the isolates may ask of the kernel.
    pub policy: Policy,
    /// Isolates that may serve calls side by side.
    pub workers: usize,
    /// How caller and isolate wait.
    pub waiting: Waiting,
}

impl Default for Config {
    fn default() -> Self {
        Self { limits: Limits::default(), policy: Policy::default(), workers: 1, waiting: Waiting::default() }
    }
}

impl Config {
    /// Whether every value is in range.
    ///
    /// # Errors
    /// The first that is not: limits and policy as they say, workers 1 to 1,024.
    pub fn validate(&self) -> Result<(), ConfigurationError> {
        if !(1..=1024).contains(&self.workers) {
            return Err(ConfigurationError::new("workers must be 1 to 1,024"));
        }
        self.limits.validate()?;
        self.policy.validate()
    }
}
