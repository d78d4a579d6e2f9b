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
use crate::inside::{Stacks, begin};
use crate::layout::{Words, doorbell, phase, reply};
use crate::spin;

/// Serves calls until the process is killed.
pub(crate) fn serve(mut channel: Channel, waiting: Waiting) -> ! {
    let words = *channel.words();
    words.phase().store(phase::READY, Ordering::Release);
    let mut number = 0;
    loop {
        number = await_work(&words, waiting, number);
        words.phase().store(phase::INSIDE, Ordering::Relaxed);
        words.cpu().store(crate::cpu::current(), Ordering::Relaxed);
        let address = words.entry().load(Ordering::Relaxed);
        let bytes = words.request_bytes().load(Ordering::Relaxed);
        let request = channel.request().as_ptr();
        let address = usize::try_from(address).unwrap_or(0);
        let bytes = usize::try_from(bytes).unwrap_or(0);
        // SAFETY: the host wrote an address it took from an `Entry` and checked to be in this image, and the bytes it wrote to the
        // request area, which it leaves alone until the answer.
        let finish = unsafe { perform(&mut channel, number, address, request, bytes) };
        answer(&words, number, finish);
    }
}

/// Touches what the first call will need, so that a worker that stands ready answers as fast as one that has served before.
pub(crate) fn warm_up(channel: &Channel, stacks: &Stacks) {
    channel.prefault();
    stacks.prefault();
    // The allocator's and the unwinder's pages, and those of their code.
    drop(std::hint::black_box(vec![0u8; 1024]));
    let _ = std::panic::catch_unwind(|| std::hint::black_box(0));
}

/// Does the work of the call with this number.
///
/// # Safety
/// As [`Entry::from_address`] for `address`, as [`Entry::perform`] for the rest.
pub(crate) unsafe fn perform(
    channel: &mut Channel,
    number: u32,
    address: usize,
    data: *const u8,
    bytes: usize,
) -> Finish {
    begin(number);
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::from_address(address) };
    // SAFETY: the caller's promise; the reply area is this isolate's to write until it answers.
    unsafe { entry.perform(data, bytes, channel.reply_outlet()) }
}

/// Waits for a call after the last one, and says its number.
fn await_work(words: &Words, waiting: Waiting, last: u32) -> u32 {
    let bell = words.doorbell();
    let rung = || Some(doorbell::number(bell.load(Ordering::Acquire))).filter(|&number| number != last);
    if waiting == Waiting::Spin {
        spin::until(Instant::now(), || true, || rung().is_some());
    }
    loop {
        if let Some(number) = rung() {
            return number;
        }
        // Told apart by the host from a worker that is awake and need not be woken.
        let asleep = last | doorbell::ASLEEP;
        let _ = bell.compare_exchange(last, asleep, Ordering::AcqRel, Ordering::Acquire);
        futex::wait(bell, asleep, None);
    }
}

/// Publishes how the work ended and wakes the host if it sleeps.
pub(crate) fn answer(words: &Words, number: u32, finish: Finish) {
    words.outcome().store(finish.outcome as u32, Ordering::Relaxed);
    words.reply_bytes().store(finish.reply_bytes as u64, Ordering::Relaxed);
    let before = words.reply().swap(reply::word(number, reply::DONE), Ordering::AcqRel);
    if before == reply::word(number, reply::ASLEEP) {
        futex::wake(words.reply());
    }
}

const _: () = assert!(size_of::<*const u8>() == size_of::<u64>(), "addresses travel as 64 bits");
