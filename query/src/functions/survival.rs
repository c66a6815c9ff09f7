//! What is known of a time when some left before it was over: the Kaplan–Meier estimate.
//!
//! At each bucket, of those who were still there, the share for whom the event came: survival is
//! the product of what remains. Who left counts as long as they were there and not after, which is
//! right as long as leaving tells nothing of the time to come but its wait; stratify by region and
//! route where n allows.
//!
//! Ties: in one bucket events come before those who left, since whoever left in it was there when
//! it began. It is not SQL: the functions are in the files named after them.
//!
//! Invariant: the answer depends on the counts alone. Between two departures survival is a
//! quotient of two whole numbers, so that without departures the estimate *is* the order
//! statistic ceil(q·n). Counts below zero count as none.

/// Nine decimals hold every quantile anybody asks for.
const SCALE: f64 = 1_000_000_000.0;

/// Rounding of the product over at most 27 648 buckets stays far below this, and two neighbouring
/// quotients of counts below 10^9 are further apart.
const TOLERANCE: f64 = 1e-10;

/// Where a quantile lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// In this bucket.
    Reached(u32),
    /// Not before this bucket, the last in which anybody was still there: too many left to know.
    NotBefore(u32),
}

/// What happened in one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<const KINDS: usize> {
    /// The bucket.
    pub bucket: u32,
    /// How often each kind of thing happened.
    pub counts: [i128; KINDS],
}

/// Histograms side by side, sorted by bucket, no bucket twice.
pub fn steps<const KINDS: usize>(histograms: [Vec<(u32, i64)>; KINDS]) -> Vec<Step<KINDS>> {
    let mut all: Vec<(u32, usize, i64)> = Vec::new();
    for (kind, pairs) in histograms.into_iter().enumerate() {
        all.extend(pairs.into_iter().map(|(bucket, count)| (bucket, kind, count)));
    }
    all.sort_unstable();
    let mut steps: Vec<Step<KINDS>> = Vec::new();
    for (bucket, kind, count) in all {
        if steps.last().is_none_or(|last| last.bucket != bucket) {
            steps.push(Step { bucket, counts: [0; KINDS] });
        }
        let last = steps.last_mut().expect("just pushed");
        last.counts[kind] += i128::from(count);
    }
    for step in &mut steps {
        step.counts = step.counts.map(|count| count.max(0));
    }
    steps
}

/// Survival while buckets pass by.
#[derive(Clone, Copy, Debug)]
pub struct Survival {
    /// Survival when somebody last left, and how many remained then.
    base: f64,
    base_at_risk: i128,
    at_risk: i128,
}

impl Survival {
    /// All of `at_risk` are there.
    pub fn new(at_risk: i128) -> Self {
        Self { base: 1.0, base_at_risk: at_risk, at_risk }
    }

    /// How many are still there.
    pub fn at_risk(&self) -> i128 {
        self.at_risk
    }

    /// The event came for so many.
    pub fn events(&mut self, count: i128) {
        self.at_risk -= count;
    }

    /// So many left without the event.
    pub fn departures(&mut self, count: i128) {
        if count > 0 {
            self.base = self.value();
            self.at_risk -= count;
            self.base_at_risk = self.at_risk;
        }
    }

    /// The share for whom the event has not come yet, had nobody left.
    pub fn value(&self) -> f64 {
        if self.base_at_risk == 0 {
            return self.base;
        }
        self.base * (self.at_risk as f64 / self.base_at_risk as f64)
    }
}

/// The Kaplan–Meier quantile of the time to the event; `None` where there is nothing. `quantile`
/// must be in 0..=1.
pub fn quantile(finished: Vec<(u32, i64)>, left: Vec<(u32, i64)>, quantile: f64) -> Option<Answer> {
    let steps = steps([finished, left]);
    let total: i128 = steps.iter().flat_map(|step| step.counts).sum();
    let remaining = (SCALE - (quantile * SCALE).round()) / SCALE * (1.0 + TOLERANCE);
    let mut survival = Survival::new(total);
    for step in &steps {
        let [finished, left] = step.counts;
        survival.events(finished);
        if finished > 0 && survival.value() <= remaining {
            return Some(Answer::Reached(step.bucket));
        }
        survival.departures(left);
    }
    let last = steps.iter().rev().find(|step| step.counts != [0, 0])?;
    Some(Answer::NotBefore(last.bucket))
}

#[cfg(test)]
mod tests {
    use super::super::digits::Digits;
    use super::super::histogram::{Histogram, quantile_us};
    use super::*;

    #[test]
    fn known_answers() {
        use Answer::{NotBefore, Reached};
        for (finished, left, q, expected) in [
            // Finished at 1, 2, 3, left at 2.5 (here times ten): the median is 2.
            (vec![(10, 1), (20, 1), (30, 1)], vec![(25, 1)], 0.5, Some(Reached(20))),
            (vec![(10, 1), (20, 1), (30, 1)], vec![(25, 1)], 0.51, Some(Reached(30))),
            // The event comes first in a tie: after it half of two remain, not one of one.
            (vec![(5, 1)], vec![(5, 1)], 0.5, Some(Reached(5))),
            (vec![(5, 1)], vec![(5, 1)], 0.6, Some(NotBefore(5))),
            // Half remain when the last ones leave: nobody knows more than that it is not before 9.
            (vec![(1, 1), (3, 1)], vec![(2, 0), (9, 2)], 0.75, Some(NotBefore(9))),
            (vec![], vec![(7, 3)], 0.0, Some(NotBefore(7))),
            (vec![(7, 3)], vec![], 0.0, Some(Reached(7))),
            (vec![], vec![], 0.5, None),
            (vec![(1, -1)], vec![(2, -5)], 0.5, None),
        ] {
            let answer = quantile(finished.clone(), left.clone(), q);
            assert_eq!(answer, expected, "{finished:?} {left:?} {q}");
        }
    }

    /// Freireich's remission times under 6-MP, the textbook's example: median 23 weeks, survival
    /// after 6, 13 and 23 weeks 0.857, 0.690 and 0.448.
    #[test]
    fn the_textbook() {
        let finished = vec![(6, 3), (7, 1), (10, 1), (13, 1), (16, 1), (22, 1), (23, 1)];
        let left = vec![
            (6, 1),
            (9, 1),
            (10, 1),
            (11, 1),
            (17, 1),
            (19, 1),
            (20, 1),
            (25, 1),
            (32, 2),
            (34, 1),
            (35, 1),
        ];
        assert_eq!(quantile(finished.clone(), left.clone(), 0.5), Some(Answer::Reached(23)));
        assert_eq!(quantile(finished.clone(), left.clone(), 0.6), Some(Answer::NotBefore(35)));
        let mut survival = Survival::new(21);
        let mut curve = Vec::new();
        for step in steps([finished, left]) {
            survival.events(step.counts[0]);
            if [6, 13, 23].contains(&step.bucket) {
                curve.push((survival.value() * 1_000.0).round());
            }
            survival.departures(step.counts[1]);
        }
        assert_eq!(curve, [857.0, 690.0, 448.0]);
    }

    #[test]
    fn without_departures_it_is_the_order_statistic() {
        for count in [1_u32, 2, 3, 10, 999, 1_000, 5_000] {
            let pairs: Vec<(u32, i64)> = (0..count).map(|n| (n % 2_000, 1)).collect();
            let mut sorted = pairs.clone();
            sorted.sort_unstable();
            for thousandths in 0..=1_000 {
                let q = f64::from(thousandths) / 1_000.0;
                let plain = quantile_us(Digits::Three, sorted.iter().copied(), q);
                let censored = match quantile(pairs.clone(), Vec::new(), q) {
                    Some(Answer::Reached(bucket)) => Some(Digits::Three.midpoint_us(bucket)),
                    other => panic!("{other:?}"),
                };
                assert_eq!(censored, plain, "{count} values, {q}");
            }
        }
    }

    /// Answers after a random time of 1 s on average, users whose patience is 2 s on average: those
    /// who left are a third, mostly of the slow ones.
    #[test]
    fn finds_the_truth_where_users_leave() {
        let mut state = 1_u64;
        let mut exponential = |mean_us: f64| {
            // SplitMix64, so that the test has its numbers from nobody.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let uniform = ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
            -(1.0 - uniform).ln() * mean_us
        };
        for longest_wait_us in [f64::INFINITY, 1_000_000.0] {
            let mut finished = Histogram::new(Digits::Three);
            let mut left = Histogram::new(Digits::Three);
            for _ in 0..100_000 {
                let answer = exponential(1_000_000.0);
                let patience = exponential(2_000_000.0).min(longest_wait_us);
                let histogram = if answer <= patience { &mut finished } else { &mut left };
                histogram.record(answer.min(patience) as u64);
            }
            for q in [0.5, 0.9, 0.99] {
                let truth = -(1.0_f64 - q).ln() * 1_000_000.0;
                let naive = quantile_us(Digits::Three, finished.pairs().into_iter(), q);
                let naive = naive.expect("many finished") as f64;
                match quantile(finished.pairs(), left.pairs(), q).expect("many waits") {
                    Answer::Reached(bucket) => {
                        let estimate = Digits::Three.midpoint_us(bucket) as f64;
                        assert!((estimate / truth - 1.0).abs() < 0.05, "{q}: {estimate} {truth}");
                    }
                    Answer::NotBefore(bucket) => {
                        let bound = Digits::Three.least_us(bucket) as f64;
                        assert!(q > 0.5 && longest_wait_us.is_finite(), "{q} is known");
                        assert!(bound <= truth && bound > 0.99 * longest_wait_us, "{q}: {bound}");
                    }
                }
                assert!(naive < 0.75 * truth, "{q}: the naive {naive} of {truth} is not wrong");
            }
        }
    }
}
