//! Whether this process is the one that built its sandboxes, or was forked from it by the application.
//!
//! A backend asks before it uses what a forked child does not have: descriptors of other processes, mappings kept from children,
//! threads.
//!
//! # Safety
//! One page is mapped for the life of the process, and used as an atomic word.
#![expect(unsafe_code, reason = "maps a page that the kernel wipes in children")]

use std::io;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;

/// A word that holds [`MARK`] here and zero in every child, however it was forked.
static WORD: OnceLock<&'static AtomicU64> = OnceLock::new();
const MARK: u64 = 0x7269_6e67_6665_6e63;

/// What is mapped: a page of x86-64.
const PAGE_BYTES: usize = 4096;

/// Marks this process as the one that builds sandboxes. Further calls change nothing.
///
/// # Errors
/// [`Error::Forked`] in a child of a process that was marked; [`Error::Os`] where the kernel refuses a page, or cannot wipe one in
/// children (before Linux 4.14).
///
/// # Cost
/// Two system calls the first time, and then as [`is_forked`].
pub fn mark() -> Result<(), Error> {
    if WORD.get().is_some() {
        return if is_forked() { Err(Error::Forked) } else { Ok(()) };
    }
    let page = map()?;
    wipe_in_children(page)?;
    // SAFETY: the page is aligned and writable, zeroes are a value of the type, nobody else knows of it, and from here on it is never
    // unmapped. What is wiped is the copy of a child, at the moment it comes to be.
    let word: &'static AtomicU64 = unsafe { page.cast().as_ref() };
    word.store(MARK, Ordering::Relaxed);
    // Where another thread was first its word counts, and this one stays mapped, unused.
    let _ = WORD.set(word);
    Ok(())
}

/// Makes this process, forked from one that builds sandboxes, the owner of what it maps from now on.
pub fn adopt() {
    if let Some(word) = WORD.get() {
        word.store(MARK, Ordering::Relaxed);
    }
}

/// Whether sandboxes were built before this process was forked.
///
/// # Cost
/// Two loads, no system call.
#[must_use]
#[inline]
pub fn is_forked() -> bool {
    WORD.get().is_some_and(|word| word.load(Ordering::Relaxed) != MARK)
}

/// A fresh page, private to the process.
fn map() -> Result<NonNull<libc::c_void>, Error> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: no address is asked for, so no existing mapping is touched.
    let page = unsafe { libc::mmap(ptr::null_mut(), PAGE_BYTES, protection, flags, -1, 0) };
    match NonNull::new(page) {
        Some(page) if page.as_ptr() != libc::MAP_FAILED => Ok(page),
        _ => Err(Error::os("map a page", io::Error::last_os_error())),
    }
}

/// Gives children forked from now on zeroes in the page's place. A page for which that is refused is given back.
fn wipe_in_children(page: NonNull<libc::c_void>) -> Result<(), Error> {
    // SAFETY: the range is one page that this module mapped; the advice changes nothing that this process sees.
    let advised = unsafe { libc::madvise(page.as_ptr(), PAGE_BYTES, libc::MADV_WIPEONFORK) };
    if advised == 0 {
        return Ok(());
    }
    let refused = io::Error::last_os_error();
    // SAFETY: the page was mapped by this module and nobody else knows of it. A failure leaves it mapped, which does no harm.
    let _ = unsafe { libc::munmap(page.as_ptr(), PAGE_BYTES) };
    Err(Error::os("wipe memory in children", refused))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `work` comes to in a forked child.
    fn in_a_child(work: fn() -> bool) -> bool {
        // SAFETY: the child runs `work`, which takes no lock and allocates nothing, and ends in `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: takes any number and does not return.
            unsafe { libc::_exit(i32::from(work())) }
        }
        let mut status = 0;
        // SAFETY: writes a local.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert!(waited == pid && libc::WIFEXITED(status));
        libc::WEXITSTATUS(status) == 1
    }

    #[test]
    fn a_child_is_told_from_the_process_that_was_marked() {
        assert!(!is_forked() && !in_a_child(is_forked), "nobody was marked");
        for _ in 0..2 {
            mark().unwrap();
            assert!(!is_forked());
        }
        assert!(in_a_child(is_forked));
        assert!(in_a_child(|| matches!(mark(), Err(Error::Forked))));
        assert!(in_a_child(|| {
            adopt();
            !is_forked() && mark().is_ok()
        }));
        assert!(!is_forked(), "what a child does is its own");
    }
}
