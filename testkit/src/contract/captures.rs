//! Point 2: `run` sees what it captured, as it is at that moment. That `call` takes no captures is checked when it is compiled.

use std::cell::RefCell;
use std::sync::Mutex;

use super::Subject;

/// Each run sees what the host did since the last one, also behind references, cells and locks.
///
/// # Panics
/// The backend breaks the contract.
pub fn are_seen_as_they_are_now(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    let mut numbers = vec![1_u64, 2];
    let cell = RefCell::new(String::from("one"));
    let locked = Mutex::new(1_u64);
    for round in 0..3_u64 {
        let borrowed = numbers.as_slice();
        let seen = sandbox.run(|| (borrowed.to_vec(), cell.borrow().clone(), *locked.lock().unwrap()));
        assert_eq!(seen.unwrap(), (numbers.clone(), cell.borrow().clone(), *locked.lock().unwrap()));
        numbers.push(round);
        // Moves the text.
        cell.borrow_mut().push_str(&"x".repeat(64 << round));
        *locked.lock().unwrap() += 1;
    }
    assert_eq!(numbers.len(), 5);
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
