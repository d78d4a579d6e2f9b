//! A worker's life: wait for work, do it, answer.
//!
//! # Safety
//! Performs entries at addresses the host wrote into the channel. The host is trusted by its isolates; the addresses were made by
//! [`Entry::address`] in a process with this image, which the host checks before it writes them.
#![expect(unsafe_code, reason = "performs entries")]

use std::sync::atomic::Ordering;
use std::time::Instant;

use ringfence_core::Waiting;
use ringfence_core::backend::{Entry, Finish};

use crate::channel::Channel;
use crate::futex;
use crate::inside::begin;
use crate::layout::{Words, doorbell, phase, reply};

/// Serves calls until the process is killed.
pub(crate) fn serve(mut channel: Channel, waiting: Waiting) -> ! {
    let words = *channel.words();
    words.phase().store(phase::READY, Ordering::Release);
    loop {
        await_work(&words, waiting);
        words.doorbell().store(doorbell::EMPTY, Ordering::Relaxed);
        words.phase().store(phase::INSIDE, Ordering::Relaxed);
        words.cpu().store(crate::cpu::current(), Ordering::Relaxed);
        let address = words.entry().load(Ordering::Relaxed);
        let bytes = words.request_bytes().load(Ordering::Relaxed);
        let request = channel.request().as_ptr();
        let address = usize::try_from(address).unwrap_or(0);
        let bytes = usize::try_from(bytes).unwrap_or(0);
        // SAFETY: the host wrote an address it took from an `Entry` and checked to be in this image, and the bytes it wrote to the
        // request area, which it leaves alone until the answer.
        let finish = unsafe { perform(&mut channel, address, request, bytes) };
        answer(&words, finish);
    }
}

/// Does one piece of work.
///
/// # Safety
/// As [`Entry::from_address`] for `address`, as [`Entry::perform`] for the rest.
pub(crate) unsafe fn perform(channel: &mut Channel, address: usize, data: *const u8, bytes: usize) -> Finish {
    begin();
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::from_address(address) };
    // SAFETY: the caller's promise; the reply area is this isolate's to write until it answers.
    unsafe { entry.perform(data, bytes, channel.reply_outlet()) }
}

fn await_work(words: &Words, waiting: Waiting) {
    let bell = words.doorbell();
    if waiting == Waiting::Spin {
        let start = Instant::now();
        while start.elapsed() < Waiting::SPIN {
            for _ in 0..64 {
                if bell.load(Ordering::Acquire) == doorbell::WORK {
                    return;
                }
                std::hint::spin_loop();
            }
        }
    }
    loop {
        match bell.compare_exchange(doorbell::EMPTY, doorbell::ASLEEP, Ordering::AcqRel, Ordering::Acquire) {
            Err(doorbell::WORK) => return,
            _ => {
                futex::wait(bell, doorbell::ASLEEP, None);
            }
        }
    }
}

/// Publishes how the work ended and wakes the host if it sleeps.
pub(crate) fn answer(words: &Words, finish: Finish) {
    words.outcome().store(finish.outcome as u32, Ordering::Relaxed);
    words.reply_bytes().store(finish.reply_bytes as u64, Ordering::Relaxed);
    if words.reply().swap(reply::DONE, Ordering::AcqRel) == reply::ASLEEP {
        futex::wake(words.reply());
    }
}

const _: () = assert!(size_of::<*const u8>() == size_of::<u64>(), "addresses travel as 64 bits");
