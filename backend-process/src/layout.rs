//! Where everything is in the memory a caller and one isolate share.
//!
//! ```text
//! 0       request line   written by the host: doorbell, entry, bytes
//! 64      request area   arguments
//! R       state line     written inside: phase, cpu, note
//! R+128   reply line     written inside: reply word, outcome, bytes; by the zygote: tomb
//! R+192   reply area     result
//! ...     report         written inside while dying, read after
//! ```
//!
//! `R` is the first page after the request area. A short call touches two pages, since a switch of processes empties the TLB; areas start
//! on cache lines, since large copies want that; what the worker notes for itself lies on a line nobody else waits on.
//!
//! The isolate can write all of it at any moment. The host therefore keeps its own cursors, believes no length, and reads each
//! byte of a reply once.
//!
//! # Safety
//! [`Words`] holds the address of a mapped header and forms references to atomics in it, never to plain data.
#![expect(unsafe_code, reason = "atomic views of a shared header")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::mapping::PAGE_BYTES;
use crate::report::REPORT_BYTES;

/// The doorbell, the word the host writes: the number of the last call, and whether the worker sleeps.
pub(crate) mod doorbell {
    /// Set by a worker that sleeps until the number changes.
    pub(crate) const ASLEEP: u32 = 1;
    /// What a call adds to the number.
    pub(crate) const NEXT: u32 = 2;

    /// The number of the last call, without the flag.
    pub(crate) fn number(word: u32) -> u32 {
        word & !ASLEEP
    }
}

/// The reply word, which the worker writes and, on its death, the zygote: the number of the call it belongs to, and a state.
pub(crate) mod reply {
    /// No answer; the host sleeps.
    pub(crate) const ASLEEP: u32 = 1;
    /// The work ended; outcome and length are set.
    pub(crate) const DONE: u32 = 2;
    /// The worker is dying and has written its report.
    pub(crate) const CRASHED: u32 = 3;
    /// The worker is dead.
    pub(crate) const DEAD: u32 = 4;

    const STATE: u32 = 7;

    /// The word of a call, by its doorbell number, in a state.
    pub(crate) fn word(number: u32, state: u32) -> u32 {
        number << 2 | state
    }

    /// The state of a word.
    pub(crate) fn state(word: u32) -> u32 {
        word & STATE
    }

    /// The same word in another state.
    pub(crate) fn with_state(word: u32, state: u32) -> u32 {
        word & !STATE | state
    }

    /// The state, if the word belongs to this call and is an answer.
    pub(crate) fn answer(word: u32, number: u32) -> Option<u32> {
        (with_state(word, 0) == self::word(number, 0) && state(word) > ASLEEP).then(|| state(word))
    }
}

/// States of the phase word, which the worker writes.
pub(crate) mod phase {
    /// Not yet confined.
    pub(crate) const BORN: u32 = 0;
    /// Waiting for work.
    pub(crate) const READY: u32 = 1;
    /// Working.
    pub(crate) const INSIDE: u32 = 2;
    /// Confinement failed; the outcome word holds the step, the length the error number.
    pub(crate) const UNFIT: u32 = 3;
}

/// The words of one channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words {
    request: Option<NonNull<u8>>,
    reply: NonNull<u8>,
}

macro_rules! word {
    ($(#[$doc:meta])* $name:ident: $type:ty = $page:ident + $offset:expr) => {
        $(#[$doc])*
        pub(crate) fn $name(&self) -> &$type {
            const { assert!($offset % align_of::<$type>() == 0 && $offset + size_of::<$type>() <= Layout::HEADERS) };
            // SAFETY: whoever made these words promised a mapped page there, so the offset stays inside it.
            let word = unsafe { self.$page().add($offset) };
            // SAFETY: the word is mapped while `self` may be used, aligned (checked above), and accessed as an atomic of this type by
            // every party; atomics allow writers elsewhere.
            unsafe { <$type>::from_ptr(word.cast().as_ptr()) }
        }
    };
}

impl Words {
    /// The words of a channel whose request line and state line are at these addresses.
    ///
    /// # Safety
    /// A page is mapped at each, readable and writable, for as long as the words or a copy of them are used.
    pub(crate) unsafe fn new(request: NonNull<u8>, reply: NonNull<u8>) -> Self {
        Self { request: Some(request), reply }
    }

    /// The words of a channel of which only the page with the state line is mapped: a zygote's view. The words of the request line
    /// are then those of that page, which nobody uses.
    ///
    /// # Safety
    /// As [`Words::new`], for that page.
    pub(crate) unsafe fn of_reply_page(reply: NonNull<u8>) -> Self {
        Self { request: None, reply }
    }

    fn request_page(&self) -> NonNull<u8> {
        self.request.unwrap_or(self.reply)
    }

    fn reply_page(&self) -> NonNull<u8> {
        self.reply
    }

    word!(/// See [`doorbell`].
        doorbell: AtomicU32 = request_page + 0);
    word!(/// Address of the entry to perform.
        entry: AtomicU64 = request_page + 8);
    word!(/// Bytes of arguments in the request area.
        request_bytes: AtomicU64 = request_page + 16);
    word!(/// See [`phase`].
        phase: AtomicU32 = reply_page + 0);
    word!(/// The CPU the worker ran on when it last took work up.
        cpu: AtomicU32 = reply_page + 4);
    word!(/// Bytes of a panic's text in the report; zero when none was noted since the work began.
        note: AtomicU32 = reply_page + 8);
    word!(/// See [`reply`].
        reply: AtomicU32 = reply_page + 128);
    word!(/// The number of an [`Outcome`](ringfence_core::backend::Outcome).
        outcome: AtomicU32 = reply_page + 132);
    word!(/// Bytes of the result in the reply area.
        reply_bytes: AtomicU64 = reply_page + 136);
    word!(/// Set by the zygote once the worker is dead. On the reply line, which the host has at hand when a call begins.
        tomb: AtomicU32 = reply_page + 144);
}

/// Sizes and places of one channel's areas.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) request_bytes: usize,
    pub(crate) reply_bytes: usize,
}

impl Layout {
    /// Where the request area starts, behind the request line's words.
    pub(crate) const REQUEST: usize = 64;
    /// Where the reply area starts, from the state line on.
    const HEADERS: usize = 192;

    /// Where the state line is: at the start of a page.
    pub(crate) fn state(&self) -> usize {
        pages(Self::REQUEST + self.request_bytes)
    }

    /// Where the reply area starts.
    pub(crate) fn reply(&self) -> usize {
        self.state() + Self::HEADERS
    }

    /// Where the report starts.
    pub(crate) fn report(&self) -> usize {
        pages(self.reply() + self.reply_bytes)
    }

    /// The whole length.
    pub(crate) fn bytes(&self) -> usize {
        self.report() + pages(REPORT_BYTES)
    }
}

/// `bytes`, rounded up to whole pages.
pub(crate) const fn pages(bytes: usize) -> usize {
    bytes.div_ceil(PAGE_BYTES) * PAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_do_not_overlap() {
        for (request_bytes, reply_bytes) in [(0, 0), (1, 1), (4096, 4097), (1 << 40, 1 << 40)] {
            let layout = Layout { request_bytes, reply_bytes };
            assert!(layout.state() >= Layout::REQUEST + request_bytes);
            assert!(layout.reply() >= layout.state() + Layout::HEADERS);
            assert!(layout.report() >= layout.reply() + reply_bytes);
            assert!(layout.bytes() >= layout.report() + REPORT_BYTES);
            assert_eq!(layout.report() % PAGE_BYTES + layout.state() % PAGE_BYTES, 0);
        }
    }

    #[test]
    fn an_answer_belongs_to_its_call() {
        for number in [0, doorbell::NEXT, doorbell::NEXT * 1000, !doorbell::ASLEEP] {
            let done = reply::word(number, reply::DONE);
            assert_eq!(reply::answer(done, number), Some(reply::DONE));
            assert_eq!(reply::answer(done, number.wrapping_add(doorbell::NEXT)), None);
            assert_eq!(reply::answer(reply::word(number, reply::ASLEEP), number), None);
        }
    }
}
