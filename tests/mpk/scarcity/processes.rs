//! A program that forks and starts others while it has sandboxes.
//!
//! # Safety
//! Memory is mapped and never given back in a child that ends soon.
#![expect(unsafe_code, reason = "mmap")]

use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use libtest_mimic::Trial;
use ringfence::{Error, Sandbox};
use ringfence_testkit::child::{self, End};

use super::{alone_trial, works};

const PAGE_BYTES: usize = 4096;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        alone_trial("scarcity::forked_child", a_child_cannot_use_the_sandboxes_of_its_parent),
        alone_trial("scarcity::forked_child_maps", a_child_maps_where_its_parent_has_domains),
        alone_trial("scarcity::programs", programs_are_started),
    ]
}

/// Every use in the child is the error that says why, and dropping everything there leaves the parent's domains alone.
fn a_child_cannot_use_the_sandboxes_of_its_parent() {
    let sandbox = Sandbox::mpk().unwrap();
    let mut session = Some(sandbox.session().unwrap());
    session.as_mut().unwrap().call(|x: u64| x, 1_u64).unwrap();
    works(&sandbox);
    let mut held = Some(sandbox.clone());
    let outcome = child::run(|| {
        let forked = |error: Error| assert!(matches!(error, Error::Forked), "{error:?}");
        forked(sandbox.call(|x: u64| x, 1_u64).unwrap_err());
        forked(sandbox.run(|| 1_u64).unwrap_err());
        forked(sandbox.session().unwrap_err());
        forked(sandbox.reset().unwrap_err());
        forked(Sandbox::mpk().unwrap_err());
        let mut inherited = session.take().unwrap();
        forked(inherited.call(|x: u64| x, 1_u64).unwrap_err());
        forked(inherited.call(|bytes: Vec<u8>| bytes.len() as u64, vec![1_u8; 9]).unwrap_err());
        forked(inherited.reset().unwrap_err());
        drop((inherited, held.take()));
        // And the child does what others do.
        assert!(thread::spawn(|| String::from_utf8(vec![b'a'; 1 << 20]).is_ok()).join().unwrap());
        assert!(Command::new("true").status().unwrap().success());
        0
    });
    let outcome = outcome.unwrap();
    assert_eq!(outcome.end, End::Exit(0), "{}", String::from_utf8_lossy(&outcome.stderr));
    assert_eq!(session.unwrap().call(|x: u64| x, 3_u64).unwrap(), 3, "the parent's session lives");
    works(&held.unwrap());
    works(&sandbox);
}

/// Domains are not there in a child, so what the child maps can lie where they were. It stays when the child drops what it inherited.
fn a_child_maps_where_its_parent_has_domains() {
    let sandbox = Sandbox::mpk().unwrap();
    let mut session = sandbox.session().unwrap();
    let stack = |()| {
        let local = 0_u8;
        (&raw const local).addr()
    };
    let places = [sandbox.call(stack, ()).unwrap(), session.call(stack, ()).unwrap()];
    let mut inherited = Some((sandbox, session));
    let outcome = child::run(|| {
        let pages = places.map(|place| {
            let start = (place & !(PAGE_BYTES - 1)) as *mut libc::c_void;
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
            // SAFETY: where something is mapped already the call fails.
            let page = unsafe { libc::mmap(start, PAGE_BYTES, protection, flags, -1, 0) };
            assert_eq!(page, start, "{}", io::Error::last_os_error());
            // SAFETY: just mapped.
            unsafe { page.cast::<u64>().write_volatile(7) };
            page.cast::<u64>()
        });
        drop(inherited.take());
        for page in pages {
            // SAFETY: mapped above, and nobody's business but this function's.
            assert_eq!(unsafe { page.read_volatile() }, 7);
        }
        0
    });
    let outcome = outcome.unwrap();
    assert_eq!(outcome.end, End::Exit(0), "{}", String::from_utf8_lossy(&outcome.stderr));
}

/// From several threads, some of which use the sandbox meanwhile, and with a session that lives.
fn programs_are_started() {
    let sandbox = Sandbox::mpk().unwrap();
    let mut session = sandbox.session().unwrap();
    assert_eq!(session.call(|x: u64| x, 1_u64).unwrap(), 1);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let users: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        works(&sandbox);
                    }
                })
            })
            .collect();
        let starters: Vec<_> = (0..3)
            .map(|number| {
                let sandbox = &sandbox;
                scope.spawn(move || {
                    for _ in 0..10 {
                        if number == 0 {
                            works(sandbox);
                        }
                        let output =
                            Command::new("sh").args(["-c", "echo $0; exit 5", "word"]).output().unwrap();
                        assert_eq!(
                            (output.status.code(), output.stdout.as_slice()),
                            (Some(5), &b"word\n"[..])
                        );
                    }
                })
            })
            .collect();
        let started = starters.into_iter().try_for_each(thread::ScopedJoinHandle::join);
        done.store(true, Ordering::Relaxed);
        started.unwrap();
        users.into_iter().for_each(|user| user.join().unwrap());
    });
    assert!(Command::new("true").status().unwrap().success());
    assert_eq!(session.call(|x: u64| x, 2_u64).unwrap(), 2);
}
