//! The `malloc` family's rules over a domain's heap: errors, overflows and sizes of zero, as glibc has them.
//!
//! `aligned_alloc` refuses an alignment that is no power of two, as glibc does since 2.38; `memalign` rounds it up.
//!
//! The heap is the last argument, behind C's own, and the functions have C's calling convention: so a symbol's function becomes a jump,
//! and its way in the host has no stack to set up.
//!
//! # Safety
//! Each function takes the running thread's own heap, which nothing else uses while it runs.
#![expect(unsafe_code, reason = "the routed heap at a raw address, and errno")]

use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};

use super::host;
use crate::heap::DomainHeap;
use crate::region::PAGE_BYTES;

type Heap = NonNull<DomainHeap>;

#[inline(never)]
pub(super) unsafe extern "C" fn malloc(bytes: usize, mut heap: Heap) -> *mut c_void {
    // SAFETY: a live heap, which no one else uses while this function runs; so in all functions of this file.
    or_no_memory(unsafe { heap.as_mut() }.malloc(bytes))
}

#[inline(never)]
pub(super) unsafe extern "C" fn calloc(count: usize, bytes: usize, mut heap: Heap) -> *mut c_void {
    let Some(bytes) = count.checked_mul(bytes) else {
        return fail(libc::ENOMEM);
    };
    // SAFETY: as in `malloc`.
    or_no_memory(unsafe { heap.as_mut() }.calloc(bytes))
}

/// A null pointer is allocated; a size of zero is freed, and the answer is null.
#[inline(never)]
pub(super) unsafe extern "C" fn realloc(memory: *mut c_void, bytes: usize, mut heap: Heap) -> *mut c_void {
    // SAFETY: as in `malloc`.
    let heap = unsafe { heap.as_mut() };
    if memory.is_null() {
        return or_no_memory(heap.malloc(bytes));
    }
    if bytes == 0 {
        // SAFETY: the caller gives the memory up.
        unsafe { heap.free(memory) };
        return ptr::null_mut();
    }
    // SAFETY: the caller gives the memory up.
    or_no_memory(unsafe { heap.realloc(memory, bytes) })
}

/// Leaves errno alone.
#[inline(never)]
pub(super) unsafe extern "C" fn free(memory: *mut c_void, mut heap: Heap) {
    if !memory.is_null() {
        // SAFETY: as in `malloc`.
        let heap = unsafe { heap.as_mut() };
        // SAFETY: the caller gives the memory up.
        unsafe { heap.free(memory) };
    }
}

#[inline(never)]
pub(super) unsafe extern "C" fn memalign(align: usize, bytes: usize, mut heap: Heap) -> *mut c_void {
    let Some(align) = align.checked_next_power_of_two() else {
        return fail(libc::EINVAL);
    };
    // SAFETY: as in `malloc`.
    or_no_memory(unsafe { heap.as_mut() }.memalign(align, bytes))
}

pub(super) unsafe extern "C" fn aligned_alloc(align: usize, bytes: usize, heap: Heap) -> *mut c_void {
    if !align.is_power_of_two() {
        return fail(libc::EINVAL);
    }
    // SAFETY: as in `malloc`.
    unsafe { memalign(align, bytes, heap) }
}

/// # Safety
/// `out` must be writable.
#[inline(never)]
pub(super) unsafe extern "C" fn posix_memalign(
    out: *mut *mut c_void,
    align: usize,
    bytes: usize,
    mut heap: Heap,
) -> c_int {
    if !align.is_power_of_two() || align < size_of::<*mut c_void>() {
        return libc::EINVAL;
    }
    // SAFETY: as in `malloc`.
    let memory = unsafe { heap.as_mut() }.memalign(align, bytes);
    if memory.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller says that it is writable.
    unsafe { out.write(memory) };
    0
}

pub(super) unsafe extern "C" fn valloc(bytes: usize, heap: Heap) -> *mut c_void {
    // SAFETY: as in `malloc`.
    unsafe { memalign(PAGE_BYTES, bytes, heap) }
}

/// Whole pages.
pub(super) unsafe extern "C" fn pvalloc(bytes: usize, heap: Heap) -> *mut c_void {
    match bytes.checked_next_multiple_of(PAGE_BYTES) {
        // SAFETY: as in `malloc`.
        Some(bytes) => unsafe { memalign(PAGE_BYTES, bytes, heap) },
        None => fail(libc::ENOMEM),
    }
}

/// The host's memory has a size inside too: the question only reads.
#[inline(never)]
pub(super) unsafe extern "C" fn usable_bytes(memory: *mut c_void, heap: Heap) -> usize {
    if memory.is_null() {
        return 0;
    }
    // SAFETY: as in `malloc`.
    let chunks = unsafe { heap.as_ref() }.chunks;
    if chunks.hold(memory.addr()) {
        // SAFETY: the chunks are mapped for as long as the heap is used.
        return unsafe { chunks.inspect(memory) }.unwrap_or(0);
    }
    // SAFETY: the caller has a pointer that some `malloc` gave it, and that was not this heap's.
    host::MALLOC_USABLE_SIZE.get().map_or(0, |usable_size| unsafe { usable_size(memory) })
}

fn or_no_memory(memory: *mut c_void) -> *mut c_void {
    if memory.is_null() { fail(libc::ENOMEM) } else { memory }
}

/// Null, and why.
#[cold]
pub(super) fn fail(errno: c_int) -> *mut c_void {
    // SAFETY: takes no arguments, and always succeeds.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the running thread's own errno; inside, the one in the domain's TLS block.
    unsafe { place.write(errno) };
    ptr::null_mut()
}
