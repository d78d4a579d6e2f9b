//! Other doors to the kernel than the plain instruction.
//!
//! # Safety
//! Instructions that enter the kernel, inside domains and in forked children.
#![expect(unsafe_code, reason = "instructions that enter the kernel")]

use std::arch::{asm, global_asm};

use libtest_mimic::Trial;
use ringfence::FaultKind;
use ringfence_testkit::child::{self, End};

use super::support::{Page, assert_works, defended, fault, fixture, trials};

pub(crate) fn trials() -> Vec<Trial> {
    trials! {
        inside_calls_the_kernel_by_its_32_bit_table
        inside_ends_the_program_by_the_32_bit_table
        inside_calls_the_kernel_by_its_x32_table
        inside_calls_the_kernel_from_the_middle_of_an_instruction
        inside_calls_the_kernel_from_the_gate
        inside_calls_the_kernel_from_the_c_library
        inside_has_the_legacy_page_write_to_the_host
        inside_goes_on_in_32_bits
    }
}

const MEMORY_PROTECT_32: i32 = 125;

fn inside_calls_the_kernel_by_its_32_bit_table() {
    // 20 is getpid there.
    let control = child::run(|| i32::from(fixture!(int80_syscall(20)) <= 0)).unwrap();
    if control.end != End::Exit(0) {
        println!("control not possible here: the kernel has no 32-bit table ({:?})", control.end);
    }
    let sandbox = defended();
    for number in [20, MEMORY_PROTECT_32] {
        let denied = fault(sandbox.call(|number: i32| fixture!(int80_syscall(number)), number));
        assert_eq!(
            denied.signal(),
            Some(if control.end == End::Exit(0) { libc::SIGSYS } else { libc::SIGSEGV })
        );
        assert_works(&sandbox);
    }
}

fn inside_ends_the_program_by_the_32_bit_table() {
    let control = child::run(|| fixture!(int80_syscall(252)) as i32 + 99).unwrap();
    if control.end != End::Exit(0) {
        println!("control not possible here: the kernel has no 32-bit table ({:?})", control.end);
    }
    let sandbox = defended();
    // 1 and 252 end there; 60 and 231 end in the table of 64 bits.
    for number in [1, 252, 60, 231] {
        let denied = fault(sandbox.call(|number: i32| fixture!(int80_syscall(number)), number));
        assert!(denied.registers().is_some() || matches!(denied.kind(), FaultKind::Exit { .. }), "{denied}");
        assert_works(&sandbox);
    }
}

fn inside_calls_the_kernel_by_its_x32_table() {
    const X32: i64 = 0x4000_0000;
    let sandbox = defended();
    for number in [libc::SYS_getpid, libc::SYS_mprotect, libc::SYS_exit_group] {
        let denied = fault(sandbox.call(|number: i64| fixture!(x32_syscall(number)), number));
        assert_eq!(denied.kind(), &FaultKind::Syscall { number: Some(number | X32) });
        assert_works(&sandbox);
    }
    let control = child::run(|| {
        let answer = fixture!(x32_syscall(libc::SYS_getpid));
        i32::from(answer <= 0 && answer != -i64::from(libc::ENOSYS))
    });
    assert_eq!(control.unwrap().end, End::Exit(0), "the control: the kernel itself answers");
}

unsafe extern "C" {
    /// `mov $0x050f, %edx; ret`, of which the second byte and the third are `syscall`.
    fn hostile_hidden_syscall();
    fn ringfence_mpk_syscall();
}

global_asm!(".globl hostile_hidden_syscall", "hostile_hidden_syscall:", "mov edx, 0xc3050f", "ret",);

/// `mprotect` of a page by a `syscall` at this place, which must be followed by a return.
fn call_through([place, page]: [u64; 2]) -> i64 {
    let answer: i64;
    // SAFETY: in a domain or a forked child: the attack.
    unsafe {
        asm!(
            "call {place}",
            place = in(reg) place,
            inout("rax") libc::SYS_mprotect => answer,
            in("rdi") page, in("rsi") 4096, in("rdx") 0,
            out("rcx") _, out("r11") _,
        );
    };
    answer
}

/// The kernel is asked at this place, outside with success, inside not.
#[track_caller]
fn denied_at(place: u64) {
    let page = Page::new();
    let control = child::run(|| call_through([place, page.address]) as i32).unwrap();
    assert_eq!(control.end, End::Exit(0), "the control");
    let sandbox = defended();
    let denied = fault(sandbox.call(call_through, [place, page.address]));
    assert_eq!(denied.kind(), &FaultKind::Syscall { number: Some(libc::SYS_mprotect) });
    assert!(page.is_untouched());
    assert_works(&sandbox);
}

fn inside_calls_the_kernel_from_the_middle_of_an_instruction() {
    denied_at(hostile_hidden_syscall as *const () as u64 + 1);
}

fn inside_calls_the_kernel_from_the_c_library() {
    // The instruction in `syscall(3)`, and the comparison and the return behind it.
    let start = libc::syscall as *const () as u64;
    let is_syscall = |at: &u64| {
        // SAFETY: reads code of the function, which is longer than that.
        unsafe { (*at as *const [u8; 2]).read_unaligned() == [0x0f, 0x05] }
    };
    denied_at((start..start + 64).find(is_syscall).unwrap());
}

fn inside_calls_the_kernel_from_the_gate() {
    // There the kernel is asked on the domain's behalf.
    let place = ringfence_mpk_syscall as *const () as u64;
    let page = Page::new();
    let sandbox = defended();
    let denied = fault(sandbox.call(call_through, [place, page.address]));
    assert_eq!(denied.signal(), Some(libc::SIGSYS));
    assert!(page.is_untouched());
    assert_works(&sandbox);
}

/// `time` of the page that emulates three calls of old (`arch/x86/entry/vsyscall`).
fn legacy_time(page: u64) -> i64 {
    const TIME: u64 = 0xffff_ffff_ff60_0400;
    let answer: i64;
    // SAFETY: in a domain or a forked child: the attack.
    unsafe {
        asm!("call {place}", place = in(reg) TIME, in("rdi") page, out("rax") answer, out("rcx") _, out("r11") _);
    };
    answer
}

fn inside_has_the_legacy_page_write_to_the_host() {
    let page = Page::new();
    let control = child::run(|| i32::from(legacy_time(page.address) <= 0 || page.is_untouched())).unwrap();
    if control.end != End::Exit(0) {
        println!("control not possible here: the kernel has no legacy page ({:?})", control.end);
    }
    let sandbox = defended();
    let refused = fault(sandbox.call(legacy_time, page.address));
    assert_eq!(refused.signal(), Some(libc::SIGSEGV));
    assert!(page.is_untouched());
    assert_works(&sandbox);
}

/// A far jump to the segment of 32-bit programs, where addresses are cut to 32 bits.
fn go_on_in_32_bits(_: u64) -> i64 {
    // SAFETY: in a domain or a forked child: the attack.
    unsafe { asm!("mov rax, 0x2300001000", "push rax", ".byte 0xff, 0x2c, 0x24", "ud2", options(noreturn)) }
}

fn inside_goes_on_in_32_bits() {
    let control = child::run(|| go_on_in_32_bits(0) as i32).unwrap();
    assert_eq!(control.end, End::Signal(libc::SIGSEGV), "the control: nothing is mapped there");
    let sandbox = defended();
    let ended = fault(sandbox.call(go_on_in_32_bits, 0_u64));
    assert_eq!((ended.kind(), ended.signal()), (&FaultKind::Signal, Some(libc::SIGSEGV)));
    assert_works(&sandbox);
}
