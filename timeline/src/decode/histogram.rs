//! OTLP's histograms → our buckets.
//!
//! A bucket of theirs goes whole to where its middle lies, since nothing is known of how its
//! values lie inside; the answer is as fine as the sender's buckets. Times become microseconds;
//! other units are taken as they are.

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets as Side;
use opentelemetry_proto::tonic::metrics::v1::{ExponentialHistogramDataPoint, HistogramDataPoint};

use super::admit::BUCKETS_MAX;
use crate::rollup::Buckets;

/// The most that one bucket counts. Sums of all buckets of thousands of points stay far within 64
/// bits, and 2^44 measurements are half a million a second for a year.
const COUNT_MAX: u64 = 1 << 44;

/// What one unit of a metric is in ours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale(f64);

impl Scale {
    /// Of a unit in UCUM, as OTLP writes them.
    pub(super) fn of(unit: &str) -> Self {
        Self(match unit {
            "h" => 3.6e9,
            "min" => 6e7,
            "s" => 1e6,
            "ms" => 1e3,
            "ns" => 1e-3,
            _ => 1.0,
        })
    }

    /// A value in our unit; below zero it is zero, beyond the integers the greatest of them.
    fn apply(self, value: f64) -> u64 {
        (value * self.0).round() as u64
    }
}

/// A histogram with bounds; `None` where it counts without buckets.
pub(super) fn explicit(point: &HistogramDataPoint, scale: Scale) -> Option<Buckets> {
    if point.bucket_counts.is_empty() {
        return None;
    }
    let bounds = &point.explicit_bounds;
    let mut buckets = Buckets::default();
    for (index, count) in point.bucket_counts.iter().enumerate().take(BUCKETS_MAX) {
        // The outermost buckets are open; the least and the greatest value close them.
        let low = match index.checked_sub(1).and_then(|below| bounds.get(below)) {
            Some(low) => *low,
            None => point.min.unwrap_or(0.0).min(bounds.first().copied().unwrap_or(f64::MAX)),
        };
        let high = match bounds.get(index) {
            Some(high) => *high,
            None => point.max.unwrap_or(low).max(low),
        };
        record(&mut buckets, scale.apply(middle(low, high)), *count);
    }
    Some(buckets)
}

/// A histogram whose bounds are powers of a base; `None` where it counts without buckets.
pub(super) fn exponential(point: &ExponentialHistogramDataPoint, scale: Scale) -> Option<Buckets> {
    let sides = [&point.positive, &point.negative];
    if point.zero_count == 0 && sides.iter().all(|side| side.is_none()) {
        return None;
    }
    let mut buckets = Buckets::default();
    record(&mut buckets, 0, point.zero_count);
    for count in point.negative.iter().flat_map(|side| side.bucket_counts.iter().take(BUCKETS_MAX))
    {
        record(&mut buckets, 0, *count);
    }
    if let Some(side) = &point.positive {
        record_side(&mut buckets, side, point.scale, scale);
    }
    Some(buckets)
}

/// Bucket i holds the values in (base^i, base^(i+1)], with base = 2^(2^-resolution).
fn record_side(buckets: &mut Buckets, side: &Side, resolution: i32, scale: Scale) {
    let power_per_bucket = (-f64::from(resolution)).exp2();
    for (index, count) in side.bucket_counts.iter().enumerate().take(BUCKETS_MAX) {
        let index = f64::from(side.offset) + index as f64;
        let low = (index * power_per_bucket).exp2();
        let high = ((index + 1.0) * power_per_bucket).exp2();
        record(buckets, scale.apply(middle(low, high)), *count);
    }
}

fn middle(low: f64, high: f64) -> f64 {
    low / 2.0 + high / 2.0
}

fn record(buckets: &mut Buckets, value: u64, count: u64) {
    if count > 0 {
        buckets.record(value, count.min(COUNT_MAX) as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollup::buckets::bucket_2;

    fn check(buckets: Option<Buckets>, expected: &[(u64, i64)]) {
        let expected: Vec<(u16, i64)> =
            expected.iter().map(|(value, count)| (bucket_2(*value), *count)).collect();
        assert_eq!(buckets.map(|buckets| buckets.iter().collect::<Vec<_>>()), Some(expected));
    }

    #[test]
    fn explicit_buckets_go_to_their_middle() {
        let point = |counts: &[u64], bounds: &[f64], least, greatest| HistogramDataPoint {
            bucket_counts: counts.to_vec(),
            explicit_bounds: bounds.to_vec(),
            min: least,
            max: greatest,
            ..HistogramDataPoint::default()
        };
        let seconds = Scale::of("s");
        let open = point(&[1, 2, 3], &[0.1, 0.2], None, None);
        check(explicit(&open, seconds), &[(50_000, 1), (150_000, 2), (200_000, 3)]);
        let closed = point(&[1, 0, 3], &[0.1, 0.2], Some(0.06), Some(0.4));
        check(explicit(&closed, seconds), &[(80_000, 1), (300_000, 3)]);
        check(explicit(&point(&[7], &[], Some(2.0), Some(4.0)), Scale::of("ms")), &[(3_000, 7)]);
        check(explicit(&point(&[7], &[], None, None), Scale::of("By")), &[(0, 7)]);
        assert_eq!(explicit(&point(&[], &[], None, None), seconds), None);
    }

    #[test]
    fn exponential_buckets_go_to_their_middle() {
        let point = |resolution, offset, counts: &[u64]| ExponentialHistogramDataPoint {
            scale: resolution,
            zero_count: 1,
            positive: Some(Side { offset, bucket_counts: counts.to_vec() }),
            negative: Some(Side { offset: 0, bucket_counts: vec![2] }),
            ..ExponentialHistogramDataPoint::default()
        };
        // Scale 0, offset 1: (2, 4] and (4, 8].
        check(exponential(&point(0, 1, &[0, 2]), Scale::of("")), &[(0, 3), (6, 2)]);
        check(
            exponential(&point(0, 1, &[5, 2]), Scale::of("ms")),
            &[(0, 3), (3_000, 5), (6_000, 2)],
        );
        check(exponential(&point(1, 2, &[1]), Scale::of("s")), &[(0, 3), (2_414_214, 1)]);
        // Absurd scales and offsets are clamped, not a panic.
        for resolution in [i32::MIN, -20, 20, i32::MAX] {
            for offset in [i32::MIN, 0, i32::MAX] {
                let buckets =
                    exponential(&point(resolution, offset, &[u64::MAX, 1]), Scale::of("h"));
                assert!(buckets.is_some_and(|buckets| buckets.count() >= 4));
            }
        }
    }
}
