//! `Portable` for strings, and for bytes and paths that are borrowed or owned.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use super::decoder::Decoder;
use super::encoder::Encoder;
use super::error::{DecodeError, DecodeErrorKind, EncodeError};
use super::portable::Portable;

const COUNT_BYTES: usize = size_of::<u64>();

#[inline]
fn write(out: &mut Encoder<'_>, bytes: &[u8]) -> Result<(), EncodeError> {
    out.write_count(bytes.len())?;
    out.write_bytes(bytes)
}

#[inline]
fn read(input: &mut Decoder<'_>) -> Result<Vec<u8>, DecodeError> {
    let count = input.read_count(1)?;
    input.read_bytes(count)
}

impl Portable for &[u8] {
    type Inside<'a> = &'a [u8];
    const MIN_BYTES: usize = COUNT_BYTES;

    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        write(out, self)
    }

    #[inline]
    fn decode<'a>(input: &mut Decoder<'a>) -> Result<&'a [u8], DecodeError> {
        let count = input.read_count(1)?;
        input.borrow(count)
    }
}

impl Portable for &str {
    type Inside<'a> = &'a str;
    const MIN_BYTES: usize = COUNT_BYTES;

    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        write(out, self.as_bytes())
    }

    #[inline]
    fn decode<'a>(input: &mut Decoder<'a>) -> Result<&'a str, DecodeError> {
        let bytes = <&[u8]>::decode(input)?;
        core::str::from_utf8(bytes).map_err(|_| DecodeErrorKind::InvalidUtf8.into())
    }
}

/// Owned text: how to see its bytes, and how to make it from bytes that are checked first.
macro_rules! owned {
    ($($type:ty, |$text:ident| $bytes:expr, |$raw:ident| $made:expr;)*) => {$(
        impl Portable for $type {
            type Inside<'a> = Self;
            const MIN_BYTES: usize = COUNT_BYTES;

            #[inline]
            fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
                let $text = self;
                write(out, $bytes)
            }

            #[inline]
            fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self, DecodeError> {
                let $raw = read(input)?;
                $made
            }
        }
    )*};
}

owned! {
    String, |text| text.as_bytes(), |raw| String::from_utf8(raw).map_err(|_| DecodeErrorKind::InvalidUtf8.into());
    Box<str>, |text| text.as_bytes(), |raw| match String::from_utf8(raw) {
        Ok(text) => Ok(text.into_boxed_str()),
        Err(_) => Err(DecodeErrorKind::InvalidUtf8.into()),
    };
    OsString, |text| text.as_bytes(), |raw| Ok(OsString::from_vec(raw));
    PathBuf, |text| text.as_os_str().as_bytes(), |raw| Ok(OsString::from_vec(raw).into());
}

impl Portable for CString {
    type Inside<'a> = Self;
    const MIN_BYTES: usize = COUNT_BYTES;

    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        write(out, self.as_bytes())
    }

    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let bytes = read(input)?;
        // `CString::new` moves them to an allocation with room for the final NUL.
        input.claim_bytes(bytes.len().saturating_add(1))?;
        CString::new(bytes).map_err(|_| DecodeError::invalid_value("a c string has a nul inside"))
    }
}
