//! What a thread needs before it can go inside: a block of the arena, its signals on the block's signal stack, no restartable
//! sequences, its system calls looked at.
//!
//! It is done when the thread goes inside for the first time, and undone when it ends. Between, the thread's system calls cost a few
//! nanoseconds more (the kernel looks at the selector), and `sched_getcpu` asks the kernel.
//!
//! # Safety
//! Changes settings of the calling thread, of which each is proved beside it.
#![expect(unsafe_code, reason = "sigaltstack, prctl, rseq and the GS base")]

use std::arch::asm;
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use libc::stack_t;
use nix::errno::Errno;
use nix::sys::mman::ProtFlags;
use ringfence_core::{Error, Unavailable};
use ringfence_shim::bit_of;

use crate::NAME;
use crate::arena::{Block, SIGNAL_STACK_BYTES};
use crate::control::{Control, KEYS, OPEN, selector};
use crate::gate;
use crate::region;
use crate::{dispositions, tls, watchdog};

/// The kernel disarms the stack while a handler runs, so a handler's frame always lies at the same place (`sigaltstack(2)`).
const SS_AUTODISARM: i32 = 1 << 31;
/// `prctl(2)`.
const PR_SET_SYSCALL_USER_DISPATCH: i32 = 59;
const DISPATCH_OFF: u64 = 0;
const DISPATCH_ON: u64 = 1;
/// `rseq(2)`, and what glibc registers with.
const SYS_RSEQ: i64 = 334;
const RSEQ_UNREGISTER: u32 = 1;
const RSEQ_SIGNATURE: u32 = 0x5305_3053;
/// glibc names the original structure's size, however much of it the kernel fills.
const RSEQ_BYTES: u32 = 32;

thread_local! {
    /// This thread's control block, once it has one.
    static CONTROL: Cell<Option<&'static Control>> = const { Cell::new(None) };
    static RETIREMENT: Cell<Option<Retirement>> = const { Cell::new(None) };
}

/// This thread's control block, with the rights to every domain's memory.
///
/// # Errors
/// Why the thread cannot go inside.
pub(crate) fn control() -> Result<&'static Control, Error> {
    let control = match CONTROL.get() {
        Some(control) => control,
        None => prepare()?,
    };
    let open = OPEN.load(Ordering::Relaxed);
    if control.opened.load(Ordering::Relaxed) != open {
        gate::open();
        control.opened.store(open, Ordering::Relaxed);
    }
    Ok(control)
}

#[cold]
fn prepare() -> Result<&'static Control, Error> {
    if gs_base() != 0 {
        let reason = "this thread uses the GS register, which the gate needs";
        return Err(Unavailable::backend(NAME, reason).into());
    }
    let block = Block::take()?;
    let control = block.control();
    let prepared = settle_in(block, control);
    if let Err(error) = prepared {
        leave(block, control);
        return Err(error);
    }
    // Fails in a thread that is ending, when it is too late to be told of its end.
    if RETIREMENT.try_with(|retirement| retirement.set(Some(Retirement { block }))).is_err() {
        leave(block, control);
        return Err(Unavailable::backend(NAME, "this thread is ending").into());
    }
    watchdog::add(control);
    CONTROL.set(Some(control));
    Ok(control)
}

fn settle_in(block: Block, control: &'static Control) -> Result<(), Error> {
    control.inside.store(0, Ordering::Relaxed);
    control.handling.store(0, Ordering::Relaxed);
    control.selector.store(selector::ALLOW, Ordering::Relaxed);
    control.host_fs.store(tls::thread_pointer() as u64, Ordering::Relaxed);
    control.handler_rsp.store(block.handler_stack_top(), Ordering::Relaxed);
    control.thread.store(nix::unistd::gettid().as_raw(), Ordering::Relaxed);
    control.opened.store(u32::MAX, Ordering::Relaxed);
    unregister_rseq()?;
    set_signal_stack(stack_t {
        ss_sp: block.signal_stack().as_ptr().cast(),
        ss_flags: SS_AUTODISARM,
        ss_size: SIGNAL_STACK_BYTES,
    })?;
    dispatch(DISPATCH_ON, ptr::from_ref(&control.selector).cast())
        .map_err(|errno| Error::os("have the thread's system calls looked at", errno))?;
    unblock()?;
    find_frame(control)?;
    ringfence_shim::keep_signals(kept_signals());
    Ok(())
}

/// The signals that a fault inside raises, and the watchdog's.
fn kept_signals() -> u64 {
    dispositions::OF_THE_CODE
        .iter()
        .chain(&[watchdog::signal()])
        .fold(0, |bits, signal| bits | bit_of(*signal))
}

/// An instruction that raises a blocked signal ends the program.
fn unblock() -> Result<(), Error> {
    const MASK_BYTES: usize = 8;
    let mask = kept_signals();
    let (how, old) = (libc::SIG_UNBLOCK, ptr::null_mut::<u64>());
    // SAFETY: reads a mask of this frame, of the size that is named.
    let done = unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const mask, old, MASK_BYTES) };
    Errno::result(done).map(drop).map_err(|errno| Error::os("unblock the signals of faults", errno))
}

/// Undoes what was done. What was not done is not there to be undone, and the calls fail without harm.
fn leave(block: Block, control: &'static Control) {
    ringfence_shim::keep_signals(0);
    let _ = dispatch(DISPATCH_OFF, ptr::null());
    // Whatever stack was there before may be gone by now; a thread that ends needs none.
    let _ = set_signal_stack(stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 });
    let _signing = SIGNING.lock().unwrap_or_else(PoisonError::into_inner);
    if take_back_signal_stack(control).is_ok() {
        block.give_back();
    }
}

/// Gives the block back when the thread ends.
#[derive(Debug)]
struct Retirement {
    block: Block,
}

impl Drop for Retirement {
    fn drop(&mut self) {
        // In a forked child another thread of the parent may have held the locks for ever, and the blocks are the parent's.
        if ringfence_core::origin::is_forked() {
            return;
        }
        let control = self.block.control();
        CONTROL.set(None);
        watchdog::remove(control);
        leave(self.block, control);
    }
}

/// By key: the thread whose signal stack carries it, on kernels that write a frame with the rights of the code they interrupt.
static SIGNAL_STACKS: [AtomicPtr<Control>; KEYS] = [const { AtomicPtr::new(ptr::null_mut()) }; KEYS];
/// Held while a signal stack changes its key.
static SIGNING: Mutex<()> = Mutex::new(());

/// Puts the key of the domain it is about to enter on this thread's signal stack. No other thread's carries it then: code inside could write
/// there.
///
/// # Cost
/// One load, if the thread was the last one inside; else two system calls.
pub(crate) fn sign_over_signal_stack(control: &'static Control, key: u32) -> Result<(), Error> {
    let Some(stack) = SIGNAL_STACKS.get(key as usize) else { return Ok(()) };
    if ptr::eq(stack.load(Ordering::Acquire), control) {
        return Ok(());
    }
    let _signing = SIGNING.lock().unwrap_or_else(PoisonError::into_inner);
    take_back_signal_stack(control)?;
    // SAFETY: a control block is never unmapped.
    if let Some(other) = unsafe { stack.load(Ordering::Acquire).as_ref() } {
        take_back_signal_stack(other)?;
    }
    tag_signal_stack(control, key)?;
    stack.store(ptr::from_ref(control).cast_mut(), Ordering::Release);
    Ok(())
}

/// Gives a signal stack the default key. The lock is held, or the stack is not in use.
fn take_back_signal_stack(control: &'static Control) -> Result<(), Error> {
    let key = control.signal_stack_key.load(Ordering::Relaxed);
    if key == 0 {
        return Ok(());
    }
    tag_signal_stack(control, 0)?;
    if let Some(stack) = SIGNAL_STACKS.get(key as usize) {
        stack.store(ptr::null_mut(), Ordering::Release);
    }
    Ok(())
}

fn tag_signal_stack(control: &'static Control, key: u32) -> Result<(), Error> {
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the signal stack of a block, in which nothing is a Rust reference.
    unsafe { region::protect(Block::of(control).signal_stack(), SIGNAL_STACK_BYTES, protection, key) }
        .map_err(|errno| Error::os("give the signal stack a key", errno))?;
    control.signal_stack_key.store(key, Ordering::Relaxed);
    Ok(())
}

fn set_signal_stack(stack: stack_t) -> Result<(), Error> {
    // SAFETY: the stack is the block's, which outlives its use, or none; no old one is asked for.
    let set = unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) };
    Errno::result(set).map(drop).map_err(|errno| Error::os("set the signal stack", errno))
}

fn dispatch(mode: u64, selector: *const u8) -> Result<(), Errno> {
    let none = 0_u64;
    // SAFETY: the selector is a byte of the control block, mapped for the life of the process, or null to turn it off.
    let set = unsafe { libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, mode, none, none, selector) };
    Errno::result(set).map(drop)
}

/// Has a signal sent to this thread, whose handler notes where the kernel put the frame.
fn find_frame(control: &Control) -> Result<(), Error> {
    control.frame.store(0, Ordering::Relaxed);
    // It has a handler, and is delivered before the call returns.
    watchdog::send(control).map_err(|errno| Error::os("send a signal to this thread", errno))?;
    if control.frame.load(Ordering::Relaxed) == 0 {
        let reason = "this thread does not get the signal that ends what takes too long";
        return Err(Unavailable::backend(NAME, reason).into());
    }
    Ok(())
}

/// The kernel writes the area at preemption with the thread's rights, and kills the process when it cannot: it is host memory.
fn unregister_rseq() -> Result<(), Error> {
    let Some(offset) = tls::rseq_offset() else { return Ok(()) };
    let area = tls::thread_pointer().wrapping_add_signed(offset);
    // SAFETY: names the area of this thread that glibc registered. If there is none the kernel says so.
    let done = unsafe { libc::syscall(SYS_RSEQ, area, RSEQ_BYTES, RSEQ_UNREGISTER, RSEQ_SIGNATURE) };
    if done == 0 || !is_registered(area) {
        return Ok(());
    }
    Err(Error::os("unregister restartable sequences", Errno::last()))
}

/// Whether the kernel keeps the area up to date: the CPU number in it is then one.
fn is_registered(area: usize) -> bool {
    const CPU_ID: usize = 4;
    // SAFETY: the area is part of this thread's own memory, and the kernel writes it only while this thread does not run.
    let cpu = unsafe { ((area + CPU_ID) as *const i32).read_volatile() };
    cpu >= 0
}

fn gs_base() -> u64 {
    let base: u64;
    // SAFETY: reads a register; the kernel has enabled the instruction, which the probe checked.
    unsafe { asm!("rdgsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
    base
}
