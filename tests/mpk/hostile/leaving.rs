//! Ways out of a domain that are not the ordinary one.
//!
//! # Safety
//! Jumps with chosen registers, inside domains.
#![expect(unsafe_code, reason = "jumps into the gate, and a loop without a stack")]

use std::arch::asm;
use std::time::Duration;

use libtest_mimic::Trial;
use ringfence::{FaultKind, Policy};

use super::machine::Leap;
use super::support::{assert_works, control_block, defended, fault, limits, trials, with};

unsafe extern "C" {
    fn ringfence_mpk_exit();
    fn ringfence_mpk_trap();
}

pub(crate) fn trials() -> Vec<Trial> {
    trials! {
        inside_leaves_with_its_stack_elsewhere
        inside_leaves_by_a_jump
    }
}

fn address(function: unsafe extern "C" fn()) -> u64 {
    function as usize as u64
}

fn leave([entry, stack]: [u64; 2]) -> u64 {
    let mut leap = Leap::to(entry);
    leap.rsp = stack;
    leap.go()
}

fn inside_leaves_with_its_stack_elsewhere() {
    let sandbox = defended();
    assert_works(&sandbox);
    let local = 0_u64;
    for stack in [
        0,
        8,
        0x8000_0000_0000_0000,
        (&raw const local) as u64,
        control_block() + 2048,
        control_block() + (20 << 10),
    ] {
        // By the way out: the crossing ends as if the work had returned, without having said what.
        let ended = fault(sandbox.call(leave, [address(ringfence_mpk_exit), stack]));
        assert_eq!(ended.kind(), &FaultKind::MalformedReply { error: None });
        assert_works(&sandbox);
        // By a fault, whose signal comes while the stack is there.
        let ended = fault(sandbox.call(leave, [address(ringfence_mpk_trap), stack]));
        assert!([&FaultKind::Abort, &FaultKind::Exit { code: 0 }].contains(&ended.kind()), "{ended}");
        assert_works(&sandbox);
        let ended = fault(sandbox.call(leave, [1, stack]));
        assert_eq!(ended.signal(), Some(libc::SIGSEGV));
        assert_works(&sandbox);
        // By the watchdog's signal.
        let hurried = with(Policy::compute(), limits().wall(Duration::from_millis(50)));
        let ended = fault(hurried.call(
            |stack: u64| -> u64 {
                // SAFETY: the attack: nothing below needs a stack.
                unsafe { asm!("mov rsp, {}", "2: jmp 2b", in(reg) stack, options(noreturn)) }
            },
            stack,
        ));
        assert_eq!(ended.kind(), &FaultKind::Timeout);
    }
    assert_eq!(local, 0);
}

fn inside_leaves_by_a_jump() {
    let sandbox = defended();
    // Without a stack, with every register forged.
    let ended = fault(sandbox.call(
        |exit: u64| -> u64 {
            let mut leap = Leap::to(exit);
            for register in
                [&mut leap.rsp, &mut leap.rax, &mut leap.rcx, &mut leap.rdx, &mut leap.r15, &mut leap.rdi]
            {
                *register = u64::MAX;
            }
            leap.go()
        },
        address(ringfence_mpk_exit),
    ));
    assert_eq!(ended.kind(), &FaultKind::MalformedReply { error: None });
    assert_works(&sandbox);
}
