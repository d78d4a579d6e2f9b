//! One block of memory for each thread that enters domains: its control block, its signal stack, its handler stack.
//!
//! The signal entry finds the control block from the stack pointer, so blocks are aligned to their size and lie in one range.
//!
//! ```text
//! 0         4 KiB   8 KiB          40 KiB  44 KiB          500 KiB  512 KiB
//! │ control │ guard │ signal stack │ guard │ handler stack │ guard │
//! ```
//!
//! # Safety
//! The range is reserved once and never given back; a block is handed to one thread at a time.
#![expect(unsafe_code, reason = "mmap, mprotect, and control blocks in mapped memory")]

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect};
use ringfence_core::Error;

use crate::control::Control;
use crate::region::{PAGE_BYTES, non_zero};

/// The start of the range; zero before it is reserved.
pub(crate) static ARENA: AtomicU64 = AtomicU64::new(0);
/// Bytes of one thread's block.
pub(crate) const BLOCK_BYTES: usize = 512 << 10;
/// Threads that may have entered domains and still live.
const BLOCKS: usize = 2048;
/// Bytes of the range.
pub(crate) const ARENA_BYTES: usize = BLOCKS * BLOCK_BYTES;

const SIGNAL_STACK: Range<usize> = 8 << 10..40 << 10;
const HANDLER_STACK: Range<usize> = 44 << 10..500 << 10;

/// Bytes the kernel may put a signal frame in.
pub(crate) const SIGNAL_STACK_BYTES: usize = SIGNAL_STACK.end - SIGNAL_STACK.start;

static BLOCKS_TAKEN: Mutex<Blocks> = Mutex::new(Blocks { used: 0, free: Vec::new() });

#[derive(Debug)]
struct Blocks {
    /// Blocks that were ever handed out.
    used: usize,
    /// Of these, the ones that came back.
    free: Vec<Block>,
}

/// A thread's block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    start: NonNull<u8>,
}

// SAFETY: a block is an address; what lies there is handed to one thread at a time.
unsafe impl Send for Block {}

impl Block {
    /// A block nobody has, with a pristine control block.
    pub(crate) fn take() -> Result<Self, Error> {
        let mut blocks = BLOCKS_TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = blocks.free.pop() {
            return Ok(block);
        }
        let arena = reserve()?;
        if blocks.used == BLOCKS {
            return Err(Error::os("enter a domain from one more thread", nix::errno::Errno::EAGAIN));
        }
        // SAFETY: below BLOCKS blocks are used, so the sum stays in the reserved range.
        let start = unsafe { arena.add(blocks.used * BLOCK_BYTES) };
        let block = Self { start };
        for part in [0..PAGE_BYTES, SIGNAL_STACK, HANDLER_STACK] {
            block.commit(part)?;
        }
        blocks.used += 1;
        Ok(block)
    }

    /// Gives it back. No thread has its signal stack there any more.
    pub(crate) fn give_back(self) {
        BLOCKS_TAKEN.lock().unwrap_or_else(PoisonError::into_inner).free.push(self);
    }

    fn commit(self, part: Range<usize>) -> Result<(), Error> {
        let bytes = part.end - part.start;
        // SAFETY: the part lies in the block.
        let start = unsafe { self.start.add(part.start) };
        // SAFETY: the part belongs to this block, which nobody uses yet.
        let committed =
            unsafe { mprotect(start.cast(), bytes, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE) };
        committed.map_err(|errno| Error::os("commit a thread's block", errno))
    }

    /// The block of a control block.
    pub(crate) fn of(control: &'static Control) -> Self {
        Self { start: NonNull::from(control).cast() }
    }

    /// The control block at its start.
    pub(crate) fn control(self) -> &'static Control {
        // SAFETY: the page is mapped, readable and writable for the life of the process, aligned beyond what is asked for; zeroes, and
        // whatever an earlier owner left, are a value of atomics.
        unsafe { self.start.cast::<Control>().as_ref() }
    }

    /// The addresses of the signal stack.
    pub(crate) fn signal_stack_addresses(self) -> Range<u64> {
        let start = self.start.as_ptr() as u64;
        start + SIGNAL_STACK.start as u64..start + SIGNAL_STACK.end as u64
    }

    /// The lowest address of the signal stack.
    pub(crate) fn signal_stack(self) -> NonNull<u8> {
        // SAFETY: inside the block.
        unsafe { self.start.add(SIGNAL_STACK.start) }
    }

    /// The top of the handler stack.
    pub(crate) fn handler_stack_top(self) -> u64 {
        self.start.as_ptr() as u64 + HANDLER_STACK.end as u64
    }
}

const _: () = assert!(size_of::<Control>() <= PAGE_BYTES);

/// The range, reserved at the first call.
fn reserve() -> Result<NonNull<u8>, Error> {
    let start = ARENA.load(Ordering::Relaxed);
    if let Some(start) = NonNull::new(start as *mut u8) {
        return Ok(start);
    }
    let bytes = non_zero(ARENA_BYTES + BLOCK_BYTES)?;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
    // SAFETY: no address is asked for, so no existing mapping is touched.
    let mapped = unsafe { mmap_anonymous(None, bytes, ProtFlags::PROT_NONE, flags) };
    let mapped = mapped.map_err(|errno| Error::os("reserve the threads' blocks", errno))?;
    let slack = mapped.as_ptr().addr().wrapping_neg() % BLOCK_BYTES;
    // SAFETY: the slack is less than a block, by which the mapping is larger than the range.
    let start = unsafe { mapped.cast::<u8>().add(slack) };
    ARENA.store(start.as_ptr() as u64, Ordering::Release);
    Ok(start)
}
