//! The block of a thread that has just begun.
//!
//! # Safety
//! The thread is started by `pthread_create` and not by `std`, so no thread-local of Rust's is touched on it before its block
//! is copied, and it is joined before anything it was given is used again or freed. It copies its own block, found within its
//! own stack, which the caller provided: whatever the sizes say, no other memory is read. The DTV, which the C library
//! allocated, is read to the length that the C library keeps with it.
#![expect(unsafe_code, reason = "a raw thread, and reads of its block")]

use std::ffi::c_void;
use std::mem::{self, MaybeUninit};
use std::ops::Range;
use std::ptr::{self, NonNull};

use nix::sys::signal::{SigSet, SigmaskHow};

use super::image::Original;
use super::loader::{Layout, thread_pointer};
use super::{Error, HEADER_SLOTS, Image, Slot, head};

/// Room for the thread's frames beside its block.
const FRAMES_BYTES: usize = 256 << 10;
/// Thread-local storage of more modules than this is not copied.
const SLOTS_MAX: usize = 4096;

/// What every domain's block is made from: the block of a fresh thread.
#[derive(Debug)]
pub(crate) struct Template(Original);

impl Template {
    /// Starts a thread, copies its block and DTV, and waits for its end. Libraries whose thread-locals are to exist inside
    /// must be loaded.
    ///
    /// # Errors
    /// [`Error::Symbol`] and [`Error::Layout`] with a C library that is laid out in an unknown way, [`Error::Thread`] if the
    /// system refuses a thread.
    ///
    /// # Cost
    /// One thread and its end, and some 400 KiB for as long.
    pub(crate) fn capture() -> Result<Self, Error> {
        let layout = Layout::find()?;
        let pages = (layout.block_bytes + FRAMES_BYTES).div_ceil(size_of::<Page>());
        let mut stack = vec![Page([0; _]); pages];
        let start = stack.as_mut_ptr().expose_provenance();
        let mut visit = Box::new(Visit {
            layout,
            stack: start..start + pages * size_of::<Page>(),
            words: vec![0; layout.block_bytes / size_of::<usize>()],
            slots: vec![[0; 2]; SLOTS_MAX + HEADER_SLOTS],
            found: Err(Error::Layout("no thread looked")),
        });
        match run(&mut stack, (&raw mut *visit).cast()) {
            Ok(()) => {}
            Err(Ended::Never(error)) => return Err(error),
            Err(Ended::Unknown(error)) => {
                // The thread may still use both.
                mem::forget((stack, visit));
                return Err(error);
            }
        }
        let Visit { layout, stack, words, mut slots, found } = *visit;
        let Found { address, slots: length } = found?;
        slots.truncate(length);
        Ok(Self(Original { layout, address, stack, words, slots }))
    }

    /// Room for one block with its DTV, wherever it begins.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// The block as it belongs at the first suitable address in the `bytes` from `start` on. Nothing is written there yet.
    ///
    /// # Errors
    /// [`Error::Room`], if there are fewer than [`bytes`](Self::bytes).
    pub(crate) fn image(&self, start: NonNull<u8>, bytes: usize, random: [u8; 16]) -> Result<Image, Error> {
        self.0.image(start, bytes, random)
    }
}

/// The thread's stack is made of these: memory that is zero where nothing was stored, unlike a stack that the C library
/// reuses, and whose bounds are known.
#[derive(Clone)]
#[repr(C, align(4096))]
struct Page([u8; 4096]);

/// What the thread is to look at and where it puts what it finds.
struct Visit {
    layout: Layout,
    stack: Range<usize>,
    words: Vec<usize>,
    slots: Vec<Slot>,
    found: Result<Found, Error>,
}

struct Found {
    /// Of the block.
    address: usize,
    /// Of the DTV, the two before the modules' included.
    slots: usize,
}

/// Why a thread did not run to its end.
enum Ended {
    /// It was not started.
    Never(Error),
    /// It was started and could not be joined.
    Unknown(Error),
}

/// Runs [`begin`] on a thread with every signal blocked, so that no handler stores to the block before it is copied.
fn run(stack: &mut [Page], visit: *mut c_void) -> Result<(), Ended> {
    let refused = |operation, errno| Error::Thread { operation, errno };
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: initialises the attributes at a valid address.
    let errno = unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) };
    if errno != 0 {
        return Err(Ended::Never(refused("prepare a thread", errno)));
    }
    // SAFETY: `pthread_attr_init` succeeded.
    let mut attributes = unsafe { attributes.assume_init() };
    // SAFETY: the attributes are initialised; the stack is aligned to pages, borrowed for as long as this function runs, and
    // used for nothing else until the thread ended, which the caller sees to if it is not known here.
    let mut errno = unsafe {
        libc::pthread_attr_setstack(&raw mut attributes, stack.as_mut_ptr().cast(), size_of_val(stack))
    };
    let mut thread = 0;
    if errno == 0 {
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
        // SAFETY: the attributes are initialised; `begin` takes the address of a `Visit`, which outlives the thread for the
        // same reason as the stack.
        errno = unsafe { libc::pthread_create(&raw mut thread, &raw const attributes, begin, visit) };
        if let Ok(mask) = mask {
            // Cannot fail: a mask this thread had.
            let _ = mask.thread_set_mask();
        }
    }
    // SAFETY: initialised above and destroyed once.
    unsafe { libc::pthread_attr_destroy(&raw mut attributes) };
    if errno != 0 {
        return Err(Ended::Never(refused("start a thread", errno)));
    }
    // SAFETY: the thread was created joinable and is joined once; the result is not asked for.
    match unsafe { libc::pthread_join(thread, ptr::null_mut()) } {
        0 => Ok(()),
        errno => Err(Ended::Unknown(refused("join a thread", errno))),
    }
}

/// The thread. No allocation, no panic and no thread-local on the way: each could store to the block.
extern "C" fn begin(visit: *mut c_void) -> *mut c_void {
    // SAFETY: `capture` hands over the address of a `Visit` and does not touch it before this thread ended.
    let visit = unsafe { &mut *visit.cast::<Visit>() };
    visit.found = visit.look();
    ptr::null_mut()
}

impl Visit {
    /// Copies the block and DTV of the thread that runs this.
    fn look(&mut self) -> Result<Found, Error> {
        let fs_base = thread_pointer();
        let address =
            fs_base.checked_sub(self.layout.head()).filter(|start| start.is_multiple_of(size_of::<Slot>()));
        let address = address.ok_or(Error::Layout("its address"))?;
        if address < self.stack.start || address > self.stack.end - self.layout.block_bytes {
            return Err(Error::Layout("it is not on the thread's stack"));
        }
        let block = ptr::with_exposed_provenance::<usize>(address);
        // SAFETY: the block is within the stack, as was just checked, which is mapped and initialised; this thread, whose
        // frames lie elsewhere in it, is the only one that stores there. The address is aligned for words, and `words` has
        // the block's length.
        unsafe { ptr::copy_nonoverlapping(block, self.words.as_mut_ptr(), self.words.len()) };
        let word =
            |offset: usize| self.words.get((self.layout.head() + offset) / size_of::<usize>()).copied();
        if word(head::TCB) != Some(fs_base) || word(head::SELF) != Some(fs_base) {
            return Err(Error::Layout("it does not point at itself"));
        }
        let slots = self.copy_slots(word(head::DTV).unwrap_or(0))?;
        let block = address..address + self.layout.block_bytes;
        if !self.slots[HEADER_SLOTS..slots].iter().any(|slot| block.contains(&slot[0])) {
            return Err(Error::Layout("its table of modules does not point into it"));
        }
        Ok(Found { address, slots })
    }

    /// Copies the DTV whose slot 0 is at `address`, and answers how many slots there are from `[-1]` on.
    fn copy_slots(&mut self, address: usize) -> Result<usize, Error> {
        let first = address.checked_sub(size_of::<Slot>());
        let first = first.filter(|first| *first != 0 && first.is_multiple_of(align_of::<Slot>()));
        let first = first.ok_or(Error::Layout("the address of its table of modules"))?;
        let first = ptr::with_exposed_provenance::<Slot>(first);
        // SAFETY: the head of a thread, recognised by its self pointers, has there the address of slot 0 of the thread's DTV,
        // which glibc allocated with slot -1 before it and changes on this thread only. Aligned, as was just checked.
        let count = unsafe { first.read() }[0];
        if count > SLOTS_MAX {
            return Err(Error::Layout("the length of its table of modules"));
        }
        let slots = count + HEADER_SLOTS;
        // SAFETY: as above; slot -1 counts the slots of modules, and `self.slots` has room for the most there can be.
        unsafe { ptr::copy_nonoverlapping(first, self.slots.as_mut_ptr(), slots) };
        Ok(slots)
    }
}
