//! Point 5: after a fault the next use gets a pristine isolate, and nothing of the lost one remains.
//!
//! # Safety
//! Foreign code misbehaves in isolates only, whose memory nobody relies on afterwards.
#![expect(unsafe_code, reason = "calls foreign functions that misbehave")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use ringfence_core::codec::{DecodeError, Decoder, EncodeError, Encoder};
use ringfence_core::{Error, FaultKind, Portable};

use super::{Subject, Way, count};
use crate::fixtures;

fn null_write() {
    // SAFETY: the isolate is ended by this.
    unsafe { fixtures::null_write() };
}

/// A sandbox that is reset has no state of before; its sessions go on.
///
/// # Panics
/// The backend breaks the contract.
pub fn on_request(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let mut session = sandbox.session().unwrap();
    assert_eq!(session.call(|()| count(), ()).unwrap(), 1);
    for _ in 0..3 {
        sandbox.call(|()| count(), ()).unwrap();
    }
    sandbox.reset().unwrap();
    assert_eq!(sandbox.call(|()| count(), ()).unwrap(), 1, "pristine");
    assert_eq!(session.call(|()| count(), ()).unwrap(), 2, "a session keeps its state");
    sandbox.reset().unwrap();
    sandbox.reset().unwrap();
    assert_eq!(sandbox.call(|()| count(), ()).unwrap(), 1);
}

/// A fault of one isolate is none of the others': sessions go on, and so do calls from other threads.
///
/// # Panics
/// The backend breaks the contract.
pub fn concerns_one_isolate(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let mut session = sandbox.session().unwrap();
    for round in 1..=20 {
        assert!(sandbox.call(|()| null_write(), ()).is_err());
        assert!(sandbox.run(null_write).is_err());
        assert_eq!(session.call(|()| count(), ()).unwrap(), round);
    }
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let error = sandbox.call(|()| null_write(), ()).unwrap_err();
                    assert_eq!(error.fault().unwrap().kind(), &FaultKind::Signal, "{error}");
                }
            });
        }
        for _ in 0..20 {
            assert_eq!(session.call(|x: u64| x, 5_u64).unwrap(), 5);
        }
    });
    // A fault that was not the last one's: a pool of one had each of these calls wait for the one before.
    assert_eq!(sandbox.call(|()| count(), ()).unwrap(), 1);
}

/// Whatever comes of a heap that foreign code destroys, it ends inside, and a reset gives an isolate whose heap is whole.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_a_destroyed_heap(subject: &Subject<'_>) {
    // SAFETY: the isolate is thrown away after each of these.
    ends_inside(subject, || unsafe { fixtures::double_free() });
    // SAFETY: as above.
    ends_inside(subject, || unsafe { fixtures::heap_overflow() });
    // SAFETY: as above.
    ends_inside(subject, || unsafe { fixtures::destroy_own_heap() });
}

#[track_caller]
fn ends_inside(subject: &Subject<'_>, destroy: impl Fn() + Copy + 'static) {
    let sandbox = subject.sandbox();
    let words: Vec<String> = (0..100_u32).map(|number| number.to_string()).collect();
    for way in Way::ALL {
        // A fault where somebody noticed, and a value where nobody did.
        let destroyed = way.go(&sandbox, destroy);
        assert!(destroyed.is_ok() || destroyed.is_err_and(|error| error.fault().is_some()), "{way:?}");
        sandbox.reset().unwrap();
        let back = sandbox.call(|words: Vec<String>| words, words.clone());
        assert_eq!(back.unwrap(), words, "after a {way:?}");
    }
}

/// A caller whose own `decode` panics unwinds past a crossing; the sandbox goes on, and the session says that it cannot.
///
/// # Panics
/// The backend breaks the contract.
pub fn after_the_caller_unwinds(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let unwound = catch_unwind(AssertUnwindSafe(|| sandbox.call(|()| Unreadable, ())));
    assert!(unwound.is_err(), "the caller's panic is the caller's");
    assert_eq!(sandbox.call(|x: u64| x, 5_u64).unwrap(), 5);
    let unwound = catch_unwind(AssertUnwindSafe(|| sandbox.run(|| Unreadable)));
    assert!(unwound.is_err());
    assert_eq!(sandbox.run(|| 6_u64).unwrap(), 6);
}

/// A session that has lost its state says so until it is reset, also when it is lost again.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_a_session_is_asked_for(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let mut session = sandbox.session().unwrap();
    for _ in 0..3 {
        assert_eq!(session.call(|()| count(), ()).unwrap(), 1);
        assert!(session.call(|()| null_write(), ()).unwrap_err().fault().is_some());
        for _ in 0..2 {
            let stale = session.call(|()| count(), ());
            assert!(matches!(stale, Err(Error::Stale)), "{stale:?}");
        }
        session.reset().unwrap();
    }
}

/// A value that the host cannot read without a panic of its own.
#[derive(Debug)]
struct Unreadable;

impl Portable for Unreadable {
    type Inside<'a> = Self;
    const MIN_BYTES: usize = 1;

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        1_u8.encode(out)
    }

    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        assert_ne!(u8::decode(input)?, 1, "on purpose");
        Ok(Self)
    }
}
