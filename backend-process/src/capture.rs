//! What an isolate writes to its standard error, kept for the fault that may follow.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::uio::pread;
use nix::unistd::{Whence, lseek};
use ringfence_core::Error;

use crate::channel::sealed_file;

/// Room for output between two rewinds. Writes beyond it fail inside.
const CAPTURE_BYTES: usize = 256 << 10;
/// The most of it that goes into a fault.
const TAIL_BYTES: usize = 4 << 10;

/// A memory file that stands for descriptor 2 inside. Host and isolate share its file offset, so the host can see how much was
/// written and start it over.
#[derive(Debug)]
pub(crate) struct Capture {
    file: OwnedFd,
}

impl Capture {
    /// An empty capture.
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self { file: sealed_file(c"ringfence-stderr", CAPTURE_BYTES)? })
    }

    /// Starts over. One system call.
    pub(crate) fn rewind(&self) {
        // The only way this fails is a descriptor that cannot seek, which a memory file is not.
        let _ = lseek(&self.file, 0, Whence::SeekSet);
    }

    /// Starts over when it is half full. One system call.
    pub(crate) fn rewind_if_full(&self) {
        if self.written() > CAPTURE_BYTES / 2 {
            self.rewind();
        }
    }

    fn written(&self) -> usize {
        let offset = lseek(&self.file, 0, Whence::SeekCur).unwrap_or(0);
        usize::try_from(offset).map_or(0, |offset| offset.min(CAPTURE_BYTES))
    }

    /// What was written since the last rewind.
    pub(crate) fn contents(&self) -> Vec<u8> {
        let mut contents = vec![0; self.written()];
        let read = pread(&self.file, &mut contents, 0).unwrap_or(0);
        contents.truncate(read);
        contents
    }
}

/// What of a capture goes into a fault: its end.
pub(crate) fn tail(mut contents: Vec<u8>) -> Vec<u8> {
    contents.split_off(contents.len().saturating_sub(TAIL_BYTES))
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
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
}
