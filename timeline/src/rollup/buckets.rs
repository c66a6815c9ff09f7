//! Latency buckets that merge exactly: the bucket order of HdrHistogram.
//!
//! Two significant digits where histograms are kept (every value is within 0.4 % of its bucket's
//! midpoint), three where raw rows are asked. A bucket of three digits lies wholly inside one of
//! two, so mixing them is an exact coarsening. Counts are signed: what is retracted is subtracted.
//!
//! It is not the `hdrhistogram` crate's in-memory form (a dense array of counters); a kept cell
//! holds a handful of buckets. The tests check the index against that crate.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Builder, ListBuilder, StructBuilder, UInt16Builder};
use arrow::datatypes::{DataType, Field, Fields};
use serde::{Deserialize, Serialize};

use crate::schema::Column;

/// Values are clamped below this: 2^36 µs is 19 hours, beyond any wait worth measuring, and keeps
/// every three-digit bucket number within 16 bits.
pub const VALUE_US_LIMIT: u64 = 1 << 36;

/// log2 of the sub-buckets in a half: 128 for two digits, 1024 for three (HdrHistogram's rule that
/// 2 × 10^digits sub-buckets, rounded up to a power of two, resolve that many digits).
const HALF_BITS_2: u32 = 7;
const HALF_BITS_3: u32 = 10;

/// The bucket of two significant digits that holds `us`.
pub fn bucket_2(us: u64) -> u16 {
    bucket(us, HALF_BITS_2)
}

/// The bucket of three significant digits that holds `us`.
pub fn bucket_3(us: u64) -> u16 {
    bucket(us, HALF_BITS_3)
}

/// The middle of a bucket of two digits, in microseconds.
pub fn midpoint_2(bucket: u16) -> u64 {
    midpoint(bucket, HALF_BITS_2)
}

/// The middle of a bucket of three digits, in microseconds.
pub fn midpoint_3(bucket: u16) -> u64 {
    midpoint(bucket, HALF_BITS_3)
}

/// The smallest value and the first value beyond a bucket of two digits, in microseconds.
pub fn bounds_2(bucket: u16) -> (u64, u64) {
    bounds(bucket, HALF_BITS_2)
}

/// The smallest value and the first value beyond a bucket of three digits, in microseconds.
pub fn bounds_3(bucket: u16) -> (u64, u64) {
    bounds(bucket, HALF_BITS_3)
}

/// The bucket of two digits that holds a whole bucket of three.
pub fn coarsen(bucket_of_three: u16) -> u16 {
    bucket_2(bounds_3(bucket_of_three).0)
}

fn bucket(us: u64, half_bits: u32) -> u16 {
    let us = us.min(VALUE_US_LIMIT - 1);
    let shift = us.max(1).ilog2().saturating_sub(half_bits);
    ((u64::from(shift) << half_bits) + (us >> shift)) as u16
}

fn bounds(bucket: u16, half_bits: u32) -> (u64, u64) {
    let bucket = u64::from(bucket);
    // The first two halves have width 1; each further half doubles it.
    let shift = (bucket >> half_bits).saturating_sub(1);
    let low = (bucket - (shift << half_bits)) << shift;
    (low, low + (1 << shift))
}

fn midpoint(bucket: u16, half_bits: u32) -> u64 {
    let (low, beyond) = bounds(bucket, half_bits);
    low + (beyond - low) / 2
}

/// A histogram of two significant digits: bucket numbers in order, with signed counts, none zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buckets(Vec<(u16, i64)>);

impl Buckets {
    /// Adds `count` (negative to retract) values of `us` microseconds.
    pub fn record(&mut self, us: u64, count: i64) {
        self.add(bucket_2(us), count);
    }

    /// Adds `count` to a bucket.
    pub fn add(&mut self, bucket: u16, count: i64) {
        match self.0.binary_search_by_key(&bucket, |(number, _)| *number) {
            Ok(index) => {
                self.0[index].1 += count;
                if self.0[index].1 == 0 {
                    self.0.remove(index);
                }
            }
            Err(index) if count != 0 => self.0.insert(index, (bucket, count)),
            Err(_) => {}
        }
    }

    /// Adds every bucket of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            self.add(*bucket, *count);
        }
    }

    /// The buckets in order.
    pub fn iter(&self) -> impl Iterator<Item = (u16, i64)> + '_ {
        self.0.iter().copied()
    }

    /// The sum of all counts.
    pub fn count(&self) -> i64 {
        self.0.iter().map(|(_, count)| count).sum()
    }
}

fn bucket_fields() -> Fields {
    vec![Field::new("bucket", DataType::UInt16, false), Field::new("count", DataType::Int64, false)]
        .into()
}

impl Column for Option<Buckets> {
    type Builder = ListBuilder<StructBuilder>;
    const NULLABLE: bool = true;

    fn data_type() -> DataType {
        DataType::List(Arc::new(Field::new("item", DataType::Struct(bucket_fields()), false)))
    }

    fn builder() -> Self::Builder {
        let values = StructBuilder::new(
            bucket_fields(),
            vec![Box::new(UInt16Builder::new()), Box::new(Int64Builder::new())],
        );
        ListBuilder::new(values).with_field(Field::new(
            "item",
            DataType::Struct(bucket_fields()),
            false,
        ))
    }

    fn append(&self, builder: &mut Self::Builder) {
        const KNOWN: &str = "the builders stand in the order of the fields";
        let Some(buckets) = self else {
            builder.append(false);
            return;
        };
        for (bucket, count) in buckets.iter() {
            let row = builder.values();
            row.field_builder::<UInt16Builder>(0).expect(KNOWN).append_value(bucket);
            row.field_builder::<Int64Builder>(1).expect(KNOWN).append_value(count);
            row.append(true);
        }
        builder.append(true);
    }

    fn finish(builder: &mut Self::Builder) -> ArrayRef {
        Arc::new(builder.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small values, powers of two and their neighbours, and the limit.
    fn probes() -> impl Iterator<Item = u64> {
        (0..3_000).chain((0..37).flat_map(|bit: u32| {
            let value: u64 = 1 << bit;
            [value.saturating_sub(1), value, value + 1, value + value / 3]
        }))
    }

    #[test]
    fn a_bucket_holds_its_values_and_is_narrow() {
        for us in probes().filter(|us| *us < VALUE_US_LIMIT) {
            for (bounds, digits) in [(bounds_2(bucket_2(us)), 2), (bounds_3(bucket_3(us)), 3)] {
                let (low, beyond) = bounds;
                assert!(low <= us && us < beyond, "{us} in {low}..{beyond}");
                let width = (beyond - low) as f64;
                let resolved = if digits == 2 { 128.0 } else { 1_024.0 };
                assert!(width <= 1.0 || width / low as f64 <= 1.0 / resolved, "{us}");
            }
            assert_eq!(coarsen(bucket_3(us)), bucket_2(us), "{us}");
        }
    }

    #[test]
    fn equals_the_bucket_order_of_hdrhistogram() {
        let library = hdrhistogram::Histogram::<u64>::new_with_bounds(1, VALUE_US_LIMIT, 2)
            .expect("valid bounds");
        for us in probes().filter(|us| *us > 0 && *us < VALUE_US_LIMIT) {
            let (low, beyond) = bounds_2(bucket_2(us));
            assert_eq!(low, library.lowest_equivalent(us), "{us}");
            assert_eq!(beyond - 1, library.highest_equivalent(us), "{us}");
        }
    }

    #[test]
    fn retracting_leaves_nothing() {
        let mut buckets = Buckets::default();
        buckets.record(1_000, 2);
        buckets.record(5_000, 1);
        buckets.record(1_000, -2);
        buckets.record(5_000, -1);
        assert_eq!(buckets, Buckets::default());
    }
}
