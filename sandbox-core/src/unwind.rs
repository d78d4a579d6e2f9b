//! Walks the stack of a dead isolate with the unwind tables of this process.
//!
//! The objects are the host's own and are trusted; the registers and the stack bytes are not. They are looked at as
//! numbers: an address in them is only ever compared with ranges or used as an index into the copied stack.

use std::ops::{Deref, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{FrameAddress, Module, ModuleSectionInfo, Unwinder as _};

use crate::fault::Registers;
use crate::images::{Image, Images};

/// The unwinder of one capture, immutable once it is built.
pub(crate) type Unwinder = UnwinderX86_64<Section>;

/// One table of an object, copied out of it when the first frame of that object is unwound.
#[derive(Clone)]
pub(crate) struct Section {
    image: Arc<Image>,
    table: Table,
}

#[derive(Clone, Copy)]
enum Table {
    EhFrameHdr,
    EhFrame,
}

impl Deref for Section {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let tables = self.image.tables();
        match self.table {
            Table::EhFrameHdr => &tables.eh_frame_hdr,
            Table::EhFrame => &tables.eh_frame,
        }
    }
}

/// Below it no stack can be: the default of `vm.mmap_min_addr`.
const LOWEST: u64 = 0x1_0000;
/// Above it no user address can be, with five levels of page tables.
const HIGHEST: u64 = 1 << 56;

fn is_plausible(address: u64) -> bool {
    (LOWEST..HIGHEST).contains(&address)
}

/// A frame pointer that the unwinder's arithmetic cannot overflow on.
///
/// Code may keep any number in rbp. One that is not an address cannot be read through either way, but framehop
/// computes `cfa - 8` unchecked, so it gets a number that is as unreadable and far from both ends.
fn tame(rbp: u64) -> u64 {
    if is_plausible(rbp) { rbp } else { LOWEST }
}

/// The copied part of the stack.
struct Stack<'a> {
    start: u64,
    bytes: &'a [u8],
}

impl Stack<'_> {
    fn word(&self, address: u64) -> Option<u64> {
        let offset = usize::try_from(address.checked_sub(self.start)?).ok()?;
        self.bytes.get(offset..)?.first_chunk().copied().map(u64::from_le_bytes)
    }
}

impl Images {
    /// The program counters of the thread that died with `registers`, innermost first, given the bytes of its stack
    /// from `rsp` upward.
    ///
    /// The first is `rip` itself, the others are return addresses: the call is one byte before. If `rip` is not code,
    /// after a call through a null or wild pointer, the return address that the call pushed comes next.
    ///
    /// The result holds at most `max_frames` addresses and is empty only if that is 0. It ends early where `stack`
    /// ends, at a frame of a signal handler, and after one address that is not code of this capture whose caller is
    /// not either. Whatever the bytes are, it terminates, reads nothing but `stack` and the tables, and does not
    /// panic; the addresses themselves are what the bytes claim, and are no more to be believed than those.
    ///
    /// Not for signal handlers: it allocates and takes the loader's lock.
    ///
    /// # Cost
    /// No system calls but those of the allocator. An object's tables are copied once, when it is first met on a
    /// stack; then some microseconds a frame.
    #[must_use]
    pub fn unwind(&self, registers: &Registers, stack: &[u8], max_frames: usize) -> Vec<u64> {
        self.unwind_from(registers, registers.rsp, stack, max_frames)
    }

    /// As [`unwind`](Self::unwind), with a copy of the stack that begins at `stack_start` instead of at `rsp`.
    ///
    /// After a stack overflow rsp points into the guard page, and the first byte that can be saved is above it.
    #[must_use]
    pub fn unwind_from(
        &self,
        registers: &Registers,
        stack_start: u64,
        stack: &[u8],
        max_frames: usize,
    ) -> Vec<u64> {
        let mut pcs = Vec::new();
        let stack = Stack { start: stack_start, bytes: stack };
        // The walk keeps hostile numbers away from the unchecked arithmetic that is known in framehop and gimli. This
        // is for what is not known: a bug there must cost the rest of a backtrace, not the host. Unwind safety: `pcs`
        // is whole between any two pushes, the cache dies with the walk, and a table is stored only when it is whole.
        drop(catch_unwind(AssertUnwindSafe(|| self.walk(registers, &stack, max_frames, &mut pcs))));
        pcs
    }

    fn walk(&self, registers: &Registers, stack: &Stack<'_>, max_frames: usize, pcs: &mut Vec<u64>) {
        if max_frames == 0 {
            return;
        }
        pcs.push(registers.rip);
        if !is_plausible(registers.rsp) {
            return;
        }
        let mut current = FrameAddress::from_instruction_pointer(registers.rip);
        let mut state = UnwindRegsX86_64::new(registers.rip, registers.rsp, tame(registers.rbp));
        let mut is_code = self.is_code(registers.rip);
        // A call pushes its return address before the jump, so a call to nowhere leaves it on top of the stack.
        if !is_code
            && max_frames > 1
            && let Some(caller) = stack.word(registers.rsp)
            && self.is_return_address(caller)
            && let Some(address) = FrameAddress::from_return_address(caller)
        {
            pcs.push(caller);
            current = address;
            state = UnwindRegsX86_64::new(caller, registers.rsp + 8, state.bp());
            is_code = true;
        }
        let unwinder = self.unwinder.get_or_init(|| self.build_unwinder());
        // A cache of its own for each walk: in a shared one, what hostile registers made of an address would be
        // found by the next walk over the same code.
        let mut cache = CacheX86_64::new();
        let mut read = |address| stack.word(address).ok_or(());
        while pcs.len() < max_frames {
            let stack_pointer = state.sp();
            let Ok(Some(caller)) = unwinder.unwind_frame(current, &mut state, &mut cache, &mut read) else {
                return;
            };
            let Some(address) = FrameAddress::from_return_address(caller) else { return };
            let caller_is_code = self.is_return_address(caller);
            // Every caller's frame is above its callee's: this is what makes the walk end. And frames of unknown
            // code are guessed from rbp, so two in a row are noise.
            if state.sp() <= stack_pointer || !is_plausible(state.sp()) || !(is_code || caller_is_code) {
                return;
            }
            pcs.push(caller);
            state.set_bp(tame(state.bp()));
            current = address;
            is_code = caller_is_code;
        }
    }

    fn is_code(&self, address: u64) -> bool {
        usize::try_from(address).is_ok_and(|address| self.contains_code(address))
    }

    /// A call may be the last instruction of a range, so it is the call that is looked up.
    fn is_return_address(&self, address: u64) -> bool {
        address.checked_sub(1).is_some_and(|call| self.is_code(call))
    }

    fn build_unwinder(&self) -> Unwinder {
        let mut unwinder = Unwinder::new();
        for image in self.all() {
            unwinder.add_module(Stated(image).module());
        }
        unwinder
    }
}

/// An object in framehop's terms, where an address in the object's file is a "stated" one.
struct Stated<'a>(&'a Arc<Image>);

impl Stated<'_> {
    fn address(&self, address: usize) -> u64 {
        address.wrapping_sub(self.0.bias()) as u64
    }

    fn module(self) -> Module<Section> {
        let (name, span) = (self.0.name().to_string_lossy().into_owned(), self.0.span());
        Module::new(name, span.start as u64..span.end as u64, span.start as u64, self)
    }
}

impl ModuleSectionInfo<Section> for Stated<'_> {
    fn base_svma(&self) -> u64 {
        self.address(self.0.span().start)
    }

    fn section_svma_range(&mut self, name: &[u8]) -> Option<Range<u64>> {
        let at = self.0.tables_at()?;
        match name {
            b".eh_frame_hdr" => Some(self.address(at.eh_frame_hdr.start)..self.address(at.eh_frame_hdr.end)),
            // Only the start is ever used, and where the table ends is not known before it is read.
            b".eh_frame" => Some(self.address(at.eh_frame)..self.address(at.eh_frame)),
            _ => None,
        }
    }

    fn section_data(&mut self, name: &[u8]) -> Option<Section> {
        let table = match name {
            b".eh_frame_hdr" => Table::EhFrameHdr,
            b".eh_frame" => Table::EhFrame,
            _ => return None,
        };
        self.0.tables_at().map(|_| Section { image: Arc::clone(self.0), table })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> u64 {
        is_plausible as fn(u64) -> bool as usize as u64
    }

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn a_stack_is_read_inside_its_copy_only() {
        let bytes = words(&[1, 2]);
        let stack = Stack { start: 0x7000, bytes: &bytes };
        assert_eq!(stack.word(0x7000), Some(1));
        assert_eq!(stack.word(0x7008), Some(2));
        assert_eq!(stack.word(0x7001), Some(2 << 56));
        for outside in [0x6fff, 0x7009, 0x7010, 0, u64::MAX] {
            assert_eq!(stack.word(outside), None, "{outside:#x}");
        }
    }

    #[test]
    fn frame_pointers_are_tamed_only_where_they_cannot_be_addresses() {
        for wild in [0, 7, 8, LOWEST - 1, HIGHEST, i64::MAX as u64, u64::MAX] {
            assert!(is_plausible(tame(wild)), "{wild:#x}");
        }
        assert_eq!(tame(0x7fff_1234), 0x7fff_1234);
    }

    #[test]
    fn the_limit_is_kept_and_the_first_address_is_the_program_counter() {
        let images = Images::capture();
        let registers = Registers { rip: 0, rsp: 0x7fff_0000, ..Registers::default() };
        let stack = words(&[code() + 1, code() + 1]);
        assert!(images.unwind(&registers, &stack, 0).is_empty());
        assert_eq!(images.unwind(&registers, &stack, 1), [0]);
        assert_eq!(images.unwind(&registers, &stack, 2), [0, code() + 1]);
        assert_eq!(images.unwind(&registers, &[], 9), [0]);
    }

    #[test]
    fn a_wild_program_counter_takes_no_data_for_a_return_address() {
        let images = Images::capture();
        let start = 0x7fff_0000;
        let registers = Registers { rip: 0, rsp: start, rbp: start, ..Registers::default() };
        let data = words(&[start + 16, 0x1234, start + 32, 0x5678, 0, 0]);
        assert_eq!(images.unwind(&registers, &data, 9), [0]);
        // After a jump instead of a call, the frame pointer may still lead to code.
        let frame = words(&[start + 16, code() + 1]);
        assert_eq!(images.unwind(&registers, &frame, 9), [0, code() + 1]);
    }

    #[test]
    fn a_frame_pointer_that_leads_back_ends_the_walk() {
        let images = Images::capture();
        let start = 0x7fff_0000;
        // Not code, so frame pointers are followed; the only frame points at itself.
        let registers = Registers { rip: 0x10, rsp: start, rbp: start + 16, ..Registers::default() };
        let stack = words(&[0, 0, start + 16, code() + 1, start + 16, code() + 1]);
        assert!(images.unwind(&registers, &stack, 1000).len() < 4);
    }

    #[test]
    fn an_impossible_stack_pointer_leaves_the_program_counter_alone() {
        let images = Images::capture();
        for rsp in [0, 7, 8, LOWEST - 1, HIGHEST, i64::MAX as u64, u64::MAX - 7, u64::MAX] {
            let registers = Registers { rip: code(), rsp, rbp: rsp, ..Registers::default() };
            assert_eq!(images.unwind(&registers, &words(&[code(); 64]), 9), [code()], "{rsp:#x}");
        }
    }
}
