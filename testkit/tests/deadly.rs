//! What each deadly fixture does to a plain process: the exact end, and the line that the C library leaves.
//!
//! # Safety
//! Every fixture here runs in a forked child, whose memory nobody else relies on and which ends with the fixture, or right after
//! it.
#![expect(unsafe_code, reason = "calls foreign functions that misbehave")]

use std::os::fd::{AsRawFd, FromRawFd};
use std::{fs, io};

use ringfence_testkit::child::{self, End, Outcome};
use ringfence_testkit::fixtures;

/// One fixture in a child. A child whose fixture returns ends with the status 77.
macro_rules! in_child {
    ($($call:tt)+) => {
        child::run(|| {
            // SAFETY: this is the child of the module's docs: whatever is corrupted or ended is its own.
            let _ = unsafe { fixtures::$($call)+ };
            77
        })
        .unwrap()
    };
}

/// The same, for one that never returns.
macro_rules! stuck {
    ($($call:tt)+) => {
        child::run_stuck(|| {
            // SAFETY: this is the child of the module's docs, and an alarm ends it.
            let _ = unsafe { fixtures::$($call)+ };
            77
        })
        .unwrap()
        .end
    };
}

fn stderr_of(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.stderr).into_owned()
}

#[track_caller]
fn assert_aborts(outcome: &Outcome, line: &str) {
    assert_eq!(outcome.end, End::Signal(libc::SIGABRT));
    let stderr = stderr_of(outcome);
    assert!(stderr.contains(line), "`{stderr}` should contain `{line}`");
}

#[test]
fn processor_faults_end_in_their_signals() {
    assert_eq!(in_child!(null_write()).end, End::Signal(libc::SIGSEGV));
    assert_eq!(in_child!(null_read()).end, End::Signal(libc::SIGSEGV));
    assert_eq!(in_child!(wild_jump(8)).end, End::Signal(libc::SIGSEGV));
    assert_eq!(in_child!(store_at(8, 1)).end, End::Signal(libc::SIGSEGV));
    assert_eq!(in_child!(load_at(8)).end, End::Signal(libc::SIGSEGV));
    assert_eq!(in_child!(stack_overflow()).end, End::Signal(libc::SIGSEGV));
    assert_eq!(in_child!(divide_by_zero(1)).end, End::Signal(libc::SIGFPE));
    assert_eq!(in_child!(illegal_instruction()).end, End::Signal(libc::SIGILL));
}

#[test]
fn a_page_behind_the_end_of_a_file_is_a_bus_error() {
    let file = fs::File::open("/proc/self/exe").unwrap();
    let file_bytes = i64::try_from(file.metadata().unwrap().len()).unwrap();
    assert_eq!(in_child!(bus_error(file.as_raw_fd(), file_bytes)).end, End::Signal(libc::SIGBUS));
    assert_eq!(in_child!(bus_error(-1, 0)).end, End::Exit(77));
}

#[test]
fn corruption_that_the_c_library_notices_aborts() {
    assert_aborts(&in_child!(stack_smash()), "stack smashing detected");
    assert_aborts(&in_child!(heap_overflow()), "invalid next size");
    assert_aborts(&in_child!(double_free()), "double free");
    assert_aborts(&in_child!(destroy_own_heap()), "invalid pointer");
    assert_aborts(&in_child!(cpp_throw_uncaught()), "the fixture throws");
}

#[test]
fn each_exit_gives_its_status() {
    assert_eq!(in_child!(call_abort()).end, End::Signal(libc::SIGABRT));
    assert_eq!(in_child!(exit_with(3)).end, End::Exit(3));
    assert_eq!(in_child!(underscore_exit(4)).end, End::Exit(4));
    assert_eq!(in_child!(quick_exit_with(5)).end, End::Exit(5));
}

#[test]
fn only_exit_runs_handlers_and_flushes() {
    let leave = |end: unsafe extern "C" fn(i32)| {
        child::run(|| {
            // SAFETY: descriptor 1 of the child stays open until it ends.
            let registered = unsafe { fixtures::leave_exit_handler(1) };
            // SAFETY: a C string.
            let printed = unsafe { fixtures::print_to_stdout(c"in the buffer\n".as_ptr()) };
            if registered == 0 && printed >= 0 {
                // SAFETY: one of the exits above, which end this child.
                unsafe { end(0) };
            }
            77
        })
        .unwrap()
        .stdout
    };
    assert_eq!(leave(fixtures::exit_with), b"exit handler ran\nin the buffer\n");
    assert_eq!(leave(fixtures::underscore_exit), b"");
    assert_eq!(leave(fixtures::quick_exit_with), b"");
}

#[test]
fn what_hangs_is_ended_only_from_outside() {
    assert_eq!(stuck!(endless_loop()), End::Signal(libc::SIGALRM));
    assert_eq!(stuck!(sleep_forever()), End::Signal(libc::SIGALRM));
}

#[test]
fn a_read_blocks_while_nothing_comes() {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    // SAFETY: just opened here, and nobody else's.
    let (read, write) = unsafe { (fs::File::from_raw_fd(ends[0]), ends[1]) };
    assert_eq!(stuck!(blocking_read(read.as_raw_fd())), End::Signal(libc::SIGALRM));
    // SAFETY: just opened here, and closed only here.
    assert_eq!(unsafe { libc::close(write) }, 0);
    assert_eq!(in_child!(blocking_read(read.as_raw_fd())).end, End::Exit(77));
}

#[test]
fn a_lock_that_is_kept_is_not_to_be_had_again() {
    assert_eq!(in_child!(lock_and_keep()).end, End::Exit(77));
    let twice = child::run_stuck(|| {
        // SAFETY: the lock is this child's own.
        let first = unsafe { fixtures::lock_and_keep() };
        // SAFETY: an alarm ends this child.
        first + unsafe { fixtures::lock_and_keep() }
    });
    assert_eq!(twice.unwrap().end, End::Signal(libc::SIGALRM));
}

/// The address space of this process.
fn mapped_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').next()?.parse().ok()?;
    Some(pages * 4096)
}

/// Runs `work` in a child that may have 64 MiB more than it was born with.
fn with_little_memory(work: impl FnOnce() -> i32) -> io::Result<End> {
    let limited = child::run(|| {
        let Some(mapped_bytes) = mapped_bytes() else { return child::PANICKED };
        let bytes = mapped_bytes + (64 << 20);
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
        // SAFETY: a valid rlimit, which the call only reads.
        match unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) } {
            0 => work(),
            _ => child::PANICKED,
        }
    });
    limited.map(|outcome| outcome.end)
}

#[test]
fn a_hog_that_is_refused_dies_its_own_way() {
    let hog = |bytes| {
        // SAFETY: the store to address 0 ends the child that calls this.
        move || i32::from(unsafe { fixtures::memory_hog_or_null_write(bytes) } != bytes)
    };
    assert_eq!(with_little_memory(hog(8 << 20)).unwrap(), End::Exit(0));
    assert_eq!(with_little_memory(hog(256 << 20)).unwrap(), End::Signal(libc::SIGSEGV));
    let hog = |bytes| {
        // SAFETY: the abort ends the child that calls this.
        move || i32::from(unsafe { fixtures::memory_hog_or_abort(bytes) } != bytes)
    };
    assert_eq!(with_little_memory(hog(8 << 20)).unwrap(), End::Exit(0));
    assert_eq!(with_little_memory(hog(256 << 20)).unwrap(), End::Signal(libc::SIGABRT));
}

#[test]
fn a_raised_signal_ends_or_is_handled() {
    assert_eq!(in_child!(raise_signal(libc::SIGUSR1)).end, End::Signal(libc::SIGUSR1));
    let handled = child::run(|| {
        // SAFETY: this child has one thread and relies on no handler.
        unsafe { fixtures::install_handler_and_raise(libc::SIGUSR1) }
    });
    assert_eq!(handled.unwrap().end, End::Exit(libc::SIGUSR1));
}

#[test]
fn closed_descriptors_are_gone() {
    let closed = child::run(|| {
        // SAFETY: this child leaves with `_exit` and uses no descriptor again, but for the one below.
        let number = unsafe { fixtures::close_every_descriptor() };
        // SAFETY: a C string; descriptor 1 is closed.
        let written = unsafe { fixtures::write_to_descriptor(1, c"x".as_ptr()) };
        i32::from(number < 3 || written != -i64::from(libc::EBADF))
    });
    assert_eq!(closed.unwrap().end, End::Exit(0));
}

#[test]
fn the_32_bit_door_answers_or_kills() {
    let getpid_of_that_table = 20;
    let outcome = child::run(|| {
        // SAFETY: getpid touches no memory.
        let result = unsafe { fixtures::int80_syscall(getpid_of_that_table) };
        i32::from(result != i64::from(std::process::id()))
    });
    let end = outcome.unwrap().end;
    assert!([End::Exit(0), End::Signal(libc::SIGSEGV)].contains(&end), "{end:?}");
}
