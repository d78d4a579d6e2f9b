//! How code inside a domain ends when it would have ended the process.
//!
//! # Safety
//! The hook is stored as an address, once, and comes back as the type it had.
#![expect(unsafe_code, reason = "a function behind an atomic pointer, and an undefined instruction")]

use std::arch::asm;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// What code inside asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// `abort`, a failed assertion, a smashed stack or a broken heap.
    Abort,
    /// `exit` and its kin, with the status that was given.
    Exit(i32),
}

const ABORT: u32 = 0;
const EXIT: u32 = 1;

impl End {
    /// As the hook gets it: kind and code.
    #[must_use]
    pub const fn to_parts(self) -> (u32, i32) {
        match self {
            Self::Abort => (ABORT, 0),
            Self::Exit(code) => (EXIT, code),
        }
    }

    /// What a hook was told; `None` for a kind that is none of these.
    #[must_use]
    pub const fn from_parts(kind: u32, code: i32) -> Option<Self> {
        match kind {
            ABORT => Some(Self::Abort),
            EXIT => Some(Self::Exit(code)),
            _ => None,
        }
    }
}

/// Ends a domain's work; runs inside, with the domain's rights. See [`End::from_parts`] for what it is told.
type Hook = extern "C" fn(kind: u32, code: i32) -> !;

static HOOK: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Sets what is called inside a domain in place of ending the process. The first hook stays.
///
/// Inside the variable is only read. Without a hook the code that wants to end executes an undefined instruction.
pub fn on_end(hook: Hook) {
    let _first =
        HOOK.compare_exchange(ptr::null_mut(), hook as *mut (), Ordering::Release, Ordering::Relaxed);
}

/// Ends the work inside.
#[cold]
pub(crate) fn end(end: End) -> ! {
    let hook = HOOK.load(Ordering::Acquire);
    if hook.is_null() {
        // SAFETY: raises SIGILL; control does not come back.
        unsafe { asm!("ud2", options(noreturn, nostack)) };
    }
    // SAFETY: nothing but a `Hook` is ever stored, see `on_end`.
    let hook = unsafe { std::mem::transmute::<*mut (), Hook>(hook) };
    let (kind, code) = end.to_parts();
    hook(kind, code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_say_the_whole() {
        for end in [End::Abort, End::Exit(0), End::Exit(-1), End::Exit(255)] {
            let (kind, code) = end.to_parts();
            assert_eq!(End::from_parts(kind, code), Some(end));
        }
        assert_eq!(End::from_parts(2, 0), None);
    }
}
