//! The functions that every variant runs, in the host or in a child: the same machine code for all of them.
//!
//! They are cheap and vectorised, so that a table shows the crossing and not the work. `inline(never)` keeps a direct call
//! from being merged into the loop that times it.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// One number in, one number out.
#[inline(never)]
pub(crate) fn step(x: u64) -> u64 {
    x.rotate_left(17) ^ 0x9e37_79b9_7f4a_7c15
}

/// The wrapping sum of the little-endian `u64` lanes; the bytes after the last whole lane count one by one.
#[inline(never)]
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let (lanes, rest) = bytes.as_chunks::<8>();
    let whole = lanes.iter().fold(0u64, |total, lane| total.wrapping_add(u64::from_le_bytes(*lane)));
    rest.iter().fold(whole, |total, byte| total.wrapping_add(u64::from(*byte)))
}

/// A fresh vector with `k` added to every lane, and its low byte to every byte after the last whole lane.
///
/// Cost: one allocation of `bytes.len()`, not zeroed; every byte is read once and written once.
#[inline(never)]
pub(crate) fn add(bytes: &[u8], k: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let (lanes, rest) = bytes.as_chunks::<8>();
    out.extend(lanes.iter().flat_map(|lane| u64::from_le_bytes(*lane).wrapping_add(k).to_le_bytes()));
    out.extend(rest.iter().map(|byte| byte.wrapping_add(k.to_le_bytes()[0])));
    out
}

/// Pure CPU work: a chain of dependent multiplications, so that no compiler and no second core shortens it.
#[inline(never)]
pub(crate) fn burn(iterations: u64) -> u64 {
    let mut x = black_box(1u64);
    for _ in 0..iterations {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    }
    x
}

/// How many iterations of [`burn`] take `target` of CPU time: from the fastest of nine short runs, the least disturbed one.
pub(crate) fn iterations_for(target: Duration) -> u64 {
    const PROBE: u64 = 4_000_000;
    let fastest_s = (0..9)
        .map(|_| {
            let start = Instant::now();
            black_box(burn(black_box(PROBE)));
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    (target.as_secs_f64() / fastest_s * PROBE as f64) as u64
}
