//! Which values can cross, and what they are on the other side.

use super::array;
use super::decoder::Decoder;
use super::encoder::Encoder;
use super::error::{DecodeError, DecodeErrorKind, EncodeError};

/// A value that can be sent into an isolate.
///
/// `#[derive(Portable)]` writes this for structs and enums whose fields are `Portable`. Counted collections
/// (`Vec<T>`, maps, …) refuse elements that take no bytes at all: a few bytes from inside could then declare
/// 2^62 of them and keep the host busy for ever.
///
/// `&[T]` crosses for `T = u8` only, as a borrow. Slices of wider numbers would need an alignment that a byte
/// stream does not promise: send a `Vec`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross into an isolate",
    label = "not `Portable`",
    note = "for a type of your own: `#[derive(Portable)]` on `{Self}`",
    note = "for a type that only implements serde's traits: wrap the value in `Serde(…)`"
)]
pub trait Portable: Sized {
    /// What arrives on the other side: `Self` for owned types, a borrow of the inbound copy for `&str` and `&[u8]`.
    type Inside<'a>;

    /// The least number of bytes any value of this type is encoded in.
    const MIN_BYTES: usize;

    /// Writes the value.
    ///
    /// # Errors
    ///
    /// The region is full, the value is nested too deeply, or the type refuses it.
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError>;

    /// Reads a value, believing nothing. Heap is claimed from `input` before it is allocated.
    ///
    /// # Errors
    ///
    /// The bytes are no value of this type, or one beyond the limits of `input`.
    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self::Inside<'a>, DecodeError>;

    /// Writes values one after another, without a count. Numbers do it in one copy.
    #[doc(hidden)]
    #[inline]
    fn encode_slice(items: &[Self], out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        items.iter().try_for_each(|item| item.encode(out))
    }

    /// Reads `count` values. Numbers do it in one copy.
    #[doc(hidden)]
    #[inline]
    fn decode_vec<'a>(input: &mut Decoder<'a>, count: usize) -> Result<Vec<Self::Inside<'a>>, DecodeError> {
        input.claim::<Self::Inside<'a>>(count)?;
        let mut items = Vec::new();
        items.try_reserve_exact(count).map_err(|_| DecodeErrorKind::OutOfMemory)?;
        for _ in 0..count {
            items.push(Self::decode(input)?);
        }
        Ok(items)
    }

    /// Reads `N` values. Numbers do it in one copy.
    #[doc(hidden)]
    #[inline]
    fn decode_array<'a, const N: usize>(
        input: &mut Decoder<'a>,
    ) -> Result<[Self::Inside<'a>; N], DecodeError> {
        array::try_from_fn(|| Self::decode(input))
    }
}

/// A [`Portable`] value that borrows nothing: it is the same type on both sides, and so can be a result.
///
/// Implemented for every type that fits; there is nothing to implement by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot come out of an isolate",
    label = "not an owned `Portable` value",
    note = "a result must own what it holds: return `String` for `&str`, `Vec<u8>` for `&[u8]`",
    note = "for a type of your own: `#[derive(Portable)]` on `{Self}`",
    note = "for a type that only implements serde's traits: wrap the value in `Serde(…)`"
)]
pub trait Owned: for<'x> Portable<Inside<'x> = Self> {}

impl<T> Owned for T where T: for<'x> Portable<Inside<'x> = T> {}

/// Refuses, when the program is compiled, collections whose elements take no bytes.
///
/// # Panics
///
/// Never at run time: evaluated in a constant.
pub(super) const fn counted<T: Portable>() -> usize {
    assert!(
        T::MIN_BYTES > 0,
        "a collection of elements that are encoded in zero bytes cannot cross: a hostile message could declare 2^62 of them at no cost; \
         send their number as a `u64` instead"
    );
    T::MIN_BYTES
}
