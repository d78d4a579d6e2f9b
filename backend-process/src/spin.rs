//! Waiting without sleeping.

use std::time::Instant;

use ringfence_core::Waiting;

/// Spins until `done`, for at most [`Waiting::SPIN`] after `start`, and only while the other side runs elsewhere: spinning on the CPU
/// that the answer needs delays it by a whole time slice.
pub(crate) fn until(start: Instant, elsewhere: impl Fn() -> bool, done: impl Fn() -> bool) {
    loop {
        for _ in 0..64 {
            if done() {
                return;
            }
            std::hint::spin_loop();
        }
        if !elsewhere() || start.elapsed() >= Waiting::SPIN {
            return;
        }
    }
}
