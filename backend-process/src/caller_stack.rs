//! Where the calling thread's stack ends.
//!
//! # Safety
//! Asks the C library about the calling thread, with objects of this frame.
#![expect(unsafe_code, reason = "pthread_getattr_np and its companions")]

use std::cell::Cell;
use std::ptr;

thread_local! {
    static END: Cell<Option<usize>> = const { Cell::new(None) };
}

/// One past the highest byte of this thread's stack, if the C library knows. Asked once a thread; the answer does not change.
pub(crate) fn end() -> Option<usize> {
    END.with(|end| {
        if end.get().is_none() {
            end.set(ask());
        }
        end.get()
    })
}

fn ask() -> Option<usize> {
    // SAFETY: pthread_attr_t is plain data until it is initialised below.
    let mut attributes: libc::pthread_attr_t = unsafe { std::mem::zeroed() };
    // SAFETY: identifies the calling thread.
    let this = unsafe { libc::pthread_self() };
    // SAFETY: `this` is alive, being the caller, and `attributes` is this frame's.
    if unsafe { libc::pthread_getattr_np(this, &raw mut attributes) } != 0 {
        return None;
    }
    let mut start = ptr::null_mut();
    let mut bytes = 0;
    // SAFETY: the attributes were initialised by the call above; the outputs are this frame's.
    let asked = unsafe { libc::pthread_attr_getstack(&raw const attributes, &raw mut start, &raw mut bytes) };
    // SAFETY: initialised above and not used again.
    unsafe { libc::pthread_attr_destroy(&raw mut attributes) };
    (asked == 0).then(|| start as usize + bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_frame_lies_below_the_end_and_close_to_it() {
        let local = 0u8;
        let here = &raw const local as usize;
        let end = super::end().unwrap();
        assert!(here < end && end - here < 64 << 20);
    }
}
