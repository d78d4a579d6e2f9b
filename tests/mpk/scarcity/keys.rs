//! No keys left.
//!
//! # Safety
//! Keys are asked for and given back in a process of the test's own; no page carries them.
#![expect(unsafe_code, reason = "pkey_alloc and pkey_free")]

use libtest_mimic::Trial;
use ringfence::Sandbox;
use ringfence_testkit::alone::alone_with;

use super::{reason, trial, works};

/// Names the variable that keeps this program from trying domains before a trial does.
pub(crate) const UNTRIED: &str = "RINGFENCE_UNTRIED";

pub(super) fn trials() -> Vec<Trial> {
    vec![trial(NAME, || alone_with(NAME, &[(UNTRIED, "1")], somebody_took_all_keys))]
}

const NAME: &str = "scarcity::keys";

fn somebody_took_all_keys() {
    let mut taken: Vec<i64> = std::iter::repeat_with(|| {
        // SAFETY: two numbers.
        unsafe { libc::syscall(libc::SYS_pkey_alloc, 0, 0) }
    })
    .take_while(|key| *key > 0)
    .collect();
    assert_eq!(taken.len(), 15, "nobody has asked for a key before");
    for _ in 0..3 {
        let reason = reason(Sandbox::mpk());
        assert!(reason.contains("key"), "{reason}");
    }
    let give = |key: Option<i64>| {
        // SAFETY: a key that was taken above, which no page carries.
        assert_eq!(unsafe { libc::syscall(libc::SYS_pkey_free, key.unwrap()) }, 0);
    };
    give(taken.pop());
    // One key is enough for any number of domains that take turns.
    let (one, other) = (Sandbox::mpk().unwrap(), Sandbox::mpk().unwrap());
    for _ in 0..3 {
        works(&one);
        works(&other);
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                works(&one);
                works(&other);
            });
        }
    });
    while !taken.is_empty() {
        give(taken.pop());
    }
    works(&one);
    works(&other);
}
