//! The resolution of a histogram.
//!
//! It is not bucket arithmetic: that is [`ethogram_timeline::rollup::buckets`], one for the whole
//! product. This names its two resolutions, so that a histogram carries its own.

use ethogram_timeline::rollup::buckets;

/// How many significant digits a bucket keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digits {
    /// Two, as the rollups keep them: `bucket` is a `uint16` in SQL.
    Two,
    /// Three, as `hdr(x)` makes them: `bucket` is a `uint32` in SQL.
    Three,
}

impl Digits {
    /// The number of the bucket that holds `us` microseconds.
    #[inline]
    pub fn bucket(self, us: u64) -> u32 {
        u32::from(match self {
            Self::Two => buckets::bucket_2(us),
            Self::Three => buckets::bucket_3(us),
        })
    }

    /// The highest bucket there is: values are clamped into it.
    pub fn last_bucket(self) -> u32 {
        self.bucket(buckets::VALUE_US_LIMIT)
    }

    /// The value a bucket answers with, in microseconds: its lowest plus half its width.
    pub fn midpoint_us(self, bucket: u32) -> u64 {
        match self {
            Self::Two => buckets::midpoint_2(self.known(bucket)),
            Self::Three => buckets::midpoint_3(self.known(bucket)),
        }
    }

    /// The least value a bucket holds, in microseconds: what all its values surely reached.
    pub fn least_us(self, bucket: u32) -> u64 {
        match self {
            Self::Two => buckets::bounds_2(self.known(bucket)).0,
            Self::Three => buckets::bounds_3(self.known(bucket)).0,
        }
    }

    /// The greatest value a bucket holds, in microseconds.
    pub fn greatest_us(self, bucket: u32) -> u64 {
        match self {
            Self::Two => buckets::bounds_2(self.known(bucket)).1 - 1,
            Self::Three => buckets::bounds_3(self.known(bucket)).1 - 1,
        }
    }

    /// A number beyond the last bucket can only come from a histogram that somebody wrote by
    /// hand; it counts as the last.
    fn known(self, bucket: u32) -> u16 {
        u16::try_from(bucket.min(self.last_bucket())).expect("the last bucket fits 16 bits")
    }
}

/// The two-digit bucket that contains a three-digit bucket.
pub fn coarsen(bucket: u32) -> u32 {
    u32::from(buckets::coarsen(Digits::Three.known(bucket)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midpoints_are_the_hdrhistogram_crates() {
        for (digits, figures) in [(Digits::Two, 2), (Digits::Three, 3)] {
            let reference = hdrhistogram::Histogram::<u64>::new_with_bounds(
                1,
                buckets::VALUE_US_LIMIT,
                figures,
            )
            .expect("valid bounds");
            for power in 0..36_u32 {
                for value in [(1_u64 << power), (1 << power) + 1, (1 << power) + (1 << power) / 3] {
                    let midpoint = digits.midpoint_us(digits.bucket(value));
                    assert_eq!(midpoint, reference.median_equivalent(value), "{value}");
                }
            }
        }
    }

    #[test]
    fn clamps_what_is_too_long() {
        assert_eq!(Digits::Two.bucket(u64::MAX), Digits::Two.last_bucket());
        assert_eq!(Digits::Two.last_bucket(), 3_839);
        assert_eq!(Digits::Three.last_bucket(), 27_647);
        assert_eq!(
            Digits::Two.midpoint_us(u32::MAX),
            Digits::Two.midpoint_us(Digits::Two.last_bucket())
        );
    }
}
