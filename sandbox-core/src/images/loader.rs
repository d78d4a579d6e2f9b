//! The dynamic loader's list of objects, and a bounded look into their read-only memory.
//!
//! # Safety
//! Everything here rests on two facts about `dl_iterate_phdr(3)`. The loader holds its list's lock while the callback
//! runs, so no object on the list is unmapped before the callback returns; and what it hands out is valid for that
//! long. An [`Object`] is made only in [`visit`] and borrows from that call, so it cannot outlive the lock. The one
//! thing asked of the rest of the process is that nobody unmaps the read-only segments of a loaded object behind the
//! loader's back, which the object's own code relies on as well.
#![expect(unsafe_code, reason = "dl_iterate_phdr speaks in raw pointers, and the objects are read in place")]

use std::any::Any;
use std::ffi::{CStr, OsStr, c_int, c_void};
use std::ops::{ControlFlow, Range};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::{ptr, slice};

/// How often the loader has added and removed objects: equal generations mean an equal list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation {
    /// Objects ever loaded.
    pub(super) adds: u64,
    /// Objects ever unloaded.
    pub(super) subs: u64,
}

/// One object on the loader's list, for as long as the loader's lock is held.
pub(super) struct Object<'lock> {
    info: &'lock libc::dl_phdr_info,
    headers: &'lock [libc::Elf64_Phdr],
}

impl Object<'_> {
    /// The file the object was loaded from, as the loader was told; empty for the executable itself.
    pub(super) fn name(&self) -> &OsStr {
        if self.info.dlpi_name.is_null() {
            return OsStr::new("");
        }
        // SAFETY: not null (above), and the loader's `dlpi_name` is then a NUL-terminated string that belongs to the
        // link map, which the loader's lock keeps alive and unchanged for `'lock`, longer than the borrow of `self`.
        let name = unsafe { CStr::from_ptr(self.info.dlpi_name) };
        OsStr::from_bytes(name.to_bytes())
    }

    /// What is added to an address in the object's file to get the address in this process.
    pub(super) fn bias(&self) -> usize {
        self.info.dlpi_addr as usize
    }

    /// The loader's counters at the time of this visit.
    pub(super) fn generation(&self) -> Generation {
        Generation { adds: self.info.dlpi_adds, subs: self.info.dlpi_subs }
    }

    /// Where each program header of type `kind` that has all of `flags` lies in this process.
    pub(super) fn segments(&self, kind: u32, flags: u32) -> impl Iterator<Item = Range<usize>> {
        let wanted =
            move |header: &&libc::Elf64_Phdr| header.p_type == kind && header.p_flags & flags == flags;
        self.headers.iter().filter(wanted).filter_map(|header| self.extent(header, header.p_memsz))
    }

    /// The read-only loaded segment that holds `address`.
    pub(super) fn read_only_segment(&self, address: usize) -> Option<Range<usize>> {
        self.headers
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD)
            .filter(|header| header.p_flags & (libc::PF_R | libc::PF_W) == libc::PF_R)
            .filter_map(|header| self.extent(header, header.p_filesz.min(header.p_memsz)))
            .find(|segment| segment.contains(&address))
    }

    /// Fills `bytes` from the memory at `start`, or leaves it alone and answers `None` where that memory is not wholly
    /// inside one read-only segment of this object.
    pub(super) fn read(&self, start: usize, bytes: &mut [u8]) -> Option<()> {
        let segment = self.read_only_segment(start)?;
        if bytes.len() > segment.end - start {
            return None;
        }
        let source = ptr::with_exposed_provenance::<u8>(start);
        // SAFETY: `source` is valid for `bytes.len()` reads: the range lies inside a loaded segment with `PF_R` (just
        // checked), and the loader's lock, held for `'lock`, keeps the segment mapped. Nothing writes there meanwhile,
        // as the segment is mapped without `PF_W`. Bytes need no alignment; `bytes` is an exclusive borrow of ordinary
        // memory, so it is valid for writes and does not overlap a read-only mapping.
        unsafe { ptr::copy_nonoverlapping(source, bytes.as_mut_ptr(), bytes.len()) };
        Some(())
    }

    /// `length_bytes` from where `header` was loaded; `None` if that wraps around the address space.
    fn extent(&self, header: &libc::Elf64_Phdr, length_bytes: u64) -> Option<Range<usize>> {
        // A prelinked object may have a bias below zero, so the start wraps by design and the end must not.
        let start = self.bias().wrapping_add(header.p_vaddr as usize);
        Some(start..start.checked_add(length_bytes as usize)?)
    }
}

/// The visitor and what it panicked with, if it did.
struct Visit<'a> {
    visitor: &'a mut dyn FnMut(&Object<'_>) -> ControlFlow<()>,
    panic: Option<Box<dyn Any + Send>>,
}

/// Shows `visitor` each loaded object, the executable first, until it breaks. The loader's lock is held throughout.
///
/// # Panics
/// If `visitor` does; the panic does not cross the loader's frames.
pub(super) fn visit(visitor: &mut dyn FnMut(&Object<'_>) -> ControlFlow<()>) {
    let mut visit = Visit { visitor, panic: None };
    // SAFETY: `each` has the signature the function asks for and does not unwind; `data` is handed to `each` only,
    // during this call, and points at `visit`, which outlives the call and is not used otherwise meanwhile.
    unsafe { libc::dl_iterate_phdr(Some(each), (&raw mut visit).cast()) };
    if let Some(panic) = visit.panic {
        resume_unwind(panic);
    }
}

/// The loader's callback: a nonzero result ends the iteration.
///
/// # Safety
/// Only for `dl_iterate_phdr`, called by [`visit`]: `info` is the loader's, and `data` points at a live [`Visit`].
unsafe extern "C" fn each(info: *mut libc::dl_phdr_info, info_bytes: usize, data: *mut c_void) -> c_int {
    // The counters came last to the structure (glibc 2.4); without them nothing can be said about staleness.
    if info_bytes < size_of::<libc::dl_phdr_info>() {
        return 1;
    }
    // SAFETY: by the contract of this function `info` is the loader's: aligned, initialised for `info_bytes`, which
    // covers the type (above), and not written while the callback runs.
    let info = unsafe { &*info };
    // SAFETY: by the contract of this function `data` points at a live `Visit` that nothing else uses meanwhile.
    let visit = unsafe { &mut *data.cast::<Visit<'_>>() };
    let headers = if info.dlpi_phdr.is_null() || !info.dlpi_phdr.is_aligned() {
        &[][..]
    } else {
        // SAFETY: not null and aligned (above); the loader's table has `dlpi_phnum` initialised entries, stays mapped
        // under the loader's lock, and is not written once the object is on the list.
        unsafe { slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) }
    };
    let object = Object { info, headers };
    match catch_unwind(AssertUnwindSafe(|| (visit.visitor)(&object))) {
        Ok(ControlFlow::Continue(())) => 0,
        Ok(ControlFlow::Break(())) => 1,
        Err(panic) => {
            visit.panic = Some(panic);
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stay_inside_one_read_only_segment() {
        let mut seen = 0;
        visit(&mut |object| {
            for segment in object.segments(libc::PT_LOAD, libc::PF_R) {
                let Some(read_only) = object.read_only_segment(segment.start) else { continue };
                let mut last = [0];
                assert!(object.read(read_only.end - 1, &mut last).is_some());
                let mut across = [7; 2];
                assert!(object.read(read_only.end - 1, &mut across).is_none());
                assert_eq!(across, [7; 2]);
                seen += 1;
            }
            let on_the_heap = Box::new(1_u8);
            assert!(object.read((&raw const *on_the_heap).addr(), &mut [0]).is_none());
            ControlFlow::Continue(())
        });
        assert!(seen > 1);
    }

    #[test]
    fn writable_segments_are_never_read() {
        visit(&mut |object| {
            for segment in object.segments(libc::PT_LOAD, libc::PF_W) {
                assert!(object.read(segment.start, &mut [0]).is_none());
            }
            ControlFlow::Continue(())
        });
    }

    #[test]
    fn a_break_ends_the_visit() {
        let mut seen = 0;
        visit(&mut |_| {
            seen += 1;
            ControlFlow::Break(())
        });
        assert_eq!(seen, 1);
    }

    #[test]
    fn a_panic_of_the_visitor_comes_out_and_leaves_the_loader_usable() {
        let caught = catch_unwind(|| visit(&mut |_| panic!("in the visitor")));
        assert!(caught.is_err());
        let mut seen = 0;
        visit(&mut |_| {
            seen += 1;
            ControlFlow::Continue(())
        });
        assert!(seen > 1);
    }
}
