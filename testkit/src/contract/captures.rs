//! Point 2: `run` sees what it captured, as it is at that moment. That `call` takes no captures is checked when it is compiled.

use std::cell::{Cell, RefCell};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Subject;

/// Each run sees what the host did since the last one, also behind references, and in cells and atomics, which are read in place.
///
/// # Panics
/// The backend breaks the contract.
pub fn are_seen_as_they_are_now(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let mut numbers = vec![1_u64, 2];
    let mut text = String::from("one");
    let (cell, atomic) = (Cell::new(1_u64), AtomicU64::new(1));
    for round in 0..3_u64 {
        let (borrowed, letters) = (numbers.as_slice(), text.as_str());
        let look = || (borrowed.to_vec(), letters.to_owned(), cell.get(), atomic.load(Ordering::Relaxed));
        assert_eq!(sandbox.run(look).unwrap(), look());
        assert_eq!(cell.get(), round + 1);
        numbers.push(round);
        // Moves the text.
        text.push_str(&"x".repeat(64 << round));
        cell.set(cell.get() + 1);
        atomic.fetch_add(1, Ordering::Relaxed);
    }
}

/// As [`are_seen_as_they_are_now`], for what notes in itself that it is being read: a borrowed `RefCell` and a held lock. A backend without a
/// copy of the host's memory does not claim this.
///
/// # Panics
/// The backend breaks the contract.
pub fn are_seen_behind_locks(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let cell = RefCell::new(String::from("one"));
    let locked = Mutex::new(1_u64);
    for round in 0..3_u64 {
        let seen = sandbox.run(|| (cell.borrow().clone(), *locked.lock().unwrap()));
        assert_eq!(seen.unwrap(), (cell.borrow().clone(), *locked.lock().unwrap()));
        // Moves the text.
        cell.borrow_mut().push_str(&"x".repeat(64 << round));
        *locked.lock().unwrap() += 1;
    }
    assert_eq!(*locked.lock().unwrap(), 4);
}

/// A closure borrows what is on the stack of its caller, however large.
///
/// # Panics
/// The backend breaks the contract.
pub fn may_be_large(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let block: [u64; 8192] = std::array::from_fn(|index| index as u64);
    let sum = sandbox.run(|| std::hint::black_box(&block).iter().sum::<u64>()).unwrap();
    assert_eq!(sum, 8191 * 8192 / 2);
}
