//! How a crossing ended that did not return: written by the signal handler, read by the host after the gate.

use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};

/// General registers in the kernel's order (`REG_R8` … in `<sys/ucontext.h>`).
pub(crate) const REGISTERS: usize = 23;

/// What ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Ending {
    /// Nothing was recorded.
    Unknown = 0,
    /// A signal of the processor or the kernel.
    Signal = 1,
    /// A system call that is denied.
    Syscall = 2,
    /// The trap of interposed functions, with a reason in `trap`.
    Trap = 3,
    /// The wall-time limit.
    Timeout = 4,
    /// The signal entry was reached without a signal.
    Forged = 5,
}

impl Ending {
    const ALL: [Self; 6] =
        [Self::Unknown, Self::Signal, Self::Syscall, Self::Trap, Self::Timeout, Self::Forged];
}

/// The fields, for one writer and one reader of the same thread.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Record {
    ending: AtomicU32,
    pub(crate) signal: AtomicI32,
    pub(crate) code: AtomicI32,
    pub(crate) key: AtomicU32,
    pub(crate) address: AtomicU64,
    pub(crate) syscall: AtomicI64,
    pub(crate) trap: [AtomicU64; 2],
    /// A panic has begun in this crossing.
    pub(crate) is_panicking: AtomicU32,
    pub(crate) registers: [AtomicI64; REGISTERS],
}

impl Record {
    /// Forgets the last crossing.
    pub(crate) fn clear(&self) {
        self.ending.store(Ending::Unknown as u32, Ordering::Relaxed);
        self.is_panicking.store(0, Ordering::Relaxed);
    }

    pub(crate) fn end(&self, ending: Ending) {
        self.ending.store(ending as u32, Ordering::Relaxed);
    }

    pub(crate) fn ending(&self) -> Ending {
        let number = self.ending.load(Ordering::Relaxed);
        Ending::ALL.into_iter().find(|ending| *ending as u32 == number).unwrap_or(Ending::Unknown)
    }

    pub(crate) fn set_registers(&self, registers: &[i64; REGISTERS]) {
        for (field, value) in self.registers.iter().zip(registers) {
            field.store(*value, Ordering::Relaxed);
        }
    }

    pub(crate) fn registers(&self) -> [i64; REGISTERS] {
        std::array::from_fn(|index| self.registers[index].load(Ordering::Relaxed))
    }
}
