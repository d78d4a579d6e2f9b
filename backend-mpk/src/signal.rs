//! What happens on a signal: inside a domain the crossing ends or goes on, elsewhere the program's own handler gets it.
//!
//! The assembly calls these on the thread's handler stack, with the host's FS and rights and every signal blocked. They allocate nothing
//! and take no lock.
//!
//! # Safety
//! The pointers are the kernel's, for a signal that is being handled, unless the entry was reached by a jump: that is told from the
//! frame before anything is believed.
#![expect(unsafe_code, reason = "signal handlers called by the assembly")]

use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{REG_EFL, REG_R14, REG_RAX, REG_RCX, REG_RDI, REG_RDX, REG_RIP, siginfo_t, ucontext_t};

use crate::arena::Block;
use crate::context::{Context, Info};
use crate::control::{Control, rights};
use crate::dispositions::{self, Origin};
use crate::gate::{self, places};
use crate::record::Ending;
use crate::region::Region;
use crate::syscalls::{Decision, Rules};
use crate::{trap, watchdog, words};

/// `si_code` of SIGSYS raised by user dispatch (`SYS_USER_DISPATCH`).
pub(crate) const USER_DISPATCH: i32 = 2;
/// `si_code` of SIGSEGV by a protection key (`SEGV_PKUERR`).
pub(crate) const KEY_ERROR: i32 = 4;

/// `AUDIT_ARCH_X86_64`.
const NATIVE: u32 = 0xc000_003e;
/// `__X32_SYSCALL_BIT`.
const X32: i64 = 0x4000_0000;

/// Recorded for a call whose number is not one of this architecture's.
pub(crate) const FOREIGN: i64 = i64::MIN;

/// Interrupt and reserved flag: nothing that code inside can have set.
const PLAIN_FLAGS: u64 = 0x202;

/// What the interrupted code does next.
enum Next {
    /// It goes on where it was, with this gs.
    AsItWas(u64),
    /// The domain goes on.
    Resume,
    /// The stub or the way out is begun again.
    Again { from: u64, rights: u32 },
    /// The crossing ends.
    Rewind,
}

/// A signal of a thread that is inside. Gives the gs that the interrupted code goes on with.
pub(crate) extern "C" fn on_signal_inside(
    control: &'static Control,
    signal: i32,
    info: *mut siginfo_t,
    context: *mut ucontext_t,
    frame: u64,
    gs: u64,
) -> u64 {
    // SAFETY: the pointers lead into this thread's signal stack, where there is room for both.
    let mut saved = unsafe { Context::new(context) };
    if !is_fresh(control, frame, &saved) {
        control.record.end(Ending::Forged);
        control.resume_rip.store(places::exit(), Ordering::Relaxed);
        // SAFETY: the thread is inside, and leaves by the way out.
        unsafe { gate::abandon(control) }
    }
    // SAFETY: the kernel wrote this frame for the signal that is being handled: it is fresh.
    let told = unsafe { Info::new(info) };
    let rip = saved.get(REG_RIP);
    let next = if is_of_the_code(signal, told) {
        on_fault(control, signal, told, &mut saved)
    } else if signal == watchdog::signal() {
        if watchdog::has_doomed(control) && !places::leaving().contains(&rip) {
            if places::calling().contains(&rip) {
                // Where the domain made the call, for the backtrace.
                saved.set(REG_RIP, control.after_rip.load(Ordering::Relaxed));
                saved.set(REG_RDI, control.after_rdi.load(Ordering::Relaxed));
            }
            control.record.end(Ending::Timeout);
            control.record.set_registers(&saved.registers());
            Next::Rewind
        } else {
            undisturbed(control, rip, gs)
        }
    } else {
        handle(control, || {
            // SAFETY: the pointers are the kernel's, as above.
            unsafe { dispositions::pass_on(signal, info, context, Origin::Elsewhere) };
        });
        undisturbed(control, rip, gs)
    };
    go_on(control, &mut saved, &next)
}

fn go_on(control: &Control, saved: &mut Context, next: &Next) -> u64 {
    match *next {
        Next::AsItWas(gs) => return gs,
        Next::Resume => {
            control.resume_rax.store(saved.get(REG_RAX), Ordering::Relaxed);
            control.resume_rcx.store(saved.get(REG_RCX), Ordering::Relaxed);
            control.resume_rdx.store(saved.get(REG_RDX), Ordering::Relaxed);
            control.resume_rip.store(saved.get(REG_RIP), Ordering::Relaxed);
            saved.set(REG_RIP, places::resume());
            saved.set_rights(control.host_pkru.load(Ordering::Relaxed));
        }
        Next::Again { from, rights } => {
            saved.set(REG_RIP, from);
            saved.set_rights(rights);
        }
        Next::Rewind => {
            saved.set(REG_RIP, places::exit());
            saved.set(REG_R14, 1);
            saved.set(REG_EFL, PLAIN_FLAGS);
            saved.set_rights(rights(control.key.load(Ordering::Relaxed)));
        }
    }
    saved.set_segments();
    control.address()
}

/// Whether the kernel has written a frame since the last one was used. A jump to the signal entry finds the mark that the entry leaves in a frame when
/// it is done with it, or is not where the kernel puts frames.
fn is_fresh(control: &'static Control, frame: u64, saved: &Context) -> bool {
    let stack = Block::of(control).signal_stack_addresses();
    frame == control.frame.load(Ordering::Relaxed)
        && stack.contains(&frame)
        // SAFETY: the place is in the thread's signal stack, which is mapped and readable to the host.
        && unsafe { (frame as *const u64).read_volatile() } != 0
        && saved.is_within(&stack)
        && (MARKS_HOLD.load(Ordering::Relaxed) || is_handling())
}

/// Whether code inside cannot write the signal stack, so that the mark can be believed. Set once by the probe.
pub(crate) static MARKS_HOLD: AtomicBool = AtomicBool::new(false);

/// Whether this thread handles a signal, as the kernel sees it: it disarms the signal stack for as long.
fn is_handling() -> bool {
    let mut stack = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: 0, ss_size: 0 };
    // SAFETY: asks only, into a local. The system call, since the function of that name may be the shim's.
    let asked = unsafe { libc::syscall(libc::SYS_sigaltstack, ptr::null::<libc::stack_t>(), &raw mut stack) };
    asked == 0 && stack.ss_flags & libc::SS_DISABLE != 0
}

/// Whether the interrupted instruction raised the signal itself; not a timer, nor another process.
fn is_of_the_code(signal: i32, told: Info) -> bool {
    dispositions::OF_THE_CODE.contains(&signal) && told.code() > 0
}

/// How code goes on that had nothing to do with the signal.
fn undisturbed(control: &Control, rip: u64, gs: u64) -> Next {
    if places::resuming().contains(&rip) {
        Next::Again { from: places::resume(), rights: control.host_pkru.load(Ordering::Relaxed) }
    } else if places::leaving().contains(&rip) {
        Next::Again { from: places::exit(), rights: rights(control.key.load(Ordering::Relaxed)) }
    } else if places::entering().contains(&rip) || places::calling().contains(&rip) {
        Next::AsItWas(gs)
    } else {
        Next::Resume
    }
}

fn on_fault(control: &Control, signal: i32, told: Info, saved: &mut Context) -> Next {
    let rip = saved.get(REG_RIP);
    let in_the_gate = [places::entering(), places::resuming(), places::leaving(), places::calling()]
        .iter()
        .any(|range| range.contains(&rip));
    if signal == libc::SIGSYS && told.code() == USER_DISPATCH && !in_the_gate {
        return on_syscall(control, told, saved);
    }
    let record = &control.record;
    if signal == libc::SIGILL && rip == trap::place() {
        for (field, register) in record.trap.iter().zip([libc::REG_RDI, libc::REG_RSI]) {
            field.store(saved.get(register), Ordering::Relaxed);
        }
        record.end(Ending::Trap);
        record.set_registers(&saved.registers());
        return Next::Rewind;
    }
    let by_key = signal == libc::SIGSEGV && told.code() == KEY_ERROR;
    // Of a closed page the kernel says that key 0 forbade it.
    if signal == libc::SIGSEGV && !in_the_gate {
        let key = control.key.load(Ordering::Relaxed);
        if region_of(control).is_some_and(|region| region.grow_for(told.address() as usize, key)) {
            return Next::Resume;
        }
    }
    if by_key && !in_the_gate && words::is_one(told.address()) {
        if words::is_count_of_panics(told.address()) {
            record.is_panicking.store(1, Ordering::Relaxed);
        }
        if words::take_as_done(saved, told.address()) {
            return Next::Resume;
        }
    }
    record.signal.store(signal, Ordering::Relaxed);
    record.code.store(told.code(), Ordering::Relaxed);
    record.address.store(told.address(), Ordering::Relaxed);
    record.key.store(if by_key { told.key() } else { u32::MAX }, Ordering::Relaxed);
    record.set_registers(&saved.registers());
    record.end(Ending::Signal);
    Next::Rewind
}

fn region_of(control: &Control) -> Option<&Region> {
    // SAFETY: set before the thread went inside, to the region of the domain it is inside of, which outlives the crossing.
    unsafe { control.region.load(Ordering::Relaxed).cast_const().cast::<Region>().as_ref() }
}

fn on_syscall(control: &Control, told: Info, saved: &mut Context) -> Next {
    let number = i64::from(told.syscall());
    // SAFETY: the pointer was set before the thread went inside, to rules that outlive the crossing.
    let rules = unsafe { control.rules.load(Ordering::Relaxed).cast_const().cast::<Rules>().as_ref() };
    let arguments = [libc::REG_RDI, libc::REG_RSI, libc::REG_RDX].map(|register| saved.get(register));
    let capture = control.capture.load(Ordering::Relaxed);
    // The numbers of another architecture's table mean other calls.
    let native = told.architecture() == NATIVE && number & X32 == 0;
    match rules.filter(|_| native).map_or(Decision::Deny, |rules| rules.decide(number, arguments, capture)) {
        Decision::Make { first } => {
            // The kernel raises no signal where it cannot write what it is told to.
            let key = control.key.load(Ordering::Relaxed);
            // What could not be made usable the call answers with an error.
            let _ = region_of(control).map(|region| region.grow(key));
            control.after_rip.store(saved.get(REG_RIP), Ordering::Relaxed);
            control.after_rdi.store(saved.get(REG_RDI), Ordering::Relaxed);
            control.resume_selector.store(crate::control::selector::ALLOW, Ordering::Relaxed);
            saved.set(REG_RDI, first);
            saved.set(REG_RAX, number.cast_unsigned());
            saved.set(REG_RIP, places::syscall());
            Next::Resume
        }
        Decision::Answer(errno) => {
            saved.set(REG_RAX, i64::from(-errno).cast_unsigned());
            Next::Resume
        }
        Decision::Deny => {
            // A number of another table means another call.
            let number = if told.architecture() == NATIVE { number } else { FOREIGN };
            control.record.syscall.store(number, Ordering::Relaxed);
            control.record.signal.store(libc::SIGSYS, Ordering::Relaxed);
            control.record.code.store(told.code(), Ordering::Relaxed);
            control.record.set_registers(&saved.registers());
            control.record.end(Ending::Syscall);
            Next::Rewind
        }
    }
}

/// A signal of a thread that has a block and is not inside.
pub(crate) extern "C" fn on_signal_outside(
    control: &Control,
    signal: i32,
    info: *mut siginfo_t,
    context: *mut ucontext_t,
    frame: u64,
) {
    if signal == watchdog::signal() {
        // Sent by the thread to itself, to see where frames go; or too late.
        if control.frame.load(Ordering::Relaxed) == 0 {
            control.frame.store(frame, Ordering::Relaxed);
        }
        return;
    }
    handle(control, || {
        // SAFETY: the pointers are the kernel's.
        unsafe { dispositions::pass_on(signal, info, context, Origin::Here) };
    });
}

/// Keeps the thread from going inside meanwhile.
fn handle(control: &Control, handler: impl FnOnce()) {
    let handling = control.handling.load(Ordering::Relaxed);
    control.handling.store(handling + 1, Ordering::Relaxed);
    handler();
    control.handling.store(handling, Ordering::Relaxed);
}

/// A signal of a thread that is on none of our stacks.
pub(crate) extern "C" fn on_other_stack(signal: i32, info: *mut siginfo_t, context: *mut ucontext_t) {
    if signal != watchdog::signal() {
        // SAFETY: the pointers are the kernel's.
        unsafe { dispositions::pass_on(signal, info, context, Origin::Here) };
    }
}
