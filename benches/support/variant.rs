//! What the sampler times.

use std::io;

/// One row of a table: something with a name that can be told to be quiet while others are measured.
pub(crate) trait Variant {
    /// The row's name; unique in its table.
    fn name(&self) -> &str;

    /// Gets ready for a slice. Not timed.
    fn resume(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Leaves the CPUs to the others: children that spin go to sleep. Children that sleep between calls need nothing.
    fn park(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A way to call the functions of [`work`](super::work). Each method is timed whole, so it holds nothing but the call.
pub(crate) trait Subject: Variant {
    /// `work::step(x)`.
    fn step(&mut self, x: u64) -> io::Result<u64>;

    /// `work::sum(bytes)`.
    fn sum(&mut self, bytes: &[u8]) -> io::Result<u64>;

    /// `work::add(bytes, k)`, as a vector the caller owns.
    fn add(&mut self, bytes: &[u8], k: u64) -> io::Result<Vec<u8>>;
}

/// One whole operation that has no answer but success, such as making a process and waiting for its end.
pub(crate) trait Action: Variant {
    /// Does it once. Timed.
    fn act(&mut self) -> io::Result<()>;
}

/// An [`Action`] made of a name and a closure.
pub(crate) struct Closure<F> {
    name: String,
    act: F,
}

impl<F: FnMut() -> io::Result<()>> Closure<F> {
    pub(crate) fn new(name: impl Into<String>, act: F) -> Self {
        Self { name: name.into(), act }
    }
}

impl<F> Variant for Closure<F> {
    fn name(&self) -> &str {
        &self.name
    }
}

impl<F: FnMut() -> io::Result<()>> Action for Closure<F> {
    fn act(&mut self) -> io::Result<()> {
        (self.act)()
    }
}
