//! What a panic hook inside an isolate writes down: the panic's text and place, and the registers to unwind from.
//!
//! # Safety
//! Stores registers into an array.
#![expect(unsafe_code, reason = "reads registers")]

use std::fmt::{self, Write as _};
use std::panic::PanicHookInfo;

/// General registers in the kernel's order (`<sys/ucontext.h>`).
pub const REGISTERS: usize = 23;
/// The most of a text that is kept.
pub const TEXT_BYTES: usize = 4096;

/// The text of a panic, with its place, cut to what is kept.
pub struct Text {
    bytes: [u8; TEXT_BYTES],
    length: usize,
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Text")
            .field(&String::from_utf8_lossy(self.bytes.get(..self.length).unwrap_or_default()))
            .finish()
    }
}

impl Text {
    /// Writes it down. Takes no lock and allocates nothing, unless what the payload prints does.
    #[must_use]
    pub fn of(panic: &PanicHookInfo<'_>) -> Self {
        let mut text = Self { bytes: [0; TEXT_BYTES], length: 0 };
        let message = panic.payload_as_str().unwrap_or("panic with a payload that is not text");
        // A text that does not fit is cut.
        let _ = match panic.location() {
            Some(place) => write!(text, "{message}, at {place}"),
            None => write!(text, "{message}"),
        };
        text
    }

    /// The whole room; what is not used is zero.
    #[must_use]
    pub fn bytes(&self) -> &[u8; TEXT_BYTES] {
        &self.bytes
    }

    /// How much of it is used.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.length..];
        let fits = text.len().min(room.len());
        room[..fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.length += fits;
        if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// The registers that unwinding from the frame of the caller needs. Inlined, so that the frame they describe is one that is still
/// there when the stack is copied.
#[inline(always)]
#[must_use]
pub fn registers_here() -> [i64; REGISTERS] {
    let mut saved = [0i64; 8];
    // SAFETY: stores eight registers through the given pointer into an array of eight; changes nothing else but the two scratch
    // registers it names.
    unsafe {
        std::arch::asm!(
            "lea {scratch}, [rip]",
            "mov [{saved}], {scratch}",
            "mov [{saved} + 8], rsp",
            "mov [{saved} + 16], rbp",
            "mov [{saved} + 24], rbx",
            "mov [{saved} + 32], r12",
            "mov [{saved} + 40], r13",
            "mov [{saved} + 48], r14",
            "mov [{saved} + 56], r15",
            saved = in(reg) saved.as_mut_ptr(),
            scratch = out(reg) _,
            options(nostack, preserves_flags)
        );
    }
    let places = [
        libc::REG_RIP,
        libc::REG_RSP,
        libc::REG_RBP,
        libc::REG_RBX,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
    ];
    let mut registers = [0; REGISTERS];
    for (place, value) in places.into_iter().zip(saved) {
        if let Some(register) = usize::try_from(place).ok().and_then(|index| registers.get_mut(index)) {
            *register = value;
        }
    }
    registers
}
