//! What code inside a domain says before it ends, on descriptor 2, without the C library.
//!
//! # Safety
//! The system call reads the message and writes to no memory.
#![expect(unsafe_code, reason = "a system call in assembly")]

use std::arch::global_asm;

// One system call at one place, so that whoever decides about system calls can tell it from others.
global_asm!(
    ".pushsection .text.ringfence_shim_write,\"ax\",@progbits",
    ".globl ringfence_shim_write",
    ".hidden ringfence_shim_write",
    ".type ringfence_shim_write,@function",
    "ringfence_shim_write:",
    "mov rdx, rsi",
    "mov rsi, rdi",
    "mov edi, 2",
    "mov eax, {write}",
    "syscall",
    ".globl ringfence_shim_written",
    ".hidden ringfence_shim_written",
    "ringfence_shim_written:",
    "ret",
    ".size ringfence_shim_write, . - ringfence_shim_write",
    ".popsection",
    write = const libc::SYS_write,
);

unsafe extern "C" {
    fn ringfence_shim_write(bytes: *const u8, length: usize) -> isize;
    fn ringfence_shim_written();
}

/// Where the one system call that this crate makes inside a domain returns to: the instruction pointer that a signal frame shows for it.
/// It is `write(2, …)` of a message. A policy that denies it loses the message, and the end is then seen as that system call.
#[must_use]
pub fn message_site() -> usize {
    ringfence_shim_written as *const () as usize
}

/// Writes bytes to descriptor 2, with one system call. Whether they arrive nobody asks.
pub(crate) fn write(bytes: &[u8]) {
    // SAFETY: the call reads a valid slice, and clobbers no more than a C function may.
    let _written = unsafe { ringfence_shim_write(bytes.as_ptr(), bytes.len()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_site_is_behind_a_system_call() {
        let syscall = std::ptr::with_exposed_provenance::<[u8; 2]>(message_site() - 2);
        // SAFETY: code is readable.
        assert_eq!(unsafe { syscall.read() }, [0x0f, 0x05]);
    }
}
