//! The sampler: all variants in one run, so that they meet the same machine, and are compared by ratio.
//!
//! Variants take turns in slices of some milliseconds, in an order shuffled anew for each pass. Each call is timed on its own.
//! A slice begins with untimed calls that wake its child, load the caches and check every byte of the answer. Between slices
//! a variant is parked. Several rounds give the spread between rounds beside the spread within them.

use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use super::histogram::Histogram;
use super::load::{Check, Load};
use super::variant::Variant;

/// How long to sample.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// How many times the whole is repeated; the spread between rounds comes from these.
    pub(crate) rounds: u32,
    /// How many slices each variant gets per round.
    pub(crate) slices_per_round: u32,
    /// How long a slice lasts, answers' checks included.
    pub(crate) slice: Duration,
    /// Calls at the start of a slice that are checked in full and not timed.
    pub(crate) warm_up_calls: u32,
}

impl Plan {
    pub(crate) fn full() -> Self {
        Self { rounds: 5, slices_per_round: 12, slice: Duration::from_millis(10), warm_up_calls: 3 }
    }

    pub(crate) fn quick() -> Self {
        Self { rounds: 3, slices_per_round: 3, slice: Duration::from_millis(8), warm_up_calls: 3 }
    }
}

/// What was found about one variant.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) p50_ns: f64,
    pub(crate) p99_ns: f64,
    /// Distance of the quartiles over the median, the clock's cost included.
    pub(crate) quartile_spread: f64,
    /// Distance of the lowest and the highest round's median over the median, the clock's cost included.
    pub(crate) round_spread: f64,
    pub(crate) calls: u64,
}

struct Lane {
    all: Histogram,
    round: Histogram,
    round_medians_ns: Vec<f64>,
}

/// Times `load` on every variant.
///
/// The median time between two readings of the clock is taken off every median and p99.
///
/// # Errors
/// The first error of a variant, with its name; a wrong answer is an error.
pub(crate) fn sample<S, L>(plan: Plan, load: &mut L, variants: &mut [Box<S>]) -> io::Result<Vec<Row>>
where
    S: Variant + ?Sized,
    L: Load<S>,
{
    let clock_ns = clock_cost_ns();
    let mut lanes: Vec<Lane> = variants
        .iter()
        .map(|_| Lane { all: Histogram::new(), round: Histogram::new(), round_medians_ns: Vec::new() })
        .collect();
    let mut turns = Turns { turn: 0, random: 0x9e37_79b9_7f4a_7c15 };
    for _ in 0..plan.rounds {
        for _ in 0..plan.slices_per_round {
            for index in turns.shuffled(variants.len()) {
                if let (Some(variant), Some(lane)) = (variants.get_mut(index), lanes.get_mut(index)) {
                    slice(plan, load, variant.as_mut(), &mut lane.round, &mut turns.turn).map_err(
                        |error| io::Error::new(error.kind(), format!("{}: {error}", variant.name())),
                    )?;
                }
            }
        }
        for lane in &mut lanes {
            lane.round_medians_ns.push(lane.round.quantile_ns(0.5));
            lane.all.absorb(&mut lane.round);
        }
    }
    Ok(variants.iter().zip(&lanes).map(|(variant, lane)| row(variant.name(), lane, clock_ns)).collect())
}

fn slice<S, L>(
    plan: Plan,
    load: &mut L,
    variant: &mut S,
    into: &mut Histogram,
    turn: &mut u64,
) -> io::Result<()>
where
    S: Variant + ?Sized,
    L: Load<S>,
{
    let mut timed_call = |load: &mut L, variant: &mut S, check: Check| {
        *turn += 1;
        load.prepare(*turn);
        let start = Instant::now();
        let answer = black_box(load.call(variant, *turn));
        let took = start.elapsed();
        match load.is_right(&answer?, *turn, check) {
            true => Ok(took),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "wrong answer")),
        }
    };
    variant.resume()?;
    let end = Instant::now() + plan.slice;
    for _ in 0..plan.warm_up_calls {
        timed_call(load, variant, Check::Full)?;
    }
    loop {
        let took = timed_call(load, variant, Check::Sum)?;
        into.record(took.as_nanos() as u64);
        if Instant::now() >= end {
            break;
        }
    }
    variant.park()
}

fn row(name: &str, lane: &Lane, clock_ns: f64) -> Row {
    let median_ns = lane.all.quantile_ns(0.5);
    let over_median = |low: f64, high: f64| if median_ns > 0.0 { (high - low) / median_ns } else { 0.0 };
    let lowest = lane.round_medians_ns.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = lane.round_medians_ns.iter().copied().fold(0.0, f64::max);
    Row {
        name: name.to_owned(),
        p50_ns: (median_ns - clock_ns).max(0.0),
        p99_ns: (lane.all.quantile_ns(0.99) - clock_ns).max(0.0),
        quartile_spread: over_median(lane.all.quantile_ns(0.25), lane.all.quantile_ns(0.75)),
        round_spread: over_median(lowest, highest),
        calls: lane.all.total(),
    }
}

/// The median time between two readings of the clock with nothing in between. A call that takes less is not resolved.
pub(crate) fn clock_cost_ns() -> f64 {
    let mut costs = Histogram::new();
    for _ in 0..10_000 {
        let start = Instant::now();
        costs.record(start.elapsed().as_nanos() as u64);
    }
    costs.quantile_ns(0.5)
}

/// The number of the call, and the order of the slices.
struct Turns {
    turn: u64,
    random: u64,
}

impl Turns {
    /// `0..len` in random order (Fisher–Yates over xorshift64; the same orders in every run).
    fn shuffled(&mut self, len: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..len).collect();
        for last in (1..len).rev() {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            order.swap(last, (self.random % (last as u64 + 1)) as usize);
        }
        order
    }
}
