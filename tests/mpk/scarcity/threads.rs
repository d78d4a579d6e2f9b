//! Threads that cannot go inside, or barely; and many of them.
//!
//! # Safety
//! Settings of a thread that ends soon.
#![expect(unsafe_code, reason = "signal masks and the GS base")]

use std::mem::MaybeUninit;
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use ringfence::{FaultKind, Sandbox};
use ringfence_testkit::resources::Usage;

use super::{alone_trial, null_write, reason, trial, works};

/// `arch_prctl(2)`.
const ARCH_SET_GS: libc::c_long = 0x1001;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("scarcity::blocked_signals", a_thread_that_blocks_all_signals),
        trial("scarcity::gs", a_thread_that_uses_gs),
        trial("scarcity::nested", a_sandbox_used_inside),
        trial("scarcity::tiny_stack", a_thread_with_a_tiny_stack),
        trial("scarcity::session_outlives", a_session_outlives_its_sandbox),
        alone_trial("scarcity::thousands_of_threads", thousands_of_threads_in_sequence),
    ]
}

/// In a thread of its own.
fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(work).join().unwrap()
}

fn a_thread_that_blocks_all_signals() {
    let sandbox = Sandbox::mpk().unwrap();
    let blocked = sandbox.clone();
    aside(move || {
        let change = |how| {
            let mut all = MaybeUninit::<libc::sigset_t>::uninit();
            // SAFETY: room for a set.
            unsafe { libc::sigfillset(all.as_mut_ptr()) };
            // SAFETY: a set that has just been filled; the old one is not asked for.
            assert_eq!(unsafe { libc::pthread_sigmask(how, all.as_ptr(), ptr::null_mut()) }, 0);
        };
        change(libc::SIG_BLOCK);
        works(&blocked);
        // Blocked again, now that the thread has been inside.
        change(libc::SIG_BLOCK);
        for _ in 0..3 {
            // SAFETY: the domain is ended by this.
            let error = blocked.run(|| unsafe { ptr::null_mut::<u8>().write_volatile(1) }).unwrap_err();
            assert_eq!(
                error.fault().map(ringfence::Fault::kind),
                Some(&ringfence::FaultKind::Signal),
                "{error}"
            );
            works(&blocked);
        }
        change(libc::SIG_UNBLOCK);
        works(&blocked);
    });
    works(&sandbox);
}

fn a_thread_that_uses_gs() {
    static MINE: u64 = 5;
    let sandbox = Sandbox::mpk().unwrap();
    let used = sandbox.clone();
    aside(move || {
        let set = |address: usize| {
            // SAFETY: nothing in this program uses the GS base but a thread inside, which this one is not.
            assert_eq!(unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, address) }, 0);
        };
        set((&raw const MINE).addr());
        let reason = reason(used.run(|| 1_u64));
        assert!(reason.contains("GS"), "{reason}");
        set(0);
        works(&used);
    });
    works(&sandbox);
}

/// The host's locks are the host's: the inner call ends the outer one.
fn a_sandbox_used_inside() {
    let (sandbox, other) = (Sandbox::mpk().unwrap(), Sandbox::mpk().unwrap());
    let session = std::sync::Mutex::new(sandbox.session().unwrap());
    let nested: [(&str, &dyn Fn() -> bool); 5] = [
        ("the same by call", &|| sandbox.call(|x: u64| x, 1_u64).is_ok()),
        ("the same by run", &|| sandbox.run(|| 1_u64).is_ok()),
        ("another", &|| other.run(|| 1_u64).is_ok()),
        ("a session", &|| {
            session.try_lock().is_ok_and(|mut session| session.call(|x: u64| x, 1_u64).is_ok())
        }),
        ("a new one", &|| Sandbox::mpk().is_ok()),
    ];
    for (name, inner) in nested {
        match sandbox.run(inner) {
            Ok(worked) => assert!(!worked, "{name}: two domains at once"),
            Err(error) => {
                println!("{name}: {error}");
                let fault = error.fault().unwrap();
                assert_eq!(fault.kind(), &FaultKind::KeyViolation, "{name}: {fault}");
            }
        }
        works(&sandbox);
        works(&other);
    }
}

/// 64 KiB, of which thread-local storage has its share.
fn a_thread_with_a_tiny_stack() {
    let sandbox = Sandbox::mpk().unwrap();
    let used = sandbox.clone();
    let small = thread::Builder::new().stack_size(64 << 10).spawn(move || {
        works(&used);
        let panic = || assert!(std::hint::black_box(false), "on purpose");
        let fault = used.run(panic).unwrap_err();
        assert_eq!(fault.fault().unwrap().kind(), &FaultKind::Panic, "{fault}");
        let mut session = used.session().unwrap();
        assert!(session.call(|()| null_write(), ()).is_err());
        session.reset().unwrap();
        let bytes = vec![1_u8; 1 << 20];
        assert_eq!(session.call(|bytes: Vec<u8>| bytes, bytes.clone()).unwrap(), bytes);
    });
    small.unwrap().join().unwrap();
    works(&sandbox);
}

fn a_session_outlives_its_sandbox() {
    let sandbox = Sandbox::mpk().unwrap();
    let (mut session, mut other) = (sandbox.session().unwrap(), sandbox.session().unwrap());
    drop(sandbox);
    assert_eq!(session.call(|x: u64| x, 1_u64).unwrap(), 1);
    assert!(session.call(|()| null_write(), ()).is_err());
    session.reset().unwrap();
    assert_eq!(session.call(|x: u64| x, 2_u64).unwrap(), 2);
    drop(session);
    // Ends in another thread than it began in.
    aside(move || assert_eq!(other.call(|x: u64| x, 3_u64).unwrap(), 3));
    works(&Sandbox::mpk().unwrap());
}

/// Many more than there is room for at once: what a thread needed goes to the next one.
fn thousands_of_threads_in_sequence() {
    const THREADS: u64 = 5000;
    /// What comes and goes with the heap; not a page for each thread.
    const RESIDENT_SLACK_BYTES: u64 = 4 << 20;
    let sandbox = Sandbox::mpk().unwrap();
    let mut before = None;
    for number in 0..THREADS {
        thread::scope(|scope| {
            let thread = scope.spawn(|| sandbox.call(|x: u64| x + 1, number));
            // The scope's own end does not wait for what a thread does last.
            assert_eq!(thread.join().unwrap().unwrap(), number + 1);
        });
        if number == 100 {
            thread::sleep(Duration::from_millis(100));
            before = Some(Usage::now().unwrap());
        }
    }
    let before = before.unwrap();
    // A thread that has been joined is still listed for a moment.
    let deadline = Instant::now() + Duration::from_secs(10);
    let after = loop {
        let usage = Usage::now().unwrap();
        if usage.threads == before.threads || Instant::now() > deadline {
            break usage;
        }
        thread::yield_now();
    };
    println!("before {before:?}\nafter  {after:?}");
    assert_eq!((after.threads, after.descriptors), (before.threads, before.descriptors));
    assert!(after.mappings <= before.mappings + 8, "{} mappings", after.mappings);
    assert!(
        after.resident_bytes <= before.resident_bytes + RESIDENT_SLACK_BYTES,
        "{} bytes",
        after.resident_bytes
    );
}
