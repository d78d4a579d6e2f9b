//! [`Serde`]: types that only know serde's traits.
//!
//! The bytes are a `u64` count and that many bytes of CBOR (RFC 8949), which describes itself, as
//! `#[serde(untagged)]`, `flatten` and friends need.

use std::io;

use ::serde::Serialize;
use ::serde::de::DeserializeOwned;

use super::decoder::Decoder;
use super::encoder::Encoder;
use super::error::{DecodeError, DecodeErrorKind, EncodeError};
use super::portable::Portable;
use super::serde_guard::{self, Guarded};
use crate::region::{Full, Outlet, Source};

/// Carries a value that implements serde's `Serialize` and `Deserialize` but not [`Portable`].
///
/// # Guarantees
///
/// Decoding is bounded by the same depth and budget as everything else. The heap a serde type asks for is out
/// of sight, so upper bounds are claimed, before they are needed: for text and byte strings three times the
/// message, for each element of a sequence or map four times its size in memory and a little more. Each
/// element costs budget even if it takes no bytes, so that no message can keep the decoder busy for ever.
///
/// # Does not guarantee
///
/// Types that serde buffers before it knows what they are (`untagged`, `flatten`, internally tagged enums)
/// are built from the buffer in a second pass that cannot be seen from here: the buffer is claimed, what is
/// built from it is bounded only by the number of elements in the message times their size. The same holds
/// for an impl of `Deserialize` that is written by hand and allocates by a number it has read. Encoding is as
/// deep as the value is: a very deep one can exhaust the stack of whoever encodes it. Do not return such
/// types from an isolate that you take to be hostile.
///
/// # Cost
///
/// Ten times and more that of a derived `Portable`, in time and in budget: a `Vec<u64>` claims about 72 bytes
/// a number. Nothing is buffered in between, on either side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serde<T>(pub T);

/// Heap claimed for each byte of a message: strings grow by doubling, and the old half is there until it has
/// been copied.
const TEXT_FACTOR: usize = 3;

impl<T: Serialize + DeserializeOwned> Portable for Serde<T> {
    type Inside<'a> = Self;
    const MIN_BYTES: usize = size_of::<u64>();

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.nested(|out| {
            let position = out.len();
            out.write_count(0)?;
            let start = out.len();
            ciborium::into_writer(&self.0, Sink(out.outlet())).map_err(|error| match error {
                ciborium::ser::Error::Io(_) => EncodeError::from(Full),
                ciborium::ser::Error::Value(_) => EncodeError::refused("its `Serialize` returned an error"),
            })?;
            let count = (out.len() - start) as u64;
            Ok(out.outlet().overwrite(position, &count.to_le_bytes())?)
        })
    }

    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let count = input.read_count(1)?;
        input.nested(|input| {
            input.claim_bytes(count.saturating_mul(TEXT_FACTOR))?;
            let mut source = input.split(count)?;
            let depth = input.depth_left();
            let (decoded, spent) = serde_guard::within(depth, input.budget_left(), || {
                // The guard is the stricter of the two: it counts options and newtypes too.
                ciborium::de::from_reader_with_recursion_limit(Feed(&mut source), depth as usize)
            });
            input.claim_bytes(spent.bytes)?;
            match decoded {
                Ok(Guarded(_)) if source.remaining() > 0 => Err(DecodeErrorKind::TrailingBytes.into()),
                Ok(Guarded(value)) => Ok(Self(value)),
                Err(error) => Err(spent.refusal.unwrap_or_else(|| translate(&error))),
            }
        })
    }
}

fn translate(error: &ciborium::de::Error<io::Error>) -> DecodeError {
    use ciborium::de::Error as Below;
    match error {
        Below::Io(_) => DecodeErrorKind::UnexpectedEnd.into(),
        Below::RecursionLimitExceeded => DecodeErrorKind::DepthExceeded.into(),
        Below::Syntax(_) => DecodeError::invalid_value("not well-formed cbor"),
        Below::Semantic(..) => DecodeError::invalid_value("cbor that is no value of the type"),
    }
}

/// The outlet as ciborium sees it.
struct Sink<'e, 'a>(&'e mut Outlet<'a>);

impl io::Write for Sink<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(|_| io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The source as ciborium sees it. It reads whole items, so a short read is always an error.
struct Feed<'d, 'a>(&'d mut Source<'a>);

impl io::Read for Feed<'_, '_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.0.read_into(to).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        Ok(to.len())
    }
}
