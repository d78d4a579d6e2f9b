//! Any sequence of allocations, resizings and frees: memory is apart, aligned, keeps its content, and is zero where it must be.
//!
//! # Safety
//! A block is live from the call that made it to the one that gives it back, and is written within its usable size.
#![cfg(all(feature = "interpose", target_env = "gnu"))]
#![expect(unsafe_code, reason = "calls to the C library")]

mod support;

use std::ffi::c_void;
use std::ptr;

use proptest::prelude::*;
use support::{Domain, calloc, malloc, memalign};

#[derive(Clone, Debug)]
enum Step {
    Malloc(usize),
    Calloc(usize),
    /// The alignment's logarithm, and the size.
    Memalign(u32, usize),
    /// Which block, counted round those that live.
    Realloc(usize, usize),
    Free(usize),
}

fn bytes() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..600_usize, 3 => 600..9000_usize, 1 => 9000..200_000_usize]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => bytes().prop_map(Step::Malloc),
        3 => bytes().prop_map(Step::Calloc),
        2 => (0..14_u32, bytes()).prop_map(|(align, bytes)| Step::Memalign(align, bytes)),
        3 => (any::<usize>(), bytes()).prop_map(|(block, bytes)| Step::Realloc(block, bytes)),
        5 => any::<usize>().prop_map(Step::Free),
    ]
}

/// A live allocation, filled with one byte from end to end.
struct Block {
    memory: *mut c_void,
    usable_bytes: usize,
    fill: u8,
}

struct Run<'a> {
    domain: &'a Domain,
    blocks: Vec<Block>,
    next_fill: u8,
    refused: u64,
}

impl Run<'_> {
    /// Takes in what an allocating call answered, and fills it. `kept` is how many bytes of which fill it must begin with.
    fn take(&mut self, memory: *mut c_void, asked_bytes: usize, align: usize, kept: Option<(usize, u8)>) {
        if memory.is_null() {
            self.refused += 1;
            return;
        }
        // SAFETY: a live allocation.
        let usable_bytes = self.domain.within(|| unsafe { libc::malloc_usable_size(memory) });
        assert!(usable_bytes >= asked_bytes);
        assert!(memory.addr().is_multiple_of(align));
        let (start, end) = (memory.addr(), memory.addr() + usable_bytes);
        assert!(self.domain.holds(memory) && self.domain.holds(memory.wrapping_byte_add(usable_bytes)));
        for block in &self.blocks {
            let other = (block.memory.addr(), block.memory.addr() + block.usable_bytes);
            assert!(end <= other.0 || other.1 <= start, "blocks overlap");
        }
        if let Some((bytes, fill)) = kept {
            // SAFETY: no more than what was asked for.
            let kept = unsafe { std::slice::from_raw_parts(memory.cast::<u8>(), bytes) };
            assert!(kept.iter().all(|byte| *byte == fill));
        }
        self.next_fill = self.next_fill % 255 + 1;
        let block = Block { memory, usable_bytes, fill: self.next_fill };
        // SAFETY: the whole of the usable size.
        unsafe { memory.cast::<u8>().write_bytes(block.fill, usable_bytes) };
        self.blocks.push(block);
    }

    /// Lets go of a live block, after a look at its content.
    fn leave(&mut self, which: usize) -> Option<Block> {
        if self.blocks.is_empty() {
            return None;
        }
        let block = self.blocks.swap_remove(which % self.blocks.len());
        // SAFETY: live, and filled from end to end.
        let content = unsafe { std::slice::from_raw_parts(block.memory.cast::<u8>(), block.usable_bytes) };
        assert!(content.iter().all(|byte| *byte == block.fill), "another call wrote into a live block");
        Some(block)
    }

    fn free(&mut self, which: usize) {
        if let Some(block) = self.leave(which) {
            // SAFETY: live, and not used after.
            self.domain.within(|| unsafe { libc::free(block.memory) });
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Malloc(bytes) => {
                let memory = self.domain.within(|| malloc(bytes));
                self.take(memory, bytes, 16, None);
            }
            Step::Calloc(bytes) => {
                let memory = self.domain.within(|| calloc(1, bytes));
                self.take(memory, bytes, 16, Some((bytes, 0)));
            }
            Step::Memalign(align, bytes) => {
                let align = 1 << align;
                let memory = self.domain.within(|| memalign(align, bytes));
                self.take(memory, bytes, align.max(16), None);
            }
            Step::Realloc(which, bytes) => {
                let Some(block) = self.leave(which) else { return };
                // SAFETY: the block is live; where the answer is null it stays so.
                let memory = self.domain.within(|| unsafe { libc::realloc(block.memory, bytes) });
                let kept = Some((block.usable_bytes.min(bytes), block.fill));
                if memory.is_null() && bytes != 0 {
                    self.blocks.push(block);
                }
                self.refused -= u64::from(bytes == 0);
                self.take(memory, bytes, 16, kept);
            }
            Step::Free(which) => self.free(which),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_keeps_the_heap_whole(steps in prop::collection::vec(step(), 1..300)) {
        let domain = Domain::new(1 << 20);
        // One more than none, so that a size of zero can be taken from it.
        let mut run = Run { domain: &domain, blocks: Vec::new(), next_fill: 0, refused: 1 };
        for step in &steps {
            run.step(step);
        }
        prop_assert_eq!(domain.refusals() + 1, run.refused);
        while !run.blocks.is_empty() {
            run.free(0);
        }
        // All of it is one piece again.
        let memory = domain.within(|| malloc(1_000_000));
        prop_assert!(!memory.is_null());
    }
}

#[test]
fn a_full_heap_refuses_and_counts_and_serves_again_after_a_free() {
    let domain = Domain::new(256 << 10);
    let mut blocks = Vec::new();
    loop {
        let (memory, errno) = domain.within(|| support::errno_of(|| malloc(1000)));
        if memory.is_null() {
            assert_eq!(errno, libc::ENOMEM);
            break;
        }
        blocks.push(memory);
    }
    assert!(blocks.len() > 240, "nearly all of the region was given out: {}", blocks.len());
    assert_eq!(domain.refusals(), 1);
    assert_eq!(domain.within(|| calloc(10, 1000)), ptr::null_mut());
    assert_eq!(domain.within(|| memalign(64, 1000)), ptr::null_mut());
    assert_eq!(domain.refusals(), 3);
    for memory in blocks {
        // SAFETY: live, and not used after.
        domain.within(|| unsafe { libc::free(memory) });
    }
    assert!(!domain.within(|| malloc(250_000)).is_null());
    assert_eq!(domain.refusals(), 3);
}
