//! Memory mapped for sharing, or for a stack.
//!
//! # Safety
//! A [`Mapping`] owns a range the kernel chose; it is unmapped once, when it is dropped, and nobody else knows of it before.
#![expect(unsafe_code, reason = "mmap, madvise, mprotect and munmap")]

use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, mprotect, munmap};

use ringfence_core::Error;

/// The page size of x86-64.
pub(crate) const PAGE_BYTES: usize = 4096;

/// A range of memory this value owns.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    bytes: NonZeroUsize,
}

// SAFETY: a mapping is an address range; the kernel lets any thread of the process use and unmap it.
unsafe impl Send for Mapping {}
// SAFETY: shared access gives out its address only.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the whole of a shared memory file.
    pub(crate) fn shared(file: BorrowedFd<'_>, bytes: usize) -> Result<Self, Error> {
        Self::shared_part(file, 0, bytes)
    }

    /// Maps a page-aligned part of a shared memory file.
    pub(crate) fn shared_part(file: BorrowedFd<'_>, offset: usize, bytes: usize) -> Result<Self, Error> {
        let bytes = non_zero(bytes)?;
        let too_far = |_| Error::os("map shared memory", nix::errno::Errno::EOVERFLOW);
        let offset = i64::try_from(offset).map_err(too_far)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: no address is asked for, so no existing mapping is touched.
        let start = unsafe { mmap(None, bytes, protection, MapFlags::MAP_SHARED, file, offset) };
        let start = start.map_err(|errno| Error::os("map shared memory", errno))?;
        Ok(Self { start: start.cast(), bytes })
    }

    /// Maps fresh zeroed memory, private to the process and copied by a fork.
    pub(crate) fn private(bytes: usize) -> Result<Self, Error> {
        let bytes = non_zero(bytes)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: no address is asked for, so no existing mapping is touched.
        let start = unsafe { mmap_anonymous(None, bytes, protection, flags) };
        let start = start.map_err(|errno| Error::os("map memory", errno))?;
        Ok(Self { start: start.cast(), bytes })
    }

    /// A stack whose lowest pages cannot be touched.
    pub(crate) fn stack(bytes: usize) -> Result<Self, Error> {
        let stack = Self::private(bytes + GUARD_BYTES)?;
        // SAFETY: the range lies at the start of a mapping this value owns and nobody has a pointer into.
        let guarded = unsafe { mprotect(stack.start.cast(), GUARD_BYTES, ProtFlags::PROT_NONE) };
        guarded.map_err(|errno| Error::os("protect a stack's guard", errno))?;
        Ok(stack)
    }

    /// Keeps the mapping out of children forked from now on.
    pub(crate) fn keep_from_children(&self) -> Result<(), Error> {
        // SAFETY: the advice changes nothing that this process sees; the range is owned by this value.
        let advised = unsafe { madvise(self.start.cast(), self.bytes.get(), MmapAdvise::MADV_DONTFORK) };
        advised.map_err(|errno| Error::os("keep memory from children", errno))
    }

    /// Makes a page-aligned part present and writable without changing it. An optimisation: a refusal (before Linux 5.14) is ignored.
    pub(crate) fn populate(&self, offset: usize, bytes: usize) {
        let bytes = bytes.min(self.bytes.get().saturating_sub(offset));
        if let Some(start) = self.part(offset) {
            // SAFETY: the range lies within this mapping; populating changes no contents.
            let _ = unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_POPULATE_WRITE) };
        }
    }

    /// The address of a page within the mapping.
    fn part(&self, offset: usize) -> Option<NonNull<u8>> {
        (offset.is_multiple_of(PAGE_BYTES) && offset < self.bytes.get()).then(|| {
            // SAFETY: the offset was just found to lie within the mapping.
            unsafe { self.start.add(offset) }
        })
    }

    /// Gives the memory of a page-aligned part of a shared mapping back to the kernel; it reads as zeroes afterwards.
    pub(crate) fn give_back(&self, offset: usize, bytes: usize) {
        let Some(start) = self.part(offset) else { return };
        let bytes = bytes.min(self.bytes.get() - offset);
        // SAFETY: the range lies within this mapping, which holds no Rust values. A failure leaves the pages in use, which costs
        // memory and nothing else.
        let _ = unsafe { madvise(start.cast(), bytes, MmapAdvise::MADV_REMOVE) };
    }

    /// The first byte.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// The length.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// One past the last byte, as an address.
    pub(crate) fn end_address(&self) -> usize {
        self.start.as_ptr() as usize + self.bytes.get()
    }
}

/// Pages below a stack that fault: as wide as the largest jump that stack probes leave unprobed, and more.
pub(crate) const GUARD_BYTES: usize = 16 * PAGE_BYTES;

impl Drop for Mapping {
    fn drop(&mut self) {
        if ringfence_core::origin::is_forked() {
            // A child may have something else at this address: mappings kept from children leave a hole.
            return;
        }
        // SAFETY: the range was mapped by this value and is unmapped nowhere else; the value is gone after this.
        let _ = unsafe { munmap(self.start.cast(), self.bytes.get()) };
    }
}

fn non_zero(bytes: usize) -> Result<NonZeroUsize, Error> {
    NonZeroUsize::new(bytes).ok_or_else(|| Error::os("map memory", nix::errno::Errno::EINVAL))
}
