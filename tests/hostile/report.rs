//! Attacks through the report of a death.
//!
//! # Safety
//! Fixtures run inside isolates and forked children, whose memory is thrown away.
#![expect(unsafe_code, reason = "calls fixtures through a macro")]

use std::sync::atomic::Ordering;
use std::thread;

use ringfence::{Fault, FaultKind};

use crate::channel::{Found, REPORT, REPORT_BYTES};
use crate::support::{defended, fault, fixture, unfiltered};

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
    channel.phase().store(ending.into(), Ordering::SeqCst);
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

#[test]
fn inside_jumps_into_nowhere_with_its_stack_elsewhere() {
    let sandbox = defended();
    for address in [8_usize, 0xdead_0000, usize::MAX / 2, 1 << 63] {
        let attack = |address: u64| fixture!(wild_jump(address as usize));
        look(&fault(sandbox.call(attack, address as u64)));
        look(&fault(sandbox.run(|| attack(address as u64))));
    }
}
