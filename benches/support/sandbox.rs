//! The rows this bench is about: ringfence itself.

use std::io;

use ringfence::{Backend, Policy, Sandbox, Tracker, Waiting};

use super::variant::{Subject, Variant};
use super::work;

/// A sandbox as a way to call functions.
pub(crate) struct Sandboxed {
    name: &'static str,
    sandbox: Sandbox,
}

pub(crate) const CALL: &str = "ringfence call";
pub(crate) const HOT_CALL: &str = "ringfence call, hot";
pub(crate) const DIRECT: &str = "ringfence, direct backend";

impl Sandboxed {
    /// The process backend as it is built by default.
    pub(crate) fn process() -> io::Result<Self> {
        Self::new(CALL, Backend::Process, Waiting::Sleep)
    }

    /// The process backend in hot mode.
    pub(crate) fn hot() -> io::Result<Self> {
        Self::new(HOT_CALL, Backend::Process, Waiting::Spin)
    }

    /// The backend that isolates nothing: what encoding and decoding alone cost.
    pub(crate) fn direct() -> io::Result<Self> {
        Self::new(DIRECT, Backend::Direct, Waiting::Sleep)
    }

    fn new(name: &'static str, backend: Backend, waiting: Waiting) -> io::Result<Self> {
        let builder = Sandbox::builder().backend(backend).waiting(waiting);
        Ok(Self { name, sandbox: builder.build().map_err(io::Error::other)? })
    }
}

/// A sandbox that leaves no evidence and filters nothing, and one with the defaults: what `run` costs with and without.
pub(crate) fn for_runs() -> io::Result<(Sandbox, Sandbox)> {
    let confined = Sandbox::process().map_err(io::Error::other)?;
    let unfiltered = Sandbox::builder().backend(Backend::Process).policy(Policy::unfiltered());
    let unfiltered = unfiltered.tracker(Tracker::disabled()).build().map_err(io::Error::other)?;
    Ok((confined, unfiltered))
}

impl Variant for Sandboxed {
    fn name(&self) -> &str {
        self.name
    }
}

impl Subject for Sandboxed {
    fn step(&mut self, x: u64) -> io::Result<u64> {
        self.sandbox.call(work::step, x).map_err(io::Error::other)
    }

    fn sum(&mut self, bytes: &[u8]) -> io::Result<u64> {
        self.sandbox.call(work::sum, bytes).map_err(io::Error::other)
    }

    fn add(&mut self, bytes: &[u8], k: u64) -> io::Result<Vec<u8>> {
        self.sandbox.call(|(bytes, k): (&[u8], u64)| work::add(bytes, k), (bytes, k)).map_err(io::Error::other)
    }
}
