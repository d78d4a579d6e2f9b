//! What a call allocates on the host's side.
//!
//! # Safety
//! A global allocator that counts and passes everything on.
#![expect(unsafe_code, reason = "a global allocator")]
#![expect(clippy::unwrap_used, reason = "part of tests: what cannot be had fails the test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use ringfence::{Backend, Sandbox, Tracker};

/// The system's allocator, with a count for each thread. Inside a domain the count is the domain's own.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    COUNT.set(COUNT.get() + 1);
}

// SAFETY: every function is the system's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, bytes) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) };
    }
}

/// How often this thread went to the allocator in so many calls, after some that do not count.
fn in_calls(mut call: impl FnMut()) -> u64 {
    (0..100).for_each(|_| call());
    let before = COUNT.get();
    (0..1000).for_each(|_| call());
    COUNT.get() - before
}

fn sandbox(tracker: Tracker) -> Sandbox {
    Sandbox::builder().backend(Backend::Mpk).tracker(tracker).build().unwrap()
}

pub(crate) fn are_none_in_a_call_that_makes_none() {
    for tracker in [Tracker::disabled(), Tracker::new()] {
        let sandbox = sandbox(tracker);
        let bytes = [1_u8; 4096];
        let numbers = in_calls(|| assert_eq!(sandbox.call(|x: u64| x + 1, black_box(1_u64)).unwrap(), 2));
        let slices =
            in_calls(|| assert_eq!(sandbox.call(|x: &[u8]| x.len(), black_box(&bytes[..])).unwrap(), 4096));
        let closures = in_calls(|| assert_eq!(sandbox.run(|| black_box(&bytes).len()).unwrap(), 4096));
        assert_eq!((numbers, slices, closures), (0, 0, 0), "{:?}", sandbox.tracker());
    }
}

/// Without this the other test might count nothing.
pub(crate) fn are_counted() {
    let sandbox = sandbox(Tracker::disabled());
    let made = in_calls(|| assert_eq!(sandbox.call(|x: u64| vec![x; 3], black_box(1_u64)).unwrap(), [1; 3]));
    assert_eq!(made, 2000, "one vector each, made and given up");
}
