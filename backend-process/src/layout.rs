//! Where everything is in the memory a caller and one isolate share.
//!
//! ```text
//! 0     request line   written by the host: doorbell, entry, bytes
//! 128   reply line     written inside: reply word, outcome, bytes, phase, cpu, note; by the zygote: tomb
//! 256   request area   arguments
//! ...   reply area     result
//! ...   report         written inside while dying, read after
//! ```
//!
//! Header and small arguments share a page: a switch of processes empties the TLB, and each further page is another walk.
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

/// States of the doorbell, the word the host writes.
pub(crate) mod doorbell {
    /// No work; the worker is awake.
    pub(crate) const EMPTY: u32 = 0;
    /// No work; the worker sleeps.
    pub(crate) const ASLEEP: u32 = 1;
    /// Work is there.
    pub(crate) const WORK: u32 = 2;
}

/// States of the reply word, which the worker writes and, on its death, the zygote.
pub(crate) mod reply {
    /// No answer; the host is awake.
    pub(crate) const PENDING: u32 = 0;
    /// No answer; the host sleeps.
    pub(crate) const ASLEEP: u32 = 1;
    /// The work ended; outcome and length are set.
    pub(crate) const DONE: u32 = 2;
    /// The worker is dying and has written its report.
    pub(crate) const CRASHED: u32 = 3;
    /// The worker is dead.
    pub(crate) const DEAD: u32 = 4;
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

/// The header's words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words {
    start: NonNull<u8>,
}

macro_rules! word {
    ($(#[$doc:meta])* $name:ident: $type:ty = $offset:expr) => {
        $(#[$doc])*
        pub(crate) fn $name(&self) -> &$type {
            const { assert!($offset % align_of::<$type>() == 0 && $offset + size_of::<$type>() <= Layout::REQUEST) };
            // SAFETY: whoever made these words promised a mapped header page at `start`, so the offset stays inside it.
            let word = unsafe { self.start.add($offset) };
            // SAFETY: the word is mapped while `self` may be used, aligned (checked above), and accessed as an atomic of this type by
            // every party; atomics allow writers elsewhere.
            unsafe { <$type>::from_ptr(word.cast().as_ptr()) }
        }
    };
}

impl Words {
    /// The words of the header at `start`.
    ///
    /// # Safety
    /// A page is mapped there, readable and writable, for as long as the words or a copy of them are used.
    pub(crate) unsafe fn new(start: NonNull<u8>) -> Self {
        Self { start }
    }

    word!(/// See [`doorbell`].
        doorbell: AtomicU32 = 0);
    word!(/// Address of the entry to perform.
        entry: AtomicU64 = 8);
    word!(/// Bytes of arguments in the request area.
        request_bytes: AtomicU64 = 16);
    word!(/// See [`reply`].
        reply: AtomicU32 = 128);
    word!(/// The number of an [`Outcome`](ringfence_core::backend::Outcome).
        outcome: AtomicU32 = 132);
    word!(/// Bytes of the result in the reply area.
        reply_bytes: AtomicU64 = 136);
    word!(/// See [`phase`].
        phase: AtomicU32 = 144);
    word!(/// The CPU the worker ran on when it last took work up.
        cpu: AtomicU32 = 148);
    word!(/// Bytes of a panic's text in the report; zero when none was noted since the work began.
        note: AtomicU32 = 156);
    word!(/// Set by the zygote once the worker is dead.
        tomb: AtomicU32 = 152);
}

/// Sizes and places of one channel's areas.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) request_bytes: usize,
    pub(crate) reply_bytes: usize,
}

impl Layout {
    /// Where the request area starts.
    pub(crate) const REQUEST: usize = 256;

    /// Where the reply area starts.
    pub(crate) fn reply(&self) -> usize {
        pages(Self::REQUEST + self.request_bytes)
    }

    /// Where the report starts.
    pub(crate) fn report(&self) -> usize {
        self.reply() + pages(self.reply_bytes)
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
            assert!(layout.reply() >= Layout::REQUEST + request_bytes);
            assert!(layout.report() >= layout.reply() + reply_bytes);
            assert!(layout.bytes() >= layout.report() + REPORT_BYTES);
            assert_eq!(layout.report() % PAGE_BYTES + layout.reply() % PAGE_BYTES, 0);
        }
    }
}
