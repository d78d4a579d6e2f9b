//! A forked child that cannot outlive the bench.
//!
//! # Safety
//! What a child runs is this bench's code: system calls, atomics and the allocator, which glibc's `fork` leaves usable in the child
//! whatever other threads were doing. Children that need more (ipc-channel) are forked before anything starts a thread. A child
//! leaves by `_exit` and never returns into its caller's frames.

#![expect(unsafe_code, reason = "fork and _exit")]

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};

/// A live child; killed and reaped when dropped.
pub(crate) struct Child {
    pid: Pid,
}

impl Child {
    /// Forks a child that runs `body` and ends.
    ///
    /// The kernel kills it when the thread that forked it ends, which for the bench's main thread is the end of the bench.
    pub(crate) fn spawn(body: impl FnOnce() -> io::Result<()>) -> io::Result<Self> {
        let parent = getpid();
        let pid = fork_with(|| {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() == parent { body() } else { Ok(()) }
        })?;
        Ok(Self { pid })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}

/// Forks, runs `body` in the child, ends the child with `_exit` (0 when it succeeded) and gives the host its process number.
///
/// The caller reaps it. Cost: one fork.
pub(crate) fn fork_with(body: impl FnOnce() -> io::Result<()>) -> io::Result<Pid> {
    // SAFETY: fork's obligation is that the child of a process with several threads does only what is safe there: the bodies
    // take no lock but the allocator's, which glibc's fork makes consistent in the child (see the module's section).
    let forked = unsafe { fork() }?;
    match forked {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let code = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(Ok(())) => 0,
                Ok(Err(_)) | Err(_) => 1,
            };
            // SAFETY: _exit has no preconditions; it runs no destructor and no atexit handler of the host.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Waits for a child made by [`fork_with`] to end.
///
/// # Errors
/// If it ended in any way but `_exit(0)`.
pub(crate) fn reap(pid: Pid) -> io::Result<()> {
    match waitpid(pid, None)? {
        WaitStatus::Exited(_, 0) => Ok(()),
        status => Err(io::Error::other(format!("the child ended with {status:?}"))),
    }
}
