//! What a dying isolate writes about its death, and how the host reads it.
//!
//! # Safety
//! The report lies in memory the isolate can write at any time. Inside, its fields are written through raw pointers from a signal
//! handler; the host copies each byte once and judges the copy. Every field is a plain integer, so any bytes are a valid report.
#![expect(unsafe_code, reason = "raw access to the shared report area")]

use std::ptr::{NonNull, addr_of_mut};

use ringfence_core::fault::{Access, Registers};
use ringfence_core::panic_note::{REGISTERS, TEXT_BYTES};
use ringfence_core::region::Source;

/// How much of the stack travels for the backtrace.
pub(crate) const STACK_BYTES: usize = 32 << 10;

/// How a report lies in the channel.
#[repr(C)]
pub(crate) struct Area {
    pub(crate) head: Head,
    pub(crate) text: [u8; TEXT_BYTES],
    pub(crate) stack: [u8; STACK_BYTES],
}

/// What the handler saw. `signal == 0` means that nothing was written.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Head {
    pub(crate) signal: i32,
    pub(crate) code: i32,
    pub(crate) address: u64,
    pub(crate) syscall: i32,
    pub(crate) errno: i32,
    /// The process-ending status, when `ending` is [`Ending::Exit`].
    pub(crate) status: i32,
    pub(crate) ending: u32,
    pub(crate) stack_bytes: u64,
    /// The address the copied stack starts at.
    pub(crate) stack_start: u64,
    pub(crate) registers: [i64; REGISTERS],
}

/// The size of a report.
pub(crate) const REPORT_BYTES: usize = size_of::<Area>();

/// The host's private copy of a report.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) head: Head,
    text: Vec<u8>,
    stack: Vec<u8>,
}

/// What ended the isolate, as far as it could tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Ending {
    /// It did not say.
    Unknown = 0,
    /// A fatal signal.
    Signal = 1,
    /// A fatal signal on the guard of its stack.
    StackOverflow = 2,
    /// It asked to exit.
    Exit = 3,
    /// The host asked where it was.
    Asked = 4,
}

impl Report {
    /// Copies out what was reported, each byte once. `text_bytes` is the length of the text, which the header holds.
    pub(crate) fn copy(area: NonNull<u8>, text_bytes: u32) -> Self {
        // SAFETY: `area` is the report area of a mapped, sealed channel, REPORT_BYTES long, and the source is gone before the channel.
        let mut source = unsafe { Source::shared(area, REPORT_BYTES) };
        let mut bytes = [0u8; size_of::<Head>()];
        // Each part is within the area, so a part that cannot be read is one that cannot be allocated: it is left out.
        let _ = source.read_into(&mut bytes);
        // SAFETY: the bytes are as many as a head has, and any bytes are one: it is made of integers without padding.
        let head = unsafe { bytes.as_ptr().cast::<Head>().read_unaligned() };
        let mut part = |room: usize, used: usize| {
            let window = source.split(room);
            window.and_then(|mut window| window.read_vec(used.min(room))).unwrap_or_default()
        };
        let text = part(TEXT_BYTES, text_bytes as usize);
        let stack = part(STACK_BYTES, usize::try_from(head.stack_bytes).unwrap_or(STACK_BYTES));
        Self { head, text, stack }
    }

    /// Forgets an earlier report.
    pub(crate) fn clear(area: NonNull<u8>) {
        let report = area.cast::<Area>().as_ptr();
        // SAFETY: the area is mapped, writable and page-aligned; no reference is formed.
        let signal = unsafe { addr_of_mut!((*report).head.signal) };
        // SAFETY: points to a mapped, aligned integer.
        unsafe { signal.write_volatile(0) };
        // SAFETY: as above.
        let ending = unsafe { addr_of_mut!((*report).head.ending) };
        // SAFETY: as above.
        unsafe { ending.write_volatile(0) };
        // SAFETY: as above.
        let errno = unsafe { addr_of_mut!((*report).head.errno) };
        // SAFETY: as above.
        unsafe { errno.write_volatile(0) };
    }

    /// What ended it.
    pub(crate) fn ending(&self) -> Ending {
        [Ending::Signal, Ending::StackOverflow, Ending::Exit, Ending::Asked]
            .into_iter()
            .find(|ending| *ending as u32 == self.head.ending)
            .unwrap_or(Ending::Unknown)
    }

    /// A panic's text and place, if one was noted.
    pub(crate) fn text(&self) -> Option<String> {
        (!self.text.is_empty()).then(|| String::from_utf8_lossy(&self.text).into_owned())
    }

    /// The registers.
    pub(crate) fn registers(&self) -> Registers {
        Registers::from_gregs(&self.head.registers)
    }

    /// Takes the copied stack, which starts at `stack_start`.
    pub(crate) fn take_stack(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.stack)
    }

    /// What the faulting access tried, from the page-fault error code (SDM vol. 3, "Page-Fault Exceptions").
    pub(crate) fn access(&self) -> Option<Access> {
        const WRITE: i64 = 1 << 1;
        const FETCH: i64 = 1 << 4;
        const PAGE_FAULT: i64 = 14;
        let register =
            |index: i32| usize::try_from(index).ok().and_then(|index| self.head.registers.get(index));
        if register(libc::REG_TRAPNO) != Some(&PAGE_FAULT) {
            return None;
        }
        register(libc::REG_ERR).map(|error| match error {
            error if error & FETCH != 0 => Access::Execute,
            error if error & WRITE != 0 => Access::Write,
            _ => Access::Read,
        })
    }

    /// Whether the reported system call is one by which the C library aborts: `tgkill` with `SIGABRT`.
    pub(crate) fn is_denied_abort(&self) -> bool {
        let signal = usize::try_from(libc::REG_RDX).ok().and_then(|index| self.head.registers.get(index));
        i64::from(self.head.syscall) == libc::SYS_tgkill && signal == Some(&i64::from(libc::SIGABRT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_beyond_the_report_are_cut() {
        let mut area = vec![0xffu8; REPORT_BYTES + 4096];
        let offset = area.as_ptr().align_offset(4096);
        let mut report = Report::copy(NonNull::from(&mut area[offset]), u32::MAX);
        assert_eq!(report.text().unwrap().chars().count(), TEXT_BYTES);
        assert_eq!(report.take_stack().len(), STACK_BYTES);
        assert_eq!(report.ending(), Ending::Unknown);
    }
}
