//! Operations of Rust and its standard library.
//!
//! # Safety
//! Each changes state of its own that no other row has. They run in an isolate, which has one thread, or in a forked child of a
//! test, likewise.
#![expect(
    unsafe_code,
    reason = "changes the environment, and shares a Cell that only one thread at a time uses"
)]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, Write as _};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use std::{env, hint};

use super::{Answer, OUTDATED, TOLD, WORKED, WRONG};

pub(super) fn worked(holds: impl FnOnce() -> bool) -> Answer {
    if holds() { WORKED } else { WRONG }
}

pub(super) fn refused(error: &io::Error) -> Answer {
    error.raw_os_error().map_or(WRONG, |number| -number)
}

pub(super) fn print() -> Answer {
    println!("a line");
    WORKED
}

pub(super) fn print_error() -> Answer {
    eprintln!("a line");
    WORKED
}

/// What the capture of standard error has room for, and more.
pub(super) fn flood_standard_error() -> Answer {
    let chunk = [b'x'; 4096];
    for _ in 0..128 {
        if let Err(error) = io::stderr().write_all(&chunk) {
            return refused(&error);
        }
    }
    WORKED
}

pub(super) fn read_variable() -> Answer {
    // Whatever it is that every program has.
    let Some((name, value)) = env::vars_os().next() else { return WRONG };
    worked(|| env::var_os(name) == Some(value))
}

const VARIABLE: &str = "RINGFENCE_TABLE_VARIABLE";

pub(super) fn set_variable() -> Answer {
    // SAFETY: this process has one thread, as the module says.
    unsafe { env::set_var(VARIABLE, "inside") };
    worked(|| env::var(VARIABLE).as_deref() == Ok("inside"))
}

pub(super) fn variable_is_seen() -> bool {
    env::var(VARIABLE).is_ok()
}

thread_local! {
    static PLAIN: Cell<u32> = const { Cell::new(1) };
    static DROPPED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn thread_local_plain() -> Answer {
    PLAIN.set(PLAIN.get() + 1);
    worked(|| PLAIN.get() == 2)
}

pub(super) fn thread_local_plain_is_seen() -> bool {
    PLAIN.get() != 1
}

pub(super) fn thread_local_dropped() -> Answer {
    DROPPED.with_borrow_mut(|list| list.push(1));
    worked(|| DROPPED.with_borrow(|list| list.len() == 1))
}

pub(super) fn thread_local_dropped_is_seen() -> bool {
    DROPPED.with_borrow(|list| !list.is_empty())
}

static UNLOCKED: Mutex<u32> = Mutex::new(1);

pub(super) fn lock_free_mutex() -> Answer {
    *UNLOCKED.lock().unwrap_or_else(PoisonError::into_inner) = 2;
    WORKED
}

pub(super) fn lock_is_seen() -> bool {
    *UNLOCKED.lock().unwrap_or_else(PoisonError::into_inner) == 2
}

static HELD_EARLY: Mutex<u32> = Mutex::new(1);
static HELD_LATE: Mutex<u32> = Mutex::new(1);

/// Has another thread lock `mutex` and keep it.
fn hold(mutex: &'static Mutex<u32>) {
    let (locked, is_locked) = mpsc::channel();
    thread::spawn(move || {
        // Two tests may ask for the same: the second lock waits for ever, as it should.
        let guard = mutex.try_lock();
        let _ = locked.send(());
        if guard.is_ok() {
            loop {
                thread::park();
            }
        }
    });
    let _ = is_locked.recv();
}

pub(super) fn hold_early() {
    hold(&HELD_EARLY);
}

pub(super) fn hold_late() {
    hold(&HELD_LATE);
}

pub(super) fn lock_held_early() -> Answer {
    *HELD_EARLY.lock().unwrap_or_else(PoisonError::into_inner) = 2;
    WORKED
}

pub(super) fn lock_held_late() -> Answer {
    *HELD_LATE.lock().unwrap_or_else(PoisonError::into_inner) = 2;
    WORKED
}

pub(super) fn read_write_lock() -> Answer {
    static LOCK: RwLock<u32> = RwLock::new(1);
    worked(|| *LOCK.read().unwrap_or_else(PoisonError::into_inner) == 1)
}

pub(super) fn wait_on_condition() -> Answer {
    let pair = (Mutex::new(false), Condvar::new());
    let guard = pair.0.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = pair.1.wait_timeout(guard, Duration::from_millis(1));
    worked(|| waited.is_ok_and(|(_, result)| result.timed_out()))
}

static SET_BEFORE: OnceLock<u32> = OnceLock::new();
static SET_INSIDE: OnceLock<u32> = OnceLock::new();

/// A static of its own for each test of this process.
static SET_AFTER: [AtomicU32; 64] = [const { AtomicU32::new(1) }; 64];
static UNUSED: AtomicI32 = AtomicI32::new(0);

pub(super) fn set_once_before() {
    SET_BEFORE.get_or_init(|| 7);
}

pub(super) fn read_once() -> Answer {
    worked(|| SET_BEFORE.get() == Some(&7))
}

pub(super) fn set_once() -> Answer {
    worked(|| SET_INSIDE.set(7).is_ok())
}

pub(super) fn once_is_seen() -> bool {
    SET_INSIDE.get().is_some()
}

pub(super) fn choose_static_before() {
    TOLD.set(UNUSED.fetch_add(1, Ordering::Relaxed));
}

fn chosen_static() -> Option<&'static AtomicU32> {
    usize::try_from(TOLD.get()).ok().and_then(|index| SET_AFTER.get(index))
}

pub(super) fn change_static_after() {
    if let Some(chosen) = chosen_static() {
        chosen.store(2, Ordering::Relaxed);
    }
}

pub(super) fn read_static_changed_after() -> Answer {
    match chosen_static().map(|chosen| chosen.load(Ordering::Relaxed)) {
        Some(2) => WORKED,
        Some(1) => OUTDATED,
        _ => WRONG,
    }
}

static STATIC: AtomicU32 = AtomicU32::new(1);

pub(super) fn write_static() -> Answer {
    STATIC.store(2, Ordering::Relaxed);
    WORKED
}

pub(super) fn static_is_seen() -> bool {
    STATIC.load(Ordering::Relaxed) == 2
}

static SHARED: OnceLock<Arc<u32>> = OnceLock::new();

pub(super) fn make_arc() {
    SHARED.get_or_init(|| Arc::new(7));
}

pub(super) fn clone_arc() -> Answer {
    let Some(shared) = SHARED.get() else { return WRONG };
    // Kept, so that the count stays up.
    std::mem::forget(Arc::clone(shared));
    worked(|| Arc::strong_count(shared) == 2)
}

pub(super) fn arc_is_seen() -> bool {
    SHARED.get().is_some_and(|shared| Arc::strong_count(shared) == 2)
}

struct OfTheHost(Cell<u32>);

// SAFETY: written inside only, where there is one thread; threads of the host read it.
unsafe impl Sync for OfTheHost {}

static CELL: OfTheHost = OfTheHost(Cell::new(1));

pub(super) fn set_cell() -> Answer {
    CELL.0.set(2);
    worked(|| CELL.0.get() == 2)
}

pub(super) fn cell_is_seen() -> bool {
    CELL.0.get() == 2
}

pub(super) fn catch_panic() -> Answer {
    let caught = panic::catch_unwind(AssertUnwindSafe(|| {
        assert!(hint::black_box(false), "on purpose");
    }));
    worked(|| caught.is_err())
}

pub(super) fn leave_panic() -> Answer {
    assert!(hint::black_box(false), "on purpose");
    WRONG
}

pub(super) fn overflow_index() -> Answer {
    let empty: &[i32] = hint::black_box(&[]);
    empty[hint::black_box(3)]
}

pub(super) fn spawn_thread() -> Answer {
    match thread::Builder::new().spawn(|| 7) {
        Ok(thread) => worked(|| thread.join().is_ok_and(|value| value == 7)),
        Err(error) => refused(&error),
    }
}

pub(super) fn name_thread() -> Answer {
    worked(|| thread::current().id() == thread::current().id())
}

pub(super) fn count_processors() -> Answer {
    worked(|| thread::available_parallelism().is_ok())
}

pub(super) fn read_clocks() -> Answer {
    let start = Instant::now();
    worked(|| start <= Instant::now() && SystemTime::now() > SystemTime::UNIX_EPOCH)
}

pub(super) fn sleep() -> Answer {
    thread::sleep(Duration::from_millis(1));
    WORKED
}

pub(super) fn hash_map() -> Answer {
    let map: HashMap<u32, u32> = (0..100).map(|key| (key, key + 1)).collect();
    worked(|| map.get(&41) == Some(&42))
}

pub(super) fn large_vector() -> Answer {
    let vector = vec![1_u8; 64 << 20];
    worked(|| vector.iter().step_by(4096).all(|&byte| byte == 1))
}

pub(super) fn detect_features() -> Answer {
    worked(|| is_x86_feature_detected!("sse2"))
}

pub(super) fn error_text() -> Answer {
    worked(|| !io::Error::from_raw_os_error(libc::ENOENT).to_string().is_empty())
}

pub(super) fn backtrace() -> Answer {
    let text = std::backtrace::Backtrace::force_capture().to_string();
    worked(|| !text.is_empty())
}

pub(super) fn exit() -> Answer {
    std::process::exit(3)
}

pub(super) fn abort() -> Answer {
    std::process::abort()
}
