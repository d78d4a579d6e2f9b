//! The program's own signals while a thread is inside: handlers run with the program's rights, and the domain goes on.
//!
//! # Safety
//! Handlers that count, and signals sent to threads of a process of its own.
#![expect(unsafe_code, reason = "installs signal handlers and sends signals")]
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use ringfence::{FaultKind, Sandbox};
use ringfence_testkit::alone::alone_with;

use crate::scarcity::UNTRIED;

macro_rules! trials {
    ($($name:ident)*) => {
        vec![$(Trial::test(concat!("signals::", stringify!($name)), || {
            alone_with(concat!("signals::", stringify!($name)), &[(UNTRIED, "1")], $name);
            Ok(())
        })),*]
    };
}

pub(crate) fn trials() -> Vec<Trial> {
    trials! {
        handlers_set_before_and_after_run_and_the_domain_goes_on
        a_storm_loses_no_answer
        a_handler_that_calls_a_sandbox_is_told_no
        all_threads_change_their_user_while_one_is_inside
        a_broken_pipe_is_an_error_inside
    }
}

static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: libc::c_int) {
    // Memory of the program, which code inside cannot store to.
    HANDLED.fetch_add(1, Ordering::SeqCst);
    // The program's own thread-local storage.
    LAST.set(HANDLED.load(Ordering::SeqCst));
}

thread_local! {
    static LAST: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Without `SA_ONSTACK`, as most programs install them.
fn handle(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) {
    // SAFETY: plain data, of which zeroes are a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: an action with a handler that only counts.
    assert_eq!(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) }, 0);
    let mut set = action;
    // SAFETY: asks, into a local.
    assert_eq!(unsafe { libc::sigaction(signal, ptr::null(), &raw mut set) }, 0);
    assert_eq!(set.sa_sigaction, handler as *const () as usize, "the program sees its own handler");
}

fn send(thread: libc::pid_t, signal: libc::c_int) {
    let process = std::process::id();
    // SAFETY: plain numbers.
    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) };
}

/// Sends the signal to the calling thread, every so often, while it works.
fn under_fire<R>(signal: libc::c_int, pause: Duration, work: impl FnOnce() -> R) -> R {
    // SAFETY: asks for a number.
    let target = unsafe { libc::gettid() };
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                send(target, signal);
                thread::sleep(pause);
            }
        });
        let result = work();
        is_over.store(true, Ordering::SeqCst);
        sender.join().unwrap();
        result
    })
}

fn work(rounds: u64) -> u64 {
    let mut numbers: Vec<u64> = (0..512).collect();
    for round in 0..rounds {
        for number in &mut numbers {
            *number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round);
        }
    }
    numbers.iter().fold(0, |sum, number| sum ^ number)
}

fn handlers_set_before_and_after_run_and_the_domain_goes_on() {
    handle(libc::SIGUSR1, count);
    let sandbox = Sandbox::mpk().unwrap();
    handle(libc::SIGUSR2, count);
    let expected = work(2000);
    for signal in [libc::SIGUSR1, libc::SIGUSR2] {
        let before = HANDLED.load(Ordering::SeqCst);
        let answer = under_fire(signal, Duration::from_millis(1), || sandbox.call(work, 2000_u64));
        assert_eq!(answer.unwrap(), expected, "signal {signal}");
        assert!(HANDLED.load(Ordering::SeqCst) > before, "signal {signal} came");
        assert!(LAST.get() > before, "in the program's own thread-local storage");
    }
}

fn a_storm_loses_no_answer() {
    handle(libc::SIGUSR1, count);
    let sandbox = Sandbox::mpk().unwrap();
    let expected = work(3);
    let started = std::time::Instant::now();
    under_fire(libc::SIGUSR1, Duration::from_micros(80), || {
        let mut turn = 0_u64;
        while started.elapsed() < Duration::from_secs(4) {
            turn += 1;
            assert_eq!(sandbox.call(|x: u64| x + 1, turn).unwrap(), turn + 1);
            assert_eq!(sandbox.call(work, 3_u64).unwrap(), expected);
            // A system call that is made for the domain, and one that waits.
            assert_eq!(sandbox.run(std::process::id).unwrap(), std::process::id());
            if turn.is_multiple_of(16) {
                sandbox.run(|| thread::sleep(Duration::from_micros(300))).unwrap();
                // SAFETY: the domain is ended by this.
                let error = sandbox.run(|| unsafe { ptr::null_mut::<u8>().write_volatile(1) }).unwrap_err();
                assert_eq!(error.fault().unwrap().kind(), &FaultKind::Signal, "{error}");
            }
        }
    });
    let handled = HANDLED.load(Ordering::SeqCst);
    assert!(handled > 100, "{handled} signals came");
}

static REFUSED: AtomicU64 = AtomicU64::new(0);

extern "C" fn call_a_sandbox(_: libc::c_int) {
    let Some(sandbox) = SHARED.get() else { return };
    if matches!(sandbox.run(|| 1_u64), Err(ringfence::Error::Unavailable(_))) {
        REFUSED.fetch_add(1, Ordering::SeqCst);
    }
}

static SHARED: std::sync::OnceLock<Sandbox> = std::sync::OnceLock::new();

fn a_handler_that_calls_a_sandbox_is_told_no() {
    let sandbox = SHARED
        .get_or_init(|| Sandbox::builder().backend(ringfence::Backend::Mpk).workers(2).build().unwrap());
    sandbox.run(|| 1_u64).unwrap();
    handle(libc::SIGUSR1, call_a_sandbox);
    // SAFETY: asks for a number.
    send(unsafe { libc::gettid() }, libc::SIGUSR1);
    assert_eq!(REFUSED.load(Ordering::SeqCst), 1);
    assert_eq!(sandbox.run(|| 2_u64).unwrap(), 2);
}

fn all_threads_change_their_user_while_one_is_inside() {
    let sandbox = Sandbox::mpk().unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let mut calls = 0_u64;
            while !is_over.load(Ordering::SeqCst) {
                assert_eq!(sandbox.call(work, 50_u64).unwrap(), work(50));
                calls += 1;
            }
            calls
        });
        // SAFETY: asks for a number.
        let user = unsafe { libc::getuid() };
        for _ in 0..20 {
            // SAFETY: to the user it has.
            assert_eq!(unsafe { libc::setuid(user) }, 0);
            thread::sleep(Duration::from_millis(5));
        }
        is_over.store(true, Ordering::SeqCst);
        assert!(inside.join().unwrap() > 0);
    });
}

fn a_broken_pipe_is_an_error_inside() {
    // Rust ignores the signal; a program in C would not.
    // SAFETY: gives the signal its default action.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let mut ends = [0; 2];
    // SAFETY: room for two numbers.
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: nobody else has it.
    unsafe { libc::close(ends[0]) };
    // SAFETY: as above.
    let writer: std::os::fd::OwnedFd = unsafe { std::os::fd::FromRawFd::from_raw_fd(ends[1]) };
    let policy = ringfence::Policy::compute().lend(writer);
    let sandbox = Sandbox::builder().backend(ringfence::Backend::Mpk).policy(policy).build().unwrap();
    let number = ends[1];
    let answer = sandbox.run(|| {
        // SAFETY: one byte of a constant.
        let written = unsafe { libc::write(number, c"x".as_ptr().cast(), 1) };
        (written as i64, std::io::Error::last_os_error().raw_os_error())
    });
    assert_eq!(answer.unwrap(), (-1, Some(libc::EPIPE)));
}
