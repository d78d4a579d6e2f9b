//! The last words of an isolate, written by a signal handler on a stack of its own.
//!
//! # Safety
//! The handler runs at any instruction of foreign code, with a heap and locks in any state: it uses no allocation, no lock, no
//! libc but system calls, and writes through raw pointers into the report area. A fault of its own ends the process, since every
//! signal is blocked while it runs; what was written by then stays.
#![expect(unsafe_code, reason = "signal handling and raw writes to the report")]

use std::ops::Range;
use std::panic::PanicHookInfo;
use std::ptr::{self, addr_of_mut};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use libc::{c_int, c_void, siginfo_t, ucontext_t};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use ringfence_core::Error;
use ringfence_core::panic_note::{REGISTERS, Text, registers_here};

use crate::channel::Channel;
use crate::futex;
use crate::layout::reply;
use crate::mapping::{GUARD_BYTES, Mapping, PAGE_BYTES};
use crate::report::{Area, Ending, STACK_BYTES};

/// Signals that end an isolate with a report.
const FATAL: [c_int; 8] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
    super::WHERE_ARE_YOU,
];

/// How long a dying isolate leaves the CPU to the host before it ends by itself.
const STEP_BACK_MS: c_int = 20;

/// Enough for the frame of the widest registers and the handler.
const SIGNAL_STACK_BYTES: usize = 64 << 10;

static REPORT: AtomicPtr<Area> = AtomicPtr::new(ptr::null_mut());
static NOTE: AtomicPtr<u32> = AtomicPtr::new(ptr::null_mut());
static REPLY: AtomicPtr<u32> = AtomicPtr::new(ptr::null_mut());
/// Where the work's stack starts, above its guard: zero when the work runs on its caller's. And where it ends: zero when unknown.
static STACK_START: AtomicUsize = AtomicUsize::new(0);
static STACK_END: AtomicUsize = AtomicUsize::new(0);
/// The lowest address of the work's stack, be it the caller's: zero when unknown.
static STACK_LOW: AtomicUsize = AtomicUsize::new(0);
/// The call that is being worked on.
static NUMBER: AtomicU32 = AtomicU32::new(0);
static DYING: AtomicBool = AtomicBool::new(false);

/// The stacks isolates of one zygote run on: mapped once, private to each by the fork.
#[derive(Debug)]
pub(crate) struct Stacks {
    /// For the work; none where it runs on its caller's.
    pub(crate) work: Option<Mapping>,
    signal: Mapping,
}

impl Stacks {
    /// A signal stack, and a work stack if a size is given.
    pub(crate) fn new(work_bytes: Option<usize>) -> Result<Self, Error> {
        let work = work_bytes.map(Mapping::stack).transpose()?;
        Ok(Self { work, signal: Mapping::stack(SIGNAL_STACK_BYTES)? })
    }

    /// Makes the ends of the stacks present.
    pub(crate) fn prefault(&self) {
        const ENOUGH_BYTES: usize = 8 * PAGE_BYTES;
        for stack in self.work.iter().chain([&self.signal]) {
            stack.populate(stack.bytes() - ENOUGH_BYTES, ENOUGH_BYTES);
        }
    }
}

/// Makes the fatal signals of this process end in a report in `channel`. System calls: about ten.
/// `callers` is the stack of the work, if it is the caller's and known.
pub(crate) fn arm(channel: &Channel, stacks: &Stacks, callers: Option<Range<usize>>) -> Result<(), Errno> {
    REPORT.store(channel.report().as_ptr().cast(), Ordering::Relaxed);
    NOTE.store(channel.words().note().as_ptr(), Ordering::Relaxed);
    REPLY.store(channel.words().reply().as_ptr(), Ordering::Relaxed);
    let callers = callers.unwrap_or(0..0);
    STACK_LOW.store(callers.start, Ordering::Relaxed);
    STACK_END.store(callers.end, Ordering::Relaxed);
    if let Some(work) = &stacks.work {
        STACK_LOW.store(work.start().as_ptr() as usize + GUARD_BYTES, Ordering::Relaxed);
        STACK_START.store(work.start().as_ptr() as usize + GUARD_BYTES, Ordering::Relaxed);
        STACK_END.store(work.end_address(), Ordering::Relaxed);
    }
    // SAFETY: sigaltstack takes plain data; zeroes are a valid value of it.
    let mut stack: libc::stack_t = unsafe { std::mem::zeroed() };
    // SAFETY: the guard lies inside the mapping, so the sum does.
    stack.ss_sp = unsafe { stacks.signal.start().add(GUARD_BYTES) }.as_ptr().cast();
    stack.ss_size = SIGNAL_STACK_BYTES;
    // SAFETY: the stack is mapped for the rest of this process's life and used for nothing else.
    Errno::result(unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) })?;
    FATAL.iter().try_for_each(|&signal| install(signal))?;
    unblock()?;
    // SAFETY: registers a handler with the C library's exit; it takes no argument and lives in this image.
    match unsafe { on_exit(on_process_exit, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(Errno::ENOMEM),
    }
}

fn install(signal: c_int) -> Result<(), Errno> {
    // SAFETY: sigaction is plain data; zeroes are a valid value of it.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_signal as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: fills the mask, plain data of this frame.
    unsafe { libc::sigfillset(&raw mut action.sa_mask) };
    // SAFETY: the handler has the three-argument form that SA_SIGINFO asks for and keeps to what is safe in a handler.
    Errno::result(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) })?;
    Ok(())
}

/// Lets the fatal signals through, whatever the caller of the sandbox had blocked.
fn unblock() -> Result<(), Errno> {
    let mut mask = SigSet::empty();
    for signal in FATAL {
        mask.add(Signal::try_from(signal)?);
    }
    sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&mask), None)
}

unsafe extern "C" {
    /// glibc's `on_exit(3)`: like `atexit`, and says the status.
    fn on_exit(function: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
}

/// Starts the work of a call with nothing noted and no error pending.
pub(crate) fn begin(number: u32) {
    NUMBER.store(number, Ordering::Relaxed);
    note(0);
    Errno::set_raw(0);
}

/// Publishes the length of the noted text.
fn note(text_bytes: u32) {
    let word = NOTE.load(Ordering::Relaxed);
    if !word.is_null() {
        // SAFETY: the header is mapped while this process lives and the word is an aligned u32 accessed as an atomic by all.
        unsafe { AtomicU32::from_ptr(word) }.store(text_bytes, Ordering::Relaxed);
    }
}

fn report() -> Option<*mut Area> {
    let report = REPORT.load(Ordering::Relaxed);
    (!report.is_null()).then_some(report)
}

macro_rules! set {
    ($report:expr, $($field:ident).+, $value:expr) => {
        // SAFETY: the report area is mapped while this process lives, page-aligned and as large as a report; nobody in this process
        // forms a reference to it.
        unsafe { addr_of_mut!((*$report).$($field).+).write_volatile($value) }
    };
}

extern "C" fn on_process_exit(status: c_int, _: *mut c_void) {
    if let Some(report) = report() {
        set!(report, head.status, status);
        set!(report, head.ending, Ending::Exit as u32);
        announce();
    }
    die(status);
}

/// Tells a waiting host that the report is there.
fn announce() {
    let word = REPLY.load(Ordering::Relaxed);
    if word.is_null() {
        return;
    }
    // SAFETY: the header is mapped while this process lives and the word is an aligned u32 accessed as an atomic by all.
    let word = unsafe { AtomicU32::from_ptr(word) };
    let number = NUMBER.load(Ordering::Relaxed);
    let before = word.swap(reply::word(number, reply::CRASHED), Ordering::AcqRel);
    if before == reply::word(number, reply::ASLEEP) {
        futex::wake(word);
    }
}

/// Ends the process without the C library's exit handlers, which belong to the program this process was forked from.
fn die(status: c_int) -> ! {
    // SAFETY: _exit takes any status and does not return.
    unsafe { libc::_exit(status) }
}

extern "C" fn on_signal(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let errno = Errno::last_raw();
    if DYING.swap(true, Ordering::Relaxed) {
        // A second thread faults while the first reports.
        die(128 + signal);
    }
    if let Some(report) = report() {
        // SAFETY: the kernel passes a valid ucontext to an SA_SIGINFO handler.
        let registers = unsafe { (*context.cast::<ucontext_t>()).uc_mcontext.gregs };
        // SAFETY: the kernel passes a valid siginfo, which nobody writes while the handler runs.
        let about = unsafe { &*info };
        let code = about.si_code;
        // SAFETY: reads a field of the valid siginfo; for signals without an address it is other plain data.
        let address = unsafe { about.si_addr() } as usize;
        let pointer = stack_pointer(&registers);
        set!(report, head.signal, signal);
        set!(report, head.code, code);
        set!(report, head.address, address as u64);
        set!(report, head.errno, errno);
        set!(report, head.syscall, if signal == libc::SIGSYS { denied_syscall(info) } else { -1 });
        set!(report, head.stack_bytes, 0);
        set!(report, head.registers, registers);
        let ending = match signal {
            super::WHERE_ARE_YOU => Ending::Asked,
            libc::SIGSEGV | libc::SIGBUS if on_guard(address, pointer) => Ending::StackOverflow,
            _ => Ending::Signal,
        };
        set!(report, head.ending, ending as u32);
        copy_stack(report, pointer);
        announce();
        // The host is about to kill this process, and has its own way to go first: tearing an address space down takes longer than
        // the host needs to go on, and the two may share a CPU.
        // SAFETY: polls nothing; sleeps.
        unsafe { libc::poll(ptr::null_mut(), 0, STEP_BACK_MS) };
    }
    die(128 + signal);
}

fn stack_pointer(registers: &[i64; REGISTERS]) -> usize {
    usize::try_from(libc::REG_RSP)
        .ok()
        .and_then(|index| registers.get(index))
        .map_or(0, |&pointer| pointer.cast_unsigned() as usize)
}

/// `si_syscall` of a SIGSYS: behind the address of the instruction (`sigaction(2)`).
fn denied_syscall(info: *mut siginfo_t) -> c_int {
    const SI_SYSCALL: usize = 24;
    // SAFETY: a siginfo is 128 bytes long.
    let field = unsafe { info.byte_add(SI_SYSCALL) };
    // SAFETY: for SIGSYS the kernel stores the number there, an aligned int.
    unsafe { field.cast::<c_int>().read() }
}

/// Whether an access hit the stack's guard: exactly, where the stack is known; else close around the stack pointer.
fn on_guard(address: usize, pointer: usize) -> bool {
    let start = STACK_START.load(Ordering::Relaxed);
    if start != 0 {
        return (start - GUARD_BYTES..start).contains(&address);
    }
    (pointer.saturating_sub(GUARD_BYTES)..pointer.saturating_add(PAGE_BYTES)).contains(&address)
}

/// Whether an address lies on the stack of the work, so that everything from there to the stack's end can be read.
fn is_on_work_stack(pointer: usize) -> bool {
    let (low, end) = (STACK_LOW.load(Ordering::Relaxed), STACK_END.load(Ordering::Relaxed));
    low != 0 && (low..end).contains(&pointer)
}

/// Copies the stack page by page, counting each only when it is whole: a stack pointer that leads nowhere ends this process with the
/// rest of the report standing.
fn copy_stack(report: *mut Area, pointer: usize) {
    let end = STACK_END.load(Ordering::Relaxed);
    let start = STACK_START.load(Ordering::Relaxed);
    // After an overflow the pointer stands in the guard, where nothing can be read.
    let in_guard = start != 0 && (start - GUARD_BYTES..start).contains(&pointer);
    let pointer = if in_guard { start } else { pointer };
    set!(report, head.stack_start, pointer as u64);
    let known = is_on_work_stack(pointer);
    let wanted = if known { STACK_BYTES.min(end - pointer) } else { STACK_BYTES };
    // SAFETY: a field's address of the mapped report.
    let target = unsafe { addr_of_mut!((*report).stack) }.cast::<u8>();
    let mut copied = 0;
    while copied < wanted {
        let source = pointer + copied;
        let chunk = (PAGE_BYTES - source % PAGE_BYTES).min(wanted - copied);
        // SAFETY: `copied` is below STACK_BYTES, the length of the field.
        let place = unsafe { target.add(copied) };
        // SAFETY: the target lies in the report. The source is this process's own memory if it is mapped; if it is not, the access
        // faults with every signal blocked and the kernel ends this process, which is dying anyway.
        unsafe { ptr::copy_nonoverlapping(source as *const u8, place, chunk) };
        copied += chunk;
        set!(report, head.stack_bytes, copied as u64);
    }
}

/// Makes panics inside leave their text, place and stack in the report instead of printing. What is noted counts only if nothing
/// inside catches the panic. Panics of the host go to the hook that was there.
///
/// To be called in the host, before it forks: to set a hook takes a lock, which another thread of the host holds while it prints a
/// panic of its own, and a child that waited for that would wait for ever.
pub(crate) fn note_panics() {
    static ONCE: Once = Once::new();
    // Replacing the hook from a thread that is panicking would panic again; the host's own hook prints into the capture then.
    if !std::thread::panicking() {
        ONCE.call_once(|| {
            let of_host = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| match report() {
                Some(report) => note_panic(report, panic),
                None => of_host(panic),
            }));
        });
    }
}

fn note_panic(report: *mut Area, panic: &PanicHookInfo<'_>) {
    let text = Text::of(panic);
    set!(report, text, *text.bytes());
    note(text.length() as u32);
    let registers = registers_here();
    set!(report, head.registers, registers);
    set!(report, head.stack_bytes, 0);
    let pointer = stack_pointer(&registers);
    // On another stack, a thread's, the copy could run past its end, and the panic may yet be caught.
    if is_on_work_stack(pointer) {
        copy_stack(report, pointer);
    }
}
