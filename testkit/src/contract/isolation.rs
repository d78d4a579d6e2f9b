//! Point 1: nothing that happens inside changes memory of the host.
//!
//! # Safety
//! The foreign store goes to an atomic byte that the test owns, which any write leaves valid; the foreign counter counts inside isolates
//! and controls, where one thread runs.
#![expect(unsafe_code, reason = "foreign code writes to addresses of the host and to a static")]

use std::sync::atomic::{AtomicU8, Ordering};

use ringfence_core::fault::Access;
use ringfence_core::{Error, FaultKind};

use super::expected::Expected;
use super::{Subject, Way, code};
use crate::child::{self, End};
use crate::fixtures;

const BEFORE: u8 = 7;
const AFTER: u8 = 0x41;

static STATIC: AtomicU8 = AtomicU8::new(BEFORE);

/// Writes to a byte of the host, by address, and reads it back.
fn damage(address: u64) -> u8 {
    let address = usize::try_from(address).unwrap();
    // SAFETY: the address is that of an atomic byte of the host's, or of the isolate's copy of it.
    unsafe { fixtures::store_at(address, AFTER) };
    // SAFETY: as above.
    unsafe { fixtures::load_at(address) }
}

fn address_of(byte: &AtomicU8) -> u64 {
    byte.as_ptr() as u64
}

/// What comes of a store to the host's memory: the inside has a copy of its own and changes that, or may not write there at all, and the fault
/// says where and that the key was the host's.
#[track_caller]
fn is_kept_out(stored: &Result<u8, Error>, address: u64, way: Way) {
    match stored {
        Ok(inside) => assert_eq!(*inside, AFTER, "{way:?}: the copy is changed"),
        Err(error) => {
            let refused = Expected::new(FaultKind::KeyViolation).signal(libc::SIGSEGV, code::SEGV_PKUERR);
            refused.at(address, Access::Write).key(0).by("store_at").check(error, way);
        }
    }
}

/// A static, the heap and what a closure captured are as they were after the inside wrote to each. Control: a child without a
/// sandbox changes them.
///
/// # Panics
/// The backend breaks the contract.
pub fn writes_stay_inside(subject: &Subject<'_>) {
    // Before the sandbox, so that a worker has them too.
    let heap = Box::new(AtomicU8::new(BEFORE));
    let captured: Vec<AtomicU8> = std::iter::once(AtomicU8::new(BEFORE)).collect();
    let sandbox = subject.sandbox();
    for (what, byte) in [("static", &STATIC), ("heap", &*heap), ("captured", &captured[0])] {
        let address = address_of(byte);
        let control = child::run(|| {
            damage(address);
            i32::from(byte.load(Ordering::SeqCst))
        });
        assert_eq!(control.unwrap().end, End::Exit(AFTER.into()), "control: {what} can be changed");

        let inside = sandbox.call(damage, address);
        is_kept_out(&inside, address, Way::Call);
        assert_eq!(byte.load(Ordering::SeqCst), BEFORE, "{what} after a call");
        let inside = sandbox.session().unwrap().call(damage, address);
        is_kept_out(&inside, address, Way::Session);
        assert_eq!(byte.load(Ordering::SeqCst), BEFORE, "{what} after a session");
        let inside = sandbox.run(|| {
            damage(address);
            byte.load(Ordering::SeqCst)
        });
        is_kept_out(&inside, address, Way::Run);
        assert_eq!(byte.load(Ordering::SeqCst), BEFORE, "{what} after a run");
    }
}

fn count_in_c() -> u64 {
    // SAFETY: called inside isolates and controls only, on their one thread.
    unsafe { fixtures::static_counter() }.cast_unsigned()
}

/// A counter of a C library stays where it was, however often the inside counts. Control: without a sandbox it goes on.
///
/// # Panics
/// The backend breaks the contract.
pub fn globals_of_c_stay(subject: &Subject<'_>) {
    let control = child::run(|| {
        count_in_c();
        i32::try_from(count_in_c()).unwrap()
    });
    assert_eq!(control.unwrap().end, End::Exit(2), "control: it counts");
    let sandbox = subject.sandbox();
    for way in Way::ALL {
        way.go(&sandbox, count_in_c).unwrap();
        // A run sees the host's own counter.
        assert_eq!(sandbox.run(count_in_c).unwrap(), 1, "after a {way:?}");
    }
}
