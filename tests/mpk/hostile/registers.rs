//! What code inside finds in the registers, and what it leaves in them.
//!
//! # Safety
//! Sets registers before a crossing and inside; restores those that the compiler relies on.
#![expect(unsafe_code, reason = "sets and reads registers")]

use std::arch::asm;

use libtest_mimic::Trial;
use ringfence::{Backend, FaultKind, Sandbox};
use ringfence_testkit::child::{self, End};

use super::machine::{Leap, PLAIN_FLAGS, State, fs_base, gs_base};
use super::support::{Page, assert_works, defended, fault, limits, syscall, trials};

unsafe extern "C" {
    fn ringfence_mpk_exit();
}

pub(crate) fn trials() -> Vec<Trial> {
    trials! {
        inside_finds_what_the_host_left_in_registers
        inside_leaves_arithmetic_changed_when_it_returns
        inside_leaves_registers_changed_when_it_leaves
        inside_leaves_registers_changed_when_it_faults
        inside_leaves_registers_changed_when_it_is_denied_a_call
        inside_leaves_the_thread_pointer_changed
    }
}

/// In every vector register before a crossing.
const SENTINEL: u64 = 0x5ec2_e700_5ec2_e701;

/// How many of the sixteen vector registers hold the sentinel, in either half.
#[inline(never)]
fn count_sentinels(_: u64) -> u64 {
    let mut seen = [0_u64; 64];
    // SAFETY: the processor has these registers, which the trial has looked at; the local has room for them.
    unsafe {
        asm!(
            ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "vmovdqu [{0} + 32 * \\n], ymm\\n",
            ".endr",
            in(reg) seen.as_mut_ptr(), options(nostack)
        );
    };
    seen.chunks(4).filter(|register| register.contains(&SENTINEL)).count() as u64
}

fn with_sentinels(sandbox: &Sandbox) -> u64 {
    let words = [SENTINEL; 4];
    // SAFETY: as above; a loaded register is one that a call may change.
    unsafe {
        asm!(
            ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "vmovdqu ymm\\n, [{0}]",
            ".endr",
            in(reg) words.as_ptr(), options(nostack, readonly),
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
        );
    };
    sandbox.call(count_sentinels, 0_u64).unwrap()
}

fn inside_finds_what_the_host_left_in_registers() {
    if !std::arch::is_x86_feature_detected!("avx") {
        println!("not run: the processor has no AVX");
        return;
    }
    let sandbox = defended();
    assert_works(&sandbox);
    let direct = Sandbox::builder().backend(Backend::Direct).limits(limits()).build().unwrap();
    assert!(with_sentinels(&direct) > 8, "the control: without a gate they are seen");
    assert_eq!(with_sentinels(&sandbox), 0);
}

/// Rounding down, nothing denormal, no exception masked; and single precision, full of values.
fn spoil_arithmetic() {
    let mxcsr = 0xffc0_u32;
    let control = 0x0c7f_u16;
    // SAFETY: loads locals.
    unsafe {
        asm!(
            "ldmxcsr [{0}]", "fninit", "fldcw [{1}]", "fld1", "fld1", "fld1", "fld1", "fld1", "fld1", "fld1", "fld1",
            in(reg) &raw const mxcsr, in(reg) &raw const control, options(nostack, readonly)
        );
    };
}

/// The host as it was, and able to compute and to copy.
#[track_caller]
fn assert_sound(before: State) {
    assert_eq!(State::now(), before);
    let (third, tiny) = (std::hint::black_box(1.0_f64) / 3.0, std::hint::black_box(f64::MIN_POSITIVE) / 4.0);
    assert_eq!((third.to_bits(), tiny > 0.0), (0x3fd5_5555_5555_5555, true));
    let mut bytes: Vec<u8> = (0..200).collect();
    bytes.copy_within(0..150, 7);
    assert!(bytes[7..157].iter().copied().eq(0..150));
}

fn inside_leaves_arithmetic_changed_when_it_returns() {
    let control = child::run(|| {
        let before = State::now();
        spoil_arithmetic();
        i32::from(State::now() == before)
    });
    assert_eq!(control.unwrap().end, End::Exit(0), "the control");
    let sandbox = defended();
    assert_works(&sandbox);
    let before = State::now();
    let returned = sandbox.call(
        |number: u64| {
            spoil_arithmetic();
            number
        },
        7_u64,
    );
    assert_sound(before);
    assert_eq!(returned.unwrap(), 7);
    assert_works(&sandbox);
}

/// Flags that a program can set: direction, alignment check, nested task, identification, single step.
const FLAGS: [u64; 6] =
    [1 << 10, 1 << 18, 1 << 14, 1 << 21, 1 << 8, 1 << 10 | 1 << 18 | 1 << 14 | 1 << 21 | 1 << 8];

fn spoil([rip, flags, number]: [u64; 3]) -> u64 {
    spoil_arithmetic();
    let mut leap = Leap::to(rip);
    leap.flags = PLAIN_FLAGS | flags;
    leap.rax = number;
    for register in [&mut leap.rcx, &mut leap.rdx, &mut leap.rdi, &mut leap.rsi, &mut leap.r15] {
        *register = SENTINEL;
    }
    leap.go()
}

#[track_caller]
fn spoiled(rip: u64, number: u64, kinds: &[FaultKind]) {
    let sandbox = defended();
    assert_works(&sandbox);
    for flags in FLAGS {
        let before = State::now();
        let ended = sandbox.call(spoil, [rip, flags, number]);
        assert_sound(before);
        let ended = fault(ended);
        let stepped = flags & 1 << 8 != 0 && ended.signal() == Some(libc::SIGTRAP);
        let misaligned = flags & 1 << 18 != 0 && ended.signal() == Some(libc::SIGBUS);
        assert!(kinds.contains(ended.kind()) || stepped || misaligned, "{flags:#x}: {ended}");
        assert_works(&sandbox);
    }
}

fn inside_leaves_registers_changed_when_it_leaves() {
    spoiled(ringfence_mpk_exit as *const () as u64, 0, &[FaultKind::MalformedReply { error: None }]);
}

fn inside_leaves_registers_changed_when_it_faults() {
    spoiled(8, 0, &[FaultKind::Signal]);
}

fn inside_leaves_registers_changed_when_it_is_denied_a_call() {
    // The instruction in `syscall(3)`.
    let start = libc::syscall as *const () as u64;
    // SAFETY: reads code of the function, which is longer than that.
    let is_it = |at: &u64| unsafe { (*at as *const [u8; 2]).read_unaligned() == [0x0f, 0x05] };
    let rip = (start..start + 64).find(is_it).unwrap();
    let number = libc::SYS_mprotect;
    spoiled(rip, number as u64, &[FaultKind::Syscall { number: Some(number) }]);
}

fn leave_elsewhere([rip, fs, gs]: [u64; 3]) -> u64 {
    let mut leap = Leap::to(rip);
    // A block that begins like one of a thread.
    let mut block = Box::new([0_u64; 64]);
    let address = block.as_ptr() as u64;
    (block[0], block[2]) = (address, address);
    leap.fs = if fs == 1 { address } else { fs };
    leap.gs = if gs == 1 { address } else { gs };
    leap.go()
}

fn inside_leaves_the_thread_pointer_changed() {
    let page = Page::new();
    let sandbox = defended();
    assert_works(&sandbox);
    let bases = [0, 1, page.address, fs_base(), 0xffff_8000_0000_0000];
    let (before, thread) = (State::now(), syscall(libc::SYS_gettid, [0; 6]));
    for fs in bases {
        for gs in bases {
            // The last one no program may load.
            for rip in [ringfence_mpk_exit as *const () as u64, 8] {
                let ended = fault(sandbox.call(leave_elsewhere, [rip, fs, gs]));
                assert!(
                    [&FaultKind::MalformedReply { error: None }, &FaultKind::Signal].contains(&ended.kind()),
                    "{ended}"
                );
                assert_eq!(State::now(), before);
                assert_works(&sandbox);
            }
        }
    }
    assert!(page.is_untouched());
    assert_eq!((syscall(libc::SYS_gettid, [0; 6]), gs_base()), (thread, 0));
    let control = child::run(|| {
        let leap = Leap { fs: 0, ..Leap::to(State::now as fn() -> State as usize as u64) };
        leap.go()
    });
    assert!(matches!(control.unwrap().end, End::Signal(_)), "the control: without it nothing goes on");
}
