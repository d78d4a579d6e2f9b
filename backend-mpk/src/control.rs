//! What the gate and the signal entry know of one thread: its control block, in memory a domain can read and not write.
//!
//! Every field is an atomic: the kernel, the assembly and a signal handler on the same thread write them behind the compiler's back.
//! Relaxed accesses cost what plain ones do.

use std::ffi::c_void;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::record::Record;

/// The control block of a thread that enters domains. It lies at the start of the thread's block of the arena.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Control {
    /// The host's stack pointer, saved by the gate.
    pub(crate) host_rsp: AtomicU64,
    /// The thread's own FS base.
    pub(crate) host_fs: AtomicU64,
    /// The rights the host had when it went in, with those to all domains.
    pub(crate) host_pkru: AtomicU32,
    /// The rights inside.
    pub(crate) domain_pkru: AtomicU32,
    /// The domain's FS base.
    pub(crate) domain_fs: AtomicU64,
    /// The top of the domain's stack.
    pub(crate) domain_rsp: AtomicU64,
    /// What the entry is called with.
    pub(crate) argument: AtomicU64,
    /// Whether the thread is inside, or on its way in or out.
    pub(crate) inside: AtomicU64,
    /// Where the kernel puts the return address of a signal frame; always the same place, see `thread.rs`.
    pub(crate) frame: AtomicU64,
    /// The top of the stack that handlers run on.
    pub(crate) handler_rsp: AtomicU64,
    /// What the resume stub loads.
    pub(crate) resume_rax: AtomicU64,
    /// As above.
    pub(crate) resume_rcx: AtomicU64,
    /// As above.
    pub(crate) resume_rdx: AtomicU64,
    /// Where the resume stub goes.
    pub(crate) resume_rip: AtomicU64,
    /// Where a domain goes on after a system call made for it.
    pub(crate) after_rip: AtomicU64,
    /// What its rdi then holds.
    pub(crate) after_rdi: AtomicU64,
    /// What the kernel looks at on every system call of this thread (`prctl(2)`, PR_SET_SYSCALL_USER_DISPATCH).
    pub(crate) selector: AtomicU8,
    /// What the resume stub sets it to.
    pub(crate) resume_selector: AtomicU8,

    /// The domain that is described here: the one the thread entered last.
    pub(crate) domain: AtomicU64,
    /// Its key at that time.
    pub(crate) key: AtomicU32,
    /// The key on the signal stack, on kernels that write a frame with the rights of the code they interrupt.
    pub(crate) signal_stack_key: AtomicU32,
    /// The thread's number.
    pub(crate) thread: AtomicI32,
    /// Handlers of the program's that this thread is in.
    pub(crate) handling: AtomicU32,
    /// The number of the crossing under way, or of the last one.
    pub(crate) crossing: AtomicU64,
    /// The crossing that has to end, written by the watchdog.
    pub(crate) doomed: AtomicU64,
    /// The wall-time limit of the crossing under way.
    pub(crate) limit_ns: AtomicU64,
    /// The descriptor that stands for standard error inside.
    pub(crate) capture: AtomicI32,
    /// The value of [`OPEN`] this thread last took over into its rights.
    pub(crate) opened: AtomicU32,
    /// The domain's memory.
    pub(crate) region: AtomicPtr<c_void>,
    /// What system calls the domain may make.
    pub(crate) rules: AtomicPtr<c_void>,
    /// How the crossing ended, if not by returning.
    pub(crate) record: Record,
}

/// The selector's values (`linux/syscall_user_dispatch.h`).
pub(crate) mod selector {
    /// System calls go to the kernel.
    pub(crate) const ALLOW: u8 = 0;
    /// System calls raise SIGSYS.
    pub(crate) const BLOCK: u8 = 1;
}

impl Control {
    /// Whether the thread is inside a domain.
    pub(crate) fn is_inside(&self) -> bool {
        self.inside.load(Ordering::Relaxed) != 0
    }

    /// Whether it can go inside now: it is not there, and in no signal handler, where the kernel has signals blocked that a fault inside needs.
    pub(crate) fn is_free(&self) -> bool {
        !self.is_inside() && self.handling.load(Ordering::Relaxed) == 0
    }

    /// Its own address.
    pub(crate) fn address(&self) -> u64 {
        std::ptr::from_ref(self) as u64
    }
}

/// By key: the thread that is inside the domain which has it. The way out looks here.
/// As long as a byte can count: the assembly takes the number from where it cannot be trusted yet.
pub(crate) static OWNERS: [AtomicPtr<Control>; BYTES] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; BYTES];
const BYTES: usize = 256;

/// Keys there are, the default key 0 among them (`pkeys(7)`).
pub(crate) const KEYS: usize = 16;

/// The rights inside, before those to the domain's own key: key 0 may be read, everything else is closed.
pub(crate) const CLOSED: u32 = 0x5555_5556;

/// The rights a signal handler begins with (`arch/x86/mm/pkeys.c`, init_pkru).
pub(crate) const INITIAL: u32 = 0x5555_5554;

/// The rights inside the domain that has `key`.
pub(crate) const fn rights(key: u32) -> u32 {
    CLOSED & !(3 << (2 * key))
}

/// By key, and as long as a byte can count: [`rights`]. None of them lets key 0 be written.
pub(crate) static RIGHTS: [u32; BYTES] = {
    let mut table = [CLOSED; BYTES];
    let mut key = 1;
    while key < KEYS {
        table[key] = rights(key as u32);
        key += 1;
    }
    table
};

/// To be combined with a PKRU value by `and`: opens every key that belongs to a domain.
pub(crate) static OPEN: AtomicU32 = AtomicU32::new(u32::MAX);

/// How wide the vector registers are that the gate has to clear.
pub(crate) static VECTORS: AtomicU8 = AtomicU8::new(0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rights_inside_name_the_key() {
        for key in 1..KEYS as u32 {
            // What the way out computes.
            assert_eq!((rights(key) ^ CLOSED).trailing_zeros(), 2 * key);
            assert_eq!(RIGHTS[key as usize], rights(key));
            assert_eq!(rights(key) & 3, 2, "key 0: readable, not writable");
            assert_eq!(rights(key) >> (2 * key) & 3, 0, "its own: open");
        }
        assert!(RIGHTS.iter().all(|rights| rights & 3 == 2));
    }
}
