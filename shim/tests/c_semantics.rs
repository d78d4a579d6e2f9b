//! The interposed family answers inside as glibc does: the same calls are made on both sides and compared.
//!
//! # Safety
//! What a call allocates is given back on the same side.
#![cfg(all(feature = "interpose", target_env = "gnu"))]
#![expect(unsafe_code, reason = "calls to the C library")]

mod support;

use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::ptr;

use support::{
    Domain, aligned_alloc, calloc, check, errno_of, malloc, memalign, pvalloc, reallocarray, valloc,
};

/// What a caller sees of an answer: whether it is null, errno where it is, and how many of the address's low bits are zero at least.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    null: bool,
    errno: c_int,
    aligned: bool,
}

fn seen(align: usize, call: impl FnOnce() -> *mut c_void) -> Seen {
    let (memory, errno) = errno_of(|| black_box(call()));
    let seen = Seen {
        null: memory.is_null(),
        errno: if memory.is_null() { errno } else { 0 },
        aligned: memory.addr().is_multiple_of(align),
    };
    // SAFETY: the call just allocated it, on this side.
    unsafe { libc::free(memory) };
    seen
}

/// Makes the call on both sides; each must see what is expected.
fn both(what: &str, null_and_errno: Option<c_int>, align: usize, call: impl Fn() -> *mut c_void) {
    let domain = Domain::new(1 << 20);
    let expected = Seen { null: null_and_errno.is_some(), errno: null_and_errno.unwrap_or(0), aligned: true };
    assert_eq!(seen(align, &call), expected, "{what}, host");
    assert_eq!(domain.within(|| seen(align, &call)), expected, "{what}, inside");
}

const HUGE: usize = usize::MAX;
const HALF: usize = 1 << 63;
const NULL: *mut c_void = ptr::null_mut();

fn realloc_null(bytes: usize) -> *mut c_void {
    // SAFETY: null is as good as a `malloc`.
    unsafe { libc::realloc(NULL, bytes) }
}

fn reallocarray_null(count: usize, bytes: usize) -> *mut c_void {
    // SAFETY: null is as good as a `malloc`.
    unsafe { reallocarray(NULL, count, bytes) }
}

#[test]
fn sizes_of_zero_and_sizes_without_end() {
    both("malloc(0)", None, 16, || malloc(0));
    both("malloc(huge)", Some(libc::ENOMEM), 1, || malloc(HUGE));
    both("malloc(half)", Some(libc::ENOMEM), 1, || malloc(HALF));
    both("calloc(0, 7)", None, 16, || calloc(0, 7));
    both("calloc overflows", Some(libc::ENOMEM), 1, || calloc(HALF, 2));
    both("calloc(huge)", Some(libc::ENOMEM), 1, || calloc(1, HUGE));
    both("realloc(null, 0)", None, 16, || realloc_null(0));
    both("realloc(null, 5)", None, 16, || realloc_null(5));
    both("reallocarray(null, 3, 5)", None, 16, || reallocarray_null(3, 5));
    both("reallocarray overflows", Some(libc::ENOMEM), 1, || reallocarray_null(HALF, 2));
}

#[test]
fn alignments() {
    for align in [1, 2, 8, 16, 32, 64, 4096, 65536] {
        both("memalign", None, align.max(16), || memalign(align, 100));
        both("aligned_alloc", None, align.max(16), || aligned_alloc(align, 100));
    }
    both("memalign rounds up", None, 32, || memalign(24, 100));
    both("memalign(0)", None, 16, || memalign(0, 100));
    both("memalign beyond", Some(libc::EINVAL), 1, || memalign(HALF + 1, 8));
    both("memalign(half)", Some(libc::ENOMEM), 1, || memalign(HALF, 8));
    both("memalign(huge)", Some(libc::ENOMEM), 1, || memalign(64, HUGE));
    both("valloc", None, 4096, || valloc(1));
    both("valloc(huge)", Some(libc::ENOMEM), 1, || valloc(HUGE));
    both("pvalloc", None, 4096, || pvalloc(1));
    both("pvalloc(huge)", Some(libc::ENOMEM), 1, || pvalloc(HUGE));
}

#[test]
fn aligned_alloc_wants_a_power_of_two_inside() {
    let domain = Domain::new(1 << 20);
    for align in [0, 24, HALF + 1] {
        let refused = domain.within(|| errno_of(|| aligned_alloc(black_box(align), 8)));
        assert_eq!(refused, (NULL, libc::EINVAL));
    }
}

#[test]
fn posix_memalign_returns_its_code_and_leaves_the_result_alone_when_it_fails() {
    let domain = Domain::new(1 << 20);
    let untouched = ptr::without_provenance_mut::<c_void>(0x55);
    let call = |align: usize, bytes: usize| {
        let mut out = untouched;
        // SAFETY: the result goes to a local variable.
        let code = unsafe { libc::posix_memalign(&raw mut out, align, bytes) };
        let aligned = code == 0 && out != untouched && out.addr().is_multiple_of(align.max(16));
        if code == 0 {
            // SAFETY: just allocated, on this side.
            unsafe { libc::free(out) };
        }
        (code, aligned, code != 0 && out != untouched)
    };
    for (align, bytes, code) in [
        (0, 8, libc::EINVAL),
        (4, 8, libc::EINVAL),
        (24, 8, libc::EINVAL),
        (8, 0, 0),
        (8, 8, 0),
        (256, 10, 0),
        (64, HUGE, libc::ENOMEM),
        (HALF, 8, libc::ENOMEM),
    ] {
        let expected = (code, code == 0, false);
        assert_eq!(call(align, bytes), expected, "{align}, {bytes}, host");
        assert_eq!(domain.within(|| call(align, bytes)), expected, "{align}, {bytes}, inside");
    }
}

#[test]
fn realloc_to_nothing_frees_and_answers_null() {
    let domain = Domain::new(64 << 10);
    let call = || {
        for _ in 0..1000 {
            let memory = black_box(malloc(10_000));
            check!(!memory.is_null());
            // SAFETY: just allocated, on this side, and not used after.
            check!(black_box(unsafe { libc::realloc(memory, 0) }).is_null());
        }
    };
    call();
    domain.within(call);
    assert_eq!(domain.refusals(), 0);
}

#[test]
fn realloc_without_room_leaves_the_old_memory_as_it_was() {
    let domain = Domain::new(64 << 10);
    domain.within(|| {
        let memory = black_box(malloc(100));
        // SAFETY: as many bytes as were allocated.
        unsafe { memory.cast::<u8>().write_bytes(7, 100) };
        for bytes in [1 << 20, HUGE, HALF] {
            // SAFETY: the old memory is not given up where the answer is null.
            check!(errno_of(|| unsafe { libc::realloc(memory, black_box(bytes)) }) == (NULL, libc::ENOMEM));
            // SAFETY: a product that does not fit is refused.
            check!(errno_of(|| unsafe { reallocarray(memory, HALF, 2) }) == (NULL, libc::ENOMEM));
        }
        // SAFETY: still as many bytes as were allocated.
        let bytes = unsafe { std::slice::from_raw_parts(memory.cast::<u8>(), 100) };
        check!(bytes.iter().all(|byte| *byte == 7));
        // SAFETY: live, and not used after.
        unsafe { libc::free(memory) };
    });
    assert_eq!(domain.refusals(), 3, "a product that overflows was never asked of the heap");
}

#[test]
fn usable_size_covers_what_was_asked_for_on_both_sides() {
    let domain = Domain::new(1 << 20);
    let lent = malloc(1000);
    // SAFETY: a live allocation.
    let lent_bytes = unsafe { libc::malloc_usable_size(lent) };
    let call = || {
        for bytes in [0, 1, 24, 25, 100, 5000] {
            let memory = black_box(malloc(bytes));
            // SAFETY: a live allocation.
            let usable_bytes = unsafe { libc::malloc_usable_size(memory) };
            check!((bytes..bytes + 64).contains(&usable_bytes));
            // SAFETY: all of it may be written.
            unsafe { memory.cast::<u8>().write_bytes(0xff, usable_bytes) };
            // SAFETY: live, and not used after.
            unsafe { libc::free(memory) };
        }
        // SAFETY: null is of no size.
        check!(unsafe { libc::malloc_usable_size(NULL) } == 0);
        // SAFETY: a live allocation, of the host, which has its size inside too.
        check!(unsafe { libc::malloc_usable_size(lent) } == lent_bytes);
    };
    call();
    domain.within(call);
    // SAFETY: live, and not used after.
    unsafe { libc::free(lent) };
}

#[test]
fn free_leaves_errno_alone() {
    let domain = Domain::new(64 << 10);
    domain.within(|| {
        let memory = black_box(malloc(100));
        let ((), errno) = errno_of(|| {
            // SAFETY: null may be freed.
            unsafe { libc::free(NULL) };
            // SAFETY: live, and not used after.
            unsafe { libc::free(memory) };
        });
        check!(errno == 0);
    });
}
