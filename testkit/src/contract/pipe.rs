//! A pipe whose ends are lent to isolates: how a test knows that code is inside, and lets it go on.
//!
//! # Safety
//! The unsafe code makes a pipe, and inside reads and writes descriptors by number, which changes no memory but a byte of its own frame.
#![expect(unsafe_code, reason = "pipes, and descriptors that inside are only numbers")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

/// A pipe.
#[derive(Debug, Clone)]
pub struct Pipe {
    reader: Arc<OwnedFd>,
    writer: Arc<OwnedFd>,
}

impl Pipe {
    /// An empty pipe.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new() -> io::Result<Self> {
        let mut ends = [-1; 2];
        // SAFETY: `ends` has room for the two numbers.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let [reader, writer] = ends.map(|end| {
            // SAFETY: the kernel has just opened it for this process, and nobody else owns it.
            Arc::new(unsafe { OwnedFd::from_raw_fd(end) })
        });
        Ok(Self { reader, writer })
    }

    /// A second descriptor of the reading end, to be lent. Its number is what the inside reads from.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn lend_reader(&self) -> io::Result<(OwnedFd, i32)> {
        let end = self.reader.try_clone()?;
        let number = end.as_raw_fd();
        Ok((end, number))
    }

    /// A second descriptor of the writing end, to be lent.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn lend_writer(&self) -> io::Result<(OwnedFd, i32)> {
        let end = self.writer.try_clone()?;
        let number = end.as_raw_fd();
        Ok((end, number))
    }

    /// Writes `count` bytes: lets so many readers go on.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn put(&self, count: usize) -> io::Result<()> {
        File::from(self.writer.try_clone()?).write_all(&vec![b'.'; count])
    }

    /// Reads `count` bytes: waits until so many have written.
    ///
    /// # Errors
    /// No byte came for half a minute, or the kernel refuses.
    pub fn take(&self, count: usize) -> io::Result<()> {
        const PATIENCE_MS: i32 = 30_000;
        let mut file = File::from(self.reader.try_clone()?);
        for _ in 0..count {
            let mut waited = libc::pollfd { fd: self.reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one valid entry, writable for the call's duration.
            if unsafe { libc::poll(&raw mut waited, 1, PATIENCE_MS) } != 1 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            file.read_exact(&mut [0])?;
        }
        Ok(())
    }
}

/// Inside: writes a byte to `arrived`, and waits for one from `leave`. Whether both went well.
#[must_use]
pub fn meet((arrived, leave): (i32, i32)) -> bool {
    // SAFETY: reads one byte of a constant.
    let written = unsafe { libc::write(arrived, b".".as_ptr().cast(), 1) };
    let mut byte = 0_u8;
    // SAFETY: `byte` has room for one byte.
    let read = unsafe { libc::read(leave, (&raw mut byte).cast(), 1) };
    (written, read) == (1, 1)
}
