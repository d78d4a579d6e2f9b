//! zlib as two Rust functions.
//!
//! # Safety
//! zlib gets pointers and lengths of live buffers. A stream is ended once, by the function that began it.
#![expect(unsafe_code, reason = "calls zlib")]

use std::ffi::c_int;
use std::mem::MaybeUninit;

use libz_sys::{
    Z_FINISH, Z_OK, Z_STREAM_END, deflate, deflateBound, deflateEnd, deflateInit_, inflate, inflateEnd,
    inflateInit_, z_stream, zlibVersion,
};

/// What there is room for at most.
const MOST_BYTES: usize = 4 << 20;
const LEVEL: c_int = 6;
const STREAM_BYTES: c_int = size_of::<z_stream>() as c_int;

pub(super) fn compress(plain: &[u8]) -> Option<Vec<u8>> {
    // Null allocation functions, which zlib takes for `malloc` and `free`.
    let mut stream = MaybeUninit::<z_stream>::zeroed();
    let stream = stream.as_mut_ptr();
    // SAFETY: returns a constant.
    let version = unsafe { zlibVersion() };
    // SAFETY: the stream is zero, as zlib wants it, and has the size named.
    if unsafe { deflateInit_(stream, LEVEL, version, STREAM_BYTES) } != Z_OK {
        return None;
    }
    // SAFETY: the stream has been begun.
    let bound = unsafe { deflateBound(stream, plain.len() as u64) };
    // SAFETY: the stream has been begun, and `deflate` and `deflateEnd` are its functions.
    unsafe { finish(stream, plain, usize::try_from(bound).ok()?, deflate, deflateEnd) }
}

pub(super) fn restore(packed: &[u8]) -> Option<Vec<u8>> {
    let mut stream = MaybeUninit::<z_stream>::zeroed();
    let stream = stream.as_mut_ptr();
    // SAFETY: returns a constant.
    let version = unsafe { zlibVersion() };
    // SAFETY: the stream is zero, as zlib wants it, and has the size named.
    if unsafe { inflateInit_(stream, version, STREAM_BYTES) } != Z_OK {
        return None;
    }
    // SAFETY: the stream has been begun, and `inflate` and `inflateEnd` are its functions.
    unsafe { finish(stream, packed, MOST_BYTES, inflate, inflateEnd) }
}

type Step = unsafe extern "C" fn(*mut z_stream, c_int) -> c_int;
type End = unsafe extern "C" fn(*mut z_stream) -> c_int;

/// All of `input` at once, into up to `most` bytes.
///
/// # Safety
/// The stream has been begun for these functions, and nobody uses it afterwards.
unsafe fn finish(stream: *mut z_stream, input: &[u8], most: usize, step: Step, end: End) -> Option<Vec<u8>> {
    let mut output = Vec::<u8>::with_capacity(most);
    macro_rules! put {
        ($field:ident, $value:expr) => {{
            let value = $value;
            // SAFETY: the place of a field of a stream that is live.
            let place = unsafe { &raw mut (*stream).$field };
            // SAFETY: aligned and writable.
            unsafe { place.write(value) };
        }};
    }
    put!(next_in, input.as_ptr().cast_mut());
    put!(avail_in, u32::try_from(input.len()).ok()?);
    put!(next_out, output.as_mut_ptr());
    put!(avail_out, u32::try_from(most).ok()?);
    // SAFETY: the stream has been begun; its input is readable and its output writable for what its fields say.
    let status = unsafe { step(stream, Z_FINISH) };
    // SAFETY: the place of a field of a stream that is live.
    let total = unsafe { &raw const (*stream).total_out };
    // SAFETY: aligned and readable.
    let written = unsafe { total.read() };
    // SAFETY: the stream has been begun, and is not used after this.
    unsafe { end(stream) };
    if status != Z_STREAM_END {
        return None;
    }
    let written = usize::try_from(written).ok()?.min(most);
    // SAFETY: zlib says that it wrote so many bytes, no more than the capacity it was told of.
    unsafe { output.set_len(written) };
    Some(output)
}
