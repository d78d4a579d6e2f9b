//! Baseline: ipc-channel's byte channels with a forked child.
//!
//! The payload travels through the channel; which function to run and `k` are left in a shared header line, so that the peer
//! is not charged for joining them with the payload. Neither side waits with a timeout.
//!
//! Copies: into and out of a socket, each way, by the kernel, into a fresh vector of the receiver's. Syscalls per call: two of each
//! side's for a small payload; about 30 in all at 1 MiB (fragments over a socket pair of their own).

use std::io;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, bytes_channel};

use super::arena::Arena;
use super::child::Child;
use super::placement::{Placement, Rule};
use super::shm::Operation;
use super::variant::{Subject, Variant};
use super::work;

/// A child behind two byte channels.
pub(crate) struct IpcChannel {
    name: String,
    to: IpcBytesSender,
    from: IpcBytesReceiver,
    header: Arena,
    placement: Placement,
    _child: Child,
}

impl IpcChannel {
    /// Forks the child.
    pub(crate) fn new(rule: Rule) -> io::Result<Self> {
        let header = Arena::new(0)?;
        let (to, request_out) = bytes_channel()?;
        let (reply_in, from) = bytes_channel()?;
        let child = Child::spawn(|| serve(&header, &request_out, &reply_in))?;
        let placement = Placement::new(rule, child.pid())?;
        Ok(Self {
            name: format!("ipc-channel, {}", rule.label()),
            to,
            from,
            header,
            placement,
            _child: child,
        })
    }

    fn exchange(&mut self, operation: Operation, bytes: &[u8], k: u64) -> io::Result<Vec<u8>> {
        self.placement.apply()?;
        self.header.request().value.store(k, Relaxed);
        self.header.request().operation.store(operation as u32, Release);
        self.to.send(bytes)?;
        self.from.recv().map_err(io::Error::other)
    }
}

/// The child's loop. Ends with an error when the host's end closes.
fn serve(header: &Arena, from: &IpcBytesReceiver, to: &IpcBytesSender) -> io::Result<()> {
    const STEP: u32 = Operation::Step as u32;
    const SUM: u32 = Operation::Sum as u32;
    loop {
        let bytes = from.recv().map_err(io::Error::other)?;
        match header.request().operation.load(Acquire) {
            STEP => to.send(&work::step(number(&bytes)?).to_le_bytes())?,
            SUM => to.send(&work::sum(&bytes).to_le_bytes())?,
            _ => to.send(&work::add(&bytes, header.request().value.load(Relaxed)))?,
        }
    }
}

fn number(bytes: &[u8]) -> io::Result<u64> {
    bytes
        .try_into()
        .map(u64::from_le_bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the message is not 8 bytes long"))
}

impl Variant for IpcChannel {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Subject for IpcChannel {
    fn step(&mut self, x: u64) -> io::Result<u64> {
        number(&self.exchange(Operation::Step, &x.to_le_bytes(), 0)?)
    }

    fn sum(&mut self, bytes: &[u8]) -> io::Result<u64> {
        number(&self.exchange(Operation::Sum, bytes, 0)?)
    }

    fn add(&mut self, bytes: &[u8], k: u64) -> io::Result<Vec<u8>> {
        self.exchange(Operation::Add, bytes, k)
    }
}
