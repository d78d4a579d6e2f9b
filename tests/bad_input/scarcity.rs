//! A kernel that refuses: processes, descriptors, memory, `/proc`.
//!
//! # Safety
//! Limits and filters are put on a process of its own.
#![expect(unsafe_code, reason = "limits and mounts have no safe form")]

use std::collections::BTreeMap;
use std::io;

use ringfence::{Error, FaultKind, Item, Policy, Sandbox, Status};
use ringfence_testkit::alone::alone;
use ringfence_testkit::child::{self, End};
use ringfence_testkit::resources::{Usage, descendants};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

/// What a host may be told when the kernel has nothing left to give.
#[track_caller]
fn is_os<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Os(error)) => error.to_string(),
        other => panic!("{other:?} where the kernel refuses"),
    }
}

/// The soft limit; the hard one stays.
fn set_limit(resource: libc::__rlimit_resource_t, soft: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable for the call's duration.
    assert_eq!(unsafe { libc::getrlimit(resource, &raw mut limit) }, 0);
    limit.rlim_cur = soft.min(limit.rlim_max);
    // SAFETY: `limit` is a valid limit, which the call only reads.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

/// From now on the calling thread, and what it starts, cannot fork: `EAGAIN`.
fn refuse_forks() {
    let calls = [libc::SYS_clone, libc::SYS_clone3, libc::SYS_fork, libc::SYS_vfork];
    let rules = calls.map(|call| (call, vec![]));
    let refuse = SeccompAction::Errno(libc::EAGAIN as u32);
    let filter = SeccompFilter::new(BTreeMap::from(rules), SeccompAction::Allow, refuse, TargetArch::x86_64);
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    apply_filter(&program).unwrap();
}

#[test]
fn no_more_processes() {
    alone("scarcity::no_more_processes", || {
        let sandbox = Sandbox::process().unwrap();
        refuse_forks();
        for _ in 0..3 {
            assert!(is_os(Sandbox::process()).contains("zygote"));
            assert!(is_os(sandbox.run(|| 1_u64)).contains("fork"));
            // The zygote is under no such filter.
            assert_eq!(sandbox.call(|x: u64| x, 2_u64).unwrap(), 2);
            let error = sandbox.call(|()| std::process::abort(), ()).map(|(): ()| ()).unwrap_err();
            assert_eq!(error.fault().unwrap().kind(), &FaultKind::Abort);
        }
        drop(sandbox);
        assert_eq!(descendants(std::process::id()).unwrap(), [], "nobody is left");
    });
}

/// Every number of descriptors, from none at all until there are enough: what cannot be had is an error, and is given back.
#[test]
fn no_more_descriptors() {
    alone("scarcity::no_more_descriptors", || {
        // Libraries keep what they have opened once.
        drop(Sandbox::process().unwrap());
        let free = lowest_free();
        let before = Usage::now().unwrap().descriptors;
        let with_room = |room: u64, work: &dyn Fn() -> bool| {
            set_limit(libc::RLIMIT_NOFILE, free + room);
            let worked = work();
            set_limit(libc::RLIMIT_NOFILE, 4096);
            worked
        };
        let worked = |result: Result<u64, Error>| match result {
            Ok(value) => {
                assert_eq!(value, 7);
                true
            }
            Err(Error::Os(_)) => false,
            Err(other) => panic!("{other:?}"),
        };
        let first = (0..64).find(|&room| {
            let built = with_room(room, &|| {
                worked(Sandbox::process().and_then(|sandbox| sandbox.call(|x: u64| x, 7_u64)))
            });
            assert_eq!(Usage::now().unwrap().descriptors, before, "room for {room}: all were given back");
            built
        });
        assert!(first.is_some_and(|room| room > 2), "a sandbox takes descriptors, but not {first:?}");

        let sandbox = Sandbox::process().unwrap();
        let free = lowest_free();
        let with_room = |room: u64, work: &dyn Fn() -> bool| {
            set_limit(libc::RLIMIT_NOFILE, free + room);
            let worked = work();
            set_limit(libc::RLIMIT_NOFILE, 4096);
            worked
        };
        let enough = |what: &str, work: &dyn Fn() -> bool| {
            let first = (0..32).find(|&room| with_room(room, work));
            assert!(first.is_some_and(|room| room > 0), "{what} takes descriptors, but not {first:?}");
            assert!(work(), "{what} after that");
        };
        enough("a run", &|| worked(sandbox.run(|| 7_u64)));
        enough("a session", &|| {
            worked(sandbox.session().and_then(|mut session| session.call(|x: u64| x, 7_u64)))
        });
        // A crash is told as such, also where there is no room for its successor.
        for room in (0..16).chain(0..16).chain(0..16) {
            with_room(room, &|| {
                let error = sandbox.call(|()| std::process::abort(), ()).map(|(): ()| ()).unwrap_err();
                assert!(matches!(&error, Error::Os(_)) || error.fault().is_some(), "{error:?}");
                worked(sandbox.call(|x: u64| x, 7_u64))
            });
            assert_eq!(sandbox.call(|x: u64| x, 7_u64).unwrap(), 7, "room for {room}, and then enough");
        }
        drop(sandbox);
        assert_eq!(Usage::now().unwrap().descriptors, before, "all were given back");
        assert_eq!(descendants(std::process::id()).unwrap(), [], "nobody is left");
    });
}

fn lowest_free() -> u64 {
    use std::os::fd::AsRawFd;
    let file = std::fs::File::open("/dev/null").unwrap();
    u64::try_from(file.as_raw_fd()).unwrap()
}

/// Every amount of address space in steps, until there is enough.
#[test]
fn no_more_memory() {
    alone("scarcity::no_more_memory", || {
        drop(Sandbox::process().unwrap());
        // A program that has no heap left is ended by the language's own runtime: this is about mappings.
        let heap: Vec<Vec<u8>> = (0..4096).map(|_| vec![1; 4096]).collect();
        let last = vec![1_u8; 64];
        // SAFETY: takes numbers.
        assert_eq!(unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX) }, 1);
        drop(heap);
        let used_bytes = || {
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
            statm.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
        };
        let with_room = |room_bytes: u64, work: &dyn Fn() -> Result<u64, Error>| {
            set_limit(libc::RLIMIT_AS, used_bytes() + room_bytes);
            let result = work();
            set_limit(libc::RLIMIT_AS, libc::RLIM_INFINITY);
            result
        };
        let enough = |what: &str, work: &dyn Fn() -> Result<u64, Error>| {
            let mut refused = 0;
            for room_bytes in (0..24).map(|step| (64 << 10) << step) {
                match with_room(room_bytes, work) {
                    Ok(value) => {
                        assert_eq!(value, 7);
                        assert!(refused > 0, "{what} takes address space");
                        return;
                    }
                    Err(Error::Os(_)) => refused += 1,
                    Err(other) => panic!("{what} with {room_bytes} bytes: {other:?}"),
                }
            }
            panic!("{what} takes more than all");
        };
        enough("a sandbox", &|| Sandbox::process()?.call(|x: u64| x, 7_u64));
        let sandbox = Sandbox::process().unwrap();
        // The first session takes the spare worker, which is there already.
        enough("a session", &|| {
            let _first = sandbox.session()?;
            sandbox.session()?.call(|x: u64| x, 7_u64)
        });
        enough("a run", &|| sandbox.run(|| 7_u64));
        for room_bytes in [0, 1 << 20, 64 << 20] {
            let error = with_room(room_bytes, &|| sandbox.call(|()| std::process::abort(), ()).map(|()| 0))
                .unwrap_err();
            assert!(matches!(&error, Error::Os(_)) || error.fault().is_some(), "{error:?}");
            assert_eq!(sandbox.call(|x: u64| x, 7_u64).unwrap(), 7, "and then enough");
        }
        drop((sandbox, last));
        assert_eq!(descendants(std::process::id()).unwrap(), [], "nobody is left");
    });
}

/// Without `/proc` the memory limit cannot be counted, which is said; the rest works.
#[test]
fn no_proc() {
    alone("scarcity::no_proc", || {
        let outcome = child::run(|| {
            if let Err(error) = hide_proc() {
                eprintln!("SKIPPED: /proc cannot be hidden: {error}");
                return 0;
            }
            assert!(std::fs::read_dir("/proc").unwrap().next().is_none(), "/proc is hidden");
            let sandbox = Sandbox::process().unwrap();
            let memory = sandbox.guarantees().get(Item::Memory).unwrap();
            assert_eq!(memory.status, Status::NotAvailable, "{memory:?}");
            assert!(memory.detail.contains("/proc"), "{memory:?}");
            assert_eq!(sandbox.guarantees().status(Item::MemoryIntegrity), Status::Enforced);
            let required = Sandbox::builder().policy(Policy::compute().require(Item::Memory)).build();
            assert!(matches!(required, Err(Error::Unavailable(_))), "{required:?}");

            assert_eq!(sandbox.call(|x: u64| x, 1_u64).unwrap(), 1);
            assert_eq!(sandbox.run(|| 2_u64).unwrap(), 2);
            let error = sandbox.call(|()| std::process::abort(), ()).map(|(): ()| ()).unwrap_err();
            assert_eq!(error.fault().unwrap().kind(), &FaultKind::Abort);
            assert_eq!(sandbox.session().unwrap().call(|x: u64| x, 3_u64).unwrap(), 3);
            44
        });
        let outcome = outcome.unwrap();
        let stderr = String::from_utf8_lossy(&outcome.stderr);
        eprintln!("{stderr}");
        let skipped = outcome.end == End::Exit(0) && stderr.contains("SKIPPED");
        assert!(outcome.end == End::Exit(44) || skipped, "{:?}: {stderr}", outcome.end);
    });
}

/// An empty file system over `/proc`, for this process only.
fn hide_proc() -> io::Result<()> {
    let done = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: takes flags; this process has one thread.
    done(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: C strings, and null where nothing is meant.
    done(unsafe {
        libc::mount(c"none".as_ptr(), c"/".as_ptr(), std::ptr::null(), private, std::ptr::null())
    })?;
    let kind = c"tmpfs".as_ptr();
    // SAFETY: as above.
    done(unsafe { libc::mount(c"none".as_ptr(), c"/proc".as_ptr(), kind, 0, std::ptr::null()) })
}
