//! How arguments get into an isolate and results get out.
//!
//! A [`Codec`] is a type parameter of the sandbox. [`Bincode`], the default, carries [`Portable`] values both
//! ways in bincode's fixed-width little-endian layout. What comes out of an isolate is decoded as hostile:
//! see [`Decoder`] for what is guaranteed then.

mod array;
mod collection;
mod composite;
mod decoder;
mod encoder;
mod error;
mod portable;
mod scalar;
#[cfg(feature = "serde")]
mod serde;
#[cfg(feature = "serde")]
mod serde_guard;
mod text;

pub use self::decoder::Decoder;
pub use self::encoder::Encoder;
pub(crate) use self::encoder::encode_into;
pub use self::error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};
pub use self::portable::{Owned, Portable};
#[cfg(feature = "serde")]
pub use self::serde::Serde;

/// Levels of nesting allowed unless the constructor of the [`Encoder`] or [`Decoder`] says otherwise.
pub const DEFAULT_DEPTH: u32 = 128;

/// bincode's layout for everything: little-endian, fixed width. Its compile-time limit is off, as ours are
/// set at run time.
type Layout = bincode::config::Configuration<bincode::config::LittleEndian, bincode::config::Fixint>;

#[inline]
fn layout() -> Layout {
    bincode::config::legacy()
}

/// A way to turn values into bytes and back, chosen by type.
pub trait Codec: Copy + Send + Sync + 'static {
    /// Its name, for reports.
    const NAME: &'static str;
}

/// A codec that carries arguments `A` inward.
pub trait Inward<A>: Codec {
    /// What the function inside receives for `A`: a value, or a borrow of the inbound copy.
    type Inside<'a>;

    /// Writes the arguments.
    ///
    /// # Errors
    ///
    /// As [`Portable::encode`].
    fn encode(arguments: &A, out: &mut Encoder<'_>) -> Result<(), EncodeError>;

    /// Reads the arguments, inside.
    ///
    /// # Errors
    ///
    /// As [`Portable::decode`].
    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self::Inside<'a>, DecodeError>;
}

/// [`Inward`] seen from the arguments: `A: Argument<C>` wherever `C: Inward<A>`. Implemented for all of them.
///
/// Rust 1.95 finds the signature of a closure from `Fn(<A as Argument<C>>::Inside<'a>)`, but not from the
/// equal `Fn(<C as Inward<A>>::Inside<'a>)` when `A` borrows ("implementation of `Fn` is not general
/// enough"). Bounds of functions that take a closure therefore use [`Arrived`].
pub trait Argument<C> {
    /// What the function inside receives.
    type Inside<'a>;
}

impl<A, C: Inward<A>> Argument<C> for A {
    type Inside<'a> = <C as Inward<A>>::Inside<'a>;
}

/// What the function inside receives for arguments `A` carried by `C`.
pub type Arrived<'a, C, A> = <A as Argument<C>>::Inside<'a>;

/// A codec that carries results `R` outward. Its `decode` must withstand any bytes.
pub trait Outward<R>: Codec {
    /// Writes the result, inside.
    ///
    /// # Errors
    ///
    /// As [`Portable::encode`].
    fn encode(result: &R, out: &mut Encoder<'_>) -> Result<(), EncodeError>;

    /// Reads the result from bytes that may be hostile.
    ///
    /// # Errors
    ///
    /// As [`Portable::decode`].
    fn decode(input: &mut Decoder<'_>) -> Result<R, DecodeError>;
}

/// [`Portable`] values, in bincode's layout. The default codec, and the only one for results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bincode;

impl Codec for Bincode {
    const NAME: &'static str = "bincode";
}

impl<A: Portable> Inward<A> for Bincode {
    type Inside<'a> = A::Inside<'a>;

    #[inline]
    fn encode(arguments: &A, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        arguments.encode(out)
    }

    #[inline]
    fn decode<'a>(input: &mut Decoder<'a>) -> Result<A::Inside<'a>, DecodeError> {
        A::decode(input)
    }
}

impl<R: Owned> Outward<R> for Bincode {
    #[inline]
    fn encode(result: &R, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        result.encode(out)
    }

    #[inline]
    fn decode(input: &mut Decoder<'_>) -> Result<R, DecodeError> {
        R::decode(input)
    }
}
