//! `malloc` and `free`: the domain's inside, and the host's with and without the functions that route them.
//!
//! # Safety
//! Allocates, and frees each allocation once, by the function that belongs to it.
#![expect(unsafe_code, reason = "malloc and free themselves")]

use std::cell::Cell;
use std::ffi::c_void;
use std::hint::black_box;
use std::ptr;

use ringfence::Error;

use super::calls::Subjects;
use super::clock::{Clock, Unit};
use super::report::{Report, Target};

const BYTES: usize = 64;
/// Pairs in one closure.
const PAIRS: u32 = 64;

unsafe extern "C" {
    // What the C library calls its own, whoever exports `malloc`.
    fn __libc_malloc(bytes: usize) -> *mut c_void;
    fn __libc_free(memory: *mut c_void);
}

pub(crate) fn measure(clock: &Clock, report: &mut Report, subjects: &Subjects) -> Result<(), Error> {
    let inside = |pairs: u32| {
        clock.measure(pairs.into(), &mut || subjects.quiet.run(|| work(pairs)).map_err(Box::new))
    };
    let per_pair = (inside(PAIRS)? - inside(0)?) / f64::from(PAIRS);
    report.note("malloc and free of 64 bytes inside", per_pair, Target::Instructions(200.0), "SDRaD 500");
    let library = Pair { allocate: __libc_malloc, free: __libc_free };
    let routed = Pair { allocate: libc::malloc, free: libc::free };
    match clock.unit() {
        Unit::Instructions => {
            let (library, routed) = (library.halves(clock)?, routed.halves(clock)?);
            for (name, library, routed) in
                [("malloc", library[0], routed[0]), ("free", library[1], routed[1])]
            {
                report.note(format!("the host's __libc_{name}, 64 bytes"), library, Target::None, "");
                report.beyond(format!("  {name}"), routed, library, Target::Instructions(5.0), "");
            }
        }
        // One of them takes less than a reading of the clock.
        Unit::Nanoseconds => {
            let (library, routed) = (library.whole(clock)?, routed.whole(clock)?);
            report.note("the host's __libc_malloc and __libc_free, 64 bytes", library, Target::None, "");
            report.beyond("  malloc and free", routed, library, Target::None, "");
        }
    }
    Ok(())
}

fn work(pairs: u32) -> u64 {
    let mut given = 0;
    for _ in 0..pairs {
        // SAFETY: a size.
        let memory = unsafe { libc::malloc(black_box(BYTES)) };
        given += u64::from(!black_box(memory).is_null());
        // SAFETY: from the call above, or null.
        unsafe { libc::free(memory) };
    }
    given
}

/// An allocator's two functions.
#[derive(Clone, Copy)]
struct Pair {
    allocate: unsafe extern "C" fn(usize) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
}

impl Pair {
    /// What an allocation costs, and what giving it back.
    fn halves(self, clock: &Clock) -> Result<[f64; 2], Error> {
        let memory = Cell::new(ptr::null_mut());
        clock.sequence([
            (1, &mut || {
                memory.set(self.allocate());
                Ok(u64::from(!memory.get().is_null()))
            }),
            (1, &mut || {
                // SAFETY: allocated before it, and not freed since.
                unsafe { self.free(memory.get()) };
                Ok(1)
            }),
        ])
    }

    /// What both cost together.
    fn whole(self, clock: &Clock) -> Result<f64, Error> {
        clock.measure(1, &mut || {
            let memory = self.allocate();
            // SAFETY: allocated just now.
            unsafe { self.free(memory) };
            Ok(u64::from(!memory.is_null()))
        })
    }

    fn allocate(self) -> *mut c_void {
        // SAFETY: an allocation function of C takes any size.
        unsafe { (self.allocate)(black_box(BYTES)) }
    }

    /// # Safety
    /// The memory is from [`allocate`](Self::allocate) of this pair, and is not used after.
    unsafe fn free(self, memory: *mut c_void) {
        // SAFETY: the caller's promise.
        unsafe { (self.free)(memory) };
    }
}
