//! From what is left of an isolate to a fault.

use std::sync::Arc;
use std::time::Duration;

use ringfence_core::fault::{Backtrace, Details, Fault, FaultKind, Phase};
use ringfence_core::images::Images;

use crate::NAME;
use crate::layout::phase;
use crate::report::{Ending, Report};
use crate::zygote::End;
use ringfence_core::capture::{gives_up_for_want_of_memory, tail};

/// Everything that is known about an isolate that gave no value.
#[derive(Debug)]
pub(crate) struct Remains {
    pub(crate) report: Report,
    pub(crate) end: End,
    /// Why the host ended it, if it did.
    pub(crate) verdict: Option<FaultKind>,
    pub(crate) phase: Phase,
    pub(crate) elapsed: Duration,
    pub(crate) stderr: Vec<u8>,
}

impl Remains {
    /// The fault.
    pub(crate) fn fault(mut self, images: &Arc<Images>) -> Fault {
        let kind = self.verdict.clone().unwrap_or_else(|| self.kind());
        let stack = self.report.take_stack();
        let report = &self.report;
        let mut details = Details { stderr_tail: tail(self.stderr), ..Details::default() };
        if matches!(report.ending(), Ending::Signal | Ending::StackOverflow | Ending::Asked)
            || kind == FaultKind::Panic
        {
            let registers = report.registers();
            details.backtrace =
                Backtrace::of_stack(Arc::clone(images), registers, report.head.stack_start, stack);
            details.registers = Some(Box::new(registers));
        }
        match report.ending() {
            // The filter denied the signal that `abort` sends: what the work did is abort.
            Ending::Signal if report.head.signal == libc::SIGSYS && report.is_denied_abort() => {
                details.signal = Some(libc::SIGABRT);
            }
            Ending::Signal | Ending::StackOverflow => {
                details.signal = Some(report.head.signal);
                details.code = Some(report.head.code);
                if has_address(report.head.signal) {
                    details.access = report.access();
                    // An access that the hardware gives no address for (SI_KERNEL) reports zero, which would mislead.
                    details.address = (report.head.code != SI_KERNEL).then_some(report.head.address);
                }
            }
            _ => {
                if let End::Signaled(signal) = self.end {
                    details.signal = Some(signal);
                }
            }
        }
        if kind == FaultKind::Panic {
            details.message = report.text();
        }
        Fault::new(NAME, kind, self.phase, self.elapsed, details)
    }

    fn kind(&self) -> FaultKind {
        let report = &self.report;
        let starved = report.head.errno == libc::ENOMEM;
        match report.ending() {
            Ending::StackOverflow => FaultKind::StackOverflow,
            Ending::Signal => match report.head.signal {
                libc::SIGSYS if report.is_denied_abort() => self.abort(starved),
                libc::SIGSYS => FaultKind::Syscall { number: Some(i64::from(report.head.syscall)) },
                libc::SIGABRT => self.abort(starved),
                libc::SIGSEGV if starved && report.head.address < 1 << 16 => FaultKind::MemoryLimit,
                _ => FaultKind::Signal,
            },
            Ending::Exit => FaultKind::Exit { code: report.head.status & 0xff },
            Ending::Asked | Ending::Unknown => match self.end {
                End::Exited(code) => FaultKind::Exit { code },
                // The kernel kills without a signal handler for a call of another architecture's table.
                End::Signaled(libc::SIGSYS) => FaultKind::Syscall { number: None },
                End::Signaled(libc::SIGKILL) | End::Unknown => FaultKind::Killed,
                End::Signaled(_) => FaultKind::Signal,
            },
        }
    }

    /// An abort may be the end of an allocation that was refused, or, where panics abort, of a panic.
    fn abort(&self, starved: bool) -> FaultKind {
        // What is printed before an abort can overwrite the error number.
        if starved || gives_up_for_want_of_memory(&self.stderr) {
            FaultKind::MemoryLimit
        } else if cfg!(panic = "abort") && self.report.text().is_some() {
            FaultKind::Panic
        } else {
            FaultKind::Abort
        }
    }
}

/// `si_code` of a signal the kernel raised without further detail, such as a general-protection fault.
const SI_KERNEL: i32 = 0x80;

fn has_address(signal: i32) -> bool {
    matches!(signal, libc::SIGSEGV | libc::SIGBUS)
}

/// What the isolate's phase word says, in the caller's terms.
pub(crate) fn phase_of(word: u32) -> Phase {
    match word {
        phase::BORN | phase::READY | phase::UNFIT => Phase::NotStarted,
        _ => Phase::Inside,
    }
}
