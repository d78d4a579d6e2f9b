//! What the fixtures that do no harm return, called in place.
//!
//! # Safety
//! Each is called by one test only, so none meets itself on another thread.
#![expect(unsafe_code, reason = "calls foreign functions")]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::{slice, thread};

use ringfence_testkit::child::{self, End};
use ringfence_testkit::fixtures;

#[test]
fn a_checksum_is_fnv_1a() {
    // SAFETY: readable for six bytes.
    let sum = unsafe { fixtures::checksum(b"foobar".as_ptr(), 6) };
    assert_eq!(sum, 0x8594_4171_f739_67e8);
}

#[test]
fn a_static_keeps_its_value() {
    // SAFETY: no other thread calls it.
    let first = unsafe { fixtures::static_counter() };
    // SAFETY: as above.
    let second = unsafe { fixtures::static_counter() };
    assert_eq!((first, second), (1, 2));
}

#[test]
fn a_byte_is_stored_and_loaded() {
    let mut byte = 1_u8;
    let address = (&raw mut byte).expose_provenance();
    // SAFETY: the byte is a live local.
    unsafe { fixtures::store_at(address, 7) };
    // SAFETY: as above.
    assert_eq!(unsafe { fixtures::load_at(address) }, 7);
    assert_eq!(byte, 7);
}

#[test]
fn jumps_and_exceptions_stay_inside() {
    // SAFETY: no other thread calls it.
    assert_eq!(unsafe { fixtures::longjmp_within(9) }, 9);
    // SAFETY: it has no obligation.
    assert_eq!(unsafe { fixtures::cpp_throw_and_catch() }, 1);
}

#[test]
fn executable_memory_can_be_made_where_nothing_forbids_it() {
    // SAFETY: it changes a page of its own.
    assert_eq!(unsafe { fixtures::mprotect_exec() }, 42);
    // SAFETY: as above.
    assert_eq!(unsafe { fixtures::map_executable() }, 42);
}

#[test]
fn a_thread_goes_on_when_the_call_is_over() {
    // SAFETY: the library is linked into this program.
    assert_eq!(unsafe { fixtures::spawn_thread_outliving_call() }, 0);
    // SAFETY: it has no obligation.
    while unsafe { fixtures::outliving_thread_turns() } < 2 {
        thread::yield_now();
    }
}

#[test]
fn files_open_or_say_why_not() {
    // SAFETY: a C string.
    let opened = unsafe { fixtures::open_file(c"/proc/self/exe".as_ptr()) };
    let descriptor = i32::try_from(opened).unwrap();
    assert!(descriptor > 2);
    let mut byte = [0_u8; 1];
    // SAFETY: just opened for reading.
    assert_eq!(unsafe { fixtures::blocking_read(descriptor) }, 1);
    // SAFETY: room for one byte.
    assert_eq!(unsafe { libc::read(descriptor, byte.as_mut_ptr().cast(), 1) }, 1);
    assert_eq!(byte[0], b'E', "the second byte of an ELF file");
    // SAFETY: a C string, and a descriptor opened here.
    let refused = unsafe { fixtures::write_to_descriptor(descriptor, c"x".as_ptr()) };
    assert_eq!(refused, -i64::from(libc::EBADF));
    // SAFETY: opened here, and closed only here.
    assert_eq!(unsafe { libc::close(descriptor) }, 0);
    // SAFETY: a C string.
    let missing = unsafe { fixtures::open_file(c"/no/such/file".as_ptr()) };
    assert_eq!(missing, -i64::from(libc::ENOENT));
}

#[test]
fn text_reaches_each_stream() {
    let outcome = child::run(|| {
        // SAFETY: a C string.
        let error = unsafe { fixtures::print_to_stderr(c"to stderr".as_ptr()) };
        // SAFETY: a C string.
        let direct = unsafe { fixtures::write_to_descriptor(1, c"to 1".as_ptr()) };
        i32::from(error < 0 || direct != 4)
    })
    .unwrap();
    assert_eq!(outcome.end, End::Exit(0));
    assert_eq!((outcome.stdout, outcome.stderr), (b"to 1".to_vec(), b"to stderr".to_vec()));
}

#[test]
fn the_environment_is_read() {
    let path = CString::new(std::env::var("PATH").unwrap()).unwrap();
    let mut start = [0; 4];
    // SAFETY: a C string, room for three bytes, and no thread here changes the environment.
    let length = unsafe { fixtures::read_env(c"PATH".as_ptr(), start.as_mut_ptr(), 3) };
    assert_eq!(usize::try_from(length).unwrap(), path.as_bytes().len());
    // SAFETY: the last of the four bytes was not written: it ends the string.
    let start = unsafe { CStr::from_ptr(start.as_ptr()) };
    assert_eq!(start.to_bytes(), &path.as_bytes()[..3]);
    let mut room = [0; 1];
    // SAFETY: as above, with room for one byte.
    let none = unsafe { fixtures::read_env(c"NO_SUCH_NAME".as_ptr(), room.as_mut_ptr(), 1) };
    assert_eq!(none, -1);
}

#[test]
fn system_calls_return_what_the_kernel_does() {
    let pid = i64::from(std::process::id());
    // SAFETY: getpid touches no memory.
    assert_eq!(unsafe { fixtures::raw_syscall(libc::SYS_getpid, 0, 0, 0, 0, 0, 0) }, pid);
    // SAFETY: there is no such call.
    let none = unsafe { fixtures::raw_syscall(100_000, 0, 0, 0, 0, 0, 0) };
    assert_eq!(none, -i64::from(libc::ENOSYS));
    // SAFETY: getpid touches no memory.
    let x32 = unsafe { fixtures::x32_syscall(libc::SYS_getpid) };
    assert!([pid, -i64::from(libc::ENOSYS)].contains(&x32), "{x32}");
}

#[test]
fn six_arguments_arrive_in_their_places() {
    let file = File::open("/proc/self/exe").unwrap();
    let mut expected = [0; 64];
    file.read_exact_at(&mut expected, 4096).unwrap();
    // A number that is not valid as the flags, should the two change places.
    // SAFETY: takes numbers. The copy stays open until the test program ends.
    let descriptor = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 100) };
    assert!(descriptor >= 100);
    let descriptor = i64::from(descriptor);
    let (read, private) = (i64::from(libc::PROT_READ), i64::from(libc::MAP_PRIVATE));
    // SAFETY: a new mapping, where the kernel finds room.
    let address = unsafe { fixtures::raw_syscall(libc::SYS_mmap, 0, 4096, read, private, descriptor, 4096) };
    assert!(address > 0, "mmap: {address}");
    // SAFETY: the page was just mapped readable and stays so; a running program's file cannot be written.
    let page = unsafe { slice::from_raw_parts(address as *const u8, expected.len()) };
    assert_eq!(page, expected);
}

#[test]
fn process_attributes_can_be_set() {
    // SAFETY: nothing here relies on a signal from the parent's death.
    assert_eq!(unsafe { fixtures::set_pdeathsig_off() }, 0);
    // SAFETY: nothing here relies on being closed to others.
    assert_eq!(unsafe { fixtures::set_dumpable() }, 0);
}
