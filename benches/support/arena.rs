//! Memory shared with a forked child: two header lines and two payload areas.
//!
//! # Safety
//! The mapping lives as long as the `Arena` (a child holds its own copy of the `Arena` and ends by `_exit`, without a drop). Both
//! sides run this bench's code only, and take turns: the caller touches the areas only when every request has been answered,
//! the child only between a request and its answer. The header words order the turns (release store, acquire load).

#![expect(unsafe_code, reason = "a shared mapping and copies in and out of it")]

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64};

/// A header line: the word that says whose turn it is, and 8 bytes inline beside it. Two cache lines long, because adjacent
/// lines are prefetched in pairs.
#[repr(C, align(128))]
pub(crate) struct Line {
    pub(crate) word: AtomicU32,
    pub(crate) operation: AtomicU32,
    pub(crate) value: AtomicU64,
    pub(crate) len_bytes: AtomicU64,
}

#[repr(C)]
struct Header {
    request: Line,
    reply: Line,
}

/// One of the two payload areas.
#[derive(Clone, Copy)]
pub(crate) enum Area {
    /// Written by the caller.
    Request,
    /// Written by the child.
    Reply,
}

const PAGE_BYTES: usize = 4096;

/// The mapping; unmapped when dropped.
pub(crate) struct Arena {
    header: NonNull<Header>,
    area_bytes: usize,
}

impl Arena {
    /// Maps an arena with two areas of at least `area_bytes`, every page present.
    pub(crate) fn new(area_bytes: usize) -> io::Result<Self> {
        let area_bytes = area_bytes.next_multiple_of(PAGE_BYTES);
        // SAFETY: a null hint without MAP_FIXED replaces no mapping; an anonymous mapping ignores the descriptor.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                PAGE_BYTES + 2 * area_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        match NonNull::new(base) {
            Some(base) if base.as_ptr() != libc::MAP_FAILED => Ok(Self { header: base.cast(), area_bytes }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Makes every page present in the calling process: a fork does not copy the page tables of shared mappings.
    pub(crate) fn populate(&self) -> io::Result<()> {
        // SAFETY: the range is exactly this arena's mapping; MADV_POPULATE_WRITE changes no byte of it.
        let rc = unsafe {
            libc::madvise(
                self.header.as_ptr().cast(),
                PAGE_BYTES + 2 * self.area_bytes,
                libc::MADV_POPULATE_WRITE,
            )
        };
        if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    pub(crate) fn request(&self) -> &Line {
        // SAFETY: the header lies at the start of a live mapping (page-aligned, longer than a Header) that mmap zeroed, and
        // zeroes are valid atomics; the fields are atomics, so both processes may write them during the borrow.
        let header = unsafe { self.header.as_ref() };
        &header.request
    }

    pub(crate) fn reply(&self) -> &Line {
        // SAFETY: as in `request`.
        let header = unsafe { self.header.as_ref() };
        &header.reply
    }

    /// Copies `bytes` to the start of an area. The caller of this has the turn.
    pub(crate) fn put(&self, area: Area, bytes: &[u8]) -> io::Result<()> {
        let start = self.start(area, bytes.len())?;
        // SAFETY: `bytes` is readable for its length; `start` is writable for as much (checked by `start`); `bytes` is private
        // memory, so they do not overlap; the side that has the turn is the only one that touches the area.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) };
        Ok(())
    }

    /// Copies the first `len_bytes` of an area into a fresh vector, which is not zeroed first. The caller of this has the turn.
    pub(crate) fn take(&self, area: Area, len_bytes: usize) -> io::Result<Vec<u8>> {
        let start = self.start(area, len_bytes)?;
        let mut bytes = Vec::with_capacity(len_bytes);
        // SAFETY: `start` is readable for `len_bytes` (checked by `start`), the vector is writable for its capacity, which is
        // at least that, and is private; the side that has the turn is the only one that touches the area.
        unsafe { ptr::copy_nonoverlapping(start, bytes.as_mut_ptr(), len_bytes) };
        // SAFETY: `len_bytes` is within the capacity, and the copy above has initialised as many bytes.
        unsafe { bytes.set_len(len_bytes) };
        Ok(bytes)
    }

    /// The first `len_bytes` of an area, in place.
    ///
    /// # Safety
    /// The caller has the turn, keeps it for as long as it holds the slice, and does not write the area meanwhile.
    pub(crate) unsafe fn view(&self, area: Area, len_bytes: usize) -> io::Result<&[u8]> {
        let start = self.start(area, len_bytes)?;
        // SAFETY: `start` is non-null and readable for `len_bytes` (checked by `start`) as long as the mapping, which outlives
        // `&self`; the bytes are initialised (mmap zeroed them); nobody writes them meanwhile, by this function's contract.
        Ok(unsafe { std::slice::from_raw_parts(start, len_bytes) })
    }

    /// The start of an area of which `len_bytes` are wanted.
    fn start(&self, area: Area, len_bytes: usize) -> io::Result<*mut u8> {
        if len_bytes > self.area_bytes {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "payload is larger than the arena's area",
            ));
        }
        let offset = match area {
            Area::Request => PAGE_BYTES,
            Area::Reply => PAGE_BYTES + self.area_bytes,
        };
        // SAFETY: both offsets lie within the mapping, which is `PAGE_BYTES + 2 * area_bytes` long.
        Ok(unsafe { self.header.as_ptr().cast::<u8>().add(offset) })
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: the range is exactly the mapping `new` made, and no reference into it outlives the arena.
        let _ = unsafe { libc::munmap(self.header.as_ptr().cast(), PAGE_BYTES + 2 * self.area_bytes) };
    }
}
