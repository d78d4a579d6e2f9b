//! Writes values to an [`Outlet`], bincode's fixed-width little-endian layout underneath.

use bincode::enc::write::Writer;
use bincode::enc::{Encode, EncoderImpl};

use super::error::EncodeError;
use super::{DEFAULT_DEPTH, Layout, layout};
use crate::region::{Number, Outlet};

/// Writes one message to a region.
///
/// A failed encode leaves the region half written: the message must then be given up.
#[derive(Debug)]
pub struct Encoder<'a> {
    outlet: Outlet<'a>,
    depth_left: u32,
}

impl<'a> Encoder<'a> {
    /// Writes to `outlet`, with values nested up to [`DEFAULT_DEPTH`] levels.
    #[must_use]
    pub fn new(outlet: Outlet<'a>) -> Self {
        Self::with_depth(outlet, DEFAULT_DEPTH)
    }

    /// Writes to `outlet`, with values nested up to `depth` levels.
    ///
    /// Each level of a recursive type costs stack: a frame of that type's `encode`.
    #[must_use]
    pub fn with_depth(outlet: Outlet<'a>, depth: u32) -> Self {
        Self { outlet, depth_left: depth }
    }

    /// Bytes written to the region so far.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.outlet.len()
    }

    /// Whether nothing has been written yet.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outlet.is_empty()
    }

    /// Ends the message and gives the region back.
    #[must_use]
    pub fn into_outlet(self) -> Outlet<'a> {
        self.outlet
    }

    /// Runs `body` one level deeper.
    ///
    /// # Errors
    ///
    /// [`EncodeErrorKind::DepthExceeded`](super::EncodeErrorKind::DepthExceeded), and whatever `body` returns.
    #[inline]
    pub fn nested<R>(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<R, EncodeError>,
    ) -> Result<R, EncodeError> {
        self.depth_left = self.depth_left.checked_sub(1).ok_or(EncodeError::DEPTH)?;
        let result = body(self);
        self.depth_left += 1;
        result
    }

    /// Writes a count of elements or bytes, as a `u64`.
    ///
    /// # Errors
    ///
    /// [`EncodeErrorKind::Full`](super::EncodeErrorKind::Full).
    #[inline]
    pub fn write_count(&mut self, count: usize) -> Result<(), EncodeError> {
        self.put(&(count as u64))
    }

    /// Writes bytes as they are, without a count.
    ///
    /// # Errors
    ///
    /// [`EncodeErrorKind::Full`](super::EncodeErrorKind::Full).
    #[inline]
    pub fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        Ok(self.outlet.write(bytes)?)
    }

    /// Writes numbers as they lie in memory, without a count.
    ///
    /// # Errors
    ///
    /// [`EncodeErrorKind::Full`](super::EncodeErrorKind::Full).
    #[inline]
    pub fn write_numbers<T: Number>(&mut self, numbers: &[T]) -> Result<(), EncodeError> {
        Ok(self.outlet.write_numbers(numbers)?)
    }

    /// Writes a value whose layout is bincode's.
    #[inline]
    pub(super) fn put<T: Encode>(&mut self, value: &T) -> Result<(), EncodeError> {
        let mut bincode = EncoderImpl::<_, Layout>::new(Sink(&mut self.outlet), layout());
        value.encode(&mut bincode).map_err(|_| crate::region::Full.into())
    }

    #[cfg(feature = "serde")]
    pub(super) fn outlet(&mut self) -> &mut Outlet<'a> {
        &mut self.outlet
    }
}

/// Has `encode` write a message to `outlet`, and counts the bytes it wrote there.
///
/// `encode` is the user's and can put another encoder, over other memory, in the place of the one it is given. What that one says
/// about its length is nothing about this window, so a count is taken from an outlet over this window only: of those there is
/// the one given and its reborrows, and each counts what was written through it.
pub(crate) fn encode_into(
    outlet: Outlet<'_>,
    encode: impl FnOnce(&mut Encoder<'_>) -> Result<(), EncodeError>,
) -> Result<usize, EncodeError> {
    let (address, capacity) = (outlet.address(), outlet.capacity());
    let mut out = Encoder::new(outlet);
    encode(&mut out).map_err(|error| error.with_limit(capacity))?;
    let outlet = out.into_outlet();
    if outlet.address() == address && outlet.capacity() == capacity {
        Ok(outlet.len())
    } else {
        Err(EncodeError::refused("its `encode` replaced the encoder"))
    }
}

/// The outlet as bincode sees it. That it is full is the only error a writer of scalars can meet.
struct Sink<'e, 'a>(&'e mut Outlet<'a>);

impl Writer for Sink<'_, '_> {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.write(bytes).map_err(|_| bincode::error::EncodeError::UnexpectedEnd)
    }
}
