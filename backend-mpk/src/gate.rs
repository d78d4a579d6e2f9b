//! The gate: the one way into a domain and out of it.
//!
//! # Safety
//! The assembly in `gate.s` and the ranges in it that the signal handler sets back to their start. To call it a control block has to
//! describe a domain as [`cross`] says.
#![expect(unsafe_code, reason = "the gate's assembly, and reading PKRU")]

use std::arch::{asm, global_asm};
use std::mem::offset_of;
use std::ops::Range;

use crate::arena::{ARENA, ARENA_BYTES, BLOCK_BYTES};
use crate::control::{CLOSED, Control, INITIAL, OPEN, OWNERS, RIGHTS, VECTORS};
use crate::signal::{on_other_stack, on_signal_inside, on_signal_outside};

global_asm!(
    include_str!("gate.s"),
    HOST_RSP = const offset_of!(Control, host_rsp),
    HOST_FS = const offset_of!(Control, host_fs),
    HOST_PKRU = const offset_of!(Control, host_pkru),
    DOMAIN_PKRU = const offset_of!(Control, domain_pkru),
    DOMAIN_FS = const offset_of!(Control, domain_fs),
    DOMAIN_RSP = const offset_of!(Control, domain_rsp),
    ARGUMENT = const offset_of!(Control, argument),
    INSIDE = const offset_of!(Control, inside),
    HANDLER_RSP = const offset_of!(Control, handler_rsp),
    RESUME_RAX = const offset_of!(Control, resume_rax),
    RESUME_RCX = const offset_of!(Control, resume_rcx),
    RESUME_RDX = const offset_of!(Control, resume_rdx),
    RESUME_RIP = const offset_of!(Control, resume_rip),
    AFTER_RIP = const offset_of!(Control, after_rip),
    AFTER_RDI = const offset_of!(Control, after_rdi),
    KEY = const offset_of!(Control, key),
    THREAD = const offset_of!(Control, thread),
    SELECTOR = const offset_of!(Control, selector),
    RESUME_SELECTOR = const offset_of!(Control, resume_selector),
    CLOSED = const CLOSED,
    INITIAL = const INITIAL,
    OPEN = sym OPEN,
    OWNERS = sym OWNERS,
    RIGHTS = sym RIGHTS,
    GETTID = const libc::SYS_gettid,
    GETPID = const libc::SYS_getpid,
    VECTORS = sym VECTORS,
    ARENA = sym ARENA,
    ARENA_BYTES = const ARENA_BYTES,
    BLOCK_BYTES = const BLOCK_BYTES,
    on_other_stack = sym on_other_stack,
    on_signal_inside = sym on_signal_inside,
    on_signal_outside = sym on_signal_outside,
);

unsafe extern "C" {
    fn ringfence_mpk_gate(control: *const Control) -> u32;
    fn ringfence_mpk_open();
    fn ringfence_mpk_abandon(control: *const Control) -> !;
    fn ringfence_mpk_signal();
    fn ringfence_mpk_restore();
    fn ringfence_mpk_resume();
    fn ringfence_mpk_resume_end();
    fn ringfence_mpk_call();
    fn ringfence_mpk_exit();
    fn ringfence_mpk_exit_end();
    fn ringfence_mpk_syscall();
    fn ringfence_mpk_syscall_end();
}

/// How a crossing of the gate ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crossed {
    /// The entry returned.
    Returned,
    /// It was ended; the control block's record says why.
    Rewound,
}

/// Enters the domain that the control block describes and comes back.
///
/// # Safety
/// The control block is the calling thread's own. Its domain fields, with `resume_rip` at [`places::call`] and `resume_rax` at an `extern "C"` function of one
/// argument, name a domain nobody else is inside of, whose pages carry the key, and which has this thread in [`OWNERS`].
pub(crate) unsafe fn cross(control: &Control) -> Crossed {
    // SAFETY: the caller's promise; the gate restores every register the calling convention preserves, from memory the
    // domain cannot write.
    match unsafe { ringfence_mpk_gate(control) } {
        0 => Crossed::Returned,
        _ => Crossed::Rewound,
    }
}

/// Gives the calling thread, which is not inside, the rights to the memory of all domains.
pub(crate) fn open() {
    // SAFETY: keys are in use, so the processor has the instructions; only rights to domains' memory are added.
    unsafe { ringfence_mpk_open() }
}

/// Leaves the domain this thread is inside of, from a handler that no signal started.
///
/// # Safety
/// As for [`cross`], with the thread inside and `resume_rip` at [`places::exit`].
pub(crate) unsafe fn abandon(control: &Control) -> ! {
    // SAFETY: the caller's promise.
    unsafe { ringfence_mpk_abandon(control) }
}

/// The rights of the calling thread.
pub(crate) fn rights_now() -> u32 {
    let value: u32;
    // SAFETY: keys are in use, so the instruction is there; it reads a register.
    unsafe {
        asm!("rdpkru", in("ecx") 0, out("eax") value, out("edx") _, options(nomem, nostack, preserves_flags));
    }
    value
}

/// Addresses in the assembly.
pub(crate) mod places {
    use super::{
        Range, ringfence_mpk_call, ringfence_mpk_exit, ringfence_mpk_exit_end, ringfence_mpk_gate,
        ringfence_mpk_restore, ringfence_mpk_resume, ringfence_mpk_resume_end, ringfence_mpk_signal,
        ringfence_mpk_syscall, ringfence_mpk_syscall_end,
    };

    fn at(function: unsafe extern "C" fn()) -> u64 {
        function as usize as u64
    }

    /// The handler of every signal.
    pub(crate) fn signal() -> usize {
        ringfence_mpk_signal as *const () as usize
    }

    /// What the kernel has a handler return to.
    pub(crate) fn restore() -> usize {
        ringfence_mpk_restore as *const () as usize
    }

    /// The first instruction inside.
    pub(crate) fn call() -> u64 {
        at(ringfence_mpk_call)
    }

    /// The way out.
    pub(crate) fn exit() -> u64 {
        at(ringfence_mpk_exit)
    }

    /// The resume stub.
    pub(crate) fn resume() -> u64 {
        at(ringfence_mpk_resume)
    }

    /// The system call made for a domain.
    pub(crate) fn syscall() -> u64 {
        at(ringfence_mpk_syscall)
    }

    /// On the way in, with the host's rights, before the resume stub.
    pub(crate) fn entering() -> Range<u64> {
        ringfence_mpk_gate as *const () as u64..resume()
    }

    /// The resume stub.
    pub(crate) fn resuming() -> Range<u64> {
        resume()..at(ringfence_mpk_resume_end)
    }

    /// The way out, as long as the thread counts as inside.
    pub(crate) fn leaving() -> Range<u64> {
        exit()..at(ringfence_mpk_exit_end)
    }

    /// Around the system call made for a domain.
    pub(crate) fn calling() -> Range<u64> {
        syscall()..at(ringfence_mpk_syscall_end)
    }
}
