//! Baseline: two pipes with Sandcrust's wire format (its pipe mode with raw byte vectors).
//!
//! Request: the function's address, 8 bytes little-endian (the same in both processes, as the child is a fork), then the arguments:
//! numbers as 8 bytes, slices as a `u64` length and the bytes. Reply: the byte `'1'`, then the result in the same form. Both
//! directions are buffered with 8 KiB; larger payloads bypass the buffer. Neither side waits with a timeout.
//! The child compares the address with the ones it knows instead of jumping to it, which costs less than the jump.
//!
//! Copies: into the pipe and out of it, each way, by the kernel; below 8 KiB also through the buffers. Syscalls per call:
//! two of each side's for a small payload; one more per 64 KiB and side for a large one, with a context switch each.
//!
//! # Safety
//! The kernel is handed only the spare capacity of a live vector, whose length grows by what the kernel says it wrote.

#![expect(unsafe_code, reason = "reading into a vector that is not zeroed first")]

use std::io::{self, BufRead, BufReader, BufWriter, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;

use super::child::Child;
use super::placement::{Placement, Rule};
use super::variant::{Subject, Variant};
use super::work;

const BUFFER_BYTES: usize = 8 * 1024;

/// A child behind two pipes.
pub(crate) struct Pipes {
    name: String,
    end: End,
    placement: Placement,
    _child: Child,
}

impl Pipes {
    /// Forks the child.
    pub(crate) fn new(rule: Rule) -> io::Result<Self> {
        let (request_out, request_in) = io::pipe()?;
        let (reply_out, reply_in) = io::pipe()?;
        let child = Child::spawn(|| serve(End::new(request_out, reply_in)))?;
        let placement = Placement::new(rule, child.pid())?;
        let name = format!("pipes, Sandcrust's wire, {}", rule.label());
        Ok(Self { name, end: End::new(reply_out, request_in), placement, _child: child })
    }

    fn expect_ok(&mut self) -> io::Result<()> {
        match self.end.byte()? {
            b'1' => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the reply's status is not 1")),
        }
    }
}

impl Variant for Pipes {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Subject for Pipes {
    fn step(&mut self, x: u64) -> io::Result<u64> {
        self.placement.apply()?;
        self.end.put_number(step_address())?;
        self.end.put_number(x)?;
        self.end.to.flush()?;
        self.expect_ok()?;
        self.end.number()
    }

    fn sum(&mut self, bytes: &[u8]) -> io::Result<u64> {
        self.placement.apply()?;
        self.end.put_number(sum_address())?;
        self.end.put_bytes(bytes)?;
        self.end.to.flush()?;
        self.expect_ok()?;
        self.end.number()
    }

    fn add(&mut self, bytes: &[u8], k: u64) -> io::Result<Vec<u8>> {
        self.placement.apply()?;
        self.end.put_number(add_address())?;
        self.end.put_number(k)?;
        self.end.put_bytes(bytes)?;
        self.end.to.flush()?;
        self.expect_ok()?;
        self.end.bytes()
    }
}

fn step_address() -> u64 {
    work::step as fn(u64) -> u64 as usize as u64
}

fn sum_address() -> u64 {
    work::sum as fn(&[u8]) -> u64 as usize as u64
}

fn add_address() -> u64 {
    work::add as fn(&[u8], u64) -> Vec<u8> as usize as u64
}

/// The child's loop. Ends with an error when the host's end closes.
fn serve(mut end: End) -> io::Result<()> {
    loop {
        let function = end.number()?;
        if function == step_address() {
            let x = end.number()?;
            end.to.write_all(b"1")?;
            end.put_number(work::step(x))?;
        } else if function == sum_address() {
            let bytes = end.bytes()?;
            end.to.write_all(b"1")?;
            end.put_number(work::sum(&bytes))?;
        } else if function == add_address() {
            let k = end.number()?;
            let bytes = end.bytes()?;
            end.to.write_all(b"1")?;
            end.put_bytes(&work::add(&bytes, k))?;
        } else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "unknown function"));
        }
        end.to.flush()?;
    }
}

/// One side's two pipe ends.
struct End {
    from: BufReader<PipeReader>,
    to: BufWriter<PipeWriter>,
}

impl End {
    fn new(from: PipeReader, to: PipeWriter) -> Self {
        Self {
            from: BufReader::with_capacity(BUFFER_BYTES, from),
            to: BufWriter::with_capacity(BUFFER_BYTES, to),
        }
    }

    fn put_number(&mut self, number: u64) -> io::Result<()> {
        self.to.write_all(&number.to_le_bytes())
    }

    fn put_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put_number(bytes.len() as u64)?;
        self.to.write_all(bytes)
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0; 1];
        self.from.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut number = [0; 8];
        self.from.read_exact(&mut number)?;
        Ok(u64::from_le_bytes(number))
    }

    /// A length and as many bytes, the last thing in its message, so that a read never takes bytes of what follows.
    fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let len_bytes = self.number()? as usize;
        let mut bytes = Vec::with_capacity(len_bytes);
        let buffered = self.from.buffer().len().min(len_bytes);
        bytes.extend_from_slice(self.from.buffer().get(..buffered).unwrap_or_default());
        self.from.consume(buffered);
        while bytes.len() < len_bytes {
            match read_more(self.from.get_ref(), &mut bytes, len_bytes)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => count,
            };
        }
        Ok(bytes)
    }
}

/// One `read` that makes `bytes` `len_bytes` long at most. Returns how many bytes came.
fn read_more(from: &PipeReader, bytes: &mut Vec<u8>, len_bytes: usize) -> io::Result<usize> {
    let spare = bytes.spare_capacity_mut();
    let wanted = spare.len().min(len_bytes);
    // SAFETY: `spare` is writable for its length, which `wanted` does not exceed, and lives through the call.
    let count = unsafe { libc::read(from.as_raw_fd(), spare.as_mut_ptr().cast(), wanted) };
    let Ok(count) = usize::try_from(count) else { return Err(io::Error::last_os_error()) };
    // SAFETY: the kernel wrote `count` bytes at the start of the spare capacity, so the new length is within the capacity
    // and everything below it is initialised.
    unsafe { bytes.set_len(bytes.len() + count) };
    Ok(count)
}
