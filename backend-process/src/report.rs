//! What a dying isolate writes about its death, and how the host reads it.
//!
//! # Safety
//! The report lies in memory the isolate can write at any time. Inside, its fields are written through raw pointers from a signal
//! handler; the host copies the whole once and judges the copy. Every field is a plain integer, so any bytes are a valid report.
#![expect(unsafe_code, reason = "raw access to the shared report area")]

use std::ptr::{NonNull, addr_of_mut};

use ringfence_core::fault::{Access, Registers};

/// How much of the stack travels for the backtrace.
pub(crate) const STACK_BYTES: usize = 32 << 10;
/// How much of a panic's text travels.
pub(crate) const TEXT_BYTES: usize = 4 << 10;
/// General registers of a signal context (`NGREG`).
pub(crate) const REGISTERS: usize = 23;

/// What the handler saw. `signal == 0` means that nothing was written.
#[derive(Debug, Clone)]
#[repr(C)]
pub(crate) struct Report {
    pub(crate) signal: i32,
    pub(crate) code: i32,
    pub(crate) address: u64,
    pub(crate) syscall: i32,
    pub(crate) errno: i32,
    /// The process-ending status, when `ending` is [`Ending::Exit`].
    pub(crate) status: i32,
    pub(crate) ending: u32,
    /// Filled in by the host, from the header.
    pub(crate) text_bytes: u32,
    pub(crate) stack_bytes: u32,
    /// The address the copied stack starts at.
    pub(crate) stack_start: u64,
    pub(crate) registers: [i64; REGISTERS],
    pub(crate) text: [u8; TEXT_BYTES],
    pub(crate) stack: [u8; STACK_BYTES],
}

/// The size of a report.
pub(crate) const REPORT_BYTES: usize = size_of::<Report>();

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
    /// Copies the report out, once, with the length of its text, which the header holds.
    pub(crate) fn copy(area: NonNull<u8>, text_bytes: u32) -> Box<Self> {
        let mut report = Box::<Self>::new_uninit();
        // SAFETY: `area` is the report area of a mapped channel, REPORT_BYTES long; the destination is a fresh allocation of the same
        // size. A concurrent writer in the isolate changes which bytes are copied, and any bytes are a valid report.
        unsafe { area.as_ptr().copy_to_nonoverlapping(report.as_mut_ptr().cast(), REPORT_BYTES) };
        // SAFETY: all bytes were just written, and every field is an integer or an array of integers.
        let mut report = unsafe { report.assume_init() };
        report.text_bytes = text_bytes;
        report
    }

    /// Forgets an earlier report.
    pub(crate) fn clear(area: NonNull<u8>) {
        let report = area.as_ptr().cast::<Self>();
        // SAFETY: the area is mapped, writable and page-aligned; no reference is formed.
        let head = unsafe { addr_of_mut!((*report).signal) };
        // SAFETY: `head` points to a mapped, aligned integer.
        unsafe { head.write_volatile(0) };
        // SAFETY: as above.
        let ending = unsafe { addr_of_mut!((*report).ending) };
        // SAFETY: as above.
        unsafe { ending.write_volatile(0) };
    }

    /// What ended it.
    pub(crate) fn ending(&self) -> Ending {
        [Ending::Signal, Ending::StackOverflow, Ending::Exit, Ending::Asked]
            .into_iter()
            .find(|ending| *ending as u32 == self.ending)
            .unwrap_or(Ending::Unknown)
    }

    /// A panic's text and place, if one was noted.
    pub(crate) fn text(&self) -> Option<String> {
        let bytes = self.text.get(..self.text_bytes as usize).unwrap_or(&self.text);
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
    }

    /// The registers.
    pub(crate) fn registers(&self) -> Registers {
        Registers::from_gregs(&self.registers)
    }

    /// The copied stack, from `stack_start` upward.
    pub(crate) fn stack(&self) -> &[u8] {
        self.stack.get(..self.stack_bytes as usize).unwrap_or(&self.stack)
    }

    /// What the faulting access tried, from the page-fault error code (SDM vol. 3, "Page-Fault Exceptions").
    pub(crate) fn access(&self) -> Option<Access> {
        const WRITE: i64 = 1 << 1;
        const FETCH: i64 = 1 << 4;
        const PAGE_FAULT: i64 = 14;
        let register = |index: i32| usize::try_from(index).ok().and_then(|index| self.registers.get(index));
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
        let signal = usize::try_from(libc::REG_RDX).ok().and_then(|index| self.registers.get(index));
        i64::from(self.syscall) == libc::SYS_tgkill && signal == Some(&i64::from(libc::SIGABRT))
    }
}


#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_beyond_the_report_are_cut() {
        let mut area = vec![0xffu8; REPORT_BYTES + 4096];
        let offset = area.as_ptr().align_offset(4096);
        let report = Report::copy(NonNull::from(&mut area[offset]), u32::MAX);
        assert_eq!(report.text().unwrap().chars().count(), TEXT_BYTES);
        assert_eq!(report.stack().len(), STACK_BYTES);
        assert_eq!(report.ending(), Ending::Unknown);
    }
}
