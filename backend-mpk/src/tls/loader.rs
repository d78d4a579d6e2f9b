//! What the dynamic loader knows of a thread's block.
//!
//! # Safety
//! The symbols are glibc's, found by name and used as glibc declares them: `_dl_get_tls_static_info` as the sanitizers'
//! run-times have since 2010, `_thread_db_sizeof_pthread` as `libthread_db` does, `__rseq_offset` and `__rseq_size` as
//! `<sys/rseq.h>` says.
#![expect(unsafe_code, reason = "dlsym, and reads of what it found")]

use std::arch::asm;
use std::ffi::{CStr, c_void};
use std::mem;
use std::ptr::NonNull;

use super::Error;

/// Beyond what a sane program has.
const BLOCK_BYTES_MAX: usize = 64 << 20;
/// A page: a stack, and so the block at its end, is aligned to no more.
const ALIGN_BYTES_MAX: usize = 4096;

/// Sizes and offsets that are the same for every thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// From the lowest static thread-local to the end of `struct pthread`.
    pub(super) block_bytes: usize,
    /// `struct pthread`, which the thread pointer points at and which ends the block.
    pub(super) pthread_bytes: usize,
    /// Of the thread pointer.
    pub(super) align_bytes: usize,
    /// From the thread pointer to the restartable-sequences area; none before glibc 2.35, and where a tunable turned it off.
    pub(super) rseq_offset: Option<isize>,
}

impl Layout {
    /// Asks the loader.
    pub(super) fn find() -> Result<Self, Error> {
        let (block_bytes, align_bytes) = static_info()?;
        let size = symbol(c"_thread_db_sizeof_pthread", "_thread_db_sizeof_pthread")?;
        // SAFETY: a `const uint32_t` in every glibc that exports it, constant and never unloaded.
        let pthread_bytes = unsafe { size.cast::<u32>().read() } as usize;
        let layout = Self { block_bytes, pthread_bytes, align_bytes, rseq_offset: rseq_offset() };
        layout.check()
    }

    /// Whether blocks of this layout can be handled: words stay words, and the head and its fields are in the block.
    pub(super) fn check(self) -> Result<Self, Error> {
        let words = |bytes: usize| bytes.is_multiple_of(size_of::<usize>());
        let align = self.align_bytes;
        if !align.is_power_of_two() || !(16..=ALIGN_BYTES_MAX).contains(&align) {
            return Err(Error::Layout("its alignment"));
        }
        if !words(self.block_bytes) || self.block_bytes > BLOCK_BYTES_MAX {
            return Err(Error::Layout("its size"));
        }
        // 0x80 bytes: `tcbhead_t` up to the shadow stack's base.
        if !words(self.pthread_bytes) || !(0x80..=self.block_bytes).contains(&self.pthread_bytes) {
            return Err(Error::Layout("the size of `struct pthread`"));
        }
        Ok(self)
    }

    /// From the start of the block to where the thread pointer points.
    pub(super) fn head(self) -> usize {
        self.block_bytes - self.pthread_bytes
    }
}

/// The static block's size, `struct pthread` included, and alignment.
fn static_info() -> Result<(usize, usize), Error> {
    type Info = unsafe extern "C" fn(*mut usize, *mut usize);
    let address = symbol(c"_dl_get_tls_static_info", "_dl_get_tls_static_info")?;
    // SAFETY: `void (size_t *, size_t *)` on x86-64 in every glibc that exports it; a function is never at null.
    let info = unsafe { mem::transmute::<NonNull<c_void>, Info>(address) };
    let (mut bytes, mut align) = (0, 0);
    // SAFETY: stores one size through each pointer, and both are live variables'.
    unsafe { info(&raw mut bytes, &raw mut align) };
    Ok((bytes, align))
}

/// From the thread pointer to the restartable-sequences area that glibc registers for each thread (2.35 and later, unless a tunable forbids it).
pub(crate) fn rseq_offset() -> Option<isize> {
    let size = symbol(c"__rseq_size", "__rseq_size").ok()?;
    let offset = symbol(c"__rseq_offset", "__rseq_offset").ok()?;
    // SAFETY: `const unsigned int`, set before the program began and never unloaded.
    let bytes = unsafe { size.cast::<u32>().read() };
    // SAFETY: `const ptrdiff_t`, likewise.
    let offset = unsafe { offset.cast::<isize>().read() };
    (bytes > 0).then_some(offset)
}

fn symbol(name: &'static CStr, text: &'static str) -> Result<NonNull<c_void>, Error> {
    // SAFETY: the name is a C string, and the handle is the one that stands for the whole program.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }).ok_or(Error::Symbol(text))
}

/// The FS base of this thread, read from the thread's own head, so without FSGSBASE.
pub(crate) fn thread_pointer() -> usize {
    let base: usize;
    // SAFETY: in a thread the C library made, FS points at the thread's head, whose first word is its own address: the ABI of
    // thread-local storage on x86-64. One read, no stack, no flags; not `pure`, because FS can change.
    unsafe { asm!("mov {}, fs:0", out(reg) base, options(nostack, readonly, preserves_flags)) };
    base
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLIBC_2_36: Layout =
        Layout { block_bytes: 4224, pthread_bytes: 2304, align_bytes: 64, rseq_offset: Some(2464) };

    #[test]
    fn layouts_that_cannot_be_handled_are_refused() {
        assert_eq!(GLIBC_2_36.check().unwrap(), GLIBC_2_36);
        for bad in [
            Layout { align_bytes: 0, ..GLIBC_2_36 },
            Layout { align_bytes: 8, ..GLIBC_2_36 },
            Layout { align_bytes: 48, ..GLIBC_2_36 },
            Layout { align_bytes: 2 * ALIGN_BYTES_MAX, ..GLIBC_2_36 },
            Layout { block_bytes: 4228, ..GLIBC_2_36 },
            Layout { block_bytes: usize::MAX - 7, ..GLIBC_2_36 },
            Layout { block_bytes: 1024, ..GLIBC_2_36 },
            Layout { pthread_bytes: 0x78, ..GLIBC_2_36 },
            Layout { pthread_bytes: 2301, ..GLIBC_2_36 },
        ] {
            assert!(matches!(bad.check(), Err(Error::Layout(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_symbol_that_is_not_there_is_named() {
        let error = symbol(c"_dl_get_nothing", "_dl_get_nothing").unwrap_err();
        assert_eq!(error.to_string(), "the C library does not export `_dl_get_nothing`");
    }

    #[test]
    fn the_thread_pointer_points_at_itself() {
        let base = thread_pointer();
        let word = std::ptr::with_exposed_provenance::<usize>(base);
        // SAFETY: the head of the thread that runs this.
        assert_eq!(unsafe { word.read_volatile() }, base);
    }
}
