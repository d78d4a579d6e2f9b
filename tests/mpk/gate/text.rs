//! What else in this program would give rights, if one jumped there.
//!
//! # Safety
//! Reads the program's own code, as the loader describes it.
#![expect(unsafe_code, reason = "dl_iterate_phdr, and reads of the program's own code")]

use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::ops::Range;
use std::slice;

use super::code;
use crate::hostile;

/// The executable segments of the program itself.
fn segments() -> Vec<Range<u64>> {
    /// # Safety
    /// `found` is a `Vec<Range<u64>>`, and the loader calls it.
    unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _: usize, found: *mut c_void) -> c_int {
        // SAFETY: the loader gives a description that is valid while this function runs.
        let info = unsafe { &*info };
        // SAFETY: see above.
        let found = unsafe { &mut *found.cast::<Vec<Range<u64>>>() };
        // SAFETY: so many headers lie there.
        let headers = unsafe { slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        let is_executable =
            |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0;
        for header in headers.iter().filter(is_executable) {
            let start = info.dlpi_addr + header.p_vaddr;
            found.push(start..start + header.p_memsz);
        }
        // The program comes first; that is all.
        1
    }
    let mut found = Vec::<Range<u64>>::new();
    // SAFETY: the function takes what is given.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut found).cast()) };
    found
}

/// Where the bytes of a WRPKRU stand, on an instruction's boundary or not.
fn places(segment: &Range<u64>) -> Vec<u64> {
    // As a constant it would stand among the code, in the instruction that compares.
    let wrpkru = [0x0f, 0x01, black_box(0xef)];
    let bytes = (segment.end - segment.start) as usize;
    // SAFETY: an executable segment, mapped readable for its whole length, which does not change.
    let code = unsafe { slice::from_raw_parts(segment.start as *const u8, bytes) };
    let found = code.windows(wrpkru.len()).enumerate().filter(|(_, window)| *window == wrpkru);
    found.map(|(offset, _)| segment.start + offset as u64).collect()
}

pub(crate) fn has_no_wrpkru_but_the_gates() {
    let segments = segments();
    assert!(segments.iter().any(|segment| segment.contains(&code::all().start)), "{segments:x?}");
    // The hostile cases have one of their own.
    let own = hostile::own_wrpkru();
    let found: Vec<u64> = segments.iter().flat_map(places).filter(|place| !own.contains(place)).collect();
    let known: Vec<u64> = code::instructions(code::all())
        .iter()
        .filter(|one| code::is_wrpkru(one))
        .map(|one| one.ip())
        .collect();
    assert_eq!(found, known, "{segments:x?}");
}
