//! dlmalloc's boundary tags, read to tell a live chunk from anything else.
//!
//! | word | at | holds |
//! |---|---|---|
//! | foot | chunk + 0 | the size of the chunk before, if that one is free; else its user's last eight bytes |
//! | head | chunk + 8 | this chunk's size, a multiple of 16, and two flags: 1, the chunk before is in use; 2, this one is |
//! | user memory | chunk + 16 | up to and with the foot of the chunk after |
//!
//! A free chunk never has a free neighbour: it is joined with it. So of a live chunk, whatever was freed around it, all of this holds,
//! and a chunk freed twice, a pointer from elsewhere or a trampled tag breaks some of it. The checks are glibc's, and see no more than
//! those: memory that was freed and allocated again since looks alive, and so does a careful forgery, which harms its own domain only.
//!
//! # Safety
//! Only words between the first chunk and the end of the chunks are read, and none is written.
#![expect(unsafe_code, reason = "reads of the tags")]

use std::ffi::c_void;

const HEAD_BYTES: usize = 16;
const ALIGN: usize = 16;
const CHUNK_BYTES_MIN: usize = 32;
const PREVIOUS_IN_USE: usize = 1;
const IN_USE: usize = 2;
const FLAGS: usize = 7;

/// The addresses between which a heap's chunks lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunks {
    pub(crate) first: usize,
    pub(crate) end: usize,
}

/// What is wrong with a pointer that was to be freed or resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// Not memory of this heap, or not aligned as its chunks are.
    Pointer,
    /// Free already.
    Free,
    /// Its size is none that a chunk has.
    Size,
    /// The chunk after says that this one is free.
    NotInUse,
    /// The size of the chunk after is none that a chunk has.
    NextSize,
    /// The chunk before is said to be free, and its size is not the one it left.
    PreviousSize,
}

impl Damage {
    /// What glibc says, or would, when `free` finds it.
    pub(crate) const fn freeing(self) -> &'static str {
        match self {
            Self::Pointer => "free(): invalid pointer\n",
            Self::Free => "free(): double free detected\n",
            Self::Size => "free(): invalid size\n",
            Self::NotInUse => "double free or corruption (!prev)\n",
            Self::NextSize => "free(): invalid next size (normal)\n",
            Self::PreviousSize => "corrupted size vs. prev_size while consolidating\n",
        }
    }

    /// What glibc says, or would, when `realloc` finds it.
    pub(crate) const fn resizing(self) -> &'static str {
        match self {
            Self::Pointer => "realloc(): invalid pointer\n",
            Self::Free => "realloc(): use after free detected\n",
            Self::Size => "realloc(): invalid old size\n",
            Self::NextSize => "realloc(): invalid next size\n",
            Self::NotInUse | Self::PreviousSize => self.freeing(),
        }
    }
}

impl Chunks {
    /// Whether an address lies among the chunks.
    pub(crate) const fn hold(self, address: usize) -> bool {
        address.wrapping_sub(self.first) < self.end.wrapping_sub(self.first)
    }

    /// How much memory a live chunk gives its user.
    ///
    /// # Errors
    /// What shows that it is not a live chunk's memory.
    ///
    /// # Safety
    /// The memory between `first` and `end` must be readable.
    #[inline]
    pub(crate) unsafe fn inspect(self, memory: *mut c_void) -> Result<usize, Damage> {
        let chunk = memory.addr().wrapping_sub(HEAD_BYTES);
        let before_bytes = chunk.wrapping_sub(self.first);
        let span_bytes = self.end.wrapping_sub(self.first);
        if !self.hold(chunk) || !memory.addr().is_multiple_of(ALIGN) {
            return Err(Damage::Pointer);
        }
        let word = |address: usize| memory.with_addr(address).cast::<usize>();
        let after_bytes = span_bytes - before_bytes;
        // SAFETY: the chunk's address is a multiple of 16 between two others, so that 16 bytes from there lie among the chunks.
        let head = unsafe { word(chunk + 8).read() };
        if head & IN_USE == 0 {
            return Err(Damage::Free);
        }
        let bytes = head & !FLAGS;
        if bytes < CHUNK_BYTES_MIN || bytes > after_bytes - HEAD_BYTES || !bytes.is_multiple_of(ALIGN) {
            return Err(Damage::Size);
        }
        let next = chunk + bytes;
        // SAFETY: at least 16 bytes are left after this chunk.
        let next_head = unsafe { word(next + 8).read() };
        if next_head & PREVIOUS_IN_USE == 0 {
            return Err(Damage::NotInUse);
        }
        let next_bytes = next_head & !FLAGS;
        if next_bytes < HEAD_BYTES || next_bytes > after_bytes - bytes {
            return Err(Damage::NextSize);
        }
        if head & PREVIOUS_IN_USE == 0 {
            // SAFETY: the chunk's first word, as its second above.
            let foot = unsafe { word(chunk).read() };
            if foot > before_bytes || !foot.is_multiple_of(ALIGN) {
                return Err(Damage::PreviousSize);
            }
            // SAFETY: the foot leads no further back than to the first chunk.
            let previous_head = unsafe { word(chunk - foot + 8).read() };
            if previous_head & !PREVIOUS_IN_USE != foot {
                return Err(Damage::PreviousSize);
            }
        }
        Ok(bytes - 8)
    }
}
