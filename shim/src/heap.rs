//! A domain's heap: its state at the start of a region, its chunks behind.
//!
//! # Which allocator
//! dlmalloc, in its Rust port (0.2), and not talc (5.1). Both were driven through a `malloc` and a `free` of the C kind over a region of
//! 8 MiB; talc's `deallocate` needs the layout, so that a header of 16 bytes has to keep it. Instructions are callgrind's, loop included.
//!
//! | | dlmalloc | talc |
//! |---|---|---|
//! | `free`, `realloc` and `memalign` of C | as they are | a header, and another scheme for aligned memory |
//! | usable size | in the chunk's tag | in the header |
//! | bytes taken by an object of 24, 64 or 1000 bytes | 32, 80, 1008 | 64, 96, 1024 |
//! | instructions of `malloc` and `free` of 64 bytes, over and over | 109 | 186 |
//! | instructions of a `malloc` and a `free`, sizes mixed, 512 alive | 223 | 137 |
//! | a double free, an overflow into the next chunk | told by the tags, see `chunk.rs` | not told |
//! | bytes of state | 936 | 32, and its bins in the region |
//!
//! # Safety
//! The state is written by the host in [`DomainHeap::init`] and by nobody but the domain after that, on one thread at a time. The host
//! takes no reference to it and follows no pointer in it: the domain may have put anything there. What a broken heap makes the
//! allocator do happens with the domain's rights.
#![expect(unsafe_code, reason = "the allocator's own calls, and the state at a raw address")]

use std::ffi::c_void;
use std::ptr::{self, NonNull};

use dlmalloc::Dlmalloc;

use crate::chunk::Chunks;
use crate::ends::{self, End};
use crate::message;
use crate::region::Region;

/// What every allocation is aligned to, at least.
pub(crate) const ALIGN: usize = 16;

/// How far behind an aligned allocation dlmalloc may have written tags, the alignment not counted: it allocates as much more as the
/// alignment and one smallest chunk, and gives back what it did not need.
const ALIGNING_BYTES: usize = 96;

/// A heap for one domain, at the start of the memory that it gives out.
///
/// It is used by the domain, through the interposed symbols and [`Routed`](crate::Routed), wherever the routing variable holds its
/// address. It is not synchronised: one thread at a time.
#[repr(C)]
pub struct DomainHeap {
    refusals: u64,
    /// Where the memory lies that this heap gives out.
    pub(crate) chunks: Chunks,
    /// No byte from this address on has been given out, or written by the allocator but for the last chunk's tag. Never in the near stretch,
    /// at whose end a tag stays behind when the rest is joined to it.
    fresh: usize,
    allocator: Dlmalloc<Region>,
}

impl std::fmt::Debug for DomainHeap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DomainHeap").field("chunks", &self.chunks).finish_non_exhaustive()
    }
}

impl DomainHeap {
    /// The smallest region that makes a heap.
    pub const BYTES_MIN: usize = 4096;

    /// Makes a heap of a region: host side, before the domain runs or after its memory was reset.
    ///
    /// `None` where the region is smaller than [`BYTES_MIN`](Self::BYTES_MIN) or not aligned to 16 bytes. The heap lies at `start`.
    ///
    /// # Safety
    /// The region must be writable, all zeros, and used by nothing else for as long as the heap is.
    ///
    /// # Cost
    /// One store of about a kilobyte: one page is touched. The domain touches nothing behind the first `near_bytes` before they are used up.
    #[must_use]
    pub unsafe fn init(start: NonNull<u8>, near_bytes: usize, bytes: usize) -> Option<NonNull<Self>> {
        let heap = start.cast::<Self>();
        let state_bytes = size_of::<Self>().next_multiple_of(ALIGN);
        if bytes < Self::BYTES_MIN || !start.addr().get().is_multiple_of(ALIGN) {
            return None;
        }
        let chunks_bytes = (bytes - state_bytes) & !(ALIGN - 1);
        // SAFETY: the state is smaller than the smallest region.
        let first = unsafe { start.add(state_bytes) };
        let chunks = Chunks { first: first.addr().get(), end: first.addr().get() + chunks_bytes };
        let near_bytes = (near_bytes.clamp(Self::BYTES_MIN, bytes) - state_bytes) & !(ALIGN - 1);
        let region = Region::new(first.as_ptr(), near_bytes.min(chunks_bytes), chunks_bytes);
        let mut allocator = Dlmalloc::new_with_allocator(region);
        // Nothing is ever released, so there is nothing to look for.
        allocator.set_max_release_check_rate(0);
        // SAFETY: the caller says that the region is writable and nobody else's; the state fits, and 16 is its alignment or more.
        unsafe { heap.write(Self { refusals: 0, chunks, fresh: chunks.first + near_bytes, allocator }) };
        Some(heap)
    }

    /// How many allocations were refused for want of room since [`init`](Self::init), as the domain tells it. For the host; the domain
    /// can make it any number.
    ///
    /// # Safety
    /// The heap must be one of [`init`](Self::init), and readable.
    #[must_use]
    pub unsafe fn refusals(heap: NonNull<Self>) -> u64 {
        // SAFETY: the caller says that it is a heap, whose first field this is; no reference is made.
        let refusals = unsafe { &raw const (*heap.as_ptr()).refusals };
        // SAFETY: readable and aligned, as above. Volatile, since the domain may write it.
        unsafe { refusals.read_volatile() }
    }

    /// Memory for `bytes`, aligned to 16; null where there is no room.
    #[inline]
    pub(crate) fn malloc(&mut self, bytes: usize) -> *mut c_void {
        // SAFETY: any size may be asked for.
        let mut memory = unsafe { self.allocator.c_malloc(bytes) };
        if memory.is_null() && self.allocator.allocator().has_more() {
            // The near stretch has just been handed out, and was too small.
            // SAFETY: as above.
            memory = unsafe { self.allocator.c_malloc(bytes) };
        }
        self.given(memory.cast(), 0)
    }

    /// As [`malloc`](Self::malloc), all zeros. What was never given out is not zeroed again: the region was zero from the start.
    pub(crate) fn calloc(&mut self, bytes: usize) -> *mut c_void {
        let fresh = self.fresh;
        let memory = self.malloc(bytes);
        if !memory.is_null() {
            let used_bytes = fresh.saturating_sub(memory.addr()).min(bytes);
            // SAFETY: no more than the bytes that were just allocated.
            unsafe { memory.cast::<u8>().write_bytes(0, used_bytes) };
        }
        memory
    }

    /// As [`malloc`](Self::malloc), aligned to `align`, a power of two.
    pub(crate) fn memalign(&mut self, align: usize, bytes: usize) -> *mut c_void {
        if align <= ALIGN {
            return self.malloc(bytes);
        }
        let room_bytes = self.chunks.end - self.chunks.first;
        if align > room_bytes || bytes > room_bytes {
            return self.given(ptr::null_mut(), 0);
        }
        // SAFETY: a power of two, by this function's contract; any size may be asked for.
        let mut memory = unsafe { self.allocator.c_memalign(align, bytes) };
        if memory.is_null() && self.allocator.allocator().has_more() {
            // SAFETY: as above. As for `malloc`.
            memory = unsafe { self.allocator.c_memalign(align, bytes) };
        }
        self.given(memory.cast(), align + ALIGNING_BYTES)
    }

    /// Frees memory of this heap; ends the domain's work where the pointer is none that can be freed.
    ///
    /// # Safety
    /// Nothing may use the memory after this.
    #[inline]
    pub(crate) unsafe fn free(&mut self, memory: *mut c_void) {
        // SAFETY: the chunks are mapped for as long as the heap is used.
        if let Err(damage) = unsafe { self.chunks.inspect(memory) } {
            die(damage.freeing());
        }
        // SAFETY: the tags say that this is a live chunk of this heap; the caller gives it up.
        unsafe { self.allocator.c_free(memory.cast()) };
    }

    /// Makes a live allocation smaller or larger, moved where it must be; null where there is no room, and then it is as it was. Keeps
    /// no more than the alignment of [`malloc`](Self::malloc). Ends the domain's work as [`free`](Self::free) does.
    ///
    /// # Safety
    /// Nothing may use the old pointer after this, unless the result is null.
    pub(crate) unsafe fn realloc(&mut self, memory: *mut c_void, bytes: usize) -> *mut c_void {
        // SAFETY: the chunks are mapped for as long as the heap is used.
        if let Err(damage) = unsafe { self.chunks.inspect(memory) } {
            die(damage.resizing());
        }
        // SAFETY: the tags say that this is a live chunk of this heap; the caller gives it up.
        let mut resized = unsafe { self.allocator.c_realloc(memory.cast(), bytes) };
        if resized.is_null() && self.allocator.allocator().has_more() {
            // SAFETY: as above; it is still live, since it was not resized. As for `malloc`.
            resized = unsafe { self.allocator.c_realloc(memory.cast(), bytes) };
        }
        self.given(resized.cast(), 0)
    }

    /// Keeps the books on what the allocator answered. `behind_bytes` is how much behind it the allocator may have written.
    #[inline]
    fn given(&mut self, memory: *mut c_void, behind_bytes: usize) -> *mut c_void {
        if memory.is_null() {
            self.refusals = self.refusals.wrapping_add(1);
            return memory;
        }
        let head = memory.cast::<usize>().wrapping_sub(1);
        // SAFETY: the allocator just gave this chunk out, so its head lies before it.
        let head = unsafe { head.read() };
        // The chunk after has its tag within this size of the memory; what the flags add, less than 8, only makes the bound wider.
        self.fresh = self.fresh.max(memory.addr().wrapping_add(head).wrapping_add(behind_bytes));
        memory
    }
}

#[cold]
#[inline(never)]
fn die(words: &'static str) -> ! {
    message::write(words.as_bytes());
    ends::end(End::Abort)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Damage;

    const NEAR_BYTES: usize = 8 << 10;

    #[repr(C, align(4096))]
    struct Memory([u8; 64 * 1024]);

    fn heap(memory: &mut Memory) -> NonNull<DomainHeap> {
        memory.0.fill(0);
        // SAFETY: zeroed, and lent to the caller for as long as the heap is used.
        unsafe { DomainHeap::init(NonNull::from(&mut memory.0).cast(), NEAR_BYTES, size_of::<Memory>()) }
            .unwrap()
    }

    fn memory() -> Box<Memory> {
        Box::new(Memory([0; 64 * 1024]))
    }

    #[test]
    fn a_heap_needs_room_and_an_aligned_start() {
        let mut memory = memory();
        let start = NonNull::from(&mut memory.0).cast::<u8>();
        // SAFETY: within the memory; so below.
        let odd = unsafe { start.add(8) };
        // SAFETY: the memory is zeroed, and no heap in it is used; so below.
        assert!(unsafe { DomainHeap::init(start, NEAR_BYTES, DomainHeap::BYTES_MIN - 1) }.is_none());
        // SAFETY: as above.
        assert!(unsafe { DomainHeap::init(odd, NEAR_BYTES, DomainHeap::BYTES_MIN) }.is_none());
        // SAFETY: as above.
        let mut heap = unsafe { DomainHeap::init(start, NEAR_BYTES, DomainHeap::BYTES_MIN) }.unwrap();
        // SAFETY: the only reference.
        assert!(!unsafe { heap.as_mut() }.malloc(1000).is_null());
    }

    #[test]
    fn making_a_heap_touches_its_first_page_only() {
        let mut memory = memory();
        heap(&mut memory);
        assert!(memory.0[..4096].iter().any(|byte| *byte != 0));
        assert!(memory.0[4096..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn calloc_leaves_alone_what_was_never_given_out_and_zeroes_the_rest() {
        let mut memory = memory();
        let mut heap = heap(&mut memory);
        // SAFETY: the only reference.
        let heap = unsafe { heap.as_mut() };
        // The near stretch is always zeroed: this goes beyond it.
        const USED_BYTES: usize = NEAR_BYTES + 4000;
        let used = heap.malloc(USED_BYTES);
        // SAFETY: as many bytes as were allocated.
        unsafe { used.cast::<u8>().write_bytes(0xff, USED_BYTES) };
        // SAFETY: live, and not used after.
        unsafe { heap.free(used) };
        let marker = used.wrapping_byte_add(USED_BYTES + 4000).cast::<u8>();
        // SAFETY: this test's memory, which no reference covers.
        unsafe { marker.write(7) };
        let zeros = heap.calloc(USED_BYTES + 8000);
        assert_eq!(zeros, used);
        // SAFETY: as many bytes as were allocated.
        let zeros = unsafe { std::slice::from_raw_parts(zeros.cast::<u8>(), USED_BYTES + 8000) };
        assert!(zeros[..USED_BYTES + 4000].iter().all(|byte| *byte == 0));
        assert_eq!(zeros[USED_BYTES + 4000], 7, "the region's zeros are not written again");
    }

    #[test]
    fn the_tags_are_where_they_are_read() {
        let mut memory = memory();
        let mut heap = heap(&mut memory);
        // SAFETY: the only reference.
        let heap = unsafe { heap.as_mut() };
        for (bytes, usable_bytes) in [(0, 24), (24, 24), (25, 40), (64, 72), (1000, 1000), (1001, 1016)] {
            let memory = heap.malloc(bytes);
            // SAFETY: the chunks are this test's memory.
            assert_eq!(unsafe { heap.chunks.inspect(memory) }, Ok(usable_bytes), "{bytes}");
        }
    }

    #[test]
    fn what_is_free_does_not_look_alive_whatever_is_freed_around_it() {
        // Four neighbours, given back in every order: each that is free must be told from each that is live after every step.
        for order in 0..24 {
            let mut left = vec![0, 1, 2, 3];
            let (a, b, c) = (order / 6, order / 2 % 3, order % 2);
            let order = [left.remove(a), left.remove(b), left.remove(c), left.remove(0)];
            for sizes in [[24, 24, 24, 24], [40, 24, 300, 24], [300, 40, 24, 5000], [24, 40, 5000, 300]] {
                let mut memory = memory();
                let mut heap = heap(&mut memory);
                // SAFETY: the only reference.
                let heap = unsafe { heap.as_mut() };
                let blocks = sizes.map(|bytes| heap.malloc(bytes));
                for (freed, which) in order.iter().enumerate() {
                    // SAFETY: live, and not used after.
                    unsafe { heap.free(blocks[*which]) };
                    for (index, which) in order.iter().enumerate() {
                        // SAFETY: the chunks are this test's memory.
                        let live = unsafe { heap.chunks.inspect(blocks[*which]) }.is_ok();
                        assert_eq!(live, index > freed, "{order:?}, {sizes:?}, {freed} freed, {which}");
                    }
                }
            }
        }
    }

    #[test]
    fn each_kind_of_damage_is_told() {
        let mut memory = memory();
        let mut heap = heap(&mut memory);
        // SAFETY: the only reference.
        let heap = unsafe { heap.as_mut() };
        let [first, second, third] = [100, 100, 100].map(|bytes| heap.malloc(bytes));
        // SAFETY: the chunks are this test's memory.
        let look = |memory: *mut c_void| unsafe { heap.chunks.inspect(memory) };
        // SAFETY: a word of this test's memory, which no reference covers.
        let trample = |at: *mut c_void, word: usize| unsafe { at.cast::<usize>().replace(word) };

        let elsewhere = ptr::from_ref(&heap.chunks.end).cast_mut().cast::<c_void>();
        let behind = first.with_addr(heap.chunks.end + 16);
        for wrong in [first.wrapping_byte_add(8), elsewhere, behind] {
            assert_eq!(look(wrong), Err(Damage::Pointer));
        }
        let second_head = second.wrapping_byte_sub(8);
        let head = trample(second_head, 0x4141_4141_4141_4141);
        assert_eq!(look(first), Err(Damage::NextSize));
        assert_eq!(look(second), Err(Damage::Free), "the bytes say so, if by chance");
        trample(second_head, usize::MAX);
        assert_eq!(look(second), Err(Damage::Size));
        trample(second_head, 0);
        assert_eq!(look(first), Err(Damage::NotInUse));
        trample(second_head, head & !PREVIOUS_IN_USE);
        assert_eq!(look(first), Err(Damage::NotInUse), "one zero byte too many");
        for foot in [8, 16, 1 << 40, usize::MAX & !15] {
            trample(second.wrapping_byte_sub(16), foot);
            assert_eq!(look(second), Err(Damage::PreviousSize));
        }
        trample(second_head, head);
        for memory in [first, second, third] {
            assert_eq!(look(memory), Ok(104));
        }
    }

    const PREVIOUS_IN_USE: usize = 1;
}
