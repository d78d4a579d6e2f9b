//! zstd as two Rust functions, with a checksum.
//!
//! # Safety
//! zstd gets pointers and lengths of live buffers, and writes no further than the capacity it is told of.
#![expect(unsafe_code, reason = "calls zstd")]

use std::ffi::c_int;

use zstd_sys::{
    ZSTD_CCtx_setParameter, ZSTD_cParameter, ZSTD_compress2, ZSTD_compressBound, ZSTD_createCCtx,
    ZSTD_decompress, ZSTD_freeCCtx, ZSTD_isError,
};

/// What there is room for at most.
const MOST_BYTES: usize = 4 << 20;
const LEVEL: c_int = 3;

pub(super) fn compress(plain: &[u8]) -> Option<Vec<u8>> {
    // SAFETY: computes from its argument alone.
    let bound = checked(unsafe { ZSTD_compressBound(plain.len()) })?;
    let mut packed = Vec::<u8>::with_capacity(bound);
    let out = packed.as_mut_ptr().cast();
    // SAFETY: makes a context, or null.
    let context = unsafe { ZSTD_createCCtx() };
    if context.is_null() {
        return None;
    }
    for (parameter, value) in
        [(ZSTD_cParameter::ZSTD_c_compressionLevel, LEVEL), (ZSTD_cParameter::ZSTD_c_checksumFlag, 1)]
    {
        // SAFETY: the context is live; a value out of range is refused.
        unsafe { ZSTD_CCtx_setParameter(context, parameter, value) };
    }
    // SAFETY: the context is live, `out` is writable for `bound` bytes and `plain` readable for its length.
    let written = unsafe { ZSTD_compress2(context, out, bound, plain.as_ptr().cast(), plain.len()) };
    // SAFETY: the context is live, and not used after this.
    unsafe { ZSTD_freeCCtx(context) };
    let written = checked(written)?;
    // SAFETY: zstd wrote so many bytes, no more than the capacity it was told of.
    unsafe { packed.set_len(written.min(bound)) };
    Some(packed)
}

pub(super) fn restore(packed: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::<u8>::with_capacity(MOST_BYTES);
    let (out, from) = (plain.as_mut_ptr().cast(), packed.as_ptr().cast());
    // SAFETY: `out` is writable for `MOST_BYTES` and `packed` readable for its length.
    let written = checked(unsafe { ZSTD_decompress(out, MOST_BYTES, from, packed.len()) })?;
    // SAFETY: zstd wrote so many bytes, no more than the capacity it was told of.
    unsafe { plain.set_len(written.min(MOST_BYTES)) };
    Some(plain)
}

fn checked(result: usize) -> Option<usize> {
    // SAFETY: takes any number.
    let is_error = unsafe { ZSTD_isError(result) };
    (is_error == 0).then_some(result)
}
