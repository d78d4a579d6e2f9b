//! Which live passports hold an address, interior addresses included.

use std::collections::BTreeSet;

/// Intervals by size class: class `c` has sizes up to 2^c bytes and above half of that. Within a class an address can lie
/// only in intervals that begin less than 2^c bytes before it, and unless they overlap there are at most two of them; so a
/// large block does not make the search among many small ones long.
#[derive(Debug, Default)]
pub(super) struct IntervalIndex {
    /// Class, start, size, passport.
    intervals: BTreeSet<(u8, usize, usize, u64)>,
    /// How many intervals each class has.
    class_sizes: ClassSizes,
}

#[derive(Debug)]
struct ClassSizes([usize; CLASSES]);

const CLASSES: usize = usize::BITS as usize + 1;

impl Default for ClassSizes {
    fn default() -> Self {
        Self([0; CLASSES])
    }
}

impl IntervalIndex {
    pub(super) const ENTRY_BYTES: usize = size_of::<(u8, usize, usize, u64)>();

    /// Adds an interval. One of no bytes holds its own address, so that it can be found.
    pub(super) fn insert(&mut self, start: usize, size_bytes: usize, id: u64) {
        let class = class_of(size_bytes);
        if self.intervals.insert((class, start, size_bytes.max(1), id)) {
            self.class_sizes.0[class as usize] += 1;
        }
    }

    /// Takes an interval out, if it is there.
    pub(super) fn remove(&mut self, start: usize, size_bytes: usize, id: u64) {
        let class = class_of(size_bytes);
        if self.intervals.remove(&(class, start, size_bytes.max(1), id)) {
            self.class_sizes.0[class as usize] -= 1;
        }
    }

    /// The highest id of the intervals that hold `address`.
    ///
    /// Cost: one tree search for each size class in use, and one step for each interval that overlaps.
    pub(super) fn newest_holding(&self, address: usize) -> Option<u64> {
        let used = (0u8..).zip(&self.class_sizes.0).filter(|&(_, &count)| count > 0);
        used.filter_map(|(class, _)| self.newest_in_class(class, address)).max()
    }

    fn newest_in_class(&self, class: u8, address: usize) -> Option<u64> {
        let longest = 1usize.checked_shl(u32::from(class)).unwrap_or(usize::MAX);
        let first = (class, address.saturating_sub(longest - 1), 0, 0);
        let last = (class, address, usize::MAX, u64::MAX);
        let holds = |&&(_, start, size_bytes, _): &&(u8, usize, usize, u64)| address - start < size_bytes;
        self.intervals.range(first..=last).filter(holds).map(|&(.., id)| id).max()
    }
}

/// The exponent of the smallest power of two that is not below the size.
fn class_of(size_bytes: usize) -> u8 {
    (usize::BITS - size_bytes.saturating_sub(1).leading_zeros()) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_linear_search() {
        let mut index = IntervalIndex::default();
        let mut intervals = Vec::new();
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |limit: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed as usize % limit
        };
        for id in 1..=400_u64 {
            let interval = (next(2000), next(1 << (id % 12)), id);
            index.insert(interval.0, interval.1, interval.2);
            intervals.push(interval);
            if id % 3 == 0 {
                let (start, size, id) = intervals.swap_remove(next(intervals.len()));
                index.remove(start, size, id);
            }
            for _ in 0..20 {
                let address = next(5000);
                let holds = |&&(start, size, _): &&(usize, usize, u64)| {
                    start <= address && address < start + size.max(1)
                };
                let expected = intervals.iter().filter(holds).map(|&(.., id)| id).max();
                assert_eq!(index.newest_holding(address), expected, "address {address}");
            }
        }
    }

    #[test]
    fn intervals_at_the_ends_of_the_address_space() {
        let mut index = IntervalIndex::default();
        index.insert(0, usize::MAX, 1);
        index.insert(usize::MAX, 0, 2);
        index.insert(usize::MAX - 3, usize::MAX, 3);
        assert_eq!(index.newest_holding(0), Some(1));
        assert_eq!(index.newest_holding(usize::MAX - 4), Some(1));
        assert_eq!(index.newest_holding(usize::MAX), Some(3));
    }
}
