//! Registers: jumps with chosen ones, and what they hold beyond values.
//!
//! # Safety
//! A jump is the attack, inside a domain or in a forked child; everything else only reads.
#![expect(unsafe_code, reason = "reads registers, and jumps with chosen ones")]

use std::arch::{asm, naked_asm};

/// What an attacker sets before a jump.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Leap {
    pub(crate) rip: u64,
    pub(crate) rsp: u64,
    pub(crate) rax: u64,
    pub(crate) rcx: u64,
    pub(crate) rdx: u64,
    pub(crate) rdi: u64,
    pub(crate) rsi: u64,
    pub(crate) r14: u64,
    pub(crate) r15: u64,
    pub(crate) fs: u64,
    pub(crate) gs: u64,
    /// Set by `popf`.
    pub(crate) flags: u64,
}

/// No flag that matters.
pub(crate) const PLAIN_FLAGS: u64 = 0x202;

impl Leap {
    /// To this address, with everything else as it is.
    pub(crate) fn to(rip: u64) -> Self {
        Self {
            rip,
            rsp: stack_pointer(),
            fs: fs_base(),
            gs: gs_base(),
            flags: PLAIN_FLAGS,
            ..Self::default()
        }
    }

    /// Goes there.
    pub(crate) fn go(&self) -> ! {
        // SAFETY: the attack; inside a domain, or in a forked child.
        unsafe {
            asm!(
                "push qword ptr [r12 + 88]",
                "mov rsp, rsp",
                "mov rax, [r12 + 72]",
                "wrfsbase rax",
                "mov rax, [r12 + 80]",
                "wrgsbase rax",
                "mov rax, [r12 + 16]",
                "mov rcx, [r12 + 24]",
                "mov rdx, [r12 + 32]",
                "mov rdi, [r12 + 40]",
                "mov rsi, [r12 + 48]",
                "mov r14, [r12 + 56]",
                "mov r15, [r12 + 64]",
                "mov r11, [r12]",
                "popfq",
                "mov rsp, [r12 + 8]",
                "jmp r11",
                in("r12") std::ptr::from_ref(self),
                options(noreturn)
            )
        }
    }
}

pub(crate) fn stack_pointer() -> u64 {
    let value: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

pub(crate) fn fs_base() -> u64 {
    let base: u64;
    // SAFETY: reads a register; the backend stands on the instruction.
    unsafe { asm!("rdfsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
    base
}

pub(crate) fn gs_base() -> u64 {
    let base: u64;
    // SAFETY: as for FS.
    unsafe { asm!("rdgsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
    base
}

/// The rights of the thread to memory, by key.
pub(crate) fn rights() -> u32 {
    let value: u32;
    // SAFETY: reads a register; the backend stands on the instruction.
    unsafe {
        asm!("rdpkru", in("ecx") 0, out("eax") value, out("edx") _, options(nomem, nostack, preserves_flags));
    };
    value
}

/// What a thread's registers hold beyond its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    flags: u64,
    mxcsr: u32,
    x87_control: u16,
    x87_tags: u16,
    fs: u64,
    gs: u64,
    rights: u32,
}

impl State {
    pub(crate) fn now() -> Self {
        const ARITHMETIC: u64 = 0x8d5;
        let flags: u64;
        // SAFETY: reads a register by way of the stack.
        unsafe { asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags)) };
        let mut mxcsr = 0_u32;
        // SAFETY: writes a local.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack, preserves_flags)) };
        let mut environment = [0_u16; 14];
        // SAFETY: writes 28 bytes, of which the local has so many, and loads them back.
        unsafe {
            asm!("fnstenv [{0}]", "fldenv [{0}]", in(reg) &raw mut environment, options(nostack, preserves_flags));
        };
        Self {
            flags: flags & !ARITHMETIC,
            mxcsr: mxcsr & !0x3f,
            x87_control: environment[0],
            x87_tags: environment[4],
            fs: fs_base(),
            gs: gs_base(),
            rights: rights(),
        }
    }
}

/// The gap: an instruction that is there for everyone. One function, so that it can be told where this program has it.
pub(crate) fn set_rights(value: u32) {
    set_rights_here(value);
}

#[unsafe(naked)]
extern "C" fn set_rights_here(value: u32) {
    naked_asm!("mov eax, edi", "xor ecx, ecx", "xor edx, edx", "wrpkru", "ret")
}

/// Where that is.
pub(crate) fn own_wrpkru() -> std::ops::Range<u64> {
    let start = set_rights_here as *const () as u64;
    start..start + 10
}
