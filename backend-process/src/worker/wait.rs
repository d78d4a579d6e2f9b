//! Waiting for a worker's answer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ringfence_core::fault::FaultKind;

use super::{Placed, Worker};
use crate::futex::{self, Wake};
use crate::layout::{doorbell, reply};
use crate::spin;

/// A worker is pinned to its caller's CPU for this long; a call that outlasts it may migrate. Longer than a scheduler tick (10 ms at
/// most): a timer that is due before the tick has to be programmed into the hardware and out again on every call.
const PINNED: Duration = Duration::from_millis(20);
/// How often a waiting host looks whether anyone is left to wake it.
const LOOK: Duration = Duration::from_secs(1);
/// How far a CPU-time limit is overrun at most before it is noticed, for each thread inside.
const CPU_GRAIN: Duration = Duration::from_millis(1);

/// Why a wait ended.
pub(super) enum Waited {
    Replied,
    Crashed,
    Dead,
    Garbled,
    Overran(FaultKind),
}

impl Worker {
    /// Rings, and sleeps or spins until there is an answer.
    pub(super) fn ring_and_wait(&mut self) -> Waited {
        let words = *self.channel.words();
        let number = self.number.wrapping_add(doorbell::NEXT);
        self.number = number;
        let spins = self.spins();
        let asleep = reply::word(number, reply::ASLEEP);
        if !spins {
            words.reply().store(asleep, Ordering::SeqCst);
        }
        if words.tomb().load(Ordering::SeqCst) != 0 {
            return Waited::Dead;
        }
        if words.doorbell().swap(number, Ordering::AcqRel) & doorbell::ASLEEP != 0 {
            futex::wake(words.doorbell());
        }
        if spins {
            let cpu = crate::cpu::current();
            let elsewhere = || words.cpu().load(Ordering::Relaxed) != cpu;
            let answer = || reply::answer(words.reply().load(Ordering::Acquire), number);
            spin::until(self.entered, elsewhere, || answer().is_some());
            // From here on an answer has to wake this thread, and so has the zygote, which looks for a sleeper after it has set the tomb.
            let slept = words.reply().fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| {
                reply::answer(word, number).is_none().then_some(asleep)
            });
            if let Err(word) = slept {
                return judge(word, number);
            }
            if words.tomb().load(Ordering::SeqCst) != 0 {
                return Waited::Dead;
            }
        }
        self.sleep(asleep)
    }

    /// Sleeps until there is an answer, nobody to give one, or no time left.
    fn sleep(&mut self, asleep: u32) -> Waited {
        let words = *self.channel.words();
        let mut slice = PINNED.min(self.shared.wall);
        loop {
            let budget = self.cpu.left(self.process.pid);
            let wake = futex::wait(words.reply(), asleep, Some(slice.min(budget.max(CPU_GRAIN))));
            let word = words.reply().load(Ordering::Acquire);
            if word != asleep {
                return judge(word, self.number);
            }
            let left = self.shared.wall.saturating_sub(self.entered.elapsed());
            if left.is_zero() {
                return Waited::Overran(FaultKind::Timeout);
            }
            if self.cpu.left(self.process.pid).is_zero() {
                return Waited::Overran(FaultKind::CpuLimit);
            }
            if wake == Wake::TimedOut {
                if self.is_gone() {
                    return Waited::Dead;
                }
                if self.placed != Placed::Anywhere {
                    self.shared.placement.release(self.process.pid);
                    self.placed = Placed::Anywhere;
                }
                slice = LOOK;
            }
            slice = slice.min(left);
        }
    }
}

fn judge(word: u32, number: u32) -> Waited {
    match reply::answer(word, number) {
        Some(reply::DONE) => Waited::Replied,
        Some(reply::CRASHED) => Waited::Crashed,
        Some(reply::DEAD) => Waited::Dead,
        _ => Waited::Garbled,
    }
}
