//! What cannot be had is said, and the host lives.
//!
//! # Safety
//! Settings of a thread that ends soon, or of a process of the test's own; foreign code misbehaves in domains only.
#![expect(unsafe_code, reason = "signal masks, the GS base, keys, and foreign functions that misbehave")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what is not as it should be fails the test")]

mod keys;
mod processes;
mod threads;

pub(crate) use keys::UNTRIED;

use libtest_mimic::Trial;
use ringfence::{Backend, Error, Limits, Sandbox};
use ringfence_testkit::alone::alone;
use ringfence_testkit::fixtures;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![trial("scarcity::memory", a_domain_larger_than_memory)];
    trials.extend(keys::trials());
    trials.extend(processes::trials());
    trials.extend(threads::trials());
    trials
}

fn trial(name: &'static str, check: fn()) -> Trial {
    Trial::test(name, move || {
        check();
        Ok(())
    })
}

/// In a process of its own.
fn alone_trial(name: &'static str, check: fn()) -> Trial {
    Trial::test(name, move || {
        alone(name, check);
        Ok(())
    })
}

/// The reason of an error that says that something is not available.
#[track_caller]
fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Unavailable(unavailable)) => unavailable.to_string(),
        other => panic!("{other:?} where something is not available"),
    }
}

fn null_write() {
    // SAFETY: as the module says: it runs inside, and ends the crossing.
    unsafe { fixtures::null_write() };
}

/// A sandbox does what a sandbox does: values and faults, by every way in.
#[track_caller]
fn works(sandbox: &Sandbox) {
    assert_eq!(sandbox.call(|x: u64| x + 1, 1_u64).unwrap(), 2);
    let captured = 3_u64;
    assert_eq!(sandbox.run(|| captured).unwrap(), 3);
    assert!(sandbox.call(|()| null_write(), ()).unwrap_err().fault().is_some());
    assert_eq!(sandbox.session().unwrap().call(|x: u64| x, 4_u64).unwrap(), 4);
}

/// Either there is address space for it, and then it works as far as there is memory, or it says so.
fn a_domain_larger_than_memory() {
    let built = |bytes: u64| {
        Sandbox::builder().backend(Backend::Mpk).limits(Limits::new().memory_bytes(bytes)).workers(4).build()
    };
    let mut held = Vec::new();
    let refused = loop {
        // Half of what a process can address: there is no room for three.
        match built(1 << 46) {
            Ok(sandbox) => {
                assert_eq!(sandbox.call(|bytes: Vec<u8>| bytes.len(), vec![1_u8; 1 << 20]).unwrap(), 1 << 20);
                assert!(sandbox.run(null_write).unwrap_err().fault().is_some());
                held.push(sandbox);
            }
            Err(error) => break error,
        }
        assert!(held.len() < 3);
    };
    let Error::Os(error) = &refused else { panic!("{refused:?}") };
    assert_eq!(error.io().raw_os_error(), Some(libc::ENOMEM));
    assert!(error.operation().contains("memory"), "{error}");
    drop(held);
    works(&built(1 << 40).unwrap());
    assert!(matches!(built((1 << 46) + 1), Err(Error::Configuration(_))));
}
