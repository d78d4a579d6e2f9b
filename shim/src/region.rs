//! The memory behind a domain's heap, handed to the allocator once and whole.
//!
//! # Safety
//! The region is plain memory that whoever made the heap gave away. It is handed out once, never moved and never taken back, so the
//! allocator may keep what it likes in it.
#![expect(unsafe_code, reason = "dlmalloc's system allocator trait")]

use std::cell::Cell;
use std::ptr;

use dlmalloc::Allocator;

/// Tells dlmalloc that a stretch of memory is not to be given back or joined with another.
const EXTERN: u32 = 1;
/// The page size of x86-64.
pub(crate) const PAGE_BYTES: usize = 4096;

/// A stretch of memory, until it is handed out.
pub(crate) struct Region {
    start: Cell<*mut u8>,
    bytes: usize,
}

// SAFETY: a region is an address range that one heap owns.
unsafe impl Send for Region {}

impl Region {
    pub(crate) const fn new(start: *mut u8, bytes: usize) -> Self {
        Self { start: Cell::new(start), bytes }
    }
}

// SAFETY: `alloc` gives out the region once, and null after that; nothing is ever remapped, freed in part or freed. That the region
// starts out as zeros is claimed for nothing: see `DomainHeap::calloc`.
unsafe impl Allocator for Region {
    /// All there is, however little was asked for: the allocator itself refuses what does not fit.
    fn alloc(&self, _bytes: usize) -> (*mut u8, usize, u32) {
        (self.start.replace(ptr::null_mut()), self.bytes, EXTERN)
    }

    fn remap(&self, _start: *mut u8, _bytes: usize, _new_bytes: usize, _can_move: bool) -> *mut u8 {
        ptr::null_mut()
    }

    fn free_part(&self, _start: *mut u8, _bytes: usize, _new_bytes: usize) -> bool {
        false
    }

    fn free(&self, _start: *mut u8, _bytes: usize) -> bool {
        false
    }

    fn can_release_part(&self, _flags: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        false
    }

    fn page_size(&self) -> usize {
        PAGE_BYTES
    }
}
