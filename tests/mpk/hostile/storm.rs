//! Signals without end while threads go in and out.
//!
//! # Safety
//! Installs a handler that counts, in a process of its own.
#![expect(unsafe_code, reason = "signal, and a constructor that installs one")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{panic, thread};

use libtest_mimic::Trial;
use ringfence::FaultKind;
use ringfence_testkit::alone::alone;

use super::machine::State;
use super::support::{defended, fault, store_byte, syscall, trials};

pub(crate) fn trials() -> Vec<Trial> {
    trials! { others_send_signals_all_the_time }
}

static DELIVERED: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);

thread_local!(static MARK: std::cell::Cell<u64> = const { std::cell::Cell::new(7) });

extern "C" fn count(_: libc::c_int) {
    DELIVERED.fetch_add(1, Ordering::SeqCst);
    // With the host's thread pointer, whatever was interrupted.
    if MARK.get() != 7 && MARK.get() != 8 {
        WRONG.fetch_add(1, Ordering::SeqCst);
    }
}

/// Before `main` makes the first domain: handlers of later are not routed.
#[used]
#[unsafe(link_section = ".init_array")]
static INSTALL: extern "C" fn() = install;

extern "C" fn install() {
    if std::env::var_os("RINGFENCE_ALONE").is_some_and(|name| name == NAME) {
        // SAFETY: the handler is of that type, and does two atomic additions.
        unsafe { libc::signal(libc::SIGUSR1, count as *const () as libc::sighandler_t) };
    }
}

const NAME: &str = "hostile::storm::others_send_signals_all_the_time";

/// Between two signals.
const PAUSE: Duration = Duration::from_micros(100);
/// How long the storm lasts at least, and how many signals arrive at least.
const SPAN: Duration = Duration::from_secs(3);
const ENOUGH: u64 = 2000;

fn compute(number: u64) -> u64 {
    (0..200).fold(number, |sum, step| std::hint::black_box(sum.rotate_left(5) ^ step))
}

fn others_send_signals_all_the_time() {
    alone(NAME, || {
        let done = AtomicBool::new(false);
        let finished = AtomicBool::new(false);
        thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            let (done, finished) = (&done, &finished);
            scope.spawn(move || {
                sender.send(syscall(libc::SYS_gettid, [0; 6])).unwrap();
                let worked = panic::catch_unwind(|| work(done));
                finished.store(true, Ordering::SeqCst);
                worked.unwrap();
            });
            let target = receiver.recv().unwrap().cast_unsigned();
            let mut sent = 0;
            let (start, process) = (Instant::now(), u64::from(std::process::id()));
            while !finished.load(Ordering::SeqCst) {
                // To nobody, once the thread has ended.
                syscall(libc::SYS_tgkill, [process, target, libc::SIGUSR1 as u64, 0, 0, 0]);
                sent += 1;
                while start.elapsed() < sent * PAUSE && !finished.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
                if start.elapsed() > SPAN && DELIVERED.load(Ordering::SeqCst) > ENOUGH {
                    done.store(true, Ordering::SeqCst);
                }
            }
        });
        let delivered = DELIVERED.load(Ordering::SeqCst);
        println!("{delivered} signals");
        assert!(delivered > ENOUGH);
        assert_eq!(WRONG.load(Ordering::SeqCst), 0);
    });
}

fn work(done: &AtomicBool) {
    MARK.set(8);
    let sandbox = defended();
    let mut session = sandbox.session().unwrap();
    let before = State::now();
    let mut count = 0_u64;
    while !done.load(Ordering::SeqCst) {
        count += 1;
        assert_eq!(sandbox.call(|x: u64| x + 1, count).unwrap(), count + 1);
        assert_eq!(session.call(compute, count).unwrap(), compute(count));
        let own = syscall(libc::SYS_getpid, [0; 6]);
        let asked = |_: u64| (0..20).map(|_| syscall(libc::SYS_getpid, [0; 6])).collect::<Vec<i64>>();
        assert_eq!(sandbox.call(asked, 0_u64).unwrap(), vec![own; 20]);
        let float = |x: f64| (0..100).fold(x, |sum, _| std::hint::black_box(sum) * 1.01);
        let number = count as f64;
        assert_eq!(sandbox.call(float, number).unwrap().to_bits(), float(number).to_bits());
        if count.is_multiple_of(16) {
            let word = std::cell::Cell::new(7_u64);
            let refused = fault(sandbox.call(store_byte, word.as_ptr() as u64));
            assert_eq!((refused.kind(), word.get()), (&FaultKind::KeyViolation, 7));
        }
        assert_eq!(State::now(), before);
    }
    println!("{count} rounds");
    assert_eq!(MARK.get(), 8);
}
