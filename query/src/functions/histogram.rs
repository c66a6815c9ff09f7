//! A histogram in memory: sparse while it is small, dense when it has become large.
//!
//! A `GROUP BY` over minutes and regions has tens of thousands of groups of a few hundred values
//! each: a dense array per group would be gigabytes. A group of five million values wants nothing
//! but an increment per value. So values are first noted one after the other, then folded into
//! sorted pairs, and only a histogram with many different buckets becomes an array.
//!
//! It is not the Arrow form, which is in [`super::list`].
//!
//! Invariant: the pairs of a histogram depend on the values alone, not on their order, nor on how
//! they were split over histograms that were merged later.

use super::digits::{Digits, coarsen};

/// Values noted before they are folded: folding sorts them, and sorting 256 numbers costs less
/// than a nanosecond per value and comparison.
const RECENT_MAX: usize = 256;

/// Pairs before the histogram becomes an array. 2048 pairs are 32 KiB, about a third of the array
/// a second-long tail needs, and from here folding costs more than the array's cache misses.
const PAIRS_MAX: usize = 2048;

/// Counts by bucket. Counts are signed: a fact that was withdrawn is minus one.
#[derive(Clone, Debug)]
pub struct Histogram {
    digits: Digits,
    /// Bucket numbers of values not yet folded.
    recent: Vec<u32>,
    /// Sorted by bucket, no bucket twice. Empty once `dense` is in use.
    pairs: Vec<(u32, i64)>,
    /// The count of each bucket, up to the highest one seen. Empty until needed.
    dense: Vec<i64>,
}

impl Histogram {
    /// A histogram without values.
    pub fn new(digits: Digits) -> Self {
        Self { digits, recent: Vec::new(), pairs: Vec::new(), dense: Vec::new() }
    }

    /// The resolution.
    pub fn digits(&self) -> Digits {
        self.digits
    }

    /// Counts one value, in microseconds.
    #[inline]
    pub fn record(&mut self, us: u64) {
        let bucket = self.digits.bucket(us);
        if self.dense.is_empty() {
            self.recent.push(bucket);
            if self.recent.len() >= RECENT_MAX {
                self.fold();
            }
        } else {
            self.add_dense(bucket, 1);
        }
    }

    /// Adds the pairs of another histogram of `digits`, sorted by bucket. Pairs of three digits
    /// added to a histogram of two are coarsened exactly; pairs of two digits added to one of
    /// three make it a histogram of two. Buckets beyond the last one count in the last one.
    pub fn add_pairs(&mut self, digits: Digits, pairs: impl Iterator<Item = (u32, i64)>) {
        if digits < self.digits {
            self.coarsen();
        }
        let coarser = self.digits < digits;
        let last = digits.last_bucket();
        let pairs = pairs.map(|(bucket, count)| {
            let bucket = bucket.min(last);
            (if coarser { coarsen(bucket) } else { bucket }, count)
        });
        if self.dense.is_empty() {
            self.fold();
            let mut incoming: Vec<(u32, i64)> = pairs.collect();
            // Ours and those of any well-behaved writer are sorted already; then this is one pass.
            incoming.sort_by_key(|pair| pair.0);
            self.pairs = merged(&self.pairs, &incoming);
            self.promote_if_large();
        } else {
            for (bucket, count) in pairs {
                self.add_dense(bucket, count);
            }
        }
    }

    /// The buckets whose count is not zero, sorted by bucket. Folds what is pending.
    pub fn pairs(&mut self) -> Vec<(u32, i64)> {
        if self.dense.is_empty() {
            self.fold();
        }
        if self.dense.is_empty() {
            self.pairs.iter().copied().filter(|pair| pair.1 != 0).collect()
        } else {
            (0_u32..).zip(self.dense.iter().copied()).filter(|pair| pair.1 != 0).collect()
        }
    }

    /// Bytes held on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.recent.capacity() * size_of::<u32>()
            + self.pairs.capacity() * size_of::<(u32, i64)>()
            + self.dense.capacity() * size_of::<i64>()
    }

    fn coarsen(&mut self) {
        let fine = self.pairs();
        *self = Self::new(Digits::Two);
        self.add_pairs(Digits::Three, fine.into_iter());
    }

    fn fold(&mut self) {
        if self.recent.is_empty() {
            return;
        }
        self.recent.sort_unstable();
        let mut counted: Vec<(u32, i64)> = Vec::with_capacity(self.recent.len());
        for bucket in self.recent.drain(..) {
            match counted.last_mut() {
                Some(last) if last.0 == bucket => last.1 += 1,
                _ => counted.push((bucket, 1)),
            }
        }
        self.pairs = merged(&self.pairs, &counted);
        self.promote_if_large();
    }

    fn promote_if_large(&mut self) {
        if self.pairs.len() <= PAIRS_MAX {
            return;
        }
        let pairs = std::mem::take(&mut self.pairs);
        self.recent = Vec::new();
        for (bucket, count) in pairs {
            self.add_dense(bucket, count);
        }
    }

    #[inline]
    fn add_dense(&mut self, bucket: u32, count: i64) {
        let index = bucket as usize;
        if index >= self.dense.len() {
            self.dense.resize(index + 1, 0);
        }
        self.dense[index] = self.dense[index].saturating_add(count);
    }
}

/// Two sorted lists of pairs as one. Saturates, so that nonsense counts cannot abort a query.
fn merged(left: &[(u32, i64)], right: &[(u32, i64)]) -> Vec<(u32, i64)> {
    let mut all = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    loop {
        let next = match (left.peek(), right.peek()) {
            (Some(one), Some(other)) if one.0 <= other.0 => left.next(),
            (_, Some(_)) => right.next(),
            (Some(_), None) => left.next(),
            (None, None) => return all,
        };
        let (bucket, count) = *next.expect("peeked");
        match all.last_mut() {
            Some((last, total)) if *last == bucket => *total = i64::saturating_add(*total, count),
            _ => all.push((bucket, count)),
        }
    }
}

/// The number of values.
pub fn count(pairs: impl Iterator<Item = (u32, i64)>) -> i64 {
    pairs.fold(0_i64, |sum, pair| sum.saturating_add(pair.1))
}

/// The order statistic ceil(q·n), answered with its bucket's midpoint in microseconds. `None` when
/// there are no values. `quantile` must be in 0..=1.
///
/// The rank is integer arithmetic on the decimal that was written: 0.999 · 1000 is 999 and not
/// 999.0000000000001, so the answer does not depend on the processor.
pub fn quantile_us(
    digits: Digits,
    pairs: impl Iterator<Item = (u32, i64)> + Clone,
    quantile: f64,
) -> Option<u64> {
    /// Nine decimals hold every quantile anybody asks for, and their product with any count fits.
    const SCALE: i128 = 1_000_000_000;
    let total = count(pairs.clone());
    if total <= 0 {
        return None;
    }
    let scaled = (quantile * SCALE as f64).round() as i128;
    let rank = (i128::from(total) * scaled + SCALE - 1) / SCALE;
    let rank = rank.clamp(1, i128::from(total));
    let mut seen = 0_i128;
    for (bucket, in_bucket) in pairs {
        seen += i128::from(in_bucket);
        if seen >= rank {
            return Some(digits.midpoint_us(bucket));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reproducible heavy tail: most values near 20 ms, one in a hundred up to two minutes.
    fn values(count: u64) -> Vec<u64> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let noise = state >> 33;
                if noise.is_multiple_of(100) {
                    noise % 120_000_000
                } else {
                    15_000 + noise % 10_000
                }
            })
            .collect()
    }

    fn of(digits: Digits, values: &[u64]) -> Histogram {
        let mut histogram = Histogram::new(digits);
        values.iter().for_each(|value| histogram.record(*value));
        histogram
    }

    #[test]
    fn agrees_with_the_hdrhistogram_crate() {
        for count in [1_u64, 2, 10, 255, 256, 257, 10_000, 300_000] {
            for (digits, figures) in [(Digits::Two, 2), (Digits::Three, 3)] {
                let values = values(count);
                let mut reference =
                    hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1 << 36, figures)
                        .expect("valid bounds");
                values.iter().for_each(|value| reference.record(*value).expect("in range"));
                let pairs = of(digits, &values).pairs();
                for quantile in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
                    let ours = quantile_us(digits, pairs.iter().copied(), quantile);
                    let theirs = reference.median_equivalent(reference.value_at_quantile(quantile));
                    assert_eq!(ours, Some(theirs), "{count} values, {quantile}, {digits:?}");
                }
            }
        }
    }

    #[test]
    fn the_answer_does_not_depend_on_the_partitions() {
        let values = values(50_000);
        let whole = of(Digits::Three, &values).pairs();
        for parts in [2_usize, 3, 7, 100] {
            let mut halves: Vec<Histogram> = values
                .chunks(values.len().div_ceil(parts))
                .map(|chunk| of(Digits::Three, chunk))
                .collect();
            for reversed in [false, true] {
                let mut merged = Histogram::new(Digits::Three);
                let mut order: Vec<&mut Histogram> = halves.iter_mut().collect();
                if reversed {
                    order.reverse();
                }
                for half in order {
                    merged.add_pairs(Digits::Three, half.pairs().into_iter());
                }
                assert_eq!(merged.pairs(), whole, "{parts} parts");
            }
        }
    }

    #[test]
    fn mixing_resolutions_is_an_exact_coarsening() {
        let values = values(20_000);
        let (some, others) = values.split_at(7_000);
        let coarse = of(Digits::Two, &values).pairs();
        let mut fine_first = of(Digits::Three, some);
        fine_first.add_pairs(Digits::Two, of(Digits::Two, others).pairs().into_iter());
        let mut coarse_first = of(Digits::Two, others);
        coarse_first.add_pairs(Digits::Three, of(Digits::Three, some).pairs().into_iter());
        for mut mixed in [fine_first, coarse_first] {
            assert_eq!(mixed.digits(), Digits::Two);
            assert_eq!(mixed.pairs(), coarse);
        }
    }

    #[test]
    fn what_is_withdrawn_is_gone() {
        let mut histogram = of(Digits::Two, &[1_000, 2_000, 3_000]);
        let bucket = Digits::Two.bucket(2_000);
        histogram.add_pairs(Digits::Two, [(bucket, -1)].into_iter());
        assert_eq!(histogram.pairs().len(), 2);
        assert_eq!(count(histogram.pairs().into_iter()), 2);
    }

    #[test]
    fn ranks_are_exact() {
        let pairs = [(1_u32, 999_i64), (2, 1)];
        let check = |quantile: f64, expected: u64| {
            let answer = quantile_us(Digits::Two, pairs.iter().copied(), quantile);
            assert_eq!(answer, Some(expected), "{quantile}");
        };
        check(0.0, 1);
        check(0.999, 1);
        check(0.999_1, 2);
        check(1.0, 2);
        assert_eq!(quantile_us(Digits::Two, [(1, 1), (1, -1)].into_iter(), 0.5), None);
    }

    #[test]
    fn nonsense_neither_panics_nor_allocates() {
        let mut histogram = Histogram::new(Digits::Three);
        histogram.add_pairs(Digits::Three, [(u32::MAX, i64::MAX), (u32::MAX, 5)].into_iter());
        assert_eq!(histogram.pairs(), vec![(Digits::Three.last_bucket(), i64::MAX)]);
        assert!(histogram.heap_bytes() < 1 << 20);
    }
}
