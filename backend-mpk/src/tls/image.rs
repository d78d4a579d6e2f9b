//! A block as it belongs at one address, kept by the host and copied there whenever the domain is to be new.
//!
//! # Safety
//! The one unsafe operation is the copy; where it goes is the caller's promise, made at [`Image::restore`]. Nothing is ever
//! read back from there.
//!
//! # How pointers into the block are found
//! A word of the original that points into the original block gets the distance between the two added, whatever it is. That
//! is conservative, and right: the block was copied before its thread ran anything, so a word in it is either a constant of
//! some `.tdata`, which cannot hold the address of a block that did not exist at link time, or was stored by the C library,
//! and then is the address that it looks like (the head's self pointers, `specific[0]`, the robust list's head, the
//! resolver's `__resp`). A constant that happens to equal an address in the block, which the kernel placed at random, would
//! be wrong inside the domain and nowhere else: the host trusts nothing that a domain's block holds.
//!
//! A word that points elsewhere into the original thread's stack becomes zero: that memory is freed by then, and null faults
//! where it would lead astray.
#![expect(unsafe_code, reason = "the copy to the domain's memory")]

use std::ops::Range;
use std::ptr::{self, NonNull};

use super::loader::Layout;
use super::{DTV_SPARE_SLOTS, Error, HEADER_SLOTS, Slot, head};

const WORD_BYTES: usize = size_of::<usize>();
/// What glibc has in the slot of a dynamic thread-local that was not used yet: `TLS_DTV_UNALLOCATED`.
const UNALLOCATED: usize = usize::MAX;
/// `cpu_id` above, `cpu_id_start` below: `RSEQ_CPU_ID_UNINITIALIZED`, which sends `sched_getcpu` to the kernel.
const RSEQ_UNREGISTERED: usize = (u32::MAX as usize) << 32;
/// `struct rseq` as registered by glibc 2.35.
const RSEQ_WORDS: usize = 4;

/// What a thread that had just begun had in its block and DTV, and where.
#[derive(Debug)]
pub(super) struct Original {
    pub(super) layout: Layout,
    /// The address of the block.
    pub(super) address: usize,
    /// The thread's stack, the block included: nothing is there any more.
    pub(super) stack: Range<usize>,
    pub(super) words: Vec<usize>,
    /// From `[-1]` on.
    pub(super) slots: Vec<Slot>,
}

impl Original {
    /// Room for a block anywhere.
    pub(super) fn bytes(&self) -> usize {
        self.dtv_offset() + (self.slots.len() + DTV_SPARE_SLOTS) * size_of::<Slot>() + self.layout.align_bytes
    }

    /// From the start of the block to the DTV behind it.
    fn dtv_offset(&self) -> usize {
        self.layout.block_bytes.next_multiple_of(size_of::<Slot>())
    }

    /// The block at the first suitable address from `start` on.
    pub(super) fn image(&self, start: NonNull<u8>, bytes: usize, random: [u8; 16]) -> Result<Image, Error> {
        let needed = self.bytes();
        if bytes < needed {
            return Err(Error::Room { needed, given: bytes });
        }
        let align = self.layout.align_bytes;
        let slack = self.address.wrapping_sub(start.addr().get()) & (align - 1);
        let target = start.as_ptr().wrapping_add(slack);
        let move_to = Relocation { original: self, target: target.addr() };
        let mut words: Vec<usize> = self.words.iter().map(|word| move_to.word(*word)).collect();
        words.resize(self.dtv_offset() / WORD_BYTES, 0);
        words.extend(move_to.slots().as_flattened());
        let mut image = Image { target: target.cast(), words, layout: self.layout };
        let dtv = target.addr() + self.dtv_offset() + (HEADER_SLOTS - 1) * size_of::<Slot>();
        image.set_head(head::DTV, dtv);
        image.unregister_rseq();
        image.set_secrets(random);
        Ok(image)
    }
}

/// The distance of a copy from the original.
struct Relocation<'a> {
    original: &'a Original,
    target: usize,
}

impl Relocation<'_> {
    /// What the copy has in a word of the block.
    fn word(&self, word: usize) -> usize {
        if let Some(moved) = self.inside(word) {
            moved
        } else if self.original.stack.contains(&word) {
            0
        } else {
            word
        }
    }

    fn inside(&self, word: usize) -> Option<usize> {
        let offset = word.checked_sub(self.original.address)?;
        (offset < self.original.layout.block_bytes).then(|| self.target + offset)
    }

    /// The copy's DTV: static blocks where the copy has them, every other one not allocated yet, and slots to spare.
    fn slots(&self) -> Vec<Slot> {
        let slots = &self.original.slots;
        let moved = slots.iter().enumerate().map(|(index, slot)| match (index, slot[0]) {
            (0, count) => [count + DTV_SPARE_SLOTS, slot[1]],
            (1, _) => *slot,
            (_, 0) => [0, 0],
            (_, block) => [self.inside(block).unwrap_or(UNALLOCATED), 0],
        });
        moved.chain([[0, 0]; DTV_SPARE_SLOTS]).collect()
    }
}

/// A block as it belongs at one address.
#[derive(Debug)]
pub(crate) struct Image {
    target: *mut usize,
    words: Vec<usize>,
    layout: Layout,
}

// SAFETY: the pointer is used in `restore` alone, whose caller answers for it on whatever thread that runs; the rest is plain
// data.
unsafe impl Send for Image {}
// SAFETY: as above; shared access changes nothing in the value.
unsafe impl Sync for Image {}

impl Image {
    /// The FS base for code that is to run on the block.
    pub(crate) fn fs_base(&self) -> usize {
        self.target.addr() + self.layout.head()
    }

    /// Gives the block a canary and a pointer guard of its own, from the next [`restore`](Self::restore) on. The canary's
    /// lowest byte is zero, as glibc has it: a string that overruns ends there.
    pub(crate) fn set_secrets(&mut self, random: [u8; 16]) {
        let both = u128::from_le_bytes(random);
        self.set_head(head::CANARY, both as usize & !0xff);
        self.set_head(head::POINTER_GUARD, (both >> 64) as usize);
    }

    /// Gives a static thread-local of one word its value inside, from the next [`restore`](Self::restore) on. `offset_bytes`
    /// is the variable's address less [`thread_pointer`](super::thread_pointer), on any one thread.
    ///
    /// # Errors
    /// [`Error::Offset`], if the word is not in the static block: so it is with a thread-local of a library loaded by `dlopen`.
    pub(crate) fn set_word(&mut self, offset_bytes: isize, value: usize) -> Result<(), Error> {
        let word = self.word_at(offset_bytes).ok_or(Error::Offset(offset_bytes))?;
        *word = value;
        Ok(())
    }

    /// Writes the block to its place: everything the domain did to its thread-local storage is gone.
    ///
    /// # Safety
    /// The memory that the image was made for is mapped and writable for this thread, nothing else lies in it, and no other
    /// thread reads or writes it meanwhile: no code is running on the block.
    ///
    /// # Cost
    /// One copy of [`Template::bytes`](super::Template::bytes), a few KiB.
    pub(crate) unsafe fn restore(&self) {
        // SAFETY: `target` is in the memory given to `Original::image`, aligned for words because the original block was, and
        // the words fit behind it, which `image` checked with the slack for the alignment counted in; the caller vouches for
        // the memory. The source is the host's own vector, so the two do not overlap.
        unsafe { ptr::copy_nonoverlapping(self.words.as_ptr(), self.target, self.words.len()) };
    }

    /// The word of the block at a distance from the thread pointer.
    fn word_at(&mut self, offset_bytes: isize) -> Option<&mut usize> {
        let offset = self.layout.head().checked_add_signed(offset_bytes)?;
        if offset >= self.layout.block_bytes || !offset.is_multiple_of(WORD_BYTES) {
            return None;
        }
        self.words.get_mut(offset / WORD_BYTES)
    }

    fn set_head(&mut self, offset: usize, value: usize) {
        // INVARIANT: `Layout::check` saw to it that the head is in the block.
        if let Some(word) = self.words.get_mut((self.layout.head() + offset) / WORD_BYTES) {
            *word = value;
        }
    }

    /// The kernel knows the area of the thread that was copied, and of no copy.
    fn unregister_rseq(&mut self) {
        let Some(area) = self.layout.rseq_offset else { return };
        for (index, value) in [RSEQ_UNREGISTERED, 0, 0, 0].into_iter().enumerate().take(RSEQ_WORDS) {
            if let Some(word) = self.word_at(area.saturating_add_unsigned(index * WORD_BYTES)) {
                *word = value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: usize = 0x7f00_0000_1040;
    const BLOCK_BYTES: usize = 0x100;
    const HEAD: usize = 0x80;
    const RANDOM: [u8; 16] = [0x11, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

    /// A block of 32 words on a stack of two pages, with two modules.
    fn original() -> Original {
        let layout = Layout {
            block_bytes: BLOCK_BYTES,
            pthread_bytes: BLOCK_BYTES - HEAD,
            align_bytes: 64,
            rseq_offset: Some(0x40),
        };
        Original {
            layout,
            address: ADDRESS,
            stack: 0x7f00_0000_0000..0x7f00_0000_2000,
            words: vec![9; BLOCK_BYTES / WORD_BYTES],
            slots: vec![[2, 0], [3, 0], [ADDRESS + 8, 5], [UNALLOCATED, 0]],
        }
    }

    /// An image at a made-up address: these tests write none.
    fn image(original: &Original, start: usize) -> Image {
        let start = NonNull::new(ptr::without_provenance_mut(start)).unwrap();
        original.image(start, original.bytes(), RANDOM).unwrap()
    }

    #[test]
    fn pointers_into_the_block_move_with_it_and_those_into_the_stack_are_gone() {
        let mut original = original();
        let end = ADDRESS + BLOCK_BYTES;
        original.words[..6].copy_from_slice(&[ADDRESS, end - 1, end, ADDRESS - 1, end + 0x1000, 0]);
        let image = image(&original, 0x1000);
        let target = image.target.addr();
        assert_eq!(image.words[..7], [target, target + BLOCK_BYTES - 1, 0, 0, end + 0x1000, 0, 9]);
    }

    #[test]
    fn the_table_of_modules_lies_behind_the_block_and_points_into_it() {
        let mut original = original();
        // Allocated for the original thread, and so the host's; and never used.
        original.slots.extend([[0x5500_0000_0000, 0x5500_0000_0000], [0, 0]]);
        let image = image(&original, 0x1000);
        let target = image.target.addr();
        let table = &image.words[BLOCK_BYTES / WORD_BYTES..];
        let expected = [2 + DTV_SPARE_SLOTS, 0, 3, 0, target + 8, 0, UNALLOCATED, 0, UNALLOCATED, 0, 0, 0];
        assert_eq!(table[..expected.len()], expected);
        assert_eq!(table.len(), 2 * (6 + DTV_SPARE_SLOTS));
        assert_eq!(image.words[(HEAD + head::DTV) / WORD_BYTES], target + BLOCK_BYTES + 16);
    }

    #[test]
    fn a_block_is_aligned_as_the_original_and_ends_in_its_room_wherever_that_begins() {
        let original = original();
        for start in 0x1000..0x1000 + 64 {
            let image = image(&original, start);
            assert_eq!(image.target.addr() % 64, ADDRESS % 64);
            assert!(image.target.addr() >= start);
            let end = image.target.addr() + size_of_val(image.words.as_slice());
            assert!(end <= start + original.bytes(), "{start:#x}");
            assert_eq!(image.fs_base(), image.target.addr() + HEAD);
        }
    }

    #[test]
    fn too_little_room_is_refused() {
        let original = original();
        let (start, needed) = (NonNull::dangling(), original.bytes());
        let refused = original.image(start, needed - 1, RANDOM).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("a thread's block needs {needed} bytes and got {}", needed - 1)
        );
    }

    #[test]
    fn canary_and_pointer_guard_come_from_the_random_bytes() {
        let image = image(&original(), 0x1000);
        let word = |offset: usize| image.words[(HEAD + offset) / WORD_BYTES];
        assert_eq!(word(head::CANARY), 0x0807_0605_0403_0200);
        assert_eq!(word(head::POINTER_GUARD), 0x100f_0e0d_0c0b_0a09);
    }

    #[test]
    fn the_copied_rseq_area_is_unregistered_wherever_it_lies() {
        for offset in [0x40, 0x60, -0x80, -0x20] {
            let mut original = original();
            original.layout.rseq_offset = Some(offset);
            let image = image(&original, 0x1000);
            let first = HEAD.checked_add_signed(offset).unwrap() / WORD_BYTES;
            assert_eq!(image.words[first..first + 4], [0xffff_ffff_0000_0000, 0, 0, 0], "{offset}");
        }
        let mut original = original();
        for offset in [None, Some(isize::MIN), Some(isize::MAX), Some(0x80)] {
            original.layout.rseq_offset = offset;
            let image = image(&original, 0x1000);
            assert!(!image.words.contains(&0xffff_ffff_0000_0000), "{offset:?}");
        }
    }
}
