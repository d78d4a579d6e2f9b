//! A plain forked child with no confinement: what foreign code does when nothing holds it. The control of every hostile test.
//!
//! # Safety
//! The only unsafe code forks, waits, and sets the child up between fork and the closure. The child shares no memory that the
//! parent relies on, and leaves with `_exit`, so neither unwinding nor exit handlers of the parent's run in it. A child of a
//! process with threads may call what it likes only as far as glibc repairs its locks at a fork: allocation and stdio, not the
//! locks of others.
#![expect(unsafe_code, reason = "fork, wait and signals have no safe form")]

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::panic::{self, AssertUnwindSafe};

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With this status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

/// What a child left.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// What it wrote to descriptor 1.
    pub stdout: Vec<u8>,
    /// What it wrote to descriptor 2.
    pub stderr: Vec<u8>,
}

/// The status of a child whose closure panicked.
pub const PANICKED: i32 = 101;

/// Seconds after which a child that neither ends nor is stuck on purpose is ended by `SIGALRM`.
const PATIENCE_SECONDS: u32 = 60;

/// Runs `work` in a forked child and waits for its end. What it returns becomes the child's status, as far as 8 bits hold it.
///
/// The child's signals are as in a fresh program, it dumps no core, and its descriptors 1 and 2 go into the outcome. After a
/// minute it is ended by `SIGALRM`.
///
/// # Errors
/// The child cannot be made or waited for.
pub fn run(work: impl FnOnce() -> i32) -> io::Result<Outcome> {
    run_for(PATIENCE_SECONDS, work)
}

/// As [`run`], but `SIGALRM` comes after a second: that signal as the end means that the child was stuck.
///
/// # Errors
/// The child cannot be made or waited for.
pub fn run_stuck(work: impl FnOnce() -> i32) -> io::Result<Outcome> {
    run_for(1, work)
}

fn run_for(seconds: u32, work: impl FnOnce() -> i32) -> io::Result<Outcome> {
    let (stdout, stderr) = (memory_file()?, memory_file()?);
    // SAFETY: fork has no obligations of its own. What the child may do is the module's subject: it runs `work` on its own copy of
    // memory and ends in `_exit`.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let set_up = set_up(seconds, stdout.as_raw_fd(), stderr.as_raw_fd());
            let status = match set_up {
                Ok(()) => panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or(PANICKED),
                Err(_) => PANICKED,
            };
            // SAFETY: takes any number and does not return.
            unsafe { libc::_exit(status) }
        }
        pid => {
            let end = wait(pid)?;
            Ok(Outcome { end, stdout: contents(stdout)?, stderr: contents(stderr)? })
        }
    }
}

/// In the child: its signals, its core limit, its alarm and its output.
fn set_up(seconds: u32, stdout: RawFd, stderr: RawFd) -> io::Result<()> {
    // The Rust runtime handles SIGSEGV and SIGBUS, and turns a stack overflow into SIGABRT. SIGPIPE it ignores.
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGPIPE, libc::SIGALRM] {
        // SAFETY: `signal` is a valid number, and the default action is no handler of ours that could be wrong.
        let previous = unsafe { libc::signal(signal, libc::SIG_DFL) };
        if previous == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `no_core` is a valid rlimit for the call's duration, which only reads it.
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core) })?;
    for (from, to) in [(stdout, 1), (stderr, 2)] {
        // SAFETY: both are numbers to the kernel. 1 and 2 of this process are owned by nobody who would close them.
        check(unsafe { libc::dup2(from, to) })?;
    }
    // SAFETY: takes any number.
    unsafe { libc::alarm(seconds) };
    Ok(())
}

fn wait(pid: libc::pid_t) -> io::Result<End> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is writable for the call's duration.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        if waited == pid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    if libc::WIFSIGNALED(status) {
        Ok(End::Signal(libc::WTERMSIG(status)))
    } else {
        Ok(End::Exit(libc::WEXITSTATUS(status)))
    }
}

/// A file without a name. Unlike a pipe it never fills, and nobody waits for its end.
fn memory_file() -> io::Result<File> {
    // SAFETY: the name is a C string.
    let descriptor = unsafe { libc::memfd_create(c"output".as_ptr(), libc::MFD_CLOEXEC) };
    check(descriptor)?;
    // SAFETY: the descriptor was just opened here and has no other owner.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

fn contents(mut file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn an_end_is_told_exactly() {
        assert_eq!(run(|| 7).unwrap().end, End::Exit(7));
        assert_eq!(run(|| std::process::abort()).unwrap().end, End::Signal(libc::SIGABRT));
        assert_eq!(run(|| panic!("on purpose")).unwrap().end, End::Exit(PANICKED));
    }

    #[test]
    fn one_that_does_not_end_is_ended() {
        let stuck = run_stuck(|| {
            loop {
                thread::park();
            }
        });
        assert_eq!(stuck.unwrap().end, End::Signal(libc::SIGALRM));
    }

    #[test]
    fn output_comes_back_and_memory_does_not() {
        let mut value = 1;
        let outcome = run(|| {
            value = 2;
            let text = b"to one";
            // SAFETY: the bytes are readable for their length.
            let written = unsafe { libc::write(1, text.as_ptr().cast(), text.len()) };
            i32::from(written != 6 || value != 2)
        })
        .unwrap();
        assert_eq!((outcome.end, outcome.stdout.as_slice()), (End::Exit(0), b"to one".as_slice()));
        assert_eq!(outcome.stderr, b"");
        assert_eq!(value, 1);
    }
}
