//! The host's side of one zygote.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, shutdown};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use ringfence_core::Error;
use rustix::process::{PidfdFlags, Signal, pidfd_send_signal};

use crate::zygote::process::{Ends, live};
use crate::zygote::protocol::{Armed, Command, End, Haste, Notice, Seed, Setup};
use crate::zygote::{birth, early, packet};

/// How long a zygote may take to answer before it counts as lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A worker the zygote has made.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
}

/// What is known of one worker.
#[derive(Debug, Default)]
struct Record {
    birth: Option<Result<Spawned, Errno>>,
    end: Option<End>,
    /// Nobody will ask any more.
    released: bool,
}

/// The host's end of one zygote.
#[derive(Debug)]
pub(crate) struct Link {
    socket: OwnedFd,
    commands: IpcSender<Command>,
    notices: IpcReceiver<Notice>,
    /// The zygote, where it is a child of this process.
    child: Option<OwnedFd>,
    armed: Armed,
    from_early: bool,
    records: HashMap<u64, Record>,
    number: u64,
}

/// Zygotes are numbered through the whole process.
static NEXT: AtomicU64 = AtomicU64::new(1);

impl Link {
    /// Makes a zygote: from the early one where there is one, else by forking this process. Returns once it is confined.
    pub(crate) fn start(setup: Setup, lent: &[Arc<OwnedFd>]) -> Result<Self, Error> {
        let failed = |errno| Error::os("start a zygote", errno);
        let (ours, theirs) = packet::pair().map_err(failed)?;
        prepare_ipc()?;
        let (commands, their_commands) = ipc_pair()?;
        let (their_notices, notices) = ipc_pair()?;
        let seed = Seed { commands: their_commands, notices: their_notices };
        let (child, from_early) = match early::adopt(seed, theirs) {
            Ok(()) => (None, true),
            Err((seed, theirs)) => (Some(fork_zygote(seed, theirs).map_err(failed)?), false),
        };
        let mut link = Self {
            socket: ours,
            commands,
            notices,
            child,
            armed: Armed { privileges: 0, filter: 0, measured: false },
            from_early,
            records: HashMap::new(),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
        };
        // The zygote ends with this very process, even where a child of it holds the other end of the socket.
        let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
        let own = own.map_err(|errno| failed(Errno::from_raw(errno.raw_os_error())))?;
        let mut descriptors = vec![own.as_raw_fd()];
        descriptors.extend(lent.iter().map(|fd| fd.as_raw_fd()));
        link.tell(Command::Begin(setup), &descriptors).map_err(failed)?;
        match link.next(Instant::now() + PATIENCE).map_err(failed)? {
            Some((Notice::Armed(armed), _)) => link.armed = armed,
            Some(_) => return Err(failed(Errno::EPROTO)),
            None => return Err(failed(Errno::ETIMEDOUT)),
        }
        Ok(link)
    }

    /// How confinement of the zygote went.
    pub(crate) fn armed(&self) -> Armed {
        self.armed
    }

    /// Whether the zygote was forked by the early one.
    pub(crate) fn is_from_early(&self) -> bool {
        self.from_early
    }

    /// Whether the zygote is there. One system call.
    pub(crate) fn is_alive(&self) -> bool {
        let mut sockets = [PollFd::new(self.socket.as_fd(), PollFlags::empty())];
        let hung_up = match poll(&mut sockets, PollTimeout::ZERO) {
            Ok(_) => sockets[0].revents().is_some_and(|events| events.intersects(PollFlags::POLLHUP)),
            Err(_) => false,
        };
        !hung_up
    }

    /// Asks for a worker; it is collected later.
    pub(crate) fn request(
        &mut self,
        slot: u64,
        haste: Haste,
        channel: BorrowedFd<'_>,
        capture: BorrowedFd<'_>,
    ) -> Result<(), Errno> {
        self.drain()?;
        self.tell(Command::Spawn { slot, haste }, &[channel.as_raw_fd(), capture.as_raw_fd()])?;
        self.records.insert(slot, Record::default());
        Ok(())
    }

    /// The worker that was asked for, if it is born by `deadline`; `ETIMEDOUT` if not.
    pub(crate) fn collect(&mut self, slot: u64, deadline: Instant) -> Result<Spawned, Errno> {
        loop {
            let Some(record) = self.records.get_mut(&slot) else {
                // It was asked of a zygote that is gone.
                return Err(Errno::EPIPE);
            };
            match record.birth.take() {
                Some(Ok(spawned)) => return Ok(spawned),
                Some(Err(errno)) => {
                    // There is nothing to hear of one that was never born.
                    self.records.remove(&slot);
                    return Err(errno);
                }
                None => self.hear(deadline)?,
            }
        }
    }

    /// How a worker ended, if that is known by `deadline`.
    pub(crate) fn end_of(&mut self, slot: u64, deadline: Instant) -> Option<End> {
        loop {
            if let Some(end) = self.records.get(&slot)?.end {
                return Some(end);
            }
            self.hear(deadline).ok()?;
        }
    }

    /// Which of all zygotes of this process it is.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Has a worker killed that was asked for and never collected.
    pub(crate) fn discard(&mut self, slot: u64) {
        // A zygote that cannot be told is gone, and its workers with it.
        let _ = self.tell(Command::Discard { slot }, &[]);
        self.release(slot);
    }

    /// Nobody will ask about this worker again.
    pub(crate) fn release(&mut self, slot: u64) {
        if let Some(record) = self.records.get_mut(&slot) {
            record.released = true;
            if record.end.is_some() {
                self.records.remove(&slot);
            }
        }
    }

    /// Takes every notice that is there.
    fn drain(&mut self) -> Result<(), Errno> {
        while packet::wait(self.socket.as_fd(), Instant::now())? {
            self.hear(Instant::now())?;
        }
        Ok(())
    }

    fn tell(&self, command: Command, descriptors: &[RawFd]) -> Result<(), Errno> {
        self.commands.send(command).map_err(|_| Errno::EPIPE)?;
        packet::send(self.socket.as_fd(), descriptors).inspect_err(|_| {
            // A command without its packet would be taken for the next one's: this link cannot be used again.
            let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        })
    }

    /// Takes one notice into the records.
    fn hear(&mut self, deadline: Instant) -> Result<(), Errno> {
        let (notice, mut descriptors) = self.next(deadline)?.ok_or(Errno::ETIMEDOUT)?;
        match notice {
            Notice::Spawned { slot, pid } => {
                let spawned = descriptors.pop().map(|pidfd| Spawned { pid: Pid::from_raw(pid), pidfd });
                if spawned.is_none() {
                    // This process had no room for the pidfd; the worker cannot be used.
                    self.tell(Command::Discard { slot }, &[])?;
                }
                self.records.entry(slot).or_default().birth = Some(spawned.ok_or(Errno::EMFILE));
            }
            Notice::Failed { slot, errno } => {
                self.records.entry(slot).or_default().birth = Some(Err(Errno::from_raw(errno)));
            }
            Notice::Exited { slot, end } => {
                let record = self.records.entry(slot).or_default();
                record.end = Some(end);
                if record.released {
                    self.records.remove(&slot);
                }
            }
            Notice::Armed(_) => {}
        }
        Ok(())
    }

    /// The next notice; `None` when the time is over. The message was sent before its packet, so receiving it does not wait.
    fn next(&self, deadline: Instant) -> Result<Option<(Notice, Vec<OwnedFd>)>, Errno> {
        if !packet::wait(self.socket.as_fd(), deadline)? {
            return Ok(None);
        }
        let descriptors = packet::receive(self.socket.as_fd())?.ok_or(Errno::EPIPE)?;
        let notice = self.notices.recv().map_err(|_| Errno::EPIPE)?;
        Ok(Some((notice, descriptors)))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if ringfence_core::origin::is_forked() {
            return;
        }
        // The hang-up is the zygote's sign to kill its workers and end.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        let Some(pidfd) = &self.child else { return };
        let mut ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        if !matches!(poll(&mut ended, packet::poll_timeout(Duration::from_secs(1))), Ok(1)) {
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
        // A host that reaps everything may have been faster.
        let _ = waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED);
    }
}

fn fork_zygote(seed: Seed, socket: OwnedFd) -> Result<OwnedFd, Errno> {
    let Seed { commands, notices } = seed;
    let _held = crate::fork_lock::forking();
    // Only the child consumes the ends; the parent's copies are dropped when the closure is.
    let (_, pidfd) = birth::fork_off(move || {
        let ended = birth::shed(socket, commands, notices)
            .and_then(|(socket, commands, notices)| live(&Ends { socket, commands, notices }));
        i32::from(ended.is_err())
    })?;
    Ok(pidfd)
}

fn ipc_pair<T: serde::Serialize + for<'d> serde::Deserialize<'d>>()
-> Result<(IpcSender<T>, IpcReceiver<T>), Error> {
    ipc::channel().map_err(|error| Error::os("open a control channel", error))
}

/// Makes ipc-channel measure its socket buffers now, while two descriptors are known to be free: it does so once in a process, on
/// first use, and panics if it cannot.
pub(crate) fn prepare_ipc() -> Result<(), Error> {
    let (first, second) = ipc_pair::<()>()?;
    drop((first, second));
    ipc_channel::platform::OsIpcSender::get_max_fragment_size();
    Ok(())
}
