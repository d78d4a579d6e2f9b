//! What an isolate writes to its standard error, kept for the fault that may follow.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::uio::pread;
use nix::unistd::{Whence, ftruncate, lseek};

use crate::error::Error;

/// Room for output between two rewinds. Writes beyond it fail inside.
const CAPTURE_BYTES: usize = 256 << 10;
/// The most of it that goes into a fault.
const TAIL_BYTES: usize = 4 << 10;

/// A memory file that stands for descriptor 2 inside. Host and isolate share its file offset, so the host can see how much was
/// written and start it over.
#[derive(Debug)]
pub struct Capture {
    file: OwnedFd,
}

impl Capture {
    /// An empty capture.
    pub fn new() -> Result<Self, Error> {
        Ok(Self { file: sealed_file(c"ringfence-stderr", CAPTURE_BYTES)? })
    }

    /// The descriptor's number.
    #[must_use]
    pub fn number(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Starts over. One system call.
    pub fn rewind(&self) {
        // The only way this fails is a descriptor that cannot seek, which a memory file is not.
        let _ = lseek(&self.file, 0, Whence::SeekSet);
    }

    /// Starts over when it is half full. One system call.
    pub fn rewind_if_full(&self) {
        if self.written() > CAPTURE_BYTES / 2 {
            self.rewind();
        }
    }

    fn written(&self) -> usize {
        let offset = lseek(&self.file, 0, Whence::SeekCur).unwrap_or(0);
        usize::try_from(offset).map_or(0, |offset| offset.min(CAPTURE_BYTES))
    }

    /// What was written since the last rewind, which this is one of. One system call if that is nothing.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        let contents = self.contents();
        if !contents.is_empty() {
            self.rewind();
        }
        contents
    }

    /// What was written since the last rewind.
    pub fn contents(&self) -> Vec<u8> {
        let written = self.written();
        if written == 0 {
            return Vec::new();
        }
        let mut contents = vec![0; written];
        let read = pread(&self.file, &mut contents, 0).unwrap_or(0);
        contents.truncate(read);
        contents
    }
}

/// Whether the Rust or C++ runtime said, before it aborted, that it was for want of memory.
#[must_use]
pub fn gives_up_for_want_of_memory(contents: &[u8]) -> bool {
    const LINES: [&[u8]; 2] =
        [b"memory allocation of ", b"terminate called after throwing an instance of 'std::bad_alloc'"];
    contents.split(|&byte| byte == b'\n').any(|line| LINES.iter().any(|text| line.starts_with(text)))
}

/// What of a capture goes into a fault: its end.
pub fn tail(mut contents: Vec<u8>) -> Vec<u8> {
    contents.split_off(contents.len().saturating_sub(TAIL_BYTES))
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A shared memory file whose length is fixed before anyone else sees it: one that shrinks would be a SIGBUS in the host.
pub fn sealed_file(name: &std::ffi::CStr, bytes: usize) -> Result<OwnedFd, Error> {
    let file = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)
        .map_err(|errno| Error::os("create shared memory", errno))?;
    let length =
        i64::try_from(bytes).map_err(|_| Error::os("size shared memory", nix::errno::Errno::EFBIG))?;
    ftruncate(&file, length).map_err(|errno| Error::os("size shared memory", errno))?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(|errno| Error::os("seal shared memory", errno))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::write;

    #[test]
    fn the_tail_is_the_end_and_a_full_capture_starts_over() {
        let capture = Capture::new().unwrap();
        for line in 0..40_000 {
            write(&capture, format!("line {line}\n").as_bytes()).ok();
            capture.rewind_if_full();
        }
        let tail = String::from_utf8(tail(capture.contents())).unwrap();
        assert!(tail.ends_with("line 39999\n"), "{tail}");
        assert!(tail.len() <= TAIL_BYTES);
    }

    #[test]
    fn writes_beyond_the_room_fail_and_keep_what_was_written() {
        let capture = Capture::new().unwrap();
        let chunk = vec![b'x'; CAPTURE_BYTES];
        assert_eq!(write(&capture, &chunk).unwrap(), CAPTURE_BYTES);
        assert!(write(&capture, b"y").is_err());
        assert_eq!(capture.contents(), chunk);
        assert_eq!(tail(chunk), vec![b'x'; TAIL_BYTES]);
    }

    #[test]
    fn the_file_can_neither_shrink_nor_grow_nor_lose_its_seals() {
        let file = sealed_file(c"test", 8192).unwrap();
        assert_eq!(ftruncate(&file, 4096), Err(nix::errno::Errno::EPERM));
        assert_eq!(ftruncate(&file, 16384), Err(nix::errno::Errno::EPERM));
        let more = fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE));
        assert_eq!(more, Err(nix::errno::Errno::EPERM));
    }
}
