//! How a zygote comes to be: forked from the host, with its own ends and nothing else.
//!
//! # Safety
//! Forks the host, which may have many threads. The child runs glibc's fork handlers, so its heap is usable; it takes no lock that
//! another thread of the host could have held, but those of the libraries named in [`process`](super::process).
#![expect(unsafe_code, reason = "fork, and owning descriptors received from the kernel")]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::unistd::{ForkResult, Pid, dup, fork, setpgid};
use rustix::process::{PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::confine::{keep_only, null_device, point_at};

/// Owns a descriptor that the kernel has just put into this process's table.
pub(crate) fn adopt_descriptor(number: RawFd) -> OwnedFd {
    // SAFETY: the callers pass numbers from SCM_RIGHTS messages and from clone's pidfd, which nobody else owns.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Forks a child of this process that runs `child` and ends with its status.
pub(crate) fn fork_off(child: impl FnOnce() -> i32) -> Result<(Pid, OwnedFd), Errno> {
    // SAFETY: the child runs `child` only, which the callers keep to what the module's Safety section allows, and never returns into
    // the code around this call.
    match unsafe { fork() }? {
        ForkResult::Child => vanish(child()),
        ForkResult::Parent { child } => {
            let pid = rustix::process::Pid::from_raw(child.as_raw()).ok_or(Errno::ESRCH)?;
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| {
                // Nobody could wait for it later.
                let _ = nix::sys::signal::kill(child, Signal::SIGKILL);
                let _ = nix::sys::wait::waitpid(child, None);
                Errno::from_raw(errno.raw_os_error())
            })?;
            Ok((child, pidfd))
        }
    }
}

/// Ends this process at once, without handlers that belong to the program it was forked from.
pub(crate) fn vanish(status: i32) -> ! {
    // SAFETY: _exit takes any status and does not return.
    unsafe { libc::_exit(status) }
}

/// Makes a fresh child of the host a process of its own: no handlers of the host's, no terminal, nothing open but the null device
/// on 0–2, `socket`, and the two ends, which are handed back as new objects.
pub(crate) fn shed<R, S>(
    socket: OwnedFd,
    receiver: IpcReceiver<R>,
    sender: IpcSender<S>,
) -> Result<(OwnedFd, IpcReceiver<R>, IpcSender<S>), Errno>
where
    R: for<'d> Deserialize<'d> + Serialize,
    S: for<'d> Deserialize<'d> + Serialize,
{
    reset_signals()?;
    // A group of its own, so that a terminal's signals pass it by, in the session of the host: the scheduler keeps the tasks of one
    // session together (sched(7), autogroup), and a worker in another would drive its caller from CPU to CPU.
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    let null = null_device()?;
    for number in 0..=2 {
        point_at(number, std::os::fd::AsFd::as_fd(&null))?;
    }
    // ipc-channel does not tell its descriptors' numbers, so everything else cannot be closed around them. The ends are parked in
    // a socket whose numbers are known instead: this process has one thread, and the kernel gives out the lowest numbers free.
    let free = [dup(&socket)?, dup(&socket)?];
    let mut kept = vec![0, 1, 2, socket.as_raw_fd(), free[0].as_raw_fd(), free[1].as_raw_fd()];
    kept.sort_unstable();
    drop(free);
    let parking = || Errno::EPROTO;
    let (park, parked) = ipc::channel::<(IpcReceiver<R>, IpcSender<S>)>().map_err(|_| parking())?;
    park.send((receiver, sender)).map_err(|_| parking())?;
    // The null device's own descriptor is among those closed.
    std::mem::forget(null);
    // SAFETY: this is a fresh child: the owners of what is closed belong to the host's code, which does not run here; the null device's
    // was forgotten and the ends' are parked.
    unsafe { keep_only(&kept) }?;
    let (receiver, sender) = parked.recv().map_err(|_| parking())?;
    Ok((socket, receiver, sender))
}

/// Default dispositions, nothing blocked, but no death by a closed socket.
fn reset_signals() -> Result<(), Errno> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator().filter(|signal| !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP)) {
        set_handler(signal, if signal == Signal::SIGPIPE { &ignore } else { &default })?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}

/// Sets a disposition that runs no code of ours.
pub(crate) fn set_handler(signal: Signal, action: &SigAction) -> Result<(), Errno> {
    if !matches!(action.handler(), SigHandler::SigDfl | SigHandler::SigIgn) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: default and ignore run no code.
    unsafe { sigaction(signal, action) }.map(drop)
}
