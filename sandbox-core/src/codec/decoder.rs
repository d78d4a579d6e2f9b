//! Reads values from a [`Source`] within limits that hold whatever the bytes say.

use bincode::de::read::Reader;
use bincode::de::{Decode, DecoderImpl};

use super::error::{DecodeError, DecodeErrorKind};
use super::{DEFAULT_DEPTH, Layout, layout};
use crate::region::{Number, Source};

/// Reads one message that a hostile party may have written.
///
/// Guarantees that no byte outside the source is read, that nesting stays within the depth, and that the heap asked for
/// by `decode` and by everything under it, added up over the whole message, stays within the budget.
///
/// Sizes are those of the allocations asked for, without the allocator's own overhead. A hand-written
/// [`Portable`](super::Portable) keeps the guarantee only if it calls [`Decoder::claim`] before it allocates.
#[derive(Debug)]
pub struct Decoder<'a> {
    source: Source<'a>,
    depth_left: u32,
    budget_left_bytes: usize,
}

impl<'a> Decoder<'a> {
    /// Reads from `source`, with at most `budget_bytes` of heap and values nested up to [`DEFAULT_DEPTH`] levels.
    #[must_use]
    pub fn new(source: Source<'a>, budget_bytes: usize) -> Self {
        Self::with_depth(source, budget_bytes, DEFAULT_DEPTH)
    }

    /// Reads from `source`, with at most `budget_bytes` of heap and values nested up to `depth` levels.
    ///
    /// Each level of a recursive type costs stack: a frame of that type's `decode`.
    #[must_use]
    pub fn with_depth(source: Source<'a>, budget_bytes: usize, depth: u32) -> Self {
        Self { source, depth_left: depth, budget_left_bytes: budget_bytes }
    }

    /// Ends the message.
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind::TrailingBytes`] if any bytes were not read.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.source.remaining() == 0 { Ok(()) } else { Err(DecodeErrorKind::TrailingBytes.into()) }
    }

    /// Bytes not yet read.
    #[inline]
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.source.remaining()
    }

    /// Heap that may still be claimed, in bytes.
    #[inline]
    #[must_use]
    pub fn budget_left(&self) -> usize {
        self.budget_left_bytes
    }

    /// Runs `body` one level deeper.
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind::DepthExceeded`], and whatever `body` returns.
    #[inline]
    pub fn nested<R>(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<R, DecodeError>,
    ) -> Result<R, DecodeError> {
        self.depth_left = self.depth_left.checked_sub(1).ok_or(DecodeErrorKind::DepthExceeded)?;
        let result = body(self);
        self.depth_left += 1;
        result
    }

    /// Claims heap for `count` values of `T`. To be called before they are allocated; a claim is never given back.
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind::BudgetExceeded`].
    #[inline]
    pub fn claim<T>(&mut self, count: usize) -> Result<(), DecodeError> {
        self.claim_bytes(count.saturating_mul(size_of::<T>()))
    }

    /// Claims `bytes` of heap, as [`Decoder::claim`].
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind::BudgetExceeded`].
    #[inline]
    pub fn claim_bytes(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.budget_left_bytes =
            self.budget_left_bytes.checked_sub(bytes).ok_or(DecodeErrorKind::BudgetExceeded)?;
        Ok(())
    }

    /// Reads a count of elements that are each encoded in at least `min_bytes`.
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind::LengthOverflow`] if so many cannot exist, [`DecodeErrorKind::UnexpectedEnd`] if the
    /// remaining bytes cannot hold them.
    #[inline]
    pub fn read_count(&mut self, min_bytes: usize) -> Result<usize, DecodeError> {
        let count: u64 = self.get()?;
        let bytes = usize::try_from(count).ok().and_then(|count| count.checked_mul(min_bytes));
        match bytes {
            None => Err(DecodeErrorKind::LengthOverflow.into()),
            Some(bytes) if bytes > self.source.remaining() => Err(DecodeErrorKind::UnexpectedEnd.into()),
            Some(_) => Ok(count as usize),
        }
    }

    /// The next `count` bytes in an allocation of their own, claimed first.
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind::UnexpectedEnd`], [`DecodeErrorKind::BudgetExceeded`], [`DecodeErrorKind::OutOfMemory`].
    #[inline]
    pub fn read_bytes(&mut self, count: usize) -> Result<Vec<u8>, DecodeError> {
        self.read_numbers(count)
    }

    /// The next `count` numbers in an allocation of their own, claimed first.
    ///
    /// # Errors
    ///
    /// As [`Decoder::read_bytes`].
    #[inline]
    pub fn read_numbers<T: Number>(&mut self, count: usize) -> Result<Vec<T>, DecodeError> {
        self.claim::<T>(count)?;
        Ok(self.source.read_numbers(count)?)
    }

    /// The next `N` numbers.
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind::UnexpectedEnd`].
    #[inline]
    pub fn read_array<T: Number, const N: usize>(&mut self) -> Result<[T; N], DecodeError> {
        Ok(self.source.read_array()?)
    }

    /// The next `count` bytes in place.
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind::NotBorrowable`] if the memory may change, [`DecodeErrorKind::UnexpectedEnd`].
    #[inline]
    pub fn borrow(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        Ok(self.source.borrow(count)?)
    }

    /// Reads a value whose layout is bincode's and which allocates nothing.
    #[inline]
    pub(super) fn get<T: Decode<()>>(&mut self) -> Result<T, DecodeError> {
        let mut bincode = DecoderImpl::<_, Layout, ()>::new(Feed(&mut self.source), layout(), ());
        T::decode(&mut bincode).map_err(translate)
    }

    #[cfg(feature = "serde")]
    pub(super) fn split(&mut self, count: usize) -> Result<Source<'a>, DecodeError> {
        Ok(self.source.split(count)?)
    }

    #[cfg(feature = "serde")]
    pub(super) fn depth_left(&self) -> u32 {
        self.depth_left
    }
}

/// The source as bincode sees it.
struct Feed<'d, 'a>(&'d mut Source<'a>);

impl Reader for Feed<'_, '_> {
    #[inline(always)]
    fn read(&mut self, to: &mut [u8]) -> Result<(), bincode::error::DecodeError> {
        self.0.read_into(to).map_err(|_| bincode::error::DecodeError::UnexpectedEnd { additional: to.len() })
    }
}

fn translate(error: bincode::error::DecodeError) -> DecodeError {
    use bincode::error::DecodeError as Below;
    match error {
        Below::UnexpectedEnd { .. } => DecodeErrorKind::UnexpectedEnd,
        Below::InvalidBooleanValue(_) => DecodeErrorKind::InvalidBool,
        Below::InvalidCharEncoding(_) => DecodeErrorKind::InvalidChar,
        Below::UnexpectedVariant { .. } => DecodeErrorKind::InvalidDiscriminant,
        Below::OutsideUsizeRange(_) => DecodeErrorKind::LengthOverflow,
        _ => DecodeErrorKind::InvalidValue,
    }
    .into()
}
