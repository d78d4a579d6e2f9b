//! Where the calling thread's stack is.
//!
//! # Safety
//! Asks the C library about the calling thread, with objects of this frame.
#![expect(unsafe_code, reason = "pthread_getattr_np and its companions")]

use std::cell::Cell;
use std::ops::Range;
use std::ptr;

thread_local! {
    static BOUNDS: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
}

/// This thread's stack, if the C library knows it. Asked once a thread; the answer does not change, but for the start of a main
/// thread's stack under another limit.
pub(crate) fn bounds() -> Option<Range<usize>> {
    BOUNDS.with(|bounds| {
        if bounds.get().is_none() {
            bounds.set(ask());
        }
        bounds.get().map(|(start, end)| start..end)
    })
}

fn ask() -> Option<(usize, usize)> {
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
    (asked == 0).then(|| (start as usize, start as usize + bytes))
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_frame_lies_on_it_and_close_to_its_end() {
        let local = 0u8;
        let here = &raw const local as usize;
        let bounds = super::bounds().unwrap();
        assert!(bounds.contains(&here) && bounds.end - here < 64 << 20);
    }
}
