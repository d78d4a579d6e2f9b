//! `Portable` for values of fixed shape that hold no other values.

use core::cmp::Ordering;
use core::marker::PhantomData;
use core::num::NonZero;
use core::time::Duration;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::decoder::Decoder;
use super::encoder::Encoder;
use super::error::{DecodeError, EncodeError};
use super::portable::Portable;

/// Values that bincode lays out and checks; the number is their least size.
macro_rules! scalar {
    ($($type:ty, $min_bytes:expr;)*) => {$(
        impl Portable for $type {
            type Inside<'a> = Self;
            const MIN_BYTES: usize = $min_bytes;

            #[inline]
            fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
                out.put(self)
            }

            #[inline]
            fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self, DecodeError> {
                input.get()
            }
        }
    )*};
}

/// The same, moved in bulk when there are many.
macro_rules! number {
    ($($type:ty)*) => {$(
        impl Portable for $type {
            type Inside<'a> = Self;
            const MIN_BYTES: usize = size_of::<$type>();

            #[inline]
            fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
                out.put(self)
            }

            #[inline]
            fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self, DecodeError> {
                input.get()
            }

            #[inline]
            fn encode_slice(items: &[Self], out: &mut Encoder<'_>) -> Result<(), EncodeError> {
                out.write_numbers(items)
            }

            #[inline]
            fn decode_vec<'a>(input: &mut Decoder<'a>, count: usize) -> Result<Vec<Self>, DecodeError> {
                input.read_numbers(count)
            }

            #[inline]
            fn decode_array<'a, const N: usize>(input: &mut Decoder<'a>) -> Result<[Self; N], DecodeError> {
                input.read_array()
            }
        }

    )*};
}

macro_rules! non_zero {
    ($($type:ty)*) => {$( scalar!(NonZero<$type>, size_of::<$type>();); )*};
}

number!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);
non_zero!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);
scalar! {
    bool, 1;
    char, 1;
    Duration, 12;
    Ipv4Addr, 4;
    Ipv6Addr, 16;
    IpAddr, 8;
    (), 0;
}

impl Portable for Ordering {
    type Inside<'a> = Self;
    const MIN_BYTES: usize = 1;

    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        (*self as i8).encode(out)
    }

    #[inline]
    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        match i8::decode(input)? {
            -1 => Ok(Self::Less),
            0 => Ok(Self::Equal),
            1 => Ok(Self::Greater),
            _ => Err(DecodeError::invalid_discriminant("Ordering")),
        }
    }
}

impl<T: ?Sized> Portable for PhantomData<T> {
    type Inside<'a> = Self;
    const MIN_BYTES: usize = 0;

    #[inline]
    fn encode(&self, _: &mut Encoder<'_>) -> Result<(), EncodeError> {
        Ok(())
    }

    #[inline]
    fn decode<'a>(_: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}
