//! System calls that are made, with the host's memory for the answer; and the return from a signal that there was not.
//!
//! # Safety
//! The calls are made inside domains and in forked children, which end.
#![expect(unsafe_code, reason = "builds a signal frame and returns through it")]

use std::arch::asm;
use std::io::Seek;
use std::os::fd::AsRawFd;

use libtest_mimic::Trial;
use ringfence::{FaultKind, Policy};
use ringfence_testkit::child::{self, End};

use super::machine::{PLAIN_FLAGS, stack_pointer};
use super::support::{PATTERN, Page, assert_works, defended, fault, file, limits, syscall, trials, with};

pub(crate) fn trials() -> Vec<Trial> {
    trials! {
        inside_returns_from_a_signal_that_never_was
        inside_has_the_kernel_read_a_file_into_the_host
        inside_has_the_kernel_answer_into_the_host
        inside_has_the_kernel_make_a_denied_call_again
    }
}

/// A signal frame that goes on at `rip`, and the bare call that returns from it.
fn return_from_signal(rip: u64) -> i64 {
    let mut frame = [0_u64; 128];
    let registers = 5;
    frame[registers + libc::REG_RIP as usize] = rip;
    frame[registers + libc::REG_RSP as usize] = (stack_pointer() - 65536) & !15;
    frame[registers + libc::REG_EFL as usize] = PLAIN_FLAGS;
    // Code and stack segments of 64-bit programs.
    frame[registers + libc::REG_CSGSFS as usize] = 0x2b << 48 | 0x33;
    // SAFETY: in a domain or a forked child: the attack.
    unsafe {
        asm!("mov rsp, {}", "mov eax, 15", "syscall", "ud2", in(reg) frame.as_ptr(), options(noreturn));
    }
}

extern "C" fn arrive() -> ! {
    syscall(libc::SYS_exit_group, [42, 0, 0, 0, 0, 0]);
    std::process::abort()
}

fn inside_returns_from_a_signal_that_never_was() {
    let rip = arrive as extern "C" fn() -> ! as usize as u64;
    let control = child::run(|| return_from_signal(rip) as i32).unwrap();
    assert_eq!(control.end, End::Exit(42), "the control");
    let sandbox = defended();
    let denied = fault(sandbox.call(return_from_signal, rip));
    assert_eq!(denied.kind(), &FaultKind::Syscall { number: Some(libc::SYS_rt_sigreturn) });
    assert_works(&sandbox);
}

fn inside_has_the_kernel_read_a_file_into_the_host() {
    let (page, file) = (Page::new(), file());
    let number = file.as_raw_fd() as u64;
    let vector = Page::new();
    vector.store(0, page.address);
    vector.store(1, 8);
    let calls = [
        (libc::SYS_read, [number, page.address, 8, 0, 0, 0]),
        (libc::SYS_pread64, [number, page.address, 8, 0, 0, 0]),
        (libc::SYS_readv, [number, vector.address, 1, 0, 0, 0]),
        (libc::SYS_fstat, [number, page.address, 0, 0, 0, 0]),
    ];
    let mut other = file.try_clone().unwrap();
    let lent = with(Policy::compute().lend(file), limits());
    for (call, arguments) in calls {
        let control = child::run(|| i32::from(syscall(call, arguments) < 0 || page.is_untouched())).unwrap();
        assert_eq!(control.end, End::Exit(0), "the control of {call}");
        other.rewind().unwrap();
        let answer =
            lent.call(|(call, arguments): (i64, [u64; 6])| syscall(call, arguments), (call, arguments));
        assert_eq!((answer.unwrap(), page.load(0)), (-i64::from(libc::EFAULT), PATTERN), "{call}");
        assert!(page.is_untouched());
    }
    assert_works(&lent);
}

fn inside_has_the_kernel_answer_into_the_host() {
    let page = Page::new();
    let at = page.address;
    let calls = [
        (libc::SYS_clock_gettime, [0, at, 0, 0, 0, 0]),
        (libc::SYS_clock_getres, [0, at, 0, 0, 0, 0]),
        (libc::SYS_gettimeofday, [at, 0, 0, 0, 0, 0]),
        (libc::SYS_time, [at, 0, 0, 0, 0, 0]),
        (libc::SYS_times, [at, 0, 0, 0, 0, 0]),
        (libc::SYS_getrusage, [0, at, 0, 0, 0, 0]),
        (libc::SYS_getcpu, [at, at, 0, 0, 0, 0]),
        (libc::SYS_sched_getaffinity, [0, 128, at, 0, 0, 0]),
        (libc::SYS_uname, [at, 0, 0, 0, 0, 0]),
        (libc::SYS_sysinfo, [at, 0, 0, 0, 0, 0]),
        (libc::SYS_getrandom, [at, 64, 0, 0, 0, 0]),
        (libc::SYS_prlimit64, [0, 3, 0, at, 0, 0]),
        (libc::SYS_rt_sigprocmask, [0, 0, at, 8, 0, 0]),
    ];
    let sandbox = defended();
    for (call, arguments) in calls {
        let control = child::run(|| i32::from(syscall(call, arguments) < 0 || page.is_untouched())).unwrap();
        assert_eq!(control.end, End::Exit(0), "the control of {call}");
        let answer =
            sandbox.call(|(call, arguments): (i64, [u64; 6])| syscall(call, arguments), (call, arguments));
        let answer = answer.unwrap();
        assert!(page.is_untouched(), "{call} answered {answer}");
        assert!(answer < 0, "{call} answered {answer}");
    }
    assert_works(&sandbox);
}

/// The kernel makes an interrupted call again, with the arguments it kept: those of the host's.
fn inside_has_the_kernel_make_a_denied_call_again() {
    let sandbox = defended();
    let answer = sandbox.call(|()| syscall(libc::SYS_restart_syscall, [0; 6]), ());
    assert_eq!(answer.unwrap(), -i64::from(libc::EINTR), "nothing was interrupted");
    assert_works(&sandbox);
}
