//! The host process: its heap's settings, and a host that has grown.
//!
//! # Safety
//! `Ballast` writes only the mapping it made and owns.

#![expect(unsafe_code, reason = "mallopt and a private mapping")]

use std::io;
use std::ptr;

/// Keeps freed memory in the process, here and in every child forked afterwards.
///
/// A vector of 1 MiB would otherwise be mapped, faulted in and unmapped in some variants and not in others, according to what was
/// freed before; the faults cost four times the copies. Called before the first variant is made.
pub(crate) fn keep_heap_resident() -> io::Result<()> {
    const MMAP_THRESHOLD_BYTES: i32 = 32 << 20;
    const TRIM_THRESHOLD_BYTES: i32 = 512 << 20;
    // SAFETY: mallopt takes two numbers; called from the only thread, before the settings matter.
    let mapped = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES) };
    // SAFETY: as above.
    let trimmed = unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES) };
    if mapped == 1 && trimmed == 1 { Ok(()) } else { Err(io::Error::other("mallopt refused a threshold")) }
}

/// How many tasks ran or waited to run in the last minute, on average: above 1 before a run, something else disturbs it.
pub(crate) fn load_average() -> io::Result<String> {
    let line = std::fs::read_to_string("/proc/loadavg")?;
    Ok(line.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Private memory that a fork has to copy the page tables of; given back when dropped.
///
/// Made of touched 4 KiB pages, the case of a host with a fragmented heap: huge pages would make the fork about five times cheaper.
pub(crate) struct Ballast {
    base: *mut libc::c_void,
    len_bytes: usize,
}

impl Ballast {
    pub(crate) fn new(len_bytes: usize) -> io::Result<Self> {
        // SAFETY: a null hint without MAP_FIXED replaces no mapping; an anonymous mapping ignores the descriptor.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let ballast = Self { base, len_bytes };
        ballast.advise(libc::MADV_NOHUGEPAGE)?;
        ballast.advise(libc::MADV_POPULATE_WRITE)?;
        Ok(ballast)
    }

    fn advise(&self, advice: i32) -> io::Result<()> {
        // SAFETY: the range is exactly the mapping of this ballast, and neither advice used here changes its bytes.
        let rc = unsafe { libc::madvise(self.base, self.len_bytes, advice) };
        if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        // SAFETY: the range is exactly the mapping `new` made, and nothing refers into it.
        let _ = unsafe { libc::munmap(self.base, self.len_bytes) };
    }
}
