//! Operations that ask the kernel for something.
//!
//! # Safety
//! System calls with valid arguments, in an isolate or in a forked child of a test, where one thread runs and nobody owns the
//! descriptors that are closed.
#![expect(unsafe_code, reason = "calls the C library's wrappers of system calls")]

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::{env, ptr};

use super::language::{refused, worked};
use super::{Answer, TOLD, WORKED, WRONG};

/// Zero or more as it is, an error as its number.
fn result(returned: i32) -> Result<i32, Answer> {
    if returned == -1 { Err(refused(&io::Error::last_os_error())) } else { Ok(returned) }
}

/// A new descriptor, closed again.
fn opened(returned: i32) -> Answer {
    match result(returned) {
        Ok(number) => {
            // SAFETY: the kernel gave it out just now, so nobody else owns it.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
            WORKED
        }
        Err(answer) => answer,
    }
}

pub(super) fn read_file() -> Answer {
    File::open("/etc/passwd").map_or_else(|error| refused(&error), |_| WORKED)
}

static PATH: OnceLock<PathBuf> = OnceLock::new();

/// Where to write is asked of the environment, which takes a lock.
pub(super) fn choose_path_before() {
    PATH.get_or_init(|| env::temp_dir().join(format!("ringfence-table-{}", std::process::id())));
}

pub(super) fn write_file() -> Answer {
    let Some(path) = PATH.get() else { return WRONG };
    match fs::write(path, "x") {
        Ok(()) => fs::remove_file(path).map_or_else(|error| refused(&error), |()| WORKED),
        Err(error) => refused(&error),
    }
}

pub(super) fn remove_file() -> Answer {
    match fs::remove_file("/ringfence/no/such/file") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => WORKED,
        Err(error) => refused(&error),
        Ok(()) => WRONG,
    }
}

pub(super) fn file_status() -> Answer {
    fs::metadata("/").map_or_else(|error| refused(&error), |_| WORKED)
}

pub(super) fn current_directory() -> Answer {
    env::current_dir().map_or_else(|error| refused(&error), |_| WORKED)
}

pub(super) fn is_terminal() -> Answer {
    use std::io::IsTerminal as _;
    // Either answer will do.
    let _ = io::stdin().is_terminal();
    WORKED
}

pub(super) fn socket() -> Answer {
    // SAFETY: plain numbers.
    opened(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })
}

pub(super) fn pipe() -> Answer {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for two numbers.
    match result(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }) {
        Ok(_) => ends.into_iter().map(opened).find(|&answer| answer != WORKED).unwrap_or(WORKED),
        Err(answer) => answer,
    }
}

pub(super) fn memory_file() -> Answer {
    // SAFETY: a C string.
    opened(unsafe { libc::memfd_create(c"table".as_ptr(), libc::MFD_CLOEXEC) })
}

/// A file without a name that contains one byte. Its number is told.
pub(super) fn lent_file() -> io::Result<OwnedFd> {
    // SAFETY: a C string.
    let number = unsafe { libc::memfd_create(c"lent".as_ptr(), libc::MFD_CLOEXEC) };
    if number == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel gave it out just now.
    let mut file = unsafe { File::from_raw_fd(number) };
    file.write_all(b"a")?;
    TOLD.set(file.as_raw_fd());
    Ok(file.into())
}

pub(super) fn use_lent_file() -> Answer {
    // SAFETY: the descriptor is lent under this number, and is given back below unclosed.
    let mut file = unsafe { File::from_raw_fd(TOLD.get()) };
    let mut text = String::new();
    let used = file.rewind().and_then(|()| file.read_to_string(&mut text)).and_then(|_| file.write_all(b"b"));
    let _ = file.into_raw_fd();
    match used {
        Ok(()) => worked(|| text == "a"),
        Err(error) => refused(&error),
    }
}

/// Whether the file has grown.
pub(super) fn lent_file_is_seen() -> bool {
    // SAFETY: plain data; zeroes are a value of it.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: asks only, into a local.
    unsafe { libc::fstat(TOLD.get(), &raw mut status) };
    status.st_size == 2
}

pub(super) fn close_standard_streams() -> Answer {
    let close = |number| {
        // SAFETY: nobody owns these three, and what uses them afterwards gets an error.
        result(unsafe { libc::close(number) })
    };
    (0..=2).find_map(|number| close(number).err()).unwrap_or(WORKED)
}

pub(super) fn standard_streams_are_closed() -> bool {
    // SAFETY: asks only.
    (0..=2).any(|number| unsafe { libc::fcntl(number, libc::F_GETFD) } == -1)
}

pub(super) fn random() -> Answer {
    let mut bytes = [0_u8; 16];
    // SAFETY: `bytes` has room for 16.
    let count = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    worked(|| count == 16 && bytes != [0; 16])
}

pub(super) fn own_number() -> Answer {
    worked(|| std::process::id() > 1)
}

pub(super) fn memory_map() -> Answer {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: no address is asked for.
    let page = unsafe { libc::mmap(ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return refused(&io::Error::last_os_error());
    }
    // SAFETY: the page was mapped just now.
    let protected = unsafe { libc::mprotect(page, 4096, libc::PROT_READ) };
    // SAFETY: as above; nobody uses it afterwards.
    let unmapped = unsafe { libc::munmap(page, 4096) };
    worked(|| protected == 0 && unmapped == 0)
}

pub(super) fn make_executable() -> Answer {
    // SAFETY: it changes a page of its own.
    match unsafe { crate::fixtures::mprotect_exec() } {
        42 => WORKED,
        other => i32::try_from(other).unwrap_or(WRONG),
    }
}

pub(super) fn read_limit() -> Answer {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes a local.
    result(unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) })
        .map_or_else(|answer| answer, |_| WORKED)
}

pub(super) fn set_limit() -> Answer {
    let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads a local; a core file is nothing that anything here relies on.
    result(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const limit) })
        .map_or_else(|answer| answer, |_| WORKED)
}

pub(super) fn set_alarm() -> Answer {
    // SAFETY: plain numbers; the second call takes the alarm back.
    unsafe { libc::alarm(1000) };
    // SAFETY: as above.
    worked(|| unsafe { libc::alarm(0) } > 0)
}

pub(super) fn fork() -> Answer {
    // SAFETY: the child ends at once.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: takes any status and does not return.
        unsafe { libc::_exit(5) }
    }
    if let Err(answer) = result(pid) {
        return answer;
    }
    let mut status = 0;
    // SAFETY: writes a local.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    worked(|| waited == pid && libc::WEXITSTATUS(status) == 5)
}

pub(super) fn execute() -> Answer {
    let arguments = [c"sh".as_ptr(), c"-c".as_ptr(), c"exit 6".as_ptr(), ptr::null()];
    // SAFETY: C strings, and a list that ends with a null pointer.
    unsafe { libc::execv(c"/bin/sh".as_ptr(), arguments.as_ptr()) };
    refused(&io::Error::last_os_error())
}
