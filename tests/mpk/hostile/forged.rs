//! What an attacker brings to the gate: a control block of its own, and code that wants to be run with the host's rights.
//!
//! # Safety
//! The code counts, and faults.
#![expect(unsafe_code, reason = "assembly, and its symbols")]

use std::arch::global_asm;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::machine::fs_base;

/// Counts arrivals of code that may write to the host.
pub(crate) static LANDED: AtomicPtr<u64> = AtomicPtr::new(&raw const OWN as *mut u64);
static OWN: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" {
    fn hostile_landing();
    fn hostile_planted_call();
}

// Where the attacker wants to go on, and a system call behind which it would.
global_asm!(
    ".globl hostile_planted_call",
    "hostile_planted_call:",
    "syscall",
    ".globl hostile_landing",
    "hostile_landing:",
    "mov rax, [rip + {landed}]",
    "lock inc qword ptr [rax]",
    "ud2",
    landed = sym LANDED,
);

/// A system call, behind which the landing is.
pub(crate) fn planted_call() -> u64 {
    address(hostile_planted_call)
}

pub(crate) fn address(function: unsafe extern "C" fn()) -> u64 {
    function as usize as u64
}

pub(crate) fn landing() -> u64 {
    address(hostile_landing)
}

pub(crate) fn landed() -> u64 {
    OWN.load(Ordering::SeqCst)
}

/// Where the fields of a control block lie (`backend-mpk/src/control.rs`).
pub(crate) mod field {
    pub(crate) const HOST_RSP: usize = 0;
    pub(crate) const HOST_FS: usize = 8;
    pub(crate) const DOMAIN_FS: usize = 24;
    pub(crate) const DOMAIN_RSP: usize = 32;
    pub(crate) const FRAME: usize = 56;
    pub(crate) const HANDLER_RSP: usize = 64;
    pub(crate) const RESUME_RIP: usize = 96;
    pub(crate) const AFTER_RIP: usize = 104;
    /// Of a `ucontext_t`: the same memory serves as one.
    pub(crate) const EXTENDED_STATE: usize = 224;
}

/// A block as an attacker would like it: every right, and every way leads to the landing.
#[repr(C, align(4096))]
pub(crate) struct Forged {
    block: [u64; 512],
    stack: [u64; 512],
    word: u64,
}

impl Forged {
    pub(crate) const EMPTY: Self = Self { block: [0; 512], stack: [0; 512], word: 0 };

    /// Fills it in, where it lies.
    pub(crate) fn fill(&mut self) {
        self.stack.fill(landing());
        let middle = (&raw const self.stack[256]) as u64;
        for (field, value) in [
            (field::HOST_RSP, middle),
            (field::HOST_FS, fs_base()),
            (field::DOMAIN_FS, fs_base()),
            (field::DOMAIN_RSP, middle),
            (field::FRAME, (&raw const self.word) as u64),
            (field::HANDLER_RSP, middle),
            (field::RESUME_RIP, landing()),
            (field::AFTER_RIP, landing()),
            (field::EXTENDED_STATE, self.address()),
        ] {
            self.block[field / 8] = value;
        }
    }

    pub(crate) fn address(&self) -> u64 {
        self.block.as_ptr() as u64
    }

    pub(crate) fn stack(&self) -> u64 {
        (&raw const self.stack[256]) as u64
    }
}
