//! libsnappy as two Rust functions. They run inside: if libsnappy has a bug, an isolate pays for it.
//!
//! # Safety
//! libsnappy gets pointers and lengths of live buffers, and writes no further than the capacity it is told of.
#![expect(unsafe_code, reason = "calls libsnappy")]

use snappy_src::{
    snappy_compress, snappy_max_compressed_length, snappy_status_SNAPPY_OK, snappy_uncompress,
    snappy_uncompressed_length,
};

/// `None` where libsnappy refuses.
pub(crate) fn compress(plain: &[u8]) -> Option<Vec<u8>> {
    // SAFETY: computes from its argument alone.
    let mut length = unsafe { snappy_max_compressed_length(plain.len()) };
    let mut packed = Vec::<u8>::with_capacity(length);
    let out = packed.as_mut_ptr().cast();
    // SAFETY: `plain` is readable for its length, and `out` is writable for `length` bytes, the most that libsnappy needs.
    let status = unsafe { snappy_compress(plain.as_ptr().cast(), plain.len(), out, &raw mut length) };
    if status != snappy_status_SNAPPY_OK {
        return None;
    }
    // SAFETY: libsnappy wrote the first `length` bytes, no more than the capacity it was told of.
    unsafe { packed.set_len(length) };
    Some(packed)
}

/// `None` where `packed` is not what libsnappy makes.
pub(crate) fn uncompress(packed: &[u8]) -> Option<Vec<u8>> {
    let (from, mut length) = (packed.as_ptr().cast(), 0);
    // SAFETY: `packed` is readable for its length, and `length` is writable.
    let status = unsafe { snappy_uncompressed_length(from, packed.len(), &raw mut length) };
    if status != snappy_status_SNAPPY_OK {
        return None;
    }
    let mut plain = Vec::<u8>::with_capacity(length);
    // SAFETY: `packed` is readable for its length, and `plain` is writable for `length` bytes.
    let status = unsafe { snappy_uncompress(from, packed.len(), plain.as_mut_ptr().cast(), &raw mut length) };
    if status != snappy_status_SNAPPY_OK {
        return None;
    }
    // SAFETY: libsnappy wrote the first `length` bytes, no more than the capacity it was told of.
    unsafe { plain.set_len(length) };
    Some(plain)
}
