//! Whether domains work here: what the machine says of itself, what the program is made of, and a trial in a forked child.
//!
//! # Safety
//! Forks once. The child tries the backend and ends without returning.
#![expect(unsafe_code, reason = "fork, _exit in the child, and qsort")]

use std::alloc::{Layout, handle_alloc_error};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};
use ringfence_core::fault::{Fault, FaultKind};
use ringfence_core::{Config, Error, Limits, Sandbox, Unavailable, origin};
use ringfence_passport::Tracker;
use tracing::subscriber::{NoSubscriber, with_default};

use crate::NAME;
use crate::arena::SIGNAL_STACK_BYTES;
use crate::backend::Mpk;
use crate::machine::{self, Vectors};
use crate::signal::{KEY_ERROR, MARKS_HOLD};
use crate::{clock, context, control, dispositions, gate, job, keys, trap, watchdog, words};

/// That domains work here.
#[derive(Debug)]
pub(crate) struct Platform {
    /// Whether the kernel writes signal frames with every key open (6.12 and later).
    pub(crate) frames_open: bool,
}

/// How long the trial may take, before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(20);

/// Finds out once.
///
/// # Errors
/// Why domains do not work here. What may change (no key was left, no process could be forked) is tried again the next time.
pub(crate) fn platform() -> Result<&'static Platform, Error> {
    static PLATFORM: OnceLock<Platform> = OnceLock::new();
    static REFUSED: Mutex<Option<Unavailable>> = Mutex::new(None);
    if let Some(platform) = PLATFORM.get() {
        return Ok(platform);
    }
    let mut refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(platform) = PLATFORM.get() {
        return Ok(platform);
    }
    if let Some(refused) = &*refused {
        return Err(refused.clone().into());
    }
    let platform = examine().inspect_err(|unavailable| *refused = Some(unavailable.clone()))?;
    origin::mark()?;
    let platform = PLATFORM_BEING_TRIED.get_or_init(|| platform);
    keys::have_one()?;
    try_in_child(platform)?;
    prepare()?;
    // What is planted is no news to anybody.
    with_default(NoSubscriber::new(), || calibrate(platform))?;
    PLATFORM.get_or_init(|| Platform { frames_open: platform.frames_open });
    PLATFORM.get().ok_or(Error::Stale)
}

/// The same, before it has been tried.
static PLATFORM_BEING_TRIED: OnceLock<Platform> = OnceLock::new();

fn unavailable(reason: impl Into<std::borrow::Cow<'static, str>>) -> Unavailable {
    Unavailable::backend(NAME, reason)
}

/// What can be told without trying.
fn examine() -> Result<Platform, Unavailable> {
    let machine = machine::examine().map_err(|missing| unavailable(missing.to_string()))?;
    if machine.signal_frame_bytes + 4096 > SIGNAL_STACK_BYTES {
        return Err(unavailable(format!("a signal frame takes {} bytes here", machine.signal_frame_bytes)));
    }
    let routing = ringfence_shim::routing();
    if !routing.rust {
        return Err(unavailable(
            "this program's allocator does not know domains: enable the feature `interpose`, or wrap the global allocator in \
             `ringfence_shim::Routed`",
        ));
    }
    let vectors = match machine.vectors {
        Vectors::Sse => 0,
        Vectors::Avx => 1,
        Vectors::Avx512 => 2,
    };
    control::VECTORS.store(vectors, Ordering::Relaxed);
    let offset = u32::try_from(machine.pkru_offset).unwrap_or(0);
    context::RIGHTS_OFFSET.store(offset, Ordering::Relaxed);
    ringfence_shim::on_end(trap::end);
    clock::start();
    let frames_open = machine.writes_frames_with_keys_open();
    MARKS_HOLD.store(frames_open, Ordering::Relaxed);
    Ok(Platform { frames_open })
}

/// Installs what is process-wide: signal handlers, the watchdog, the panic hook; and has done for once what would store to the program's memory
/// the first time it is done inside.
fn prepare() -> Result<(), Error> {
    let signal = match watchdog::signal() {
        0 => dispositions::unused_signal().ok_or_else(|| unavailable("every real-time signal is in use"))?,
        signal => signal,
    };
    dispositions::install(signal)?;
    watchdog::start(signal)?;
    // With the first thread glibc has taken a signal for itself, by which all threads change their user.
    dispositions::install(signal)?;
    static HOOK: Once = Once::new();
    // Replacing the hook from a thread that is panicking would panic again.
    if !std::thread::panicking() {
        HOOK.call_once(|| {
            let previous = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if !job::note_panic(info) {
                    previous(info);
                }
            }));
        });
    }
    sort_once();
    // The standard library's cache of processor features; the unwinder's tables and its lazily bound functions.
    std::hint::black_box(std::arch::is_x86_feature_detected!("avx2"));
    let unwound = panic::catch_unwind(AssertUnwindSafe(|| panic::resume_unwind(Box::new(()))));
    std::hint::black_box(unwound.is_err());
    Ok(())
}

/// glibc's `qsort` asks for the memory there is, and keeps the answer, when it is first given more than a kilobyte.
fn sort_once() {
    extern "C" fn equal(_: *const libc::c_void, _: *const libc::c_void) -> libc::c_int {
        0
    }
    let mut words = [0_u64; 256];
    // SAFETY: so many words of this size; a comparison that finds all equal is one.
    unsafe { libc::qsort(words.as_mut_ptr().cast(), words.len(), size_of::<u64>(), Some(equal)) };
    std::hint::black_box(words);
}

fn trial_sandbox(platform: &'static Platform, wall: Duration) -> Result<Sandbox, Error> {
    let limits = Limits::new().wall(wall).memory_bytes(16 << 20).request_bytes(4096).reply_bytes(4096);
    let limits = limits.stack_bytes(256 << 10);
    let config = Config { limits: limits.clone(), ..Config::default() };
    Ok(Sandbox::new(Box::new(Mpk::assemble(&config, platform)?), &limits, Tracker::disabled()))
}

/// Learns the words that a panic, and giving up for want of memory, store to: by planting both.
fn calibrate(platform: &'static Platform) -> Result<(), Error> {
    const PLANTED: &str = "planted to find out what a panic touches";
    let sandbox = trial_sandbox(platform, Duration::from_secs(5))?;
    let panic = || sandbox.run(|| assert!(std::hint::black_box(false), "{PLANTED}"));
    let is_panic = |fault: &Fault| {
        fault.kind() == &FaultKind::Panic && fault.message().is_some_and(|text| text.contains(PLANTED))
    };
    let give_up = || {
        sandbox.run(|| {
            handle_alloc_error(Layout::new::<u64>());
        })
    };
    let is_given_up = |fault: &Fault| fault.kind() == &FaultKind::Abort;
    learn(panic, is_panic)?;
    learn(give_up, is_given_up)
}

/// Does what is planted until it ends as it should, learning a word each time it does not. Where it never does it is
/// reported, later too, as what it is: a panic without its text, or a key violation.
fn learn(
    planted: impl Fn() -> Result<(), Error>,
    is_as_it_should: impl Fn(&Fault) -> bool,
) -> Result<(), Error> {
    loop {
        let Err(error) = planted() else { return Ok(()) };
        let fault = error.into_fault()?;
        if is_as_it_should(&fault) {
            return Ok(());
        }
        let has_learned = fault.code() == Some(KEY_ERROR)
            && fault.address().is_some_and(|address| !words::is_one(address) && words::learn(address));
        if !has_learned {
            tracing::warn!(%fault, "what was planted inside a domain did not come to its end");
            return Ok(());
        }
    }
}

/// Tries everything a domain stands on where nothing can be harmed.
fn try_in_child(platform: &'static Platform) -> Result<(), Error> {
    let (verdict, verdict_of_child) = nix::unistd::pipe2(OFlag::O_CLOEXEC)
        .map_err(|errno| Error::os("open a pipe for the trial", errno))?;
    // SAFETY: the child uses what a fork of a threaded program may use with glibc (memory, threads of its own), takes no lock that a thread of
    // the parent can hold but the loader's and the allocator's, which glibc carries over, and ends by `_exit`.
    match unsafe { fork() }.map_err(|errno| Error::os("fork a child to try domains in", errno))? {
        ForkResult::Child => {
            let tried = with_default(NoSubscriber::new(), || trial(platform));
            let code = tried.map_or_else(|step| step as u8, |()| 0);
            // Without it the parent takes the child for dead, which it then is.
            let _ = nix::unistd::write(&verdict_of_child, &[code]);
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            drop(verdict_of_child);
            let judged = judge(verdict);
            // It may have been reaped already: by the kernel, where the program ignores SIGCHLD, or by the program.
            let _ = kill(child, Signal::SIGKILL);
            let _ = waitpid(child, None);
            judged
        }
    }
}

/// The steps of the trial, by the byte a child says it with.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum Step {
    Build = 1,
    Cross = 2,
    Store = 3,
    Rights = 4,
    Preempted = 5,
    Timeout = 6,
}

impl Step {
    fn what_failed(code: u8) -> &'static str {
        match code {
            code if code == Self::Build as u8 => "no domain could be made",
            code if code == Self::Cross as u8 => "a domain did not give its value",
            code if code == Self::Store as u8 => {
                "a store from inside to the program's memory was not refused"
            }
            code if code == Self::Rights as u8 => "the rights after a crossing were not those before",
            code if code == Self::Preempted as u8 => "a domain did not survive being preempted",
            code if code == Self::Timeout as u8 => "a domain that ran on was not ended",
            _ => "it ended in an unforeseen way",
        }
    }
}

static TARGET: AtomicU64 = AtomicU64::new(7);

fn trial(platform: &'static Platform) -> Result<(), Step> {
    origin::adopt();
    prepare().map_err(|_| Step::Build)?;
    let sandbox = trial_sandbox(platform, Duration::from_secs(10)).map_err(|_| Step::Build)?;
    // Keys that are given out meanwhile are opened.
    let rights = || gate::rights_now() & control::OPEN.load(Ordering::Relaxed);
    let before = rights();
    if !matches!(sandbox.call(|x: u64| x + 1, 1_u64), Ok(2)) {
        return Err(Step::Cross);
    }
    let stored = sandbox.run(|| TARGET.store(8, Ordering::SeqCst));
    let refused = stored
        .is_err_and(|error| error.fault().is_some_and(|fault| fault.kind() == &FaultKind::KeyViolation));
    if !refused || TARGET.load(Ordering::SeqCst) != 7 {
        return Err(Step::Store);
    }
    if rights() != before & control::OPEN.load(Ordering::Relaxed) {
        return Err(Step::Rights);
    }
    let preempted = sandbox.run(|| {
        for _ in 0..50 {
            std::thread::yield_now();
            (0..20_000_u32).for_each(|number| {
                std::hint::black_box(number);
            });
        }
        5_u64
    });
    if !matches!(preempted, Ok(5)) {
        return Err(Step::Preempted);
    }
    let hurried = trial_sandbox(platform, Duration::from_millis(5)).map_err(|_| Step::Build)?;
    let endless = hurried.run(|| {
        while std::hint::black_box(true) {
            std::hint::spin_loop();
        }
    });
    let ended: Option<FaultKind> =
        endless.err().and_then(|error: Error| error.fault().map(|fault| fault.kind().clone()));
    if ended != Some(FaultKind::Timeout) || rights() != before & control::OPEN.load(Ordering::Relaxed) {
        return Err(Step::Timeout);
    }
    Ok(())
}

/// Waits for the child's verdict.
fn judge(verdict: OwnedFd) -> Result<(), Error> {
    let failed = |what: &str| Err(unavailable(format!("the trial of a domain failed: {what}")).into());
    let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    let mut waited = [PollFd::new(verdict.as_fd(), PollFlags::POLLIN)];
    let ready = loop {
        match poll(&mut waited, patience) {
            // Begun again with the whole patience: a program whose signals never stop waits longer for a child that hangs.
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::os("wait for the trial", errno)),
            Ok(ready) => break ready,
        }
    };
    let mut code = [0];
    match ready {
        0 => failed("it hung"),
        _ => match nix::unistd::read(&verdict, &mut code) {
            Ok(1) if code == [0] => Ok(()),
            Ok(1) => failed(Step::what_failed(code[0])),
            _ => failed("its process died"),
        },
    }
}
