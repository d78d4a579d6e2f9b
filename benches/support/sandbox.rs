//! The rows this bench is about: ringfence itself.

use std::io;

use ringfence::{Backend, Policy, Sandbox, Waiting};

use super::variant::{Action, Closure, Subject, Variant};
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

/// `run` of a closure that captures its argument, with the default policy and without a filter on system calls.
pub(crate) fn runs() -> io::Result<Vec<Box<dyn Action>>> {
    let run = |name: &'static str, policy: Policy| -> io::Result<Box<dyn Action>> {
        let sandbox = Sandbox::builder().backend(Backend::Process).policy(policy).build();
        let sandbox = sandbox.map_err(io::Error::other)?;
        let captured: Vec<u8> = (0..64).collect();
        Ok(Box::new(Closure::new(name, move || {
            let sum = sandbox.run(|| work::sum(&captured)).map_err(io::Error::other)?;
            match sum == work::sum(&captured) {
                true => Ok(()),
                false => Err(io::Error::new(io::ErrorKind::InvalidData, "wrong answer")),
            }
        })))
    };
    Ok(vec![run(RUN, Policy::compute())?, run(RUN_UNFILTERED, Policy::unfiltered())?])
}

pub(crate) const RUN: &str = "ringfence run";
pub(crate) const RUN_UNFILTERED: &str = "ringfence run, no system-call filter";

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
        self.sandbox
            .call(|(bytes, k): (&[u8], u64)| work::add(bytes, k), (bytes, k))
            .map_err(io::Error::other)
    }
}
