//! The memory one isolate shares with the host, as the host holds it.
//!
//! # Safety
//! A [`Channel`] owns a mapping of exactly the layout's length over a file sealed against shrinking, so every address within it stays
//! backed whatever the isolate does.
#![expect(unsafe_code, reason = "addresses within a sealed shared mapping")]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use ringfence_core::Error;
use ringfence_core::backend::Outcome;
use ringfence_core::capture::sealed_file;
use ringfence_core::region::{Outlet, Source};

use crate::layout::{Layout, Words, pages, phase};
use crate::mapping::{Mapping, PAGE_BYTES};
use crate::report::{REPORT_BYTES, Report};

/// Pages that a call has touched are kept for the next one up to this much of each area, and given back beyond it.
const KEPT_BYTES: usize = 4 << 20;

/// The host's end of one isolate's shared memory.
#[derive(Debug)]
pub(crate) struct Channel {
    mapping: Mapping,
    layout: Layout,
    words: Words,
}

// SAFETY: the words are an address within the mapping, which moves with them and may be used from any thread.
unsafe impl Send for Channel {}

impl Channel {
    /// A fresh channel, and the file to hand to the isolate.
    pub(crate) fn new(layout: Layout) -> Result<(Self, OwnedFd), Error> {
        let file = sealed_file(c"ringfence-channel", layout.bytes())?;
        let held = crate::fork_lock::mapping();
        let mapping = Mapping::shared(file.as_fd(), layout.bytes())?;
        mapping.keep_from_children()?;
        drop(held);
        Ok((Self::over(mapping, layout), file))
    }

    /// The isolate's own view of a channel it was handed.
    pub(crate) fn attach(file: BorrowedFd<'_>, layout: Layout) -> Result<Self, Error> {
        Ok(Self::over(Mapping::shared(file, layout.bytes())?, layout))
    }

    fn over(mapping: Mapping, layout: Layout) -> Self {
        // SAFETY: the layout puts the state line inside the mapping.
        let state = unsafe { mapping.start().add(layout.state()) };
        // SAFETY: the mapping has the layout's length, so a page is mapped at each; the words live no longer than the channel.
        let words = unsafe { Words::new(mapping.start(), state) };
        Self { mapping, layout, words }
    }

    /// The header.
    pub(crate) fn words(&self) -> &Words {
        &self.words
    }

    /// Makes the channel of an isolate that serves one crossing and is then gone ready for the next.
    pub(crate) fn clear(&self) {
        self.words.reply().store(0, Ordering::Relaxed);
        self.words.phase().store(phase::BORN, Ordering::Relaxed);
        self.words.outcome().store(0, Ordering::Relaxed);
        self.words.reply_bytes().store(0, Ordering::Relaxed);
        self.words.note().store(0, Ordering::Relaxed);
        Report::clear(self.report());
    }

    fn at(&self, offset: usize) -> NonNull<u8> {
        debug_assert!(offset <= self.mapping.bytes());
        // SAFETY: every caller passes an offset of the layout, which is the mapping's length at most.
        unsafe { self.mapping.start().add(offset) }
    }

    /// Where the report is.
    pub(crate) fn report(&self) -> NonNull<u8> {
        self.at(self.layout.report())
    }

    /// Where the arguments go.
    pub(crate) fn request(&self) -> NonNull<u8> {
        self.at(Layout::REQUEST)
    }

    /// The area the arguments are written to.
    pub(crate) fn request_outlet(&mut self) -> Outlet<'_> {
        // SAFETY: the request area is mapped and writable while the channel is borrowed, and backed because the file cannot shrink.
        unsafe { Outlet::from_raw(self.request(), self.layout.request_bytes) }
    }

    /// The area the result is written to, inside.
    pub(crate) fn reply_outlet(&mut self) -> Outlet<'_> {
        // SAFETY: the reply area is mapped and writable while the channel is borrowed, and backed because the file cannot shrink.
        unsafe { Outlet::from_raw(self.at(self.layout.reply()), self.layout.reply_bytes) }
    }

    /// How the work ended and how much of the reply area it filled, if what stands there can be believed.
    pub(crate) fn answer(&self) -> Option<(Outcome, usize)> {
        let outcome = Outcome::from_number(self.words.outcome().load(Ordering::Relaxed))?;
        let bytes = usize::try_from(self.words.reply_bytes().load(Ordering::Relaxed)).ok()?;
        (bytes <= self.layout.reply_bytes).then_some((outcome, bytes))
    }

    /// The first `bytes` of the reply area, at most all of it.
    pub(crate) fn reply_source(&self, bytes: usize) -> Source<'_> {
        let bytes = bytes.min(self.layout.reply_bytes);
        // SAFETY: the reply area is mapped, backed, and at least `bytes` long while the channel is borrowed. The source reads each byte
        // once, so a writer inside changes only what is decoded.
        unsafe { Source::shared(self.at(self.layout.reply()), bytes) }
    }

    /// The report, copied out once.
    pub(crate) fn take_report(&self) -> Report {
        Report::copy(self.report(), self.words.note().load(Ordering::Relaxed))
    }

    /// Gives back what a large crossing has touched beyond what is worth keeping. No system call for small ones.
    pub(crate) fn give_back(&self, request_bytes: usize, reply_bytes: usize) {
        // Each area begins on the page of its header, which is kept.
        let state = self.layout.state();
        let areas =
            [(0, Layout::REQUEST + request_bytes), (state, self.layout.reply() - state + reply_bytes)];
        for (start, used) in areas {
            if used > KEPT_BYTES {
                self.mapping.give_back(start + KEPT_BYTES, pages(used) - KEPT_BYTES);
            }
        }
    }

    /// Makes present what a short call, or a report of its failure, touches.
    pub(crate) fn prefault(&self) {
        const ENOUGH_BYTES: usize = 2 * PAGE_BYTES;
        self.mapping.populate(0, ENOUGH_BYTES);
        self.mapping.populate(self.layout.state(), ENOUGH_BYTES);
        self.mapping.populate(self.layout.report(), pages(REPORT_BYTES));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_never_longer_than_its_area() {
        let (channel, _file) = Channel::new(Layout { request_bytes: 64, reply_bytes: 64 }).unwrap();
        assert_eq!(channel.reply_source(usize::MAX).remaining(), 64);
    }

    #[test]
    fn pages_beyond_what_is_kept_are_given_back() {
        let layout = Layout { request_bytes: 16 << 20, reply_bytes: 4096 };
        let (mut channel, file) = Channel::new(layout).unwrap();
        channel.request_outlet().write(&vec![7; 16 << 20]).unwrap();
        let blocks = |file: &OwnedFd| nix::sys::stat::fstat(file).unwrap().st_blocks * 512;
        assert!(blocks(&file) >= 16 << 20);
        channel.give_back(16 << 20, 0);
        assert!(blocks(&file) <= (4 << 20) + 65536, "{}", blocks(&file));
    }
}
