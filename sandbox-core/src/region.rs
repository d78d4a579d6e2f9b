//! Bounded windows on memory that crosses the boundary: [`Outlet`] to write, [`Source`] to read.
//!
//! The other side may be a process that writes the same pages at the same moment. No Rust reference to such
//! memory is ever made: bytes move by raw copies between it and private memory, and every copy is checked
//! against the window first.
//!
//! # Safety
//!
//! Unsafe code here is raw copies into and out of a window, and one empty `asm!` block. The invariant
//! everything rests on: between calls, `next` points at `remaining` readable bytes ([`Source`]), or `start`
//! at `capacity` writable bytes of which the first `len <= capacity` have been written ([`Outlet`]). The
//! fields are private to this file.
//!
//! Writes of another *process* to the window are not data races of this program: they are outside the
//! abstract machine, like those of a device. What they could break is the assumption that a value read twice
//! is the same twice. [`Source::shared`] therefore puts a barrier behind each copy that forbids the compiler
//! to fetch from the window again.
#![expect(
    unsafe_code,
    reason = "raw copies between private memory and a window that another process may write"
)]

use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

// INVARIANT: numbers are moved as they lie in memory, and the encoding is little-endian with 64-bit `usize`.
const _: () = assert!(cfg!(all(target_endian = "little", target_pointer_width = "64")));

mod sealed {
    pub trait Sealed {}
}

/// A number that may be copied as plain bytes, in both directions.
///
/// # Safety
///
/// The type has no padding, every bit pattern is a value of it, and its bytes in memory are its encoding. Sealed.
pub unsafe trait Number: Copy + sealed::Sealed {}

macro_rules! number {
    ($($type:ty)*) => {$(
        impl sealed::Sealed for $type {}
        // SAFETY: a primitive integer or float: no padding, all bit patterns valid; the file's assertion
        // fixes byte order and width.
        unsafe impl Number for $type {}
    )*};
}
number!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);

/// The window has no room for the bytes given. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write to region: no room left")
    }
}

impl std::error::Error for Full {}

/// Why a [`Source`] did not give what was asked. Nothing was consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceError {
    /// Fewer bytes remain than were asked for.
    UnexpectedEnd,
    /// The allocator refused.
    OutOfMemory,
    /// The memory may change: it can be copied, not borrowed.
    NotBorrowable,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnexpectedEnd => "read from region: too few bytes remain",
            Self::OutOfMemory => "read from region: the allocator refused",
            Self::NotBorrowable => "borrow from region: the memory may change meanwhile",
        })
    }
}

impl std::error::Error for SourceError {}

/// A write-only, bounded window on memory that another process may be writing at the same moment.
///
/// Guarantees that nothing outside the window is written and that nothing is ever read back from it.
#[derive(Debug)]
pub struct Outlet<'a> {
    start: NonNull<u8>,
    capacity: usize,
    len: usize,
    window: PhantomData<&'a mut [u8]>,
}

impl<'a> Outlet<'a> {
    /// A window on private memory.
    #[must_use]
    pub fn new(memory: &'a mut [u8]) -> Self {
        let capacity = memory.len();
        Self { start: NonNull::from(memory).cast(), capacity, len: 0, window: PhantomData }
    }

    /// A window on private memory that need not be initialised.
    #[must_use]
    pub fn uninit(memory: &'a mut [MaybeUninit<u8>]) -> Self {
        let capacity = memory.len();
        Self { start: NonNull::from(memory).cast(), capacity, len: 0, window: PhantomData }
    }

    /// A window on `capacity` bytes at `start`, which others may read or write meanwhile.
    ///
    /// # Safety
    ///
    /// For all of `'a`, `start` is valid for writes of `capacity` bytes and no Rust reference to them exists.
    #[must_use]
    pub unsafe fn from_raw(start: NonNull<u8>, capacity: usize) -> Self {
        Self { start, capacity, len: 0, window: PhantomData }
    }

    /// A window on the part not yet written. What is written through it does not count as written here.
    #[must_use]
    pub fn reborrow(&mut self) -> Outlet<'_> {
        // SAFETY: `len <= capacity`, so the offset stays inside the window or at its end.
        let start = unsafe { self.start.add(self.len) };
        Outlet { start, capacity: self.remaining(), len: 0, window: PhantomData }
    }

    /// Address of the window's first byte, for records.
    #[must_use]
    pub fn address(&self) -> usize {
        self.start.as_ptr().addr()
    }

    /// Bytes written so far.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been written yet.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Size of the window in bytes.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that can still be written.
    #[inline]
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.capacity - self.len
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    ///
    /// [`Full`] if they do not all fit.
    ///
    /// # Cost
    ///
    /// One copy.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.write_numbers(bytes)
    }

    /// Appends `numbers` as they lie in memory.
    ///
    /// # Errors
    ///
    /// [`Full`] if they do not all fit.
    ///
    /// # Cost
    ///
    /// One copy.
    #[inline]
    pub fn write_numbers<T: Number>(&mut self, numbers: &[T]) -> Result<(), Full> {
        let bytes = size_of_val(numbers);
        if bytes > self.remaining() {
            return Err(Full);
        }
        // SAFETY: `len <= capacity`, so the offset stays inside the window, which is one allocation or mapping.
        let end = unsafe { self.start.add(self.len) };
        // SAFETY: `numbers` is readable for its own size, without padding (`Number`); `bytes <= remaining`,
        // so the window has as many writable bytes at `end`; no Rust reference to the window exists, hence
        // `numbers` does not overlap it.
        unsafe { ptr::copy_nonoverlapping(numbers.as_ptr().cast::<u8>(), end.as_ptr(), bytes) };
        self.len += bytes;
        Ok(())
    }

    /// Replaces bytes already written, from `position` on: for a length that is known only after what it counts.
    ///
    /// # Errors
    ///
    /// [`Full`] if `position` and `bytes` reach beyond what has been written.
    #[inline]
    pub fn overwrite(&mut self, position: usize, bytes: &[u8]) -> Result<(), Full> {
        if position.checked_add(bytes.len()).is_none_or(|end| end > self.len) {
            return Err(Full);
        }
        // SAFETY: `position <= len <= capacity`, so the offset stays inside the window.
        let at = unsafe { self.start.add(position) };
        // SAFETY: `bytes` is readable; `position + bytes.len() <= len`, so the window is writable there; the
        // two do not overlap, as in `write_numbers`.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), at.as_ptr(), bytes.len()) };
        Ok(())
    }
}

/// Who may write the memory of a [`Source`] while it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writers {
    /// Nobody: it can be borrowed from.
    None,
    /// A hostile party, at any moment.
    Hostile,
}

/// A sequential reader of bounded memory.
///
/// Guarantees that nothing outside the window is read and that every byte of it is given out at most once.
/// For [`Source::shared`] the bytes given out are private copies whose value is settled before the caller
/// sees them.
#[derive(Debug)]
pub struct Source<'a> {
    next: NonNull<u8>,
    remaining: usize,
    writers: Writers,
    window: PhantomData<&'a [u8]>,
}

impl<'a> Source<'a> {
    /// Reads memory that nobody writes during `'a`.
    #[must_use]
    pub fn stable(memory: &'a [u8]) -> Self {
        Self {
            next: NonNull::from(memory).cast(),
            remaining: memory.len(),
            writers: Writers::None,
            window: PhantomData,
        }
    }

    /// Reads `len` bytes at `start` that a hostile party may write at the same moment.
    ///
    /// # Safety
    ///
    /// For all of `'a`, `start` is valid for reads of `len` bytes (mapped, and of a file that cannot shrink),
    /// no Rust reference to them exists, and whoever writes them is not a thread of this program that writes
    /// through the same mapping.
    #[must_use]
    pub unsafe fn shared(start: NonNull<u8>, len: usize) -> Self {
        Self { next: start, remaining: len, writers: Writers::Hostile, window: PhantomData }
    }

    /// Address of the next byte, for records.
    #[must_use]
    pub fn address(&self) -> usize {
        self.next.as_ptr().addr()
    }

    /// Bytes not yet read.
    #[inline]
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// Fills `to` with the next bytes.
    ///
    /// # Errors
    ///
    /// [`SourceError::UnexpectedEnd`].
    #[inline]
    pub fn read_into(&mut self, to: &mut [u8]) -> Result<(), SourceError> {
        if to.len() > self.remaining {
            return Err(SourceError::UnexpectedEnd);
        }
        // SAFETY: `to` is writable for its length, which is at most `remaining`, and a `&mut` overlaps no window.
        unsafe { self.take(to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    /// The next `count` bytes in a fresh allocation.
    ///
    /// # Errors
    ///
    /// As [`Source::read_numbers`].
    #[inline]
    pub fn read_vec(&mut self, count: usize) -> Result<Vec<u8>, SourceError> {
        self.read_numbers(count)
    }

    /// The next `count` numbers in a fresh allocation of exactly that size.
    ///
    /// # Errors
    ///
    /// [`SourceError::UnexpectedEnd`] before anything is allocated, [`SourceError::OutOfMemory`] if the
    /// allocator refuses.
    ///
    /// # Cost
    ///
    /// One allocation, one copy; the memory is not zeroed first.
    #[inline]
    pub fn read_numbers<T: Number>(&mut self, count: usize) -> Result<Vec<T>, SourceError> {
        let bytes = self.span::<T>(count)?;
        let mut numbers: Vec<T> = Vec::new();
        numbers.try_reserve_exact(count).map_err(|_| SourceError::OutOfMemory)?;
        // SAFETY: the vector has room for `count` numbers, which are `bytes` bytes; `bytes <= remaining`; a
        // fresh allocation overlaps no window.
        unsafe { self.take(numbers.as_mut_ptr().cast(), bytes) };
        // SAFETY: `count` is within the capacity, and `take` has filled that many elements, any bytes being a
        // value (`Number`).
        unsafe { numbers.set_len(count) };
        Ok(numbers)
    }

    /// The next `N` numbers.
    ///
    /// # Errors
    ///
    /// [`SourceError::UnexpectedEnd`].
    #[inline]
    pub fn read_array<T: Number, const N: usize>(&mut self) -> Result<[T; N], SourceError> {
        let bytes = self.span::<T>(N)?;
        let mut numbers = MaybeUninit::<[T; N]>::uninit();
        // SAFETY: `numbers` is a local of `bytes` bytes, which overlaps no window; `bytes <= remaining`.
        unsafe { self.take(numbers.as_mut_ptr().cast(), bytes) };
        // SAFETY: `take` has written every byte of it, and any bytes are a value (`Number`).
        Ok(unsafe { numbers.assume_init() })
    }

    /// The next `count` bytes, in place.
    ///
    /// # Errors
    ///
    /// [`SourceError::NotBorrowable`] for shared memory, [`SourceError::UnexpectedEnd`].
    #[inline]
    pub fn borrow(&mut self, count: usize) -> Result<&'a [u8], SourceError> {
        if self.writers == Writers::Hostile {
            return Err(SourceError::NotBorrowable);
        }
        let start = self.split(count)?.next;
        // SAFETY: `split` has checked that `count` bytes are there; without writers the window came from a
        // `&'a [u8]` that covers them.
        Ok(unsafe { core::slice::from_raw_parts(start.as_ptr(), count) })
    }

    /// Cuts off the next `count` bytes as a source of their own.
    ///
    /// # Errors
    ///
    /// [`SourceError::UnexpectedEnd`].
    #[inline]
    pub fn split(&mut self, count: usize) -> Result<Self, SourceError> {
        if count > self.remaining {
            return Err(SourceError::UnexpectedEnd);
        }
        let head = Self { remaining: count, ..*self };
        // SAFETY: `count <= remaining`, so the pointer stays inside the window or at its end.
        self.next = unsafe { self.next.add(count) };
        self.remaining -= count;
        Ok(head)
    }

    /// Size of `count` numbers, if that many bytes remain.
    #[inline]
    fn span<T: Number>(&self, count: usize) -> Result<usize, SourceError> {
        count
            .checked_mul(size_of::<T>())
            .filter(|bytes| *bytes <= self.remaining)
            .ok_or(SourceError::UnexpectedEnd)
    }

    /// Copies the next `bytes` bytes to `to` and moves past them.
    ///
    /// # Safety
    ///
    /// `to` is valid for writes of `bytes` bytes and does not overlap the window; `bytes <= self.remaining`.
    #[inline(always)]
    unsafe fn take(&mut self, to: *mut u8, bytes: usize) {
        // SAFETY: `next` is readable for `remaining` bytes; the rest is this function's own contract.
        unsafe { ptr::copy_nonoverlapping(self.next.as_ptr(), to, bytes) };
        if self.writers == Writers::Hostile {
            settle(to);
        }
        // SAFETY: `bytes <= remaining`, so the pointer stays inside the window or at its end.
        self.next = unsafe { self.next.add(bytes) };
        self.remaining -= bytes;
    }
}

/// Fixes the value of a finished copy at `copied`.
///
/// A compiler may replace reads of a copy by second reads of its original, as nothing seems to change that.
/// To the compiler this block may have written both, so the copy must have happened before it and later reads
/// must go to the copy.
#[inline(always)]
fn settle(copied: *mut u8) {
    #[cfg(miri)]
    let _ = copied;
    #[cfg(not(miri))]
    // SAFETY: the block holds a comment only: it touches no register, no flag and no memory. That it is not
    // `nomem` is its purpose.
    unsafe {
        core::arch::asm!("/* {0} */", in(reg) copied, options(nostack, preserves_flags));
    }
}

#[cfg(test)]
mod tests;
