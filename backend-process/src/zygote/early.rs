//! A zygote forked while the program is small and has one thread, from which all later ones are made.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal};
use nix::sys::socket::{Shutdown, shutdown};
use ringfence_core::Error;
use ringfence_core::images::Images;
use serde::{Deserialize, Serialize};

use crate::zygote::process::{Ends, live};
use crate::zygote::protocol::Seed;
use crate::zygote::{birth, link, packet};

/// The host's end of the early zygote.
#[derive(Debug)]
struct Early {
    socket: OwnedFd,
    seeds: IpcSender<Seed>,
    /// Keeps the process from being mistaken for another once it is reaped.
    _pidfd: OwnedFd,
    alone: bool,
    /// What was loaded when it was forked.
    images: Arc<Images>,
}

static EARLY: OnceLock<Mutex<Early>> = OnceLock::new();

/// The early zygote says nothing back; ipc-channel wants a message type all the same.
#[derive(Debug, Serialize, Deserialize)]
struct Nothing;

/// Forks the process from which the workers of all later sandboxes descend. Call it at the top of `main`, while the program is small
/// and has one thread: workers then start in the same time however large the program grows, and cannot inherit a lock that another
/// thread held. Later calls do nothing.
///
/// # Errors
/// Why the process could not be forked.
///
/// # Cost
/// One fork, and one idle process for the life of the program.
pub fn early() -> Result<(), Error> {
    if EARLY.get().is_some() {
        return Ok(());
    }
    let failed = |errno| Error::os("start the early zygote", errno);
    ringfence_core::origin::mark()?;
    crate::inside::note_panics();
    let alone = crate::threads::count() == Some(1);
    let images = Images::capture();
    link::prepare_ipc()?;
    let (ours, theirs) = packet::pair().map_err(failed)?;
    let (seeds, their_seeds) =
        ipc::channel::<Seed>().map_err(|error| Error::os("open a control channel", error))?;
    let (unused, _) =
        ipc::channel::<Nothing>().map_err(|error| Error::os("open a control channel", error))?;
    let held = crate::fork_lock::forking();
    let forked = birth::fork_off(move || {
        let ended = birth::shed(theirs, their_seeds, unused)
            .and_then(|(socket, seeds, _)| spawn_zygotes(&socket, &seeds));
        i32::from(ended.is_err())
    });
    drop(held);
    let (_, pidfd) = forked.map_err(failed)?;
    // Two threads that race here both forked one; the loser's sees its socket close and ends.
    let _ = EARLY.set(Mutex::new(Early { socket: ours, seeds, _pidfd: pidfd, alone, images }));
    Ok(())
}

/// Whether the early zygote was forked from a program with one thread.
pub(crate) fn was_alone() -> bool {
    EARLY.get().is_some_and(|early| early.lock().unwrap_or_else(PoisonError::into_inner).alone)
}

/// What was loaded when the early zygote was forked: what its descendants have.
pub(crate) fn images() -> Option<Arc<Images>> {
    EARLY.get().map(|early| Arc::clone(&early.lock().unwrap_or_else(PoisonError::into_inner).images))
}

/// Makes a zygote of the early one. Gives the ends back when there is none, or none any more.
pub(crate) fn adopt(seed: Seed, socket: OwnedFd) -> Result<(), (Seed, OwnedFd)> {
    let Some(early) = EARLY.get() else { return Err((seed, socket)) };
    let early = early.lock().unwrap_or_else(PoisonError::into_inner);
    let deaf = packet::wait(early.socket.as_fd(), std::time::Instant::now());
    // It never sends: something to read is its hang-up.
    if deaf != Ok(false) {
        return Err((seed, socket));
    }
    // Lost ends are noticed by the link, which waits for the new zygote's first words.
    if early.seeds.send(seed).is_ok() && packet::send(early.socket.as_fd(), &[socket.as_raw_fd()]).is_err() {
        // A seed without its socket would be taken for the next one's: the early zygote cannot be used again.
        let _ = shutdown(early.socket.as_raw_fd(), Shutdown::Both);
    }
    Ok(())
}

/// The early zygote's life: one child for each seed, until the host hangs up.
fn spawn_zygotes(socket: &OwnedFd, seeds: &IpcReceiver<Seed>) -> Result<(), Errno> {
    ringfence_core::origin::adopt();
    // Ignoring it lets the kernel reap: nobody asks how a zygote of this one ended.
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    birth::set_handler(Signal::SIGCHLD, &ignore)?;
    while let Some(mut descriptors) = packet::receive(socket.as_fd())? {
        let Ok(Seed { commands, notices }) = seeds.recv() else { return Ok(()) };
        let Some(theirs) = descriptors.pop() else { continue };
        // A fork that is refused drops the ends, which the link notices.
        let _ = birth::fork_off(move || {
            let ended = birth::shed(theirs, commands, notices)
                .and_then(|(socket, commands, notices)| live(&Ends { socket, commands, notices }));
            i32::from(ended.is_err())
        });
    }
    Ok(())
}
