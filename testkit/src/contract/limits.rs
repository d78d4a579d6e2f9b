//! Point 4 for limits: each that is passed is a fault of its own kind.
//!
//! # Safety
//! Foreign code misbehaves in isolates only, whose memory nobody relies on afterwards.
#![expect(unsafe_code, reason = "calls foreign functions that misbehave")]

use std::time::Duration;

use ringfence_core::fault::{Access, Phase};
use ringfence_core::{FaultKind, Limits, Sandbox};

use super::expected::{Expected, names};
use super::{Subject, Way, count};
use crate::fixtures;

/// Work that goes on for ever, awake or asleep, is ended at the wall limit, and the fault says where it was.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_wall_time(subject: &Subject<'_>) {
    let wall = Duration::from_millis(100);
    let sandbox = subject.limited(Limits::new().wall(wall));
    let turning = || {
        // SAFETY: the isolate is ended at its limit.
        unsafe { fixtures::endless_loop() };
    };
    let sleeping = || {
        // SAFETY: the isolate is ended at its limit.
        unsafe { fixtures::sleep_forever() };
    };
    Expected::new(FaultKind::Timeout).any_signal().from(&sandbox, turning);
    Expected::new(FaultKind::Timeout).any_signal().from(&sandbox, sleeping);
    for way in Way::ALL {
        let error = way.go(&sandbox, turning).unwrap_err();
        assert!(error.fault().unwrap().elapsed() >= wall, "{way:?}: {error}");
        says_where(&sandbox, way, turning, "endless_loop");
        says_where(&sandbox, way, sleeping, "sleep_forever");
    }
}

/// Work that turns is ended at the CPU limit; work that sleeps uses none of it.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_cpu_time(subject: &Subject<'_>) {
    let limits = Limits::new().cpu(Duration::from_millis(60)).wall(Duration::from_secs(60));
    let sandbox = subject.limited(limits);
    let turning = || {
        // SAFETY: the isolate is ended at its limit.
        unsafe { fixtures::endless_loop() };
    };
    Expected::new(FaultKind::CpuLimit).any_signal().from(&sandbox, turning);
    for way in Way::ALL {
        says_where(&sandbox, way, turning, "endless_loop");
        let slept = way.go(&sandbox, || std::thread::sleep(Duration::from_millis(200)));
        assert!(slept.is_ok(), "{way:?}: {slept:?}");
        // The limit is of one crossing, not of the isolate's life.
        assert!(way.go(&sandbox, count).is_ok());
    }
}

/// Where the work was when its time was over, only the isolate itself can say, and it has a moment to do so. On a machine that gives it
/// no CPU for that moment the backtrace is missing; it must not be missing each time.
#[track_caller]
fn says_where(sandbox: &Sandbox, way: Way, inside: impl Fn() + Copy + 'static, function: &str) {
    let told = (0..20).any(|_| {
        let error = way.go(sandbox, inside).unwrap_err();
        names(error.fault().unwrap(), function)
    });
    assert!(told, "{way:?}: no backtrace of twenty names {function}");
}

/// Code that dies of an allocation that the limit refused, in C and in Rust. Control: under a larger limit it does not.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_memory(subject: &Subject<'_>) {
    const HOG_BYTES: usize = 128 << 20;
    let hog = || {
        // SAFETY: the isolate may end here.
        unsafe { fixtures::memory_hog_or_null_write(HOG_BYTES) };
    };
    let aborting_hog = || {
        // SAFETY: the isolate may end here.
        unsafe { fixtures::memory_hog_or_abort(HOG_BYTES) };
    };
    let vector = || drop(std::hint::black_box(vec![1_u8; HOG_BYTES]));
    let tight = subject.limited(Limits::new().memory_bytes(32 << 20));
    let memory = || Expected::new(FaultKind::MemoryLimit).any_signal();
    memory().at(0, Access::Write).by("memory_hog_or_null_write").from(&tight, hog);
    memory().by("memory_hog_or_abort").from(&tight, aborting_hog);
    memory().from(&tight, vector);
    let ample = subject.limited(Limits::new().memory_bytes(512 << 20));
    for way in Way::ALL {
        way.go(&ample, hog).unwrap();
        way.go(&ample, vector).unwrap();
    }
}

/// A reply larger than the limit. Control: one that fits exactly.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_replies(subject: &Subject<'_>) {
    let sandbox = subject.limited(Limits::new().reply_bytes(4096));
    // A count of eight bytes stands before the bytes.
    for way in Way::ALL {
        let fits = way.go(&sandbox, || vec![7_u8; 4088]).unwrap();
        assert_eq!(fits, [7; 4088], "{way:?}");
        let error = way.go(&sandbox, || vec![7_u8; 4089]).unwrap_err();
        let fault = error.fault().unwrap();
        assert_eq!(
            (fault.kind(), fault.phase()),
            (&FaultKind::ReplyLimit, Phase::Inside),
            "{way:?}: {fault}"
        );
        assert_eq!(way.go(&sandbox, || vec![1_u8; 8]).unwrap(), [1; 8], "{way:?} after it");
    }
}
