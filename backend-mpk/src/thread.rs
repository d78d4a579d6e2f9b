//! What a thread needs before it can go inside: a block of the arena, its signals on the block's signal stack, no restartable
//! sequences, its system calls looked at.
//!
//! It is done when the thread goes inside for the first time, and undone when it ends. Between, the thread's system calls cost a few
//! nanoseconds more (the kernel looks at the selector), and `sched_getcpu` asks the kernel.
//!
//! # Safety
//! Changes settings of the calling thread, of which each is proved beside it.
#![expect(unsafe_code, reason = "sigaltstack, prctl, rseq and the FS and GS bases")]

use std::arch::asm;
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::Ordering;

use libc::stack_t;
use nix::errno::Errno;
use nix::sys::mman::ProtFlags;
use ringfence_core::{Error, Unavailable};

use crate::NAME;
use crate::arena::{Block, SIGNAL_STACK_BYTES};
use crate::control::{Control, OPEN, selector};
use crate::gate;
use crate::region;
use crate::watchdog;

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
    watchdog::add(control);
    CONTROL.set(Some(control));
    RETIREMENT.set(Some(Retirement { block }));
    Ok(control)
}

fn settle_in(block: Block, control: &'static Control) -> Result<(), Error> {
    control.inside.store(0, Ordering::Relaxed);
    control.selector.store(selector::ALLOW, Ordering::Relaxed);
    control.host_fs.store(fs_base(), Ordering::Relaxed);
    control.handler_rsp.store(block.handler_stack_top(), Ordering::Relaxed);
    control.thread.store(nix::unistd::gettid().as_raw(), Ordering::Relaxed);
    control.opened.store(u32::MAX, Ordering::Relaxed);
    tag_signal_stack(block, control, 0)?;
    unregister_rseq()?;
    set_signal_stack(stack_t { ss_sp: block.signal_stack().as_ptr().cast(), ss_flags: SS_AUTODISARM, ss_size: SIGNAL_STACK_BYTES })?;
    dispatch(DISPATCH_ON, ptr::from_ref(&control.selector).cast())
        .map_err(|errno| Error::os("have the thread's system calls looked at", errno))?;
    find_frame(control)
}

/// Undoes what was done. What was not done is not there to be undone, and the calls fail without harm.
fn leave(block: Block, control: &'static Control) {
    let _ = dispatch(DISPATCH_OFF, ptr::null());
    // Whatever stack was there before may be gone by now; a thread that ends needs none.
    let _ = set_signal_stack(stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 });
    if tag_signal_stack(block, control, 0).is_ok() {
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
        let control = self.block.control();
        CONTROL.set(None);
        watchdog::remove(control);
        leave(self.block, control);
    }
}

/// Puts a key on the signal stack, for kernels that write a frame with the rights of the code they interrupt.
pub(crate) fn sign_over_signal_stack(control: &'static Control, key: u32) -> Result<(), Error> {
    if control.signal_stack_key.load(Ordering::Relaxed) == key {
        return Ok(());
    }
    tag_signal_stack(Block::of(control), control, key)
}

fn tag_signal_stack(block: Block, control: &Control, key: u32) -> Result<(), Error> {
    if control.signal_stack_key.load(Ordering::Relaxed) != key {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        region::protect(block.signal_stack(), SIGNAL_STACK_BYTES, protection, key)
            .map_err(|errno| Error::os("give the signal stack a key", errno))?;
        control.signal_stack_key.store(key, Ordering::Relaxed);
    }
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
    let thread = control.thread.load(Ordering::Relaxed);
    // SAFETY: plain numbers; the signal has a handler, and is delivered before the call returns.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, watchdog::signal()) };
    Errno::result(sent).map_err(|errno| Error::os("send a signal to this thread", errno))?;
    if control.frame.load(Ordering::Relaxed) == 0 {
        let reason = "this thread blocks the signal that ends what takes too long";
        return Err(Unavailable::backend(NAME, reason).into());
    }
    Ok(())
}

/// The kernel writes the area at preemption with the thread's rights, and kills the process when it cannot: it is host memory.
fn unregister_rseq() -> Result<(), Error> {
    let Some((area, bytes)) = rseq_area() else { return Ok(()) };
    // SAFETY: names the area of this thread that glibc registered. If there is none the kernel says so.
    let done = unsafe { libc::syscall(SYS_RSEQ, area, bytes, RSEQ_UNREGISTER, RSEQ_SIGNATURE) };
    if done == 0 || !is_registered(area) {
        return Ok(());
    }
    Err(Error::os("unregister restartable sequences", Errno::last()))
}

/// Whether the kernel keeps the area up to date: the CPU number in it is then one.
fn is_registered(area: u64) -> bool {
    const CPU_ID: u64 = 4;
    // SAFETY: the area is part of this thread's own memory, and the kernel writes it only while this thread does not run.
    let cpu = unsafe { ((area + CPU_ID) as *const i32).read_volatile() };
    cpu >= 0
}

/// The area glibc registers for each thread (2.35 and later), with the size it names to the kernel.
fn rseq_area() -> Option<(u64, u32)> {
    let offset = symbol(c"__rseq_offset")?.cast::<isize>();
    // SAFETY: glibc's constant of that type.
    let offset = unsafe { offset.read() };
    let size = symbol(c"__rseq_size")?.cast::<u32>();
    // SAFETY: as above.
    let size = unsafe { size.read() };
    // glibc names the original structure's 32 bytes, however much of it the kernel fills.
    (size > 0).then(|| (fs_base().wrapping_add_signed(offset as i64), size.max(32)))
}

fn symbol(name: &std::ffi::CStr) -> Option<*const u8> {
    // SAFETY: a C string.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!address.is_null()).then_some(address.cast_const().cast())
}

fn fs_base() -> u64 {
    let base: u64;
    // SAFETY: reads a register; the kernel has enabled the instruction, which the probe checked.
    unsafe { asm!("rdfsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
    base
}

fn gs_base() -> u64 {
    let base: u64;
    // SAFETY: as for FS.
    unsafe { asm!("rdgsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
    base
}
