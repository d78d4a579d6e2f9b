//! Packets that carry descriptors between host and zygote.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};

use crate::zygote::adopt_descriptor;

/// The most descriptors in one packet: those that are lent, and one.
pub(crate) const MOST_DESCRIPTORS: usize = 65;

/// A connected pair.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}

/// Sends one packet. Never raises SIGPIPE.
pub(crate) fn send(socket: BorrowedFd<'_>, descriptors: &[RawFd]) -> Result<(), Errno> {
    let payload = [IoSlice::new(b"!")];
    let rights = [ControlMessage::ScmRights(descriptors)];
    let control = if descriptors.is_empty() { &rights[..0] } else { &rights[..] };
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &payload, control, MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EINTR) => {}
            result => return result.map(drop),
        }
    }
}

/// Receives one packet's descriptors; `None` when the other side is gone.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> Result<Option<Vec<OwnedFd>>, Errno> {
    let mut byte = [0u8; 1];
    let mut payload = [IoSliceMut::new(&mut byte)];
    let mut control = nix::cmsg_space!([RawFd; MOST_DESCRIPTORS]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut payload, Some(&mut control), flags) {
            Err(Errno::EINTR) => {}
            Err(Errno::ECONNRESET) => return Ok(None),
            result => break result?,
        }
    };
    if message.bytes == 0 {
        return Ok(None);
    }
    // Descriptors for which this process has no room are left out by the kernel. The packet counts all the same: the message that goes
    // with it would otherwise be taken for the next one's.
    let controls = match message.cmsgs() {
        Err(Errno::ENOBUFS) => return Ok(Some(Vec::new())),
        controls => controls?,
    };
    let mut descriptors = Vec::new();
    for control in controls {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            descriptors.extend(numbers.into_iter().map(adopt_descriptor));
        }
    }
    Ok(Some(descriptors))
}

/// Waits until a packet or the hang-up can be received; false when the time is over.
pub(crate) fn wait(socket: BorrowedFd<'_>, deadline: Instant) -> Result<bool, Errno> {
    loop {
        let mut sockets = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut sockets, poll_timeout(deadline.saturating_duration_since(Instant::now()))) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(0) if Instant::now() >= deadline => return Ok(false),
            Ok(0) => {}
            Ok(_) => return Ok(true),
        }
    }
}

/// A duration as `poll` takes it, rounded up to milliseconds.
pub(crate) fn poll_timeout(duration: Duration) -> PollTimeout {
    let milliseconds = duration.as_nanos().div_ceil(1_000_000);
    PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_arrive_and_a_hang_up_is_told_apart_from_silence() {
        let (left, right) = pair().unwrap();
        let soon = || Instant::now() + Duration::from_millis(5);
        assert!(!wait(right.as_fd(), soon()).unwrap());
        send(left.as_fd(), &[left.as_raw_fd()]).unwrap();
        assert!(wait(right.as_fd(), soon()).unwrap());
        assert_eq!(receive(right.as_fd()).unwrap().unwrap().len(), 1);
        drop(left);
        assert!(wait(right.as_fd(), soon()).unwrap());
        assert!(receive(right.as_fd()).unwrap().is_none());
        assert_eq!(send(right.as_fd(), &[]), Err(Errno::EPIPE));
    }
}
