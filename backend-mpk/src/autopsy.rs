//! From what the signal handler recorded to a fault.
//!
//! # Safety
//! Copies the part of a domain's stack that can be read.
#![expect(unsafe_code, reason = "a copy of the domain's stack")]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ringfence_core::capture::{gives_up_for_want_of_memory, tail};
use ringfence_core::fault::{Access, Backtrace, Details, Fault, FaultKind, Phase, Registers};
use ringfence_core::images::Images;
use ringfence_shim::End;

use crate::NAME;
use crate::job::{JobAt, Noted, STACK_BYTES, copied};
use crate::record::{Ending, REGISTERS, Record};
use crate::region::{Part, Region};
use crate::signal::{FOREIGN, KEY_ERROR};
use crate::touched;

/// Everything that is known about a crossing that was ended.
#[derive(Debug)]
pub(crate) struct Remains<'r> {
    pub(crate) record: &'r Record,
    pub(crate) region: &'r Region,
    pub(crate) job: JobAt,
    /// Allocations inside that were refused for want of room.
    pub(crate) refusals: u64,
    pub(crate) stderr: Vec<u8>,
    pub(crate) elapsed: Duration,
    pub(crate) images: &'r Arc<Images>,
    /// The caller's stack pointer at the gate.
    pub(crate) caller: u64,
}

impl Remains<'_> {
    /// The fault.
    pub(crate) fn fault(self) -> Fault {
        let kind = self.kind();
        let mut details = Details::default();
        let record = self.record;
        match record.ending() {
            Ending::Signal => {
                let (signal, code) =
                    (record.signal.load(Ordering::Relaxed), record.code.load(Ordering::Relaxed));
                details.signal = Some(signal);
                details.code = Some(code);
                // Of a runtime that had given up already the address says nothing.
                let is_told = kind != FaultKind::MemoryLimit || code != KEY_ERROR;
                if is_told && matches!(signal, libc::SIGSEGV | libc::SIGBUS) {
                    details.access = access(&record.registers());
                    let address = record.address.load(Ordering::Relaxed);
                    // An access that the hardware gives no address for reports zero, which would mislead.
                    details.address = (code != SI_KERNEL).then_some(address);
                }
                if kind == FaultKind::KeyViolation {
                    details.key = Some(record.key.load(Ordering::Relaxed));
                    details.touched =
                        details.address.and_then(|address| touched::what_is_at(address, self.caller));
                }
            }
            Ending::Syscall => {
                details.signal = Some(libc::SIGSYS);
                details.code = Some(record.code.load(Ordering::Relaxed));
            }
            Ending::Trap if kind != FaultKind::Panic => details.signal = abort_signal(&kind),
            Ending::Unknown | Ending::Trap | Ending::Timeout | Ending::Forged => {}
        }
        let has_a_place = !matches!(kind, FaultKind::Exit { .. }) && record.ending() != Ending::Forged;
        if kind == FaultKind::Panic {
            if let Some(note) = self.job.note() {
                note.into_details(&mut details, self.images);
            }
        } else if has_a_place {
            let registers = Registers::from_gregs(&record.registers());
            let (start, stack) = self.stack(&registers);
            details.backtrace = Backtrace::of_stack(Arc::clone(self.images), registers, start, stack);
            details.registers = Some(Box::new(registers));
        }
        details.stderr_tail = tail(self.stderr);
        Fault::new(NAME, kind, Phase::Inside, self.elapsed, details)
    }

    fn kind(&self) -> FaultKind {
        let record = self.record;
        let address = record.address.load(Ordering::Relaxed) as usize;
        let starved = self.refusals > 0;
        match record.ending() {
            Ending::Timeout => FaultKind::Timeout,
            Ending::Syscall => {
                let number = record.syscall.load(Ordering::Relaxed);
                match number {
                    libc::SYS_exit | libc::SYS_exit_group => {
                        FaultKind::Exit { code: self.first_argument() & 0xff }
                    }
                    FOREIGN => FaultKind::Syscall { number: None },
                    _ => FaultKind::Syscall { number: Some(number) },
                }
            }
            Ending::Trap => {
                let [kind, code] = &record.trap;
                let kind = u32::try_from(kind.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
                match End::from_parts(kind, code.load(Ordering::Relaxed) as u32 as i32) {
                    Some(End::Exit(code)) => FaultKind::Exit { code: code & 0xff },
                    _ if starved => FaultKind::MemoryLimit,
                    _ if cfg!(panic = "abort") && self.job.note().is_some() => FaultKind::Panic,
                    _ => FaultKind::Abort,
                }
            }
            Ending::Signal => {
                let (signal, code) =
                    (record.signal.load(Ordering::Relaxed), record.code.load(Ordering::Relaxed));
                match signal {
                    libc::SIGSEGV if self.region.is_stack_guard(address) => FaultKind::StackOverflow,
                    libc::SIGSEGV if starved && address < 1 << 16 => FaultKind::MemoryLimit,
                    // The runtime had given up, and failed at printing who had called whom.
                    libc::SIGSEGV if starved && gives_up_for_want_of_memory(&self.stderr) => {
                        FaultKind::MemoryLimit
                    }
                    // A panic that was begun and could not be carried out inside.
                    libc::SIGSEGV if code == KEY_ERROR && self.is_of_a_panic() => FaultKind::Panic,
                    libc::SIGSEGV if code == KEY_ERROR => FaultKind::KeyViolation,
                    _ => FaultKind::Signal,
                }
            }
            Ending::Forged | Ending::Unknown => FaultKind::Signal,
        }
    }

    /// Whether the program's own hook did what cannot be done inside: ours leaves a note first.
    fn is_of_a_panic(&self) -> bool {
        self.record.is_panicking.load(Ordering::Relaxed) != 0 && self.job.note().is_none()
    }

    fn first_argument(&self) -> i32 {
        let registers = Registers::from_gregs(&self.record.registers());
        registers.rdi as u32 as i32
    }

    /// A copy of the domain's stack from the stack pointer up.
    fn stack(&self, registers: &Registers) -> (u64, Vec<u8>) {
        let stack = self.region.usable_stack();
        let pointer = registers.rsp as usize;
        // The pointer can stand below what can be read: in the guard after an overflow, or in the far end before anything touched it.
        let is_below = self.region.addresses_of(Part::Stack).start <= pointer && pointer < stack.start;
        let start = if is_below || self.region.is_stack_guard(pointer) { stack.start } else { pointer };
        if !stack.contains(&start) {
            return (registers.rsp, Vec::new());
        }
        let bytes = STACK_BYTES.min(stack.end - start);
        // SAFETY: from there to the stack's end it is usable, and this thread holds the domain.
        (start as u64, unsafe { copied(start as *const u8, bytes) })
    }
}

impl Noted {
    /// Puts a panic's text and place into a fault's details.
    pub(crate) fn into_details(self, details: &mut Details, images: &Arc<Images>) {
        let registers = Registers::from_gregs(&self.registers);
        details.message = Some(self.text);
        details.backtrace = Backtrace::of_stack(Arc::clone(images), registers, self.stack_start, self.stack);
        details.registers = Some(Box::new(registers));
    }
}

/// What `abort` raises where it is not interposed.
fn abort_signal(kind: &FaultKind) -> Option<i32> {
    matches!(kind, FaultKind::Abort | FaultKind::MemoryLimit).then_some(libc::SIGABRT)
}

/// `si_code` of a signal the kernel raised without further detail, such as a general-protection fault.
const SI_KERNEL: i32 = 0x80;

/// What the access tried, from the error code of the page fault (SDM volume 3, 4.7).
fn access(registers: &[i64; REGISTERS]) -> Option<Access> {
    const PAGE_FAULT: i64 = 14;
    const WRITE: i64 = 1 << 1;
    const FETCH: i64 = 1 << 4;
    let error = registers.get(libc::REG_ERR as usize).copied()?;
    if registers.get(libc::REG_TRAPNO as usize).copied() != Some(PAGE_FAULT) {
        return None;
    }
    Some(match error {
        error if error & FETCH != 0 => Access::Execute,
        error if error & WRITE != 0 => Access::Write,
        _ => Access::Read,
    })
}
