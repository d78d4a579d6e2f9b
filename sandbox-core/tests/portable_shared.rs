//! Decoding from memory that somebody else keeps changing.
//!
//! # Safety
//!
//! Unsafe code here maps one file twice: a second thread writes through one mapping while this one decodes
//! through the other. The two mappings are different objects to the language, as a worker's and the host's
//! are.
#![expect(unsafe_code, reason = "maps memory twice")]
#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::fs::File;
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

use ringfence_core::codec::{DecodeErrorKind, Decoder, Encoder, Portable};
use ringfence_core::region::{Outlet, Source};

const LEN: usize = 4096;

struct Mapping(NonNull<u8>);

// SAFETY: it is an address; both mappings stay until they are dropped on the thread that made them.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn of(file: &File) -> Self {
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                LEN,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        assert_ne!(address, libc::MAP_FAILED);
        Self(NonNull::new(address.cast()).expect("the kernel maps nothing at 0"))
    }

    fn set(&self, position: usize, byte: u8) {
        assert!(position < LEN);
        // SAFETY: `position` is inside the mapping.
        let at = unsafe { self.0.add(position) };
        // SAFETY: `at` is mapped and writable; volatile, as another mapping is being read.
        unsafe { at.write_volatile(byte) };
    }

    fn source(&self) -> Source<'_> {
        // SAFETY: `LEN` bytes are mapped while `self` lives, of a file nobody shrinks; writers use another mapping.
        unsafe { Source::shared(self.0, LEN) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing borrows it any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), LEN) };
    }
}

/// The same memory, twice.
fn mapped_twice() -> (Mapping, Mapping) {
    // SAFETY: the name is a C string.
    let descriptor = unsafe { libc::memfd_create(c"shared".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(descriptor >= 0);
    // SAFETY: the descriptor is new and ours.
    let file = unsafe { File::from_raw_fd(descriptor) };
    file.set_len(LEN as u64).expect("memory for one page");
    (Mapping::of(&file), Mapping::of(&file))
}

#[test]
fn memory_that_changes_meanwhile_never_yields_invalid_values() {
    let (ours, theirs) = mapped_twice();
    let text_at = 8;
    theirs.set(0, 64);
    for position in 0..64 {
        theirs.set(text_at + position, b'a');
    }
    let flag_at = text_at + 64;
    let stop = AtomicBool::new(false);
    let (mut texts, mut refusals) = (0_u32, 0_u32);
    std::thread::scope(|scope| {
        let (theirs, stop) = (&theirs, &stop);
        scope.spawn(move || {
            let mut round = 0_usize;
            while !stop.load(Ordering::Relaxed) {
                round += 1;
                // Valid, invalid, a count that grows and shrinks, a bool that is none.
                theirs.set(text_at + round % 64, if round.is_multiple_of(129) { 0xFF } else { b'a' });
                theirs.set(0, if round.is_multiple_of(7) { 200 } else { 64 });
                theirs.set(flag_at, (round % 3) as u8);
            }
        });
        for _ in 0..200_000 {
            let mut input = Decoder::new(ours.source(), 1 << 16);
            match <(String, bool)>::decode(&mut input) {
                Ok((text, flag)) => {
                    texts += 1;
                    assert!(std::str::from_utf8(text.as_bytes()).is_ok());
                    assert!(text.len() == 64 || text.len() == 200, "{}", text.len());
                    // A bool is a byte: one that is neither would show here.
                    assert!(matches!(u8::from(std::hint::black_box(flag)), 0 | 1));
                }
                Err(_) => refusals += 1,
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(texts > 0 && refusals > 0, "{texts} texts, {refusals} refusals: the race did not happen");
}

#[test]
fn a_copy_is_settled_when_the_memory_changes_after_it() {
    let (ours, theirs) = mapped_twice();
    theirs.set(0, 1);
    let mut source = ours.source();
    let first: [u8; 1] = source.read_array().expect("one byte");
    theirs.set(0, 2);
    assert_eq!(first, [1]);
}

#[test]
fn borrowing_from_memory_that_may_change_is_refused() {
    let (ours, theirs) = mapped_twice();
    theirs.set(0, 3);
    let kind = |error: ringfence_core::codec::DecodeError| error.kind();
    let borrowed = <&[u8]>::decode(&mut Decoder::new(ours.source(), 1 << 10)).map_err(kind);
    assert_eq!(borrowed, Err(DecodeErrorKind::NotBorrowable));
    let borrowed = <&str>::decode(&mut Decoder::new(ours.source(), 1 << 10)).map_err(kind);
    assert_eq!(borrowed, Err(DecodeErrorKind::NotBorrowable));
    let owned = String::decode(&mut Decoder::new(ours.source(), 1 << 10)).map_err(kind);
    assert_eq!(owned, Ok("\0\0\0".into()));
}

#[test]
fn an_outlet_on_shared_memory_is_read_back_through_the_other_mapping() {
    let (ours, theirs) = mapped_twice();
    // SAFETY: `LEN` bytes are mapped while `ours` lives, and no reference to them exists.
    let outlet = unsafe { Outlet::from_raw(ours.0, LEN) };
    let mut out = Encoder::new(outlet);
    let value = (vec![1_u64, 2], String::from("text"));
    value.encode(&mut out).expect("it fits");
    assert_eq!(<(Vec<u64>, String)>::decode(&mut Decoder::new(theirs.source(), 1 << 10)), Ok(value));
}
