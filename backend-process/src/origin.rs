//! Whether this process is the one that built its sandboxes, or was forked from it by the application.
//!
//! # Safety
//! Reads and marks one word of a page that is mapped for the life of the process.
#![expect(unsafe_code, reason = "volatile access to a page that the kernel wipes in children")]

use std::sync::OnceLock;

use ringfence_core::Error;

use crate::mapping::{Mapping, PAGE_BYTES};

/// A page that holds [`MARK`] here and zeroes in every child, however it was forked.
static PAGE: OnceLock<Mapping> = OnceLock::new();
const MARK: u64 = 0x7269_6e67_6665_6e63;

/// Marks this process as the one that builds sandboxes.
pub(crate) fn mark() -> Result<(), Error> {
    if PAGE.get().is_some() {
        return if is_forked() { Err(Error::Forked) } else { Ok(()) };
    }
    let page = Mapping::private(PAGE_BYTES)?;
    page.wipe_in_children()?;
    // SAFETY: the page is fresh, writable, aligned and known to nobody else.
    unsafe { page.start().cast::<u64>().write_volatile(MARK) };
    // Two threads that race here both hold a marked page, and one of them is dropped.
    let _ = PAGE.set(page);
    Ok(())
}

/// Makes this process, forked from one that builds sandboxes, the owner of what it maps from now on: a zygote.
pub(crate) fn adopt() {
    if let Some(page) = PAGE.get() {
        // SAFETY: the page is mapped, writable and aligned; this process has one thread.
        unsafe { page.start().cast::<u64>().write_volatile(MARK) };
    }
}

/// Whether sandboxes were built before this process was forked. One load.
pub(crate) fn is_forked() -> bool {
    PAGE.get().is_some_and(|page| {
        // SAFETY: the page is mapped for the life of the process and of its children, which see it wiped; the only write to it
        // happened before it was published.
        let mark = unsafe { page.start().cast::<u64>().read_volatile() };
        mark != MARK
    })
}
