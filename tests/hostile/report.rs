//! Attacks through the report of a death.
//!
//! # Safety
//! Fixtures run inside isolates and forked children, whose memory is thrown away.
#![expect(unsafe_code, reason = "calls fixtures through a macro")]

use std::sync::atomic::Ordering;
use std::thread;

use ringfence::{Error, Fault, FaultKind};

use crate::channel::{Found, REPORT, REPORT_BYTES};
use crate::support::{defended, eventually, fault, fixture, is_dead, unfiltered};

const CRASHED: u32 = 3;
/// Where the report says what ended the isolate.
const ENDING: usize = REPORT + 28;

/// Whatever it says, a fault can be looked at, and is not large.
fn look(fault: &Fault) {
    assert!(fault.backtrace().pcs().len() <= 64);
    assert!(fault.stderr_tail().len() <= 4096);
    assert!(fault.message().is_none_or(|text| text.chars().count() <= 4096));
    assert!(!format!("{fault:#} {fault:?}").is_empty());
}

/// Fills the report, says how it ended, and crashes for real or says so.
fn fill((seed, ending, crash): (u64, u8, bool)) {
    let channel = Found::own();
    let mut state = seed;
    for offset in 0..REPORT_BYTES {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let byte = if seed == 0 { 0xff } else { (state >> 56) as u8 };
        channel.store(REPORT + offset, byte);
    }
    if ending != 0xff {
        for (index, byte) in [ending, 0, 0, 0].into_iter().enumerate() {
            channel.store(ENDING + index, byte);
        }
    }
    if crash {
        // With the default action, so that no handler writes a better report.
        fixture!(raw_syscall(
            libc::SYS_rt_sigaction,
            i64::from(libc::SIGSEGV),
            [0_u64; 4].as_ptr() as i64,
            0,
            8,
            0,
            0
        ));
        fixture!(null_write());
    }
    channel.note().store(u32::MAX, Ordering::SeqCst);
    channel.announce(channel.answer(CRASHED));
    loop {
        thread::park();
    }
}

#[test]
fn inside_forges_the_report_of_its_death() {
    let sandbox = unfiltered();
    for seed in 0..40_u64 {
        for ending in [0_u8, 1, 2, 3, 4, 0xff] {
            let fault = fault(sandbox.call(fill, (seed, ending, false)));
            look(&fault);
        }
    }
    for seed in [0_u64, 1, 2] {
        for ending in [0_u8, 1, 2, 3, 4, 0xff] {
            look(&fault(sandbox.call(fill, (seed, ending, true))));
            look(&fault(sandbox.run(|| fill((seed, ending, true)))));
        }
    }
    // The control: an honest report says what happened.
    let honest = fault(defended().call(|()| fixture!(null_write()), ()));
    assert_eq!(
        (honest.kind(), honest.signal(), honest.address()),
        (&FaultKind::Signal, Some(libc::SIGSEGV), Some(0))
    );
    assert!(!honest.backtrace().is_empty());
    // And a forged one says what the attacker wants: a report is evidence, no proof.
    let forged = fault(sandbox.call(fill, (0_u64, 2_u8, false)));
    assert_eq!(forged.kind(), &FaultKind::StackOverflow);
}

/// Says that its confinement failed, and that it is dying, in the middle of its work.
fn say_unfit(number: u64) {
    const UNFIT: u32 = 3;
    let channel = Found::own();
    channel.reply_bytes().store(number, Ordering::SeqCst);
    channel.phase().store(UNFIT, Ordering::SeqCst);
    channel.announce(channel.answer(CRASHED));
    loop {
        thread::park();
    }
}

#[test]
fn inside_says_that_it_never_began() {
    let sandbox = unfiltered();
    for number in [0, 1, u64::from(u32::MAX), u64::MAX] {
        let mut session = sandbox.session().unwrap();
        // In its first call a worker may be believed: the host cannot tell it from one that was born unfit.
        let first = session.call(say_unfit, number).unwrap_err();
        assert!(matches!(first, Error::Fault(_) | Error::Os(_)), "{first}");
        assert!(session.call(|()| (), ()).is_err(), "its isolate is given up either way");
        // Later it has answered, and is not.
        session.reset().unwrap();
        let pid = session.call(|()| i64::from(std::process::id()), ()).unwrap();
        look(&fault(session.call(say_unfit, number)));
        eventually("its worker is killed", || is_dead(pid));
    }
    // The control: a worker that says so after its answer is not heard.
    let mut session = sandbox.session().unwrap();
    assert!(session.call(|()| Found::own().phase().store(3, Ordering::SeqCst), ()).is_ok());
    assert_eq!(session.call(|x: u64| x + 1, 1_u64).unwrap(), 2);
}

#[test]
fn inside_jumps_into_nowhere_with_its_stack_elsewhere() {
    let sandbox = defended();
    for address in [8_usize, 0xdead_0000, usize::MAX / 2, 1 << 63] {
        let attack = |address: u64| fixture!(wild_jump(address as usize));
        look(&fault(sandbox.call(attack, address as u64)));
        look(&fault(sandbox.run(|| attack(address as u64))));
    }
}
