//! The memory behind a domain's heap, handed to the allocator in two stretches: what short work needs, and the rest when that is not enough.
//!
//! # Safety
//! The region is plain memory that whoever made the heap gave away. It is handed out once, never moved and never taken back, so the
//! allocator may keep what it likes in it.
#![expect(unsafe_code, reason = "dlmalloc's system allocator trait")]

use std::cell::Cell;
use std::ptr;

use dlmalloc::Allocator;

/// The page size of x86-64.
pub(crate) const PAGE_BYTES: usize = 4096;

/// A stretch of memory, until it is handed out.
pub(crate) struct Region {
    next: Cell<*mut u8>,
    /// Where the near stretch ends.
    near_end: usize,
    end: usize,
}

// SAFETY: a region is an address range that one heap owns.
unsafe impl Send for Region {}

impl Region {
    /// The `bytes` from `start` on, of which the first `near_bytes` are handed out first. Neither is more than there is.
    pub(crate) fn new(start: *mut u8, near_bytes: usize, bytes: usize) -> Self {
        let first = start.addr();
        Self { next: Cell::new(start), near_end: first + near_bytes, end: first + bytes }
    }

    /// Whether there is memory that was not handed out.
    pub(crate) fn has_more(&self) -> bool {
        !self.next.get().is_null()
    }
}

// SAFETY: `alloc` gives out each stretch once, and null after that; nothing is ever remapped, freed in part or freed. That the region
// starts out as zeros is claimed for nothing: see `DomainHeap::calloc`.
unsafe impl Allocator for Region {
    /// The next stretch, however little was asked for: the allocator itself refuses what does not fit. The second follows the first, and is
    /// joined with it.
    fn alloc(&self, _bytes: usize) -> (*mut u8, usize, u32) {
        let start = self.next.get();
        if start.is_null() {
            return (start, 0, 0);
        }
        let end = if start.addr() < self.near_end { self.near_end } else { self.end };
        let rest = if end < self.end { start.with_addr(end) } else { ptr::null_mut() };
        self.next.set(rest);
        (start, end - start.addr(), 0)
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
