//! The zygote's side: confine once, then fork workers and reap them.
//!
//! # Safety
//! Forks with a stack of its own for the child (`clone(2)` without shared memory), from a process with one thread.
#![expect(unsafe_code, reason = "clone with a separate stack")]

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

use ipc_channel::ipc::{IpcReceiver, IpcSender};
use libc::{c_int, c_void};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, getpid, getppid, setpgid};
use ringfence_core::{Limits, Policy, Processes, Waiting};
use rustix::process::pidfd_send_signal;

use crate::channel::Channel;
use crate::confine::{self, Filters, OwnSize, Resources, keep_only, point_at};
use crate::cpu;
use crate::futex;
use crate::inside::{self, Stacks};
use crate::layout::{Layout, Words, phase, reply};
use crate::mapping::{Mapping, PAGE_BYTES};
use crate::zygote::birth::{adopt_descriptor, vanish};
use crate::zygote::packet;
use crate::zygote::protocol::{Armed, Command, End, Haste, Notice, Setup};

/// The zygote's ends.
pub(crate) struct Ends {
    pub(crate) socket: OwnedFd,
    pub(crate) commands: IpcReceiver<Command>,
    pub(crate) notices: IpcSender<Notice>,
}

/// Everything a worker needs of its zygote.
struct Nursery {
    setup: Setup,
    layout: Layout,
    filters: Filters,
    stacks: Stacks,
    own_bytes: Option<u64>,
    /// Copies of the lent descriptors, above every number they are lent under.
    lent: Vec<OwnedFd>,
    pid: Pid,
}

struct Worker {
    slot: u64,
    pid: Pid,
    pidfd: OwnedFd,
    /// The page of its channel with its state, to mark its death in.
    state: Mapping,
}

/// Lives until the host hangs up or dies. The result says why it ended.
pub(crate) fn live(ends: &Ends) -> Result<(), Errno> {
    ringfence_core::origin::adopt();
    let Some((Command::Begin(setup), mut lent)) = next(ends)? else { return Ok(()) };
    if lent.is_empty() {
        return Err(Errno::EMFILE);
    }
    let host = lent.remove(0);
    let nursery = Nursery::new(setup, lent)?;
    // Making a worker can wait until the host, which may share this CPU, has gone to sleep.
    cpu::yield_to_others();
    let armed = nursery.confine();
    say(ends, Notice::Armed(armed), &[])?;
    let mut workers: Vec<Worker> = Vec::new();
    let ended = tend(ends, &host, &nursery, &mut workers);
    // However it ended: nobody else knows of these processes and their children.
    for worker in workers {
        worker.kill();
        worker.bury();
    }
    ended
}

fn tend(ends: &Ends, host: &OwnedFd, nursery: &Nursery, workers: &mut Vec<Worker>) -> Result<(), Errno> {
    const OWN: usize = 2;
    loop {
        let own = [ends.socket.as_fd(), host.as_fd()];
        let theirs = workers.iter().map(|worker| worker.pidfd.as_fd());
        let mut polled: Vec<PollFd<'_>> =
            own.into_iter().chain(theirs).map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut polled, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            result => result?,
        };
        let ready: Vec<bool> = polled.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        drop(polled);
        // Deaths first: a host that waits for one should not wait for a fork.
        for index in (OWN..ready.len()).rev().filter(|&index| ready[index]) {
            let worker = workers.swap_remove(index - OWN);
            let slot = worker.slot;
            let end = worker.bury();
            say(ends, Notice::Exited { slot, end }, &[])?;
        }
        if ready[1] {
            return Ok(());
        }
        if !ready[0] {
            continue;
        }
        match next(ends)? {
            Some((Command::Spawn { slot, haste }, files)) => match nursery.spawn(slot, haste, files) {
                Ok(worker) => {
                    let pid = worker.pid.as_raw();
                    let pidfd = worker.pidfd.as_raw_fd();
                    workers.push(worker);
                    say(ends, Notice::Spawned { slot, pid }, &[pidfd])?;
                }
                Err(errno) => say(ends, Notice::Failed { slot, errno: errno as i32 }, &[])?,
            },
            Some((Command::Discard { slot }, _)) => {
                workers.iter().filter(|worker| worker.slot == slot).for_each(Worker::kill);
            }
            Some((Command::Begin(_), _)) => {}
            None => return Ok(()),
        }
    }
}

/// The next command with its descriptors; `None` when the host has hung up. The message was sent before its packet.
fn next(ends: &Ends) -> Result<Option<(Command, Vec<OwnedFd>)>, Errno> {
    let Some(descriptors) = packet::receive(ends.socket.as_fd())? else { return Ok(None) };
    Ok(ends.commands.recv().ok().map(|command| (command, descriptors)))
}

fn say(ends: &Ends, notice: Notice, descriptors: &[RawFd]) -> Result<(), Errno> {
    ends.notices.send(notice).map_err(|_| Errno::EPIPE)?;
    packet::send(ends.socket.as_fd(), descriptors)
}

impl Nursery {
    fn new(setup: Setup, lent: Vec<OwnedFd>) -> Result<Self, Errno> {
        let stacks = Stacks::new(Some(setup.stack_bytes)).map_err(|_| Errno::ENOMEM)?;
        let above = setup.lent.last().map_or(16, |&highest| highest + 1);
        let lent = lent
            .iter()
            .map(|fd| fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(above)).map(adopt_descriptor))
            .collect::<Result<_, _>>()?;
        let mut policy = if setup.unfiltered { Policy::unfiltered() } else { Policy::compute() };
        for &number in &setup.allowed_syscalls {
            policy = policy.allow_syscall(number);
        }
        let filters = Filters::compile(&policy, &setup.limits());
        let layout = Layout { request_bytes: setup.request_bytes, reply_bytes: setup.reply_bytes };
        let own_bytes = OwnSize::open().ok().and_then(|size| size.bytes());
        Ok(Self { setup, layout, filters, stacks, own_bytes, lent, pid: getpid() })
    }

    fn confine(&self) -> Armed {
        let errno = |result: Result<(), Errno>| result.err().map_or(0, |errno| errno as i32);
        Armed {
            privileges: errno(confine::give_up_privileges()),
            filter: errno(self.filters.apply_to_zygote()),
            measured: self.own_bytes.is_some(),
        }
    }

    fn spawn(&self, slot: u64, haste: Haste, files: Vec<OwnedFd>) -> Result<Worker, Errno> {
        let [channel, capture] = <[OwnedFd; 2]>::try_from(files).map_err(|_| Errno::EPROTO)?;
        let state = Mapping::shared_part(channel.as_fd(), self.layout.state(), PAGE_BYTES)
            .map_err(|_| Errno::ENOMEM)?;
        state.keep_from_children().map_err(|_| Errno::ENOMEM)?;
        let birth = Birth { nursery: self, channel, capture, haste };
        let top = self.stacks.work.as_ref().map_or(0, Mapping::end_address);
        let mut pidfd: c_int = -1;
        let flags = libc::SIGCHLD | libc::CLONE_PIDFD;
        // SAFETY: without CLONE_VM the child has a copy of this process's memory, in which `birth` and the stack are; the stack's top is
        // page-aligned and used by nothing in this process; the function never returns; the pidfd is written before clone returns.
        let pid = unsafe {
            libc::clone(
                grow_up,
                top as *mut c_void,
                flags,
                (&raw const birth).cast_mut().cast(),
                &raw mut pidfd,
            )
        };
        let pid = Pid::from_raw(Errno::result(pid)?);
        // On both sides, so that whoever comes first can rely on it. A child that is gone already needs no group.
        let _ = setpgid(pid, pid);
        Ok(Worker { slot, pid, pidfd: adopt_descriptor(pidfd), state })
    }
}

impl Setup {
    fn limits(&self) -> Limits {
        let processes = match self.processes {
            0 => Processes::Forbidden,
            1 => Processes::Threads,
            _ => Processes::Allowed,
        };
        Limits::new().memory_bytes(self.memory_bytes).descriptors(self.descriptors).processes(processes)
    }
}

impl Worker {
    /// Kills it and what it started.
    fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
        let _ = killpg(self.pid, Signal::SIGKILL);
    }

    /// Kills what it started, reaps it, and tells whoever waits for its answer that none will come.
    fn bury(self) -> End {
        // Before it is reaped, while its number cannot belong to anyone else.
        let _ = killpg(self.pid, Signal::SIGKILL);
        let end = loop {
            match waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED) {
                Err(Errno::EINTR) => {}
                Ok(WaitStatus::Exited(_, status)) => break End::Exited(status),
                Ok(WaitStatus::Signaled(_, signal, _)) => break End::Signaled(signal as i32),
                _ => break End::Unknown,
            }
        };
        // SAFETY: it is one whole page, mapped until the end of this function.
        let words = unsafe { Words::of_reply_page(self.state.start()) };
        // First the tomb, then the reply word; a host that starts a call writes the reply word first and then looks at the tomb. So one
        // of the two sees the other.
        words.tomb().store(1, Ordering::SeqCst);
        let marked = words.reply().fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| {
            (reply::state(word) == reply::ASLEEP).then(|| reply::with_state(word, reply::DEAD))
        });
        if marked.is_ok() {
            futex::wake(words.reply());
        }
        end
    }
}

/// What a newborn worker is given.
struct Birth<'z> {
    nursery: &'z Nursery,
    channel: OwnedFd,
    capture: OwnedFd,
    haste: Haste,
}

extern "C" fn grow_up(birth: *mut c_void) -> c_int {
    // SAFETY: `spawn` passes the address of a `Birth` that lies in the memory this process got a copy of, which nobody changes.
    let birth = unsafe { &*birth.cast::<Birth<'_>>() };
    birth.grow_up()
}

impl Birth<'_> {
    fn grow_up(&self) -> ! {
        let nursery = self.nursery;
        let Ok(channel) = Channel::attach(self.channel.as_fd(), nursery.layout) else { vanish(1) };
        if let Err((step, errno)) = self.confine(&channel) {
            let words = channel.words();
            words.outcome().store(step, Ordering::Relaxed);
            words.reply_bytes().store(errno as u64, Ordering::Relaxed);
            words.phase().store(phase::UNFIT, Ordering::Release);
            vanish(1);
        }
        if self.haste == Haste::Later {
            inside::warm_up(&channel, &nursery.stacks);
        }
        let waiting = if nursery.setup.spin { Waiting::Spin } else { Waiting::Sleep };
        inside::serve(channel, waiting)
    }

    /// Each step has a number, told to the host when it fails.
    fn confine(&self, channel: &Channel) -> Result<(), (u32, Errno)> {
        let nursery = self.nursery;
        let step = |number: u32| move |errno: Errno| (number, errno);
        // The zygote has one thread, so its death and its thread's are the same.
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(step(1))?;
        if getppid() != nursery.pid {
            vanish(0);
        }
        setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(step(2))?;
        point_at(2, self.capture.as_fd()).map_err(step(3))?;
        let mut kept = vec![0, 1, 2];
        for (&number, copy) in nursery.setup.lent.iter().zip(&nursery.lent) {
            point_at(number, copy.as_fd()).map_err(step(4))?;
            kept.push(number);
        }
        // SAFETY: a worker never returns to the zygote's code, whose owners these are, and ends by `_exit`.
        unsafe { keep_only(&kept) }.map_err(step(5))?;
        inside::arm(channel, &nursery.stacks, None).map_err(step(6))?;
        cpu::take_turns();
        let highest = kept.last().copied().unwrap_or(2);
        let shared = nursery.layout.bytes();
        let resources = Resources::new(&nursery.setup.limits(), nursery.own_bytes, shared, highest);
        confine::limit(&resources).map_err(step(7))?;
        nursery.filters.apply_to_worker().map_err(step(8))
    }
}
