//! A heap in a mapping of its own, and the calling thread routed to it: all of a domain that this crate sees.
//!
//! # Safety
//! A domain owns its mapping until it is dropped. The thread is routed for the length of a closure, which gives back inside what it
//! allocated there, or leaves it to the mapping's end.
#![expect(unsafe_code, reason = "mmap, and routing the thread")]
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(unused_imports, unused_macros, reason = "as above")]
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};

use ringfence_shim::{DomainHeap, set_route};

/// A routed thread's heap.
pub(crate) struct Domain {
    start: NonNull<u8>,
    bytes: usize,
    heap: NonNull<DomainHeap>,
}

/// Small, so that tests come to its end.
const NEAR_BYTES: usize = 16 << 10;

impl Domain {
    pub(crate) fn new(bytes: usize) -> Self {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: no address is asked for, so no existing mapping is touched.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        let start = NonNull::new(start.cast::<u8>()).unwrap();
        // SAFETY: a fresh mapping, which this value owns.
        let heap = unsafe { DomainHeap::init(start, NEAR_BYTES, bytes) }.unwrap();
        Self { start, bytes, heap }
    }

    /// Runs the closure with the calling thread routed to the heap.
    pub(crate) fn within<R>(&self, run: impl FnOnce() -> R) -> R {
        struct Back(Option<NonNull<DomainHeap>>);
        impl Drop for Back {
            fn drop(&mut self) {
                // SAFETY: the route that was.
                unsafe { set_route(self.0) };
            }
        }
        // SAFETY: the heap is this value's, which is not `Sync`, and mapped for as long as it lives.
        let _back = Back(unsafe { set_route(Some(self.heap)) });
        run()
    }

    pub(crate) fn holds<T>(&self, pointer: *const T) -> bool {
        (self.start.addr().get()..self.start.addr().get() + self.bytes).contains(&pointer.addr())
    }

    pub(crate) fn refusals(&self) -> u64 {
        // SAFETY: the heap is mapped for as long as this value lives.
        unsafe { DomainHeap::refusals(self.heap) }
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// As `assert`, for code within a domain: a failure's message is made in the host, where the test harness can have it.
macro_rules! check {
    ($condition:expr) => {
        if !$condition {
            crate::support::leave();
            panic!("within the domain: {}", stringify!($condition));
        }
    };
}
pub(crate) use check;

/// Back to the host, for good.
pub(crate) fn leave() {
    // SAFETY: the test has failed: what is freed on the wrong side after this ends the process, after the message.
    unsafe { set_route(None) };
}

/// What errno is after the call, which starts from 0.
pub(crate) fn errno_of<R>(call: impl FnOnce() -> R) -> (R, c_int) {
    // SAFETY: takes no arguments, and always succeeds.
    let errno = unsafe { libc::__errno_location() };
    // The compiler takes `malloc` for a function that leaves errno alone: hence volatile.
    // SAFETY: the calling thread's own errno.
    unsafe { errno.write_volatile(0) };
    let result = call();
    // SAFETY: as above.
    (result, unsafe { errno.read_volatile() })
}

unsafe extern "C" {
    pub(crate) safe fn malloc(bytes: usize) -> *mut c_void;
    pub(crate) safe fn calloc(count: usize, bytes: usize) -> *mut c_void;
    pub(crate) safe fn memalign(align: usize, bytes: usize) -> *mut c_void;
    pub(crate) safe fn aligned_alloc(align: usize, bytes: usize) -> *mut c_void;
    pub(crate) safe fn valloc(bytes: usize) -> *mut c_void;
    pub(crate) safe fn pvalloc(bytes: usize) -> *mut c_void;
    pub(crate) safe fn __libc_malloc(bytes: usize) -> *mut c_void;
    pub(crate) fn reallocarray(memory: *mut c_void, count: usize, bytes: usize) -> *mut c_void;
}
