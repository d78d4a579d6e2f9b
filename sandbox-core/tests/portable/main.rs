//! Values that cross: they arrive as they left, and bytes that are no value are refused.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod derive;
mod hostile;
mod inference;
mod random;
mod round_trip;
#[cfg(feature = "serde")]
mod serde;

use ringfence_core::codec::{DecodeError, DecodeErrorKind, Decoder, Encoder, Owned, Portable};
use ringfence_core::region::{Outlet, Source};

const BUDGET_BYTES: usize = 1 << 20;

/// The bytes of `value`.
fn encoded<T: Portable>(value: &T) -> Vec<u8> {
    let mut memory = vec![0; 1 << 16];
    let mut out = Encoder::new(Outlet::new(&mut memory));
    value.encode(&mut out).unwrap();
    let len = out.len();
    memory.truncate(len);
    memory
}

/// What all of `bytes` mean as a `T`.
fn decoded<T: Portable>(bytes: &[u8]) -> Result<T::Inside<'_>, DecodeError> {
    let mut input = Decoder::new(Source::stable(bytes), BUDGET_BYTES);
    let value = T::decode(&mut input)?;
    input.finish()?;
    Ok(value)
}

fn refusal<T: Portable>(bytes: &[u8]) -> Option<DecodeErrorKind> {
    decoded::<T>(bytes).err().map(|error| error.kind())
}

/// Checks that `value` survives and takes no fewer bytes than its type announces.
#[track_caller]
fn survives<T: Owned + PartialEq + std::fmt::Debug>(value: T) {
    let bytes = encoded(&value);
    assert!(bytes.len() >= T::MIN_BYTES, "{value:?} took {} bytes", bytes.len());
    assert_eq!(decoded::<T>(&bytes), Ok(value));
}
