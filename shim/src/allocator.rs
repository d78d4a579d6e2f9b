//! A global allocator that goes to the domain's heap inside.
//!
//! # Safety
//! In the host every call is the inner allocator's own. Inside, the heap is the one that the routing variable holds, which belongs to
//! the running thread; sizes and alignments are the layout's.
#![expect(unsafe_code, reason = "GlobalAlloc, and the routed heap at a raw address")]

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;

use crate::heap::{ALIGN, DomainHeap};
use crate::route;

/// Wraps a program's global allocator: a domain's heap inside, the inner allocator in the host.
///
/// For programs with an allocator of their own. Only Rust's allocations come through here; those of C and C++ need the `interpose`
/// feature.
///
/// ```
/// use std::alloc::System;
/// use ringfence_shim::Routed;
///
/// #[global_allocator]
/// static ALLOCATOR: Routed<System> = Routed(System);
/// # fn main() { assert!(ringfence_shim::routing().rust); }
/// ```
///
/// # Cost
/// Four instructions in the host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Routed<A>(pub A);

// SAFETY: both sides are allocators, and memory of one is freed by the same: what is allocated inside lives in the domain, and the
// domain's heap refuses what is not its own.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Routed<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match route::current() {
            // SAFETY: the caller keeps the inner allocator's contract.
            None => unsafe { self.0.alloc(layout) },
            // SAFETY: the routing variable holds the running domain's heap.
            Some(heap) => unsafe { alloc(heap, layout) },
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match route::current() {
            // SAFETY: the caller keeps the inner allocator's contract.
            None => unsafe { self.0.alloc_zeroed(layout) },
            // SAFETY: the routing variable holds the running domain's heap.
            Some(heap) => unsafe { alloc_zeroed(heap, layout) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        match route::current() {
            // SAFETY: the caller keeps the inner allocator's contract.
            None => unsafe { self.0.dealloc(memory, layout) },
            // SAFETY: the routing variable holds the running domain's heap; the caller gives the memory up.
            Some(heap) => unsafe { dealloc(heap, memory) },
        }
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_bytes: usize) -> *mut u8 {
        match route::current() {
            // SAFETY: the caller keeps the inner allocator's contract.
            None => unsafe { self.0.realloc(memory, layout, new_bytes) },
            // SAFETY: the routing variable holds the running domain's heap; the caller gives the memory up.
            Some(heap) => unsafe { realloc(heap, memory, layout, new_bytes) },
        }
    }
}

/// # Safety
/// The heap must be the running thread's own; so for the others below.
#[inline(never)]
unsafe fn alloc(mut heap: NonNull<DomainHeap>, layout: Layout) -> *mut u8 {
    // SAFETY: a live heap, which no one else uses while this function runs.
    unsafe { heap.as_mut() }.memalign(layout.align(), layout.size()).cast()
}

#[inline(never)]
unsafe fn alloc_zeroed(mut heap: NonNull<DomainHeap>, layout: Layout) -> *mut u8 {
    // SAFETY: a live heap, which no one else uses while this function runs.
    let heap = unsafe { heap.as_mut() };
    if layout.align() <= ALIGN {
        return heap.calloc(layout.size()).cast();
    }
    let memory = heap.memalign(layout.align(), layout.size()).cast::<u8>();
    if !memory.is_null() {
        // SAFETY: as many bytes as were just allocated.
        unsafe { memory.write_bytes(0, layout.size()) };
    }
    memory
}

#[inline(never)]
unsafe fn dealloc(mut heap: NonNull<DomainHeap>, memory: *mut u8) {
    // SAFETY: a live heap, which no one else uses while this function runs.
    let heap = unsafe { heap.as_mut() };
    // SAFETY: the caller gives the memory up.
    unsafe { heap.free(memory.cast()) };
}

#[inline(never)]
unsafe fn realloc(
    mut heap: NonNull<DomainHeap>,
    memory: *mut u8,
    layout: Layout,
    new_bytes: usize,
) -> *mut u8 {
    // SAFETY: a live heap, which no one else uses while this function runs.
    let heap = unsafe { heap.as_mut() };
    if layout.align() <= ALIGN {
        // SAFETY: the caller gives the memory up.
        return unsafe { heap.realloc(memory.cast(), new_bytes) }.cast();
    }
    let moved = heap.memalign(layout.align(), new_bytes).cast::<u8>();
    if !moved.is_null() {
        // SAFETY: the smaller of two live allocations that do not overlap.
        unsafe { moved.copy_from_nonoverlapping(memory, layout.size().min(new_bytes)) };
        // SAFETY: the caller gives the memory up.
        unsafe { heap.free(memory.cast()) };
    }
    moved
}
