//! Durations counted in buckets, so that memory stays constant however many calls are timed: a host that grew with its
//! samples would make its own forks dearer.
//!
//! Values up to 255 ns are exact; above, a bucket is at most 1/128 of its value wide and reports its middle.

const MANTISSA_BITS: u32 = 8;
const SUB_BUCKETS: usize = 1 << (MANTISSA_BITS - 1);
const BUCKETS: usize = SUB_BUCKETS * (64 - MANTISSA_BITS as usize + 2);

/// Counted durations in nanoseconds.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Box<[u32]>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS].into_boxed_slice(), total: 0 }
    }

    pub(crate) fn record(&mut self, value_ns: u64) {
        if let Some(count) = self.counts.get_mut(bucket(value_ns)) {
            *count = count.saturating_add(1);
            self.total += 1;
        }
    }

    /// Adds the counts of `other` and empties it.
    pub(crate) fn absorb(&mut self, other: &mut Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts.iter_mut()) {
            *mine = mine.saturating_add(*theirs);
            *theirs = 0;
        }
        self.total += other.total;
        other.total = 0;
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The value below which `part` of all values lie; 0 if there are none.
    ///
    /// Interpolated between the occupied buckets, each standing for the middle of its ranks: some clocks advance in steps of 10 ns,
    /// and a quantile that fell on a step would be wrong by up to half of one.
    pub(crate) fn quantile_ns(&self, part: f64) -> f64 {
        let rank = self.total as f64 * part;
        let mut seen = 0.0;
        let mut previous: Option<(f64, f64)> = None;
        for (index, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let here = (seen + f64::from(*count) / 2.0, middle_ns(index));
            if here.0 >= rank {
                return previous.map_or(here.1, |before| {
                    before.1 + (here.1 - before.1) * (rank - before.0) / (here.0 - before.0)
                });
            }
            seen += f64::from(*count);
            previous = Some(here);
        }
        previous.map_or(0.0, |last| last.1)
    }
}

fn bucket(value: u64) -> usize {
    let shift = (64 - value.leading_zeros()).saturating_sub(MANTISSA_BITS);
    shift as usize * SUB_BUCKETS + (value >> shift) as usize
}

fn middle_ns(index: usize) -> f64 {
    let shift = (index / SUB_BUCKETS).saturating_sub(1);
    let mantissa = index - shift * SUB_BUCKETS;
    let low = mantissa as f64 * 2f64.powi(shift as i32);
    low + (2f64.powi(shift as i32) - 1.0) / 2.0
}
