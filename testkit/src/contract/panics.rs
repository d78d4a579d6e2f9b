//! Point 4 for panics: each that leaves the work is a value with its text and its place.
//!
//! # Safety
//! A foreign store ends its isolate, whose memory nobody relies on afterwards.
#![expect(unsafe_code, reason = "calls a foreign function that misbehaves")]

use std::panic::{catch_unwind, panic_any};

use ringfence_core::fault::Access;
use ringfence_core::{Error, FaultKind, Sandbox};

use super::expected::{Expected, Want};
use super::{Subject, Way, code};
use crate::fixtures;

/// Panics carry their text, in every form a text has, and never unwind into the host.
///
/// # Panics
/// The backend breaks the contract.
pub fn carry_their_text(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let told = |way: Way, inside: fn(&Sandbox, Way) -> Error| {
        let error = inside(&sandbox, way);
        let fault = error.fault().unwrap();
        assert_eq!(fault.kind(), &FaultKind::Panic, "{way:?}: {fault}");
        fault.message().unwrap().to_owned()
    };
    for way in Way::ALL {
        let formatted = told(way, |sandbox, way| way.go(sandbox, || boom(7)).unwrap_err());
        assert!(formatted.contains("boom 7"), "{formatted}");
        let text = told(way, |sandbox, way| way.go(sandbox, plain).unwrap_err());
        assert!(text.contains("a plain text"), "{text}");
        let other = told(way, |sandbox, way| way.go(sandbox, || -> () { panic_any(5_u8) }).unwrap_err());
        assert!(other.contains("not text"), "{other}");
        let long = told(way, |sandbox, way| way.go(sandbox, long).unwrap_err());
        assert!((1000..=8 << 10).contains(&long.len()) && long.starts_with("xxxx"), "{} bytes", long.len());
        assert_eq!(way.go(&sandbox, || 1_u64).unwrap(), 1, "after panics");
    }
}

/// A panic also says where it was and who called whom.
///
/// # Panics
/// The backend breaks the contract.
pub fn have_a_place(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let panic = Expected::new(FaultKind::Panic).by("boom");
    panic.from(&sandbox, || boom(7));
    let fault = panic.check(&Way::Call.go(&sandbox, || boom(7)).unwrap_err(), Way::Call);
    let place = format!("{}:{BOOM_LINE}:", file!());
    assert!(fault.message().unwrap().contains(&place), "no {place} in {fault}");
}

/// A panic that was caught is none of the fault that comes after it.
///
/// # Panics
/// The backend breaks the contract.
pub fn can_be_caught(subject: &Subject<'_>) {
    let caught = || {
        drop(catch_unwind(|| boom(1)));
        // SAFETY: as the module says.
        unsafe { fixtures::null_write() };
    };
    let segv = Expected::new(FaultKind::Signal).signal(libc::SIGSEGV, code::SEGV_MAPERR);
    segv.at(0, Access::Write).from(&subject.sandbox(), caught);
}

/// A panic while another unwinds is an abort.
///
/// # Panics
/// The backend breaks the contract.
pub fn abort_while_another_unwinds(subject: &Subject<'_>) {
    let twice = || {
        let _second = PanicsInDrop;
        boom(1);
    };
    let abort = Expected::new(FaultKind::Abort).signal(libc::SIGABRT, Want::Open);
    abort.from(&subject.sandbox(), twice);
}

const BOOM_LINE: u32 = line!() + 4;

#[inline(never)]
fn boom(number: u32) {
    assert!(std::hint::black_box(number) == 0, "boom {number}");
    std::hint::black_box(());
}

fn plain() {
    assert!(std::hint::black_box(false), "a plain text");
}

fn long() {
    assert!(std::hint::black_box(false), "{}", "x".repeat(100 << 10));
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        boom(2);
    }
}
