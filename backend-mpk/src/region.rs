//! A domain's memory: parts that carry its key, with guard pages round each.
//!
//! # Safety
//! A [`Region`] owns one reserved range; its parts are fixed when it is made. What lies in it belongs to the domain.
#![expect(unsafe_code, reason = "mmap, madvise, munmap and pkey_mprotect")]

use std::num::NonZeroUsize;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use ringfence_core::Error;

/// The page size of x86-64.
pub(crate) const PAGE_BYTES: usize = 4096;
/// Below a stack, whose frames may step over a single page.
const STACK_GUARD_BYTES: usize = 1 << 20;

/// What short work touches of its stack and of its heap. The rest, the far end of each, is closed until something touches it, so that a
/// rewind knows what there is to clear: to look for it, or to give pages back and get them anew, costs many times as much.
pub(crate) const NEAR_BYTES: usize = 4 * PAGE_BYTES;

/// The parts of a domain's memory, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Grows down to a guard.
    Stack,
    /// The job page, then the TLS block.
    Fixed,
    /// Arguments.
    Request,
    /// The result.
    Reply,
    /// What `malloc` gives out inside.
    Heap,
}

const PARTS: [Part; 5] = [Part::Stack, Part::Fixed, Part::Request, Part::Reply, Part::Heap];

/// How much memory each part has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) stack_bytes: usize,
    pub(crate) fixed_bytes: usize,
    pub(crate) request_bytes: usize,
    pub(crate) reply_bytes: usize,
    pub(crate) heap_bytes: usize,
}

/// A domain's memory.
#[derive(Debug)]
pub(crate) struct Region {
    start: NonNull<u8>,
    bytes: NonZeroUsize,
    parts: [Range<usize>; PARTS.len()],
    /// Whether the far ends may be in use.
    grown: AtomicBool,
    /// Whether they can be touched.
    usable: AtomicBool,
}

// SAFETY: a region is an address range; the kernel lets any thread of the process use, retag and unmap it.
unsafe impl Send for Region {}
// SAFETY: shared access gives out addresses and changes protection only, which the kernel serialises.
unsafe impl Sync for Region {}

impl Region {
    /// Reserves memory that nobody can touch yet.
    pub(crate) fn reserve(sizes: Sizes) -> Result<Self, Error> {
        let too_large = || Error::os("reserve a domain's memory", Errno::ENOMEM);
        let mut next = STACK_GUARD_BYTES;
        let mut parts = [const { 0..0 }; PARTS.len()];
        let wanted =
            [sizes.stack_bytes, sizes.fixed_bytes, sizes.request_bytes, sizes.reply_bytes, sizes.heap_bytes];
        for (part, bytes) in parts.iter_mut().zip(wanted) {
            let bytes = bytes.max(1).checked_next_multiple_of(PAGE_BYTES).ok_or_else(too_large)?;
            let end = next.checked_add(bytes).ok_or_else(too_large)?;
            *part = next..end;
            next = end.checked_add(PAGE_BYTES).ok_or_else(too_large)?;
        }
        let bytes = non_zero(next)?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: no address is asked for, so no existing mapping is touched.
        let start = unsafe { mmap_anonymous(None, bytes, ProtFlags::PROT_NONE, flags) };
        let start = start.map_err(|errno| Error::os("reserve a domain's memory", errno))?.cast();
        let region =
            Self { start, bytes, parts, grown: AtomicBool::new(false), usable: AtomicBool::new(false) };
        // SAFETY: the range is this value's own; children get nothing of it, which nobody relies on.
        let kept = unsafe { madvise(start.cast(), bytes.get(), MmapAdvise::MADV_DONTFORK) };
        kept.map_err(|errno| Error::os("keep a domain's memory from children", errno))?;
        // A huge page is cleared as a whole when it is first touched, and again after each rewind. A kernel without them refuses.
        // SAFETY: as above; changes no contents.
        let _ = unsafe { madvise(start.cast(), bytes.get(), MmapAdvise::MADV_NOHUGEPAGE) };
        Ok(region)
    }

    /// Gives every part the key, readable and writable. Five system calls, or seven.
    pub(crate) fn tag(&self, key: u32) -> Result<(), Error> {
        self.protect(ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, key)
            .map_err(|errno| Error::os("give a domain its key", errno))
    }

    /// Takes the key away, so that another domain may have it. Until it is tagged again nobody can touch the memory.
    pub(crate) fn park(&self) -> Result<(), Error> {
        self.protect(ProtFlags::PROT_NONE, 0).map_err(|errno| Error::os("take a domain's key", errno))
    }

    fn protect(&self, protection: ProtFlags, key: u32) -> Result<(), Errno> {
        let always = [
            self.near_stack(),
            self.range(Part::Fixed).clone(),
            self.range(Part::Request).clone(),
            self.range(Part::Reply).clone(),
            self.near_heap(),
        ];
        let far = if self.has_grown() { self.far() } else { [0..0, 0..0] };
        for range in always.into_iter().chain(far).filter(|range| !range.is_empty()) {
            // SAFETY: a part of this value's own range, in which nothing is a Rust reference.
            unsafe { protect(self.at(range.start), range.end - range.start, protection, key) }?;
        }
        Ok(())
    }

    /// Makes the far ends of stack and heap usable, if that is what an access to this address inside needs. Whether it was. For signal
    /// handlers too: two system calls, no lock, no allocation.
    pub(crate) fn grow_for(&self, address: usize, key: u32) -> bool {
        let offset = address.wrapping_sub(self.start.as_ptr().addr());
        let is_far = self.far().iter().any(|far| far.contains(&offset));
        !self.has_grown() && is_far && self.grow(key)
    }

    /// Makes the far ends of stack and heap usable, if they are not. Whether they are.
    pub(crate) fn grow(&self, key: u32) -> bool {
        if self.has_grown() {
            return self.usable.load(Ordering::SeqCst);
        }
        // Before the pages are usable: from here on they are wiped, and lose the key with the others.
        self.grown.store(true, Ordering::SeqCst);
        let usable = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let mut far = self.far().into_iter().filter(|far| !far.is_empty());
        let is_usable = far.all(|far| {
            // SAFETY: as in `protect`.
            unsafe { protect(self.at(far.start), far.end - far.start, usable, key) }.is_ok()
        });
        self.usable.store(is_usable, Ordering::SeqCst);
        is_usable
    }

    fn has_grown(&self) -> bool {
        self.grown.load(Ordering::SeqCst)
    }

    /// Clears the parts in which code inside keeps state, stack and heap: every byte is zero afterwards.
    ///
    /// # Cost
    /// A few hundred instructions for each near page. Four system calls more if the far ends were in use, which they are not afterwards.
    pub(crate) fn wipe(&self) -> Result<(), Error> {
        for near in [self.near_stack(), self.near_heap()] {
            let start = self.at(near.start);
            // SAFETY: pages of this value's own, writable for this thread, which holds the domain; nobody is inside, and no Rust reference
            // into them exists.
            unsafe { start.write_bytes(0, near.end - near.start) };
        }
        if !self.has_grown() {
            return Ok(());
        }
        for far in self.far().into_iter().filter(|far| !far.is_empty()) {
            let (start, bytes) = (self.at(far.start), far.end - far.start);
            // SAFETY: as above.
            let given = unsafe { madvise(start.cast(), bytes, MmapAdvise::MADV_DONTNEED) };
            given.map_err(|errno| Error::os("wipe a domain's memory", errno))?;
            // SAFETY: as above.
            unsafe { protect(start, bytes, ProtFlags::PROT_NONE, 0) }
                .map_err(|errno| Error::os("close the far end of a domain's memory", errno))?;
        }
        self.usable.store(false, Ordering::SeqCst);
        self.grown.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// The addresses of the stack that can be read.
    pub(crate) fn usable_stack(&self) -> Range<usize> {
        let usable = if self.usable.load(Ordering::SeqCst) {
            self.range(Part::Stack).clone()
        } else {
            self.near_stack()
        };
        let start = self.start.as_ptr().addr();
        start + usable.start..start + usable.end
    }

    fn near_stack(&self) -> Range<usize> {
        let stack = self.range(Part::Stack);
        stack.end.saturating_sub(NEAR_BYTES).max(stack.start)..stack.end
    }

    fn near_heap(&self) -> Range<usize> {
        let heap = self.range(Part::Heap);
        heap.start..(heap.start + NEAR_BYTES).min(heap.end)
    }

    fn far(&self) -> [Range<usize>; 2] {
        let (stack, heap) = (self.range(Part::Stack), self.range(Part::Heap));
        [stack.start..self.near_stack().start, self.near_heap().end..heap.end]
    }

    fn range(&self, part: Part) -> &Range<usize> {
        match part {
            Part::Stack => &self.parts[0],
            Part::Fixed => &self.parts[1],
            Part::Request => &self.parts[2],
            Part::Reply => &self.parts[3],
            Part::Heap => &self.parts[4],
        }
    }

    fn at(&self, offset: usize) -> NonNull<u8> {
        // SAFETY: every caller's offset is the bound of a part, which lies in the range.
        unsafe { self.start.add(offset) }
    }

    /// Where a part starts.
    pub(crate) fn start_of(&self, part: Part) -> NonNull<u8> {
        self.at(self.range(part).start)
    }

    /// How large a part is.
    pub(crate) fn bytes_of(&self, part: Part) -> usize {
        let range = self.range(part);
        range.end - range.start
    }

    /// The addresses of a part.
    pub(crate) fn addresses_of(&self, part: Part) -> Range<usize> {
        let start = self.start_of(part).as_ptr().addr();
        start..start + self.bytes_of(part)
    }

    /// Whether an address lies in the guard below the stack.
    pub(crate) fn is_stack_guard(&self, address: usize) -> bool {
        let start = self.start.as_ptr().addr();
        (start..start + STACK_GUARD_BYTES).contains(&address)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // A forked child has nothing here, or something else.
        if ringfence_core::origin::is_forked() {
            return;
        }
        // SAFETY: the range is this value's own, and it is gone with it.
        let unmapped = unsafe { munmap(self.start.cast(), self.bytes.get()) };
        debug_assert!(unmapped.is_ok(), "unmap a domain's memory: {unmapped:?}");
    }
}

/// `pkey_mprotect(2)`.
///
/// # Safety
/// The pages are the caller's own, and no Rust reference into them is used while they cannot be touched.
pub(crate) unsafe fn protect(
    start: NonNull<u8>,
    bytes: usize,
    protection: ProtFlags,
    key: u32,
) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    let changed =
        unsafe { libc::syscall(libc::SYS_pkey_mprotect, start.as_ptr(), bytes, protection.bits(), key) };
    Errno::result(changed).map(drop)
}

pub(crate) fn non_zero(bytes: usize) -> Result<NonZeroUsize, Error> {
    NonZeroUsize::new(bytes).ok_or_else(|| Error::os("map nothing", Errno::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes {
        stack_bytes: 64 << 10,
        fixed_bytes: 5000,
        request_bytes: 1,
        reply_bytes: 0,
        heap_bytes: 1 << 20,
    };

    #[test]
    fn parts_do_not_touch_one_another() {
        let region = Region::reserve(SIZES).unwrap();
        let mut end = region.start.as_ptr().addr();
        for part in PARTS {
            let addresses = region.addresses_of(part);
            assert!(addresses.start >= end + PAGE_BYTES, "{part:?}");
            assert_eq!(region.bytes_of(part) % PAGE_BYTES, 0, "{part:?}");
            end = addresses.end;
        }
        assert!(region.is_stack_guard(region.addresses_of(Part::Stack).start - 1));
        assert_eq!(region.start.as_ptr().addr() + region.bytes.get(), end + PAGE_BYTES);
    }

    #[test]
    fn what_is_larger_than_memory_is_refused() {
        assert!(Region::reserve(Sizes { heap_bytes: usize::MAX, ..SIZES }).is_err());
        assert!(Region::reserve(Sizes { heap_bytes: 1 << 62, ..SIZES }).is_err());
    }
}
