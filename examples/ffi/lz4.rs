//! liblz4 as two Rust functions, over its frame format with a checksum: what `lz4` on the command line reads and writes.
//!
//! # Safety
//! liblz4 gets pointers and lengths of live buffers, and writes no further than the capacity it is told of. A context is freed once, by
//! the drop of its owner.
#![expect(unsafe_code, reason = "calls liblz4")]

use std::ffi::c_uint;
use std::ptr;

use lz4_sys::{
    BlockChecksum, BlockMode, BlockSize, ContentChecksum, FrameType, LZ4F_compressBegin, LZ4F_compressBound,
    LZ4F_compressEnd, LZ4F_compressUpdate, LZ4F_createCompressionContext, LZ4F_createDecompressionContext,
    LZ4F_decompress, LZ4F_freeCompressionContext, LZ4F_freeDecompressionContext, LZ4F_isError,
    LZ4FCompressionContext, LZ4FDecompressionContext, LZ4FFrameInfo, LZ4FPreferences,
};

/// `LZ4F_VERSION` of `lz4frame.h`.
const VERSION: c_uint = 100;
/// `LZ4F_HEADER_SIZE_MAX` of `lz4frame.h`.
const HEADER_BYTES: usize = 19;
/// How much the output grows by.
const PIECE_BYTES: usize = 64 << 10;

/// `None` where liblz4 refuses.
pub(crate) fn compress(plain: &[u8]) -> Option<Vec<u8>> {
    let compression = Compression::new()?;
    let preferences = preferences();
    // SAFETY: the preferences are a live value of the library's type, which the call only reads.
    let bound = unsafe { LZ4F_compressBound(plain.len(), &raw const preferences) };
    let mut packed = Vec::<u8>::with_capacity(HEADER_BYTES + checked(bound)?);
    let room = |packed: &mut Vec<u8>| {
        let free = packed.spare_capacity_mut();
        (free.as_mut_ptr().cast::<u8>(), free.len())
    };

    let (out, free_bytes) = room(&mut packed);
    // SAFETY: the context is live, `out` is writable for `free_bytes`, and the preferences are live.
    let begun = unsafe { LZ4F_compressBegin(compression.0, out, free_bytes, &raw const preferences) };
    add(&mut packed, checked(begun)?);
    let (out, free_bytes) = room(&mut packed);
    let (from, from_bytes, options) = (plain.as_ptr(), plain.len(), ptr::null());
    // SAFETY: as above; `plain` is readable for its length, and null stands for no options.
    let filled = unsafe { LZ4F_compressUpdate(compression.0, out, free_bytes, from, from_bytes, options) };
    add(&mut packed, checked(filled)?);
    let (out, free_bytes) = room(&mut packed);
    // SAFETY: as above.
    let ended = unsafe { LZ4F_compressEnd(compression.0, out, free_bytes, options) };
    add(&mut packed, checked(ended)?);
    Some(packed)
}

/// `None` where `packed` is not one whole frame.
pub(crate) fn uncompress(packed: &[u8]) -> Option<Vec<u8>> {
    let decompression = Decompression::new()?;
    let mut plain = Vec::<u8>::new();
    let mut rest = packed;
    loop {
        plain.reserve(PIECE_BYTES);
        let free = plain.spare_capacity_mut();
        let (out, mut out_bytes) = (free.as_mut_ptr().cast::<u8>(), free.len());
        let (from, mut from_bytes) = (rest.as_ptr(), rest.len());
        let (context, options) = (decompression.0, ptr::null());
        // SAFETY: the context is live, `out` is writable and `from` readable for the lengths given, null stands for no options.
        let hint = unsafe { LZ4F_decompress(context, out, &mut out_bytes, from, &mut from_bytes, options) };
        let is_whole = checked(hint)? == 0;
        add(&mut plain, out_bytes);
        rest = rest.get(from_bytes..)?;
        match (is_whole, out_bytes + from_bytes) {
            (true, _) => return rest.is_empty().then_some(plain),
            (false, 0) => return None,
            (false, _) => {}
        }
    }
}

/// What liblz4 has written is part of the vector from now on.
fn add(written: &mut Vec<u8>, bytes: usize) {
    let length = (written.len() + bytes).min(written.capacity());
    // SAFETY: liblz4 was told of the room behind the vector's end, and says that it wrote the first `bytes` of it.
    unsafe { written.set_len(length) };
}

fn checked(result: usize) -> Option<usize> {
    // SAFETY: takes any number.
    let is_error = unsafe { LZ4F_isError(result) };
    (is_error == 0).then_some(result)
}

fn preferences() -> LZ4FPreferences {
    LZ4FPreferences {
        frame_info: LZ4FFrameInfo {
            block_size_id: BlockSize::Max64KB,
            block_mode: BlockMode::Linked,
            content_checksum_flag: ContentChecksum::ChecksumEnabled,
            frame_type: FrameType::Frame,
            content_size: 0,
            dict_id: 0,
            block_checksum_flag: BlockChecksum::NoBlockChecksum,
        },
        compression_level: 0,
        auto_flush: 0,
        favor_dec_speed: 0,
        reserved: [0; 3],
    }
}

/// INVARIANT: a live context that nobody else has.
struct Compression(LZ4FCompressionContext);

impl Compression {
    fn new() -> Option<Self> {
        let mut context = LZ4FCompressionContext(ptr::null_mut());
        // SAFETY: the context is written if the call succeeds, and that is asked next.
        checked(unsafe { LZ4F_createCompressionContext(&mut context, VERSION) })?;
        Some(Self(context))
    }
}

impl Drop for Compression {
    fn drop(&mut self) {
        // SAFETY: the context is live, and nobody uses it after this.
        unsafe { LZ4F_freeCompressionContext(self.0) };
    }
}

/// INVARIANT: a live context that nobody else has.
struct Decompression(LZ4FDecompressionContext);

impl Decompression {
    fn new() -> Option<Self> {
        let mut context = LZ4FDecompressionContext(ptr::null_mut());
        // SAFETY: the context is written if the call succeeds, and that is asked next.
        checked(unsafe { LZ4F_createDecompressionContext(&mut context, VERSION) })?;
        Some(Self(context))
    }
}

impl Drop for Decompression {
    fn drop(&mut self) {
        // SAFETY: the context is live, and nobody uses it after this.
        unsafe { LZ4F_freeDecompressionContext(self.0) };
    }
}
