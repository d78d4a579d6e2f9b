//! Which descriptors are open inside.
//!
//! # Safety
//! Closes and replaces descriptors by number, in processes that hold no owner of the closed ones that would ever run again.
#![expect(unsafe_code, reason = "close_range and dup2 by number")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

/// Opens the null device.
pub(crate) fn null_device() -> Result<OwnedFd, Errno> {
    open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
}

/// Makes descriptor `number` another name of `file`, replacing what was open there. It survives no exec other than 0–2 would.
pub(crate) fn point_at(number: RawFd, file: BorrowedFd<'_>) -> Result<(), Errno> {
    if file.as_raw_fd() == number {
        return Ok(());
    }
    // SAFETY: dup2 touches the descriptor table only; the caller means to replace `number`.
    let result = unsafe { libc::dup2(file.as_fd().as_raw_fd(), number) };
    Errno::result(result).map(drop)
}

/// Closes every descriptor but `kept`, which is ascending.
///
/// # Safety
/// The process never again uses or drops an owner of a descriptor that is closed here.
pub(crate) unsafe fn keep_only(kept: &[RawFd]) -> Result<(), Errno> {
    let mut first = 0u32;
    for &number in kept {
        let number = u32::try_from(number).map_err(|_| Errno::EBADF)?;
        if number > first {
            // SAFETY: the caller's promise.
            unsafe { close_range(first, number - 1) }?;
        }
        first = first.max(number + 1);
    }
    // SAFETY: the caller's promise.
    unsafe { close_range(first, u32::MAX) }
}

/// # Safety
/// As [`keep_only`].
unsafe fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: close_range touches the descriptor table only, and the caller promises that no owner of these descriptors acts again.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    Errno::result(result).map(drop)
}
