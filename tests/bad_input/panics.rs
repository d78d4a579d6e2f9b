//! Panics of the host beside its sandboxes.

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ringfence::{Error, Sandbox};
use ringfence_testkit::alone::alone_with;

/// The panic hook's lock is held most of the time by a host that prints a backtrace for each of its panics.
#[test]
fn other_threads_may_panic_at_any_time() {
    alone_with("panics::other_threads_may_panic_at_any_time", &[("RUST_BACKTRACE", "1")], || {
        let done = AtomicBool::new(false);
        let used = thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert!(catch_unwind(|| panic!("on purpose")).is_err());
                }
            });
            let used = (0..20).try_for_each(|_| use_a_sandbox());
            done.store(true, Ordering::Relaxed);
            used
        });
        used.unwrap();
    });
}

fn use_a_sandbox() -> Result<(), Error> {
    let sandbox = Sandbox::process()?;
    assert_eq!(sandbox.run(|| 1_u64)?, 1);
    assert_eq!(sandbox.call(|x: u64| x, 2_u64)?, 2);
    let panicked = sandbox.call(|()| assert!(std::hint::black_box(false), "inside"), ());
    assert!(matches!(panicked, Err(Error::Fault(_))), "{panicked:?}");
    Ok(())
}
