//! What the attacks share.
//!
//! # Safety
//! Fixtures and the calls below run inside domains and forked children; what the host itself does with them is harmless there.
#![expect(unsafe_code, reason = "raw system calls, registers, and fixtures through a macro")]

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::FromRawFd;
use std::panic::AssertUnwindSafe;
use std::sync::{Barrier, mpsc};
use std::time::Duration;
use std::{fs, panic, thread};

use libtest_mimic::Trial;
use ringfence::{Backend, Error, Fault, Limits, Policy, Sandbox};
use ringfence_testkit::fixtures;

/// A fixture, called inside a domain or in a forked child.
macro_rules! fixture {
    ($($call:tt)+) => {{
        // SAFETY: runs in a domain or a forked child, with arguments that are valid or whose misuse is the attack.
        let returned = unsafe { ringfence_testkit::fixtures::$($call)+ };
        returned
    }};
}

pub(crate) use fixture;

/// Trials named after their functions.
macro_rules! trials {
    ($($name:ident)+) => {
        vec![$(
            libtest_mimic::Trial::test($crate::hostile::support::title(module_path!(), stringify!($name)), || {
                $name();
                Ok(())
            })
        ),+]
    };
}
pub(crate) use trials;

/// A trial's name: the module without the program, and the function.
pub(crate) fn title(module: &str, function: &str) -> String {
    let module = module.split_once("::").map_or(module, |(_, rest)| rest);
    format!("{module}::{function}")
}

/// One list of many.
pub(crate) fn all(lists: impl IntoIterator<Item = Vec<Trial>>) -> Vec<Trial> {
    lists.into_iter().flatten().collect()
}

pub(crate) fn limits() -> Limits {
    Limits::new()
        .wall(Duration::from_secs(20))
        .memory_bytes(8 << 20)
        .stack_bytes(256 << 10)
        .request_bytes(65536)
        .reply_bytes(65536)
}

pub(crate) fn with(policy: Policy, limits: Limits) -> Sandbox {
    Sandbox::builder().backend(Backend::Mpk).workers(1).policy(policy).limits(limits).build().unwrap()
}

/// The defence as it is by default.
pub(crate) fn defended() -> Sandbox {
    with(Policy::compute(), limits())
}

#[track_caller]
pub(crate) fn fault<R>(result: Result<R, Error>) -> Fault {
    match result {
        Ok(_) => panic!("the attack went through"),
        Err(Error::Fault(fault)) => *fault,
        Err(error) => panic!("not a fault: {error}"),
    }
}

/// The host still gets its answers.
#[track_caller]
pub(crate) fn assert_works(sandbox: &Sandbox) {
    let text = "0123456789".repeat(50);
    assert_eq!(sandbox.call(|text: String| text.len() as u64, text.clone()).unwrap(), 500);
    assert_eq!(sandbox.run(|| text.bytes().map(u64::from).sum::<u64>()).unwrap(), 50 * 525);
}

/// A page of the host's, known to nobody else, filled with a pattern.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    pub(crate) address: u64,
}

/// What a [`Page`] holds.
pub(crate) const PATTERN: u64 = 0x1122_3344_5566_7788;

impl Page {
    /// Bytes of it.
    pub(crate) const BYTES: u64 = 4096;

    pub(crate) fn new() -> Self {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: no address is asked for.
        let mapped = unsafe { libc::mmap(std::ptr::null_mut(), 4096, rights, flags, -1, 0) };
        assert_ne!(mapped, libc::MAP_FAILED);
        let page = Self { address: mapped as u64 };
        (0..512).for_each(|index| page.store(index, PATTERN));
        page
    }

    fn place(self, index: usize) -> *mut u64 {
        (self.address as *mut u64).wrapping_add(index)
    }

    pub(crate) fn store(self, index: usize, value: u64) {
        // SAFETY: the page is mapped for the life of the process, and only accessed raw.
        unsafe { self.place(index).write_volatile(value) };
    }

    pub(crate) fn load(self, index: usize) -> u64 {
        // SAFETY: as for `store`.
        unsafe { self.place(index).read_volatile() }
    }

    /// Whether every word is as it was.
    pub(crate) fn is_untouched(self) -> bool {
        (0..512).all(|index| self.load(index) == PATTERN)
    }
}

/// A file in memory with eight bytes in it.
pub(crate) fn file() -> File {
    // SAFETY: a C string.
    let number = unsafe { libc::memfd_create(c"hostile".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(number > 2);
    // SAFETY: the kernel gave it out just now.
    let file = unsafe { File::from_raw_fd(number) };
    fill(&file);
    file
}

/// Makes its contents that again.
pub(crate) fn fill(mut file: &File) {
    file.set_len(0).unwrap();
    file.rewind().unwrap();
    file.write_all(b"contents").unwrap();
    file.rewind().unwrap();
}

/// A system call by the bare instruction.
pub(crate) fn syscall(number: i64, arguments: [u64; 6]) -> i64 {
    let [a, b, c, d, e, f] = arguments.map(u64::cast_signed);
    fixture!(raw_syscall(number, a, b, c, d, e, f))
}

/// The mappings of the process: address, rights and name of each.
pub(crate) fn mappings() -> Vec<String> {
    fs::read_to_string("/proc/self/maps").unwrap().lines().map(str::to_owned).collect()
}

/// The lowest address of the calling thread's signal stack, which lies in its block of the arena.
pub(crate) fn signal_stack() -> u64 {
    // SAFETY: zeroes are a value of plain data.
    let mut stack: libc::stack_t = unsafe { std::mem::zeroed() };
    // SAFETY: asks only, into a local.
    assert_eq!(unsafe { libc::sigaltstack(std::ptr::null(), &raw mut stack) }, 0);
    stack.ss_sp as u64
}

/// The calling thread's control block: at the start of its block of the arena.
pub(crate) fn control_block() -> u64 {
    signal_stack() & !((128 << 10) - 1)
}

/// Runs `work` with what another thread found, while that thread waits.
pub(crate) fn beside(find: impl FnOnce() -> u64 + Send, work: impl FnOnce(u64)) {
    let done = Barrier::new(2);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        let done = &done;
        scope.spawn(move || {
            sender.send(find()).unwrap();
            done.wait();
        });
        let found = receiver.recv().unwrap();
        let worked = panic::catch_unwind(AssertUnwindSafe(|| work(found)));
        done.wait();
        worked.unwrap();
    });
}

/// Calls the fixture that stores a byte, and reads it back.
pub(crate) fn store_byte(address: u64) -> u8 {
    // SAFETY: inside a domain, or in a forked child: the attack.
    unsafe { fixtures::store_at(address as usize, 0xa5) };
    // SAFETY: as above.
    unsafe { fixtures::load_at(address as usize) }
}
