//! Chance: seeded generators and the distributions the world draws from.
//!
//! Not a statistics library. Invariants: the same seed and stream give the same draws in one
//! build (`StdRng` may change between versions of its crate), and every draw of a duration is
//! finite and not negative.

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

/// Nanoseconds in a millisecond: distributions are written in milliseconds, the world runs in
/// nanoseconds.
const MILLISECOND_NS: f64 = 1e6;

/// No draw exceeds an hour: a tail of a tail must not outlive the run.
const DRAW_NS_MAX: f64 = 3600.0 * 1e9;

/// One stream of chance. Parts of the world have a stream each, so that a new draw in one part
/// does not shift the draws of another.
pub(crate) struct Random(StdRng);

impl Random {
    /// The stream `stream` of the world with this seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        // The odd constant (2^64 / golden ratio) spreads neighbouring streams over the seeds.
        Self(StdRng::seed_from_u64(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// A number in [0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0.random::<f64>()
    }

    /// True with probability `share`.
    pub(crate) fn chance(&mut self, share: f64) -> bool {
        self.uniform() < share
    }

    /// A whole number in [0, bound); 0 when the bound is 0.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        if bound == 0 { 0 } else { self.0.random_range(0..bound) }
    }

    /// A number in [0, bound) whose popularity falls as 1/rank: few hot items, a long tail.
    pub(crate) fn popular(&mut self, bound: u32) -> u32 {
        let rank = f64::from(bound.max(1)).powf(self.uniform()) - 1.0;
        (rank as u32).min(bound.saturating_sub(1))
    }

    /// The index of one weight, each with probability proportional to it; 0 when all are 0.
    pub(crate) fn weighted(&mut self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let mut left = self.uniform() * weights.clone().sum::<f64>();
        for (index, weight) in weights.enumerate() {
            if left < weight {
                return index;
            }
            left -= weight;
        }
        0
    }

    /// The wait until the next of events that come `per_s` times a second on average.
    pub(crate) fn next_arrival_ns(&mut self, per_s: f64) -> u64 {
        bounded_ns(-(1.0 - self.uniform()).ln() / per_s.max(1e-9) * 1e9)
    }

    /// Random bytes for an identifier, never all zero.
    pub(crate) fn id<const N: usize>(&mut self) -> [u8; N] {
        let mut id = [0; N];
        self.0.fill_bytes(&mut id);
        id[N - 1] |= 1;
        id
    }

    /// Puts values into an order of which each is as likely as any other.
    pub(crate) fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.0.random_range(0..=last));
        }
    }

    /// A standard normal draw (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// How long something takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Distribution {
    /// Any time between two bounds, in milliseconds.
    Between(f64, f64),
    /// Lognormal: the median in milliseconds, and the spread of the logarithm.
    LogNormal(f64, f64),
    /// Lognormal, and for a share of the draws a second, slower lognormal: median, spread, share
    /// of the slow ones, their median.
    HeavyTail(f64, f64, f64, f64),
}

impl Distribution {
    /// One draw, in nanoseconds.
    pub(crate) fn draw_ns(self, random: &mut Random) -> u64 {
        let milliseconds = match self {
            Self::Between(low, high) => low + (high - low) * random.uniform(),
            Self::LogNormal(median, spread) => median * (spread * random.normal()).exp(),
            Self::HeavyTail(median, spread, slow_share, slow_median) => {
                let slow = random.chance(slow_share);
                let centre = if slow { slow_median } else { median };
                centre * (spread * random.normal()).exp()
            }
        };
        bounded_ns(milliseconds * MILLISECOND_NS)
    }
}

/// `ns` times a factor that is not negative.
pub(crate) fn scaled_ns(ns: u64, factor: f64) -> u64 {
    bounded_ns(ns as f64 * factor)
}

fn bounded_ns(ns: f64) -> u64 {
    ns.clamp(0.0, DRAW_NS_MAX) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_what_the_data_says() {
        let check = |distribution: Distribution, expected_ms: f64| {
            let mut random = Random::new(7, 1);
            let mut draws: Vec<u64> =
                (0..4001).map(|_| distribution.draw_ns(&mut random)).collect();
            draws.sort_unstable();
            let median_ms = draws[2000] as f64 / MILLISECOND_NS;
            assert!((median_ms / expected_ms - 1.0).abs() < 0.1, "{distribution:?}: {median_ms}");
        };
        check(Distribution::Between(10.0, 30.0), 20.0);
        check(Distribution::LogNormal(50.0, 0.4), 50.0);
        check(Distribution::HeavyTail(50.0, 0.4, 0.02, 900.0), 50.0);
    }

    #[test]
    fn weights_and_streams() {
        let mut random = Random::new(1, 1);
        let mut counts = [0_u32; 3];
        for _ in 0..3000 {
            counts[random.weighted([1.0, 0.0, 2.0].into_iter())] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!(counts[2] > counts[0]);
        assert_eq!(Random::new(3, 1).id::<16>(), Random::new(3, 1).id::<16>());
        assert_ne!(Random::new(3, 1).id::<16>(), Random::new(3, 2).id::<16>());
    }
}
