//! Attacks through files and descriptors.
//!
//! # Safety
//! System calls on descriptors that a test owns, or that no one has.
#![expect(unsafe_code, reason = "reads the CPU time of a thread")]

use std::fs::File;
use std::io::{Read, Seek, Write as _};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use ringfence::{FaultKind, Policy};
use ringfence_testkit::child;

use crate::support::{NOWHERE, both, defended, fault, fixture, limits, unfiltered, with};

fn memory_file() -> File {
    // SAFETY: a C string.
    let number = unsafe { libc::memfd_create(c"hostile".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(number > 2);
    // SAFETY: the kernel gave it out just now.
    unsafe { File::from_raw_fd(number) }
}

fn contents(mut file: File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn inside_reads_a_file() {
    let attack = |_: [u64; 2]| fixture!(open_file(c"/etc/passwd".as_ptr()));
    for result in both(&defended(), attack, NOWHERE) {
        assert_eq!(result.unwrap(), -i64::from(libc::EACCES));
    }
    for result in both(&unfiltered(), attack, NOWHERE) {
        assert!(result.unwrap() > 2);
    }
}

#[test]
fn inside_writes_to_a_descriptor_of_the_host() {
    let attack = |[number, _]: [u64; 2]| fixture!(write_to_descriptor(number as i32, c"inside".as_ptr()));
    let file = memory_file();
    let aim = [file.as_raw_fd() as u64, 0];
    // Without a filter, so that nothing but the closing of descriptors stands in the way.
    for result in both(&unfiltered(), attack, aim) {
        assert_eq!(result.unwrap(), -i64::from(libc::EBADF));
    }
    assert_eq!(contents(file.try_clone().unwrap()), "");
    let lent: OwnedFd = file.try_clone().unwrap().into();
    let number = lent.as_raw_fd() as u64;
    let sandbox = with(Policy::compute().lend(lent), limits());
    for result in both(&sandbox, attack, [number, 0]) {
        assert_eq!(result.unwrap(), 6);
    }
    assert_eq!(contents(file), "insideinside");
}

/// How many descriptors above the three standard ones are open.
fn count_open(_: [u64; 2]) -> i64 {
    // SAFETY: asks only.
    (3..1024).map(|number| i64::from(unsafe { libc::fcntl(number, libc::F_GETFD) } != -1)).sum()
}

#[test]
fn inside_finds_a_descriptor_of_the_host() {
    let _file = memory_file();
    let others = (defended(), unfiltered());
    for sandbox in [&others.0, &others.1] {
        for result in both(sandbox, count_open, NOWHERE) {
            assert_eq!(result.unwrap(), 0);
        }
        assert_eq!(sandbox.session().unwrap().call(count_open, NOWHERE).unwrap(), 0);
    }
    let control = child::run(|| i32::try_from(count_open(NOWHERE).min(100)).unwrap_or(0)).unwrap();
    assert!(matches!(control.end, child::End::Exit(1..=100)), "{:?}", control.end);
}

#[test]
fn inside_closes_every_descriptor_to_break_the_next_call() {
    let attack = |_: [u64; 2]| i64::from(fixture!(close_every_descriptor()));
    let sandbox = defended();
    let mut session = sandbox.session().unwrap();
    assert_eq!(session.call(attack, NOWHERE).unwrap(), 3, "0, 1 and 2 are all that is open");
    assert_eq!(session.call(|x: u64| x + 1, 1_u64).unwrap(), 2);
    assert_eq!(sandbox.run(|| attack(NOWHERE)).unwrap(), 3);
    let after = fault(session.call(|()| fixture!(call_abort()), ()));
    assert_eq!(after.kind(), &FaultKind::Abort, "the report needs no descriptor");
    let control = child::run(|| fixture!(close_every_descriptor()).min(100)).unwrap();
    assert!(matches!(control.end, child::End::Exit(4..=100)), "{:?}", control.end);
}

/// Writes 10 MiB to standard error and tells how much was taken.
fn flood(_: [u64; 2]) -> i64 {
    let chunk = [b'x'; 4096];
    let mut taken = 0;
    for _ in 0..2560 {
        taken += std::io::stderr().write(&chunk).map_or(0, |count| count as i64);
    }
    taken
}

#[test]
fn inside_fills_the_memory_of_the_host_through_standard_error() {
    let sandbox = defended();
    for result in both(&sandbox, flood, NOWHERE) {
        assert_eq!(result.unwrap(), 256 << 10, "what does not fit is refused");
    }
    let noisy = fault(sandbox.call(|()| flood(NOWHERE) + i64::from(fixture!(null_read()) as i32), ()));
    assert_eq!(noisy.stderr_tail().len(), 4096);
    // The control: a file without a limit takes it all.
    let control = child::run(|| i32::from(flood(NOWHERE) != 10 << 20)).unwrap();
    assert_eq!((control.end, control.stderr.len()), (child::End::Exit(0), 10 << 20));
}

/// CPU time of the calling thread.
fn thread_cpu_ns() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes a local.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

#[test]
fn inside_blocks_the_host_by_a_read_that_never_ends() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let number = reader.as_raw_fd() as u64;
    let wall = Duration::from_secs(1);
    let sandbox = with(Policy::compute().lend(OwnedFd::from(reader)), limits().wall(wall));
    let attack = |[number, _]: [u64; 2]| fixture!(blocking_read(number as i32));
    let before = thread_cpu_ns();
    for result in both(&sandbox, attack, [number, 0]) {
        assert_eq!(fault(result).kind(), &FaultKind::Timeout);
    }
    let used = thread_cpu_ns() - before;
    assert!(u128::try_from(used).unwrap() < wall.as_nanos(), "waiting must not spin: {used} ns of 2 s");
    // The control: with something to read it is no attack.
    writer.write_all(b"ab").unwrap();
    for result in both(&sandbox, attack, [number, 0]) {
        assert_eq!(result.unwrap(), 1);
    }
}

#[test]
fn inside_moves_its_standard_error_to_hide_or_to_grow() {
    // The capture's file offset is shared: inside may set it anywhere.
    let attack = |[to, _]: [u64; 2]| fixture!(raw_syscall(libc::SYS_lseek, 2, to.cast_signed(), 0, 0, 0, 0));
    let sandbox = defended();
    for to in [0, 1 << 40, i64::MAX as u64] {
        let mut session = sandbox.session().unwrap();
        println!("{to:#x}: {:?}", session.call(attack, [to, 0]).unwrap());
        let end = fault(session.call(|()| fixture!(null_write()), ()));
        assert_eq!((end.kind(), end.stderr_tail().len() <= 4096), (&FaultKind::Signal, true));
    }
    // The control: on a file without seals, a write there makes it grow.
    let control = child::run(|| {
        attack([1 << 20, 0]);
        i32::from(std::io::stderr().write(b"x").is_err())
    });
    assert_eq!(control.unwrap().stderr.len(), (1 << 20) + 1);
}
