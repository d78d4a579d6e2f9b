//! Attacks with code that was not there, and through other doors to the kernel.
//!
//! # Safety
//! Fixtures run inside isolates and forked children, whose memory is thrown away.
#![expect(unsafe_code, reason = "calls fixtures through a macro")]

use ringfence::FaultKind;
use ringfence_testkit::child;

use crate::support::{NOWHERE, assert_denied, both, defended, fault, fixture, unfiltered};

#[test]
fn inside_makes_memory_executable() {
    assert_denied(libc::SYS_mprotect, |_| fixture!(mprotect_exec()), NOWHERE);
    assert_denied(libc::SYS_mmap, |_| fixture!(map_executable()), NOWHERE);
    let control =
        child::run(|| i32::from(fixture!(mprotect_exec()) != 42 || fixture!(map_executable()) != 42));
    assert_eq!(control.unwrap().end, child::End::Exit(0));
    for result in both(&unfiltered(), |_| fixture!(mprotect_exec()), NOWHERE) {
        assert_eq!(result.unwrap(), 42);
    }
}

#[test]
fn inside_makes_memory_executable_with_a_key() {
    let attack = |_: [u64; 2]| {
        let executable = i64::from(libc::PROT_READ | libc::PROT_EXEC);
        fixture!(raw_syscall(libc::SYS_pkey_mprotect, 0, 0, executable, -1, 0, 0))
    };
    assert_denied(libc::SYS_pkey_mprotect, attack, NOWHERE);
    for result in both(&unfiltered(), attack, NOWHERE) {
        assert_eq!(result.unwrap(), 0, "an empty range is fine with the kernel");
    }
}

#[test]
fn inside_calls_the_kernel_by_its_32_bit_table() {
    // 20 is getpid there, and writev in the table of 64 bits.
    let attack = |_: [u64; 2]| fixture!(int80_syscall(20));
    let control = child::run(|| i32::from(attack(NOWHERE) <= 0)).unwrap();
    let possible = control.end == child::End::Exit(0);
    if !possible {
        println!("control not possible here: the kernel has no 32-bit table ({:?})", control.end);
    }
    for result in both(&defended(), attack, NOWHERE) {
        let fault = fault(result);
        if possible {
            assert_eq!(fault.kind(), &FaultKind::Syscall { number: None });
        }
    }
    if possible {
        for result in both(&unfiltered(), attack, NOWHERE) {
            assert!(result.unwrap() > 0);
        }
    }
}

#[test]
fn inside_calls_the_kernel_by_its_x32_table() {
    const X32: i64 = 0x4000_0000;
    let attack = |_: [u64; 2]| fixture!(x32_syscall(libc::SYS_getpid));
    assert_denied(libc::SYS_getpid | X32, attack, NOWHERE);
    for result in both(&unfiltered(), attack, NOWHERE) {
        let answer = result.unwrap();
        assert!(
            answer > 0 || answer == -i64::from(libc::ENOSYS),
            "unfiltered, the kernel itself answers: {answer}"
        );
    }
}

#[test]
fn inside_takes_the_filter_off_or_adds_one() {
    let attack = |_: [u64; 2]| fixture!(raw_syscall(libc::SYS_seccomp, 2, 0, 0, 0, 0, 0));
    assert_denied(libc::SYS_seccomp, attack, NOWHERE);
    for result in both(&unfiltered(), attack, NOWHERE) {
        assert_ne!(result.unwrap(), -i64::from(libc::ENOSYS), "unfiltered, the call reaches the kernel");
    }
}
