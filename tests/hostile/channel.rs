//! Attacks on the memory that host and isolates share: finding it, and finding that of others.
//!
//! # Safety
//! Atomic access to words of the isolate's own channel, found in its own list of mappings, inside that isolate.
#![expect(unsafe_code, reason = "atomic views of a mapping found by address, and mapping a file")]

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::{ptr, thread};

use ringfence::Sandbox;
use ringfence_testkit::alone::alone;

use crate::support::{AREA_BYTES, fixture, unfiltered};

/// Bytes of the report of a death.
pub(crate) const REPORT_BYTES: usize = 37096;
/// Where the state line starts: on the first page after the request line and the arguments.
const STATE: usize = (64 + AREA_BYTES).next_multiple_of(4096);
/// Where the reply starts.
pub(crate) const REPLY: usize = STATE + 192;
/// Where the report starts.
pub(crate) const REPORT: usize = (REPLY + AREA_BYTES).next_multiple_of(4096);

/// The isolate's own channel, as the code inside can find it.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    start: usize,
}

impl Found {
    pub(crate) fn own() -> Self {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| line.contains("memfd:ringfence-channel")).unwrap();
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let number = |text| usize::from_str_radix(text, 16).unwrap();
        let (start, end): (usize, usize) = (number(start), number(end));
        assert_eq!(end - start, REPORT + REPORT_BYTES.next_multiple_of(4096), "the layout is another one");
        Self { start }
    }

    fn word(self, offset: usize) -> &'static AtomicU32 {
        let address = ptr::with_exposed_provenance_mut(self.start + offset);
        // SAFETY: an aligned word of the header, mapped as long as the isolate lives, which everyone accesses atomically.
        unsafe { AtomicU32::from_ptr(address) }
    }

    pub(crate) fn phase(self) -> &'static AtomicU32 {
        self.word(STATE)
    }

    /// Bytes of a panic's text.
    pub(crate) fn note(self) -> &'static AtomicU32 {
        self.word(STATE + 8)
    }

    pub(crate) fn reply(self) -> &'static AtomicU32 {
        self.word(STATE + 128)
    }

    pub(crate) fn outcome(self) -> &'static AtomicU32 {
        self.word(STATE + 132)
    }

    pub(crate) fn reply_bytes(self) -> &'static AtomicU64 {
        let address = ptr::with_exposed_provenance_mut(self.start + STATE + 136);
        // SAFETY: as for the others; it is aligned to eight.
        unsafe { AtomicU64::from_ptr(address) }
    }

    pub(crate) fn tomb(self) -> &'static AtomicU32 {
        self.word(STATE + 144)
    }

    /// Stores a byte anywhere in the channel.
    pub(crate) fn store(self, offset: usize, value: u8) {
        fixture!(store_at(self.start + offset, value));
    }

    /// The reply word of the present call, in a state.
    pub(crate) fn answer(self, state: u32) -> u32 {
        (self.reply().load(Ordering::SeqCst) & !7) | state
    }

    /// Puts this into the reply word and wakes the host.
    pub(crate) fn announce(self, word: u32) {
        self.reply().store(word, Ordering::SeqCst);
        let address = (self.start + STATE + 128) as i64;
        fixture!(raw_syscall(libc::SYS_futex, address, i64::from(libc::FUTEX_WAKE), 1, 0, 0, 0));
    }
}

/// How many mappings there are of files with this name.
fn mappings(name: &str) -> u64 {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains(name)).count() as u64
}

/// Channels and captures in reach.
fn in_reach() -> (u64, u64) {
    (mappings("memfd:ringfence-channel"), mappings("memfd:ringfence-stderr"))
}

fn everywhere(sandbox: &Sandbox) -> [(u64, u64); 3] {
    let mut session = sandbox.session().unwrap();
    [
        sandbox.call(|()| in_reach(), ()).unwrap(),
        session.call(|()| in_reach(), ()).unwrap(),
        sandbox.run(in_reach).unwrap(),
    ]
}

#[test]
fn inside_reaches_the_channel_of_another_isolate() {
    // Alone, so that no other test's control lies in reach.
    alone("channel::inside_reaches_the_channel_of_another_isolate", || {
        let first = unfiltered();
        let mut kept = Vec::new();
        for _ in 0..4 {
            let sandbox = unfiltered();
            let session = sandbox.session().unwrap();
            assert_eq!(sandbox.run(|| 1_u8).unwrap(), 1);
            kept.push((sandbox, session));
        }
        assert!(in_reach().0 > 8, "the host holds them all");
        // The first zygote is older than the other channels, the last one is younger.
        let last = unfiltered();
        for sandbox in [&first, &kept[0].0, &last] {
            assert_eq!(everywhere(sandbox), [(1, 0); 3], "only its own");
        }
        // The control: a mapping that is not kept from children.
        // SAFETY: a C string.
        let file = unsafe { libc::memfd_create(c"ringfence-channel".as_ptr(), libc::MFD_CLOEXEC) };
        // SAFETY: no address is asked for.
        let mapped = unsafe { libc::mmap(ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, file, 0) };
        assert_ne!(mapped, libc::MAP_FAILED);
        assert_eq!(everywhere(&unfiltered()), [(2, 0); 3]);
    });
}

#[test]
fn inside_reaches_a_channel_that_is_being_made() {
    alone("channel::inside_reaches_a_channel_that_is_being_made", || {
        let done = AtomicBool::new(false);
        let sandbox = unfiltered();
        let most = thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        // A session has a channel of its own.
                        drop(sandbox.session().unwrap());
                    }
                });
            }
            let most = (0..2000).map(|_| sandbox.run(|| mappings("memfd:ringfence-channel")).unwrap()).max();
            done.store(true, Ordering::Relaxed);
            most
        });
        assert_eq!(most, Some(1), "a fork met a channel that was mapped and not yet kept from children");
    });
}
