//! `Portable` for values made of a fixed number of other values. Each is one level of nesting.

use core::num::Wrapping;
use core::ops::Range;

use super::decoder::Decoder;
use super::encoder::Encoder;
use super::error::{DecodeError, EncodeError};
use super::portable::Portable;

impl<T: Portable> Portable for Option<T> {
    type Inside<'a> = Option<T::Inside<'a>>;
    const MIN_BYTES: usize = 1;

    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        match self {
            None => 0_u8.encode(out),
            Some(value) => out.nested(|out| {
                1_u8.encode(out)?;
                value.encode(out)
            }),
        }
    }

    #[inline]
    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self::Inside<'a>, DecodeError> {
        match u8::decode(input)? {
            0 => Ok(None),
            1 => input.nested(T::decode).map(Some),
            _ => Err(DecodeError::invalid_discriminant("Option")),
        }
    }
}

impl<T: Portable, E: Portable> Portable for Result<T, E> {
    type Inside<'a> = Result<T::Inside<'a>, E::Inside<'a>>;
    const MIN_BYTES: usize = size_of::<u32>();

    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.nested(|out| match self {
            Ok(value) => {
                0_u32.encode(out)?;
                value.encode(out)
            }
            Err(error) => {
                1_u32.encode(out)?;
                error.encode(out)
            }
        })
    }

    #[inline]
    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self::Inside<'a>, DecodeError> {
        input.nested(|input| match u32::decode(input)? {
            0 => T::decode(input).map(Ok),
            1 => E::decode(input).map(Err),
            _ => Err(DecodeError::invalid_discriminant("Result")),
        })
    }
}

impl<T: Portable> Portable for Box<T> {
    type Inside<'a> = Box<T::Inside<'a>>;
    const MIN_BYTES: usize = T::MIN_BYTES;

    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.nested(|out| T::encode(self, out))
    }

    #[inline]
    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self::Inside<'a>, DecodeError> {
        input.nested(|input| {
            input.claim::<T::Inside<'a>>(1)?;
            T::decode(input).map(Box::new)
        })
    }
}

impl<T: Portable, const N: usize> Portable for [T; N] {
    type Inside<'a> = [T::Inside<'a>; N];
    const MIN_BYTES: usize = T::MIN_BYTES.saturating_mul(N);

    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.nested(|out| T::encode_slice(self, out))
    }

    #[inline]
    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self::Inside<'a>, DecodeError> {
        input.nested(T::decode_array)
    }
}

impl<T: Portable> Portable for Wrapping<T> {
    type Inside<'a> = Wrapping<T::Inside<'a>>;
    const MIN_BYTES: usize = T::MIN_BYTES;

    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.nested(|out| self.0.encode(out))
    }

    #[inline]
    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self::Inside<'a>, DecodeError> {
        input.nested(T::decode).map(Wrapping)
    }
}

impl<T: Portable> Portable for Range<T> {
    type Inside<'a> = Range<T::Inside<'a>>;
    const MIN_BYTES: usize = T::MIN_BYTES.saturating_mul(2);

    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.nested(|out| {
            self.start.encode(out)?;
            self.end.encode(out)
        })
    }

    #[inline]
    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self::Inside<'a>, DecodeError> {
        input.nested(|input| Ok(T::decode(input)?..T::decode(input)?))
    }
}

macro_rules! tuple {
    ($($name:ident $index:tt),+) => {
        impl<$($name: Portable),+> Portable for ($($name,)+) {
            type Inside<'a> = ($($name::Inside<'a>,)+);
            const MIN_BYTES: usize = 0_usize$(.saturating_add($name::MIN_BYTES))+;

            #[inline]
            fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
                out.nested(|out| {
                    $(self.$index.encode(out)?;)+
                    Ok(())
                })
            }

            #[inline]
            fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self::Inside<'a>, DecodeError> {
                input.nested(|input| Ok(($($name::decode(input)?,)+)))
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
