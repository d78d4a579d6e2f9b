//! A program that forks with sandboxes: they stay the parent's.

use ringfence::{Error, FaultKind, Sandbox};
use ringfence_testkit::alone::alone;
use ringfence_testkit::child::{self, End};

/// Every use in the child is the error that says why, and dropping everything there leaves the parent's isolates alone.
#[test]
fn a_child_cannot_use_the_sandboxes_of_its_parent() {
    alone("forked::a_child_cannot_use_the_sandboxes_of_its_parent", || {
        let sandbox = Sandbox::process().unwrap();
        let mut session = Some(sandbox.session().unwrap());
        session.as_mut().unwrap().call(|x: u64| x, 1_u64).unwrap();
        sandbox.run(|| 1_u64).unwrap();
        let mut held = Some(sandbox.clone());
        let outcome = child::run(|| {
            let forked = |error: &Error| matches!(error, Error::Forked);
            assert!(forked(&sandbox.call(|x: u64| x, 1_u64).unwrap_err()));
            assert!(forked(&sandbox.run(|| 1_u64).unwrap_err()));
            assert!(forked(&sandbox.session().unwrap_err()));
            assert!(forked(&sandbox.reset().unwrap_err()));
            assert!(forked(&Sandbox::process().unwrap_err()));
            let mut inherited = session.take().unwrap();
            assert!(forked(&inherited.call(|x: u64| x, 1_u64).unwrap_err()));
            assert!(forked(&inherited.call(|bytes: Vec<u8>| bytes.len() as u64, vec![1_u8; 9]).unwrap_err()));
            assert!(forked(&inherited.reset().unwrap_err()));
            drop((inherited, held.take()));
            0
        });
        let outcome = outcome.unwrap();
        assert_eq!(outcome.end, End::Exit(0), "{}", String::from_utf8_lossy(&outcome.stderr));

        assert_eq!(session.unwrap().call(|x: u64| x, 3_u64).unwrap(), 3, "the parent's session lives");
        assert_eq!(held.unwrap().call(|x: u64| x, 4_u64).unwrap(), 4);
        assert_eq!(sandbox.run(|| 5_u64).unwrap(), 5);
        let fault = sandbox.call(|()| std::process::exit(1), ()).map(|(): ()| ()).unwrap_err();
        assert_eq!(fault.fault().unwrap().kind(), &FaultKind::Exit { code: 1 });
    });
}

/// A child that builds a sandbox before its parent ever did has one of its own.
#[test]
fn a_child_can_have_its_own() {
    alone("forked::a_child_can_have_its_own", || {
        let outcome = child::run(|| {
            let sandbox = Sandbox::process().unwrap();
            i32::try_from(sandbox.call(|x: u64| x + 1, 41_u64).unwrap() + sandbox.run(|| 1_u64).unwrap())
                .unwrap()
        });
        let outcome = outcome.unwrap();
        assert_eq!(outcome.end, End::Exit(43), "{}", String::from_utf8_lossy(&outcome.stderr));
    });
}
