//! The Arrow form of a histogram: `list<struct<bucket, count>>`, sorted by bucket.
//!
//! `bucket: uint16` is two significant digits, `bucket: uint32` three. Any Arrow or Parquet reader
//! can unnest it; our own functions walk the child buffers and decode nothing.
//!
//! It is not arithmetic: what a bucket means is in [`ethogram_timeline::rollup::buckets`].

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, ListArray, PrimitiveArray, StructArray, UInt16Array,
    UInt32Array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, Fields, Int64Type, UInt16Type, UInt32Type,
};
use datafusion::common::{Result, exec_datafusion_err, plan_err};

use super::digits::Digits;
use super::histogram::Histogram;

/// Why buckets of two resolutions do not stand side by side, and what helps.
pub const MIXED: &str =
    "histograms of two and of three digits are mixed; bring both to two with hdr_coarsen(h)";

/// The Arrow type of histograms of `digits`.
pub fn data_type(digits: Digits) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Struct(fields(digits)), false)))
}

fn fields(digits: Digits) -> Fields {
    let bucket = match digits {
        Digits::Two => DataType::UInt16,
        Digits::Three => DataType::UInt32,
    };
    Fields::from(vec![
        Field::new("bucket", bucket, false),
        Field::new("count", DataType::Int64, false),
    ])
}

/// The resolution of a histogram type; `None` where the type is not a histogram. Names and
/// nullability of the inner fields are not compared: files written by others differ in them.
pub fn digits_of(data_type: &DataType) -> Option<Digits> {
    let DataType::List(item) = data_type else { return None };
    let DataType::Struct(fields) = item.data_type() else { return None };
    match (fields.len(), fields.first()?.data_type(), fields.last()?.data_type()) {
        (2, DataType::UInt16, DataType::Int64) => Some(Digits::Two),
        (2, DataType::UInt32, DataType::Int64) => Some(Digits::Three),
        _ => None,
    }
}

/// Checks that argument `position` of `function` is a histogram, and says so where it is not.
pub fn require(function: &str, arguments: &[DataType], position: usize) -> Result<Digits> {
    let argument = arguments.get(position);
    if let Some(digits) = argument.and_then(digits_of) {
        return Ok(digits);
    }
    let is_censored = argument.and_then(super::censored::digits_of).is_some();
    let hint = if is_censored {
        "; of a censored one take a part: c['finished'] or c['left']"
    } else {
        ""
    };
    plan_err!(
        "{function} takes a histogram, such as hdr(total_us), as argument {}{hint}",
        position + 1
    )
}

/// Histograms as one Arrow array, one row each; never null.
pub fn from_histograms(digits: Digits, histograms: &mut [Histogram]) -> Result<ArrayRef> {
    let mut offsets: Vec<i32> = Vec::with_capacity(histograms.len() + 1);
    let mut buckets: Vec<u32> = Vec::new();
    let mut counts: Vec<i64> = Vec::new();
    offsets.push(0);
    for histogram in histograms {
        for (bucket, count) in histogram.pairs() {
            buckets.push(bucket);
            counts.push(count);
        }
        let end = i32::try_from(buckets.len())
            .map_err(|_| exec_datafusion_err!("one batch holds too many histogram buckets"))?;
        offsets.push(end);
    }
    let buckets: ArrayRef = match digits {
        Digits::Two => Arc::new(UInt16Array::from_iter_values(
            buckets
                .into_iter()
                .map(|bucket| u16::try_from(bucket).expect("two digits have 3 840 buckets")),
        )),
        Digits::Three => Arc::new(UInt32Array::from(buckets)),
    };
    let pairs = StructArray::try_new(
        fields(digits),
        vec![buckets, Arc::new(Int64Array::from(counts))],
        None,
    )?;
    let item = Arc::new(Field::new_list_field(DataType::Struct(fields(digits)), false));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(ListArray::try_new(item, offsets, Arc::new(pairs), None)?))
}

/// A column of histograms, ready to be walked.
#[derive(Debug)]
pub struct Histograms<'a> {
    list: &'a ListArray,
    buckets: Buckets<'a>,
    counts: &'a [i64],
    digits: Digits,
}

#[derive(Clone, Copy, Debug)]
enum Buckets<'a> {
    Two(&'a [u16]),
    Three(&'a [u32]),
}

impl<'a> Histograms<'a> {
    /// Looks at `array` as histograms; an error where it is of another type.
    pub fn try_new(array: &'a ArrayRef) -> Result<Self> {
        let digits = digits_of(array.data_type())
            .ok_or_else(|| exec_datafusion_err!("{} is not a histogram", array.data_type()))?;
        let list = array.as_list::<i32>();
        let pairs = list.values().as_struct();
        let buckets = match digits {
            Digits::Two => Buckets::Two(values::<UInt16Type>(pairs.column(0))),
            Digits::Three => Buckets::Three(values::<UInt32Type>(pairs.column(0))),
        };
        let counts = values::<Int64Type>(pairs.column(1));
        Ok(Self { list, buckets, counts, digits })
    }

    /// The resolution of every histogram of the column.
    pub fn digits(&self) -> Digits {
        self.digits
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.list.len()
    }

    /// The pairs of one row, sorted by bucket; `None` where the row is null.
    pub fn row(&self, row: usize) -> Option<impl Iterator<Item = (u32, i64)> + Clone + 'a> {
        if self.list.is_null(row) {
            return None;
        }
        let offsets = self.list.value_offsets();
        let range = offset(offsets[row])..offset(offsets[row + 1]);
        let (buckets, counts) = (self.buckets, self.counts);
        Some(range.map(move |index| {
            let bucket = match buckets {
                Buckets::Two(values) => u32::from(values[index]),
                Buckets::Three(values) => values[index],
            };
            (bucket, counts[index])
        }))
    }
}

fn values<T: ArrowPrimitiveType>(column: &ArrayRef) -> &[T::Native] {
    let column: &PrimitiveArray<T> = column.as_primitive();
    column.values()
}

fn offset(offset: i32) -> usize {
    usize::try_from(offset).expect("Arrow's offsets are not negative")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        for digits in [Digits::Two, Digits::Three] {
            let mut histograms = vec![Histogram::new(digits); 3];
            for value in [5_u64, 5, 70_000, 1 << 35] {
                histograms[0].record(value);
            }
            histograms[2].record(9);
            let array = from_histograms(digits, &mut histograms).expect("small");
            assert_eq!(array.data_type(), &data_type(digits));
            // A slice has offsets that do not start at zero.
            for (start, array) in [(0, Arc::clone(&array)), (1, array.slice(1, 2))] {
                let rows = Histograms::try_new(&array).expect("a histogram");
                for row in 0..rows.rows() {
                    let pairs: Vec<_> = rows.row(row).expect("not null").collect();
                    assert_eq!(pairs, histograms[start + row].pairs());
                }
            }
        }
    }

    #[test]
    fn tells_histograms_from_other_lists() {
        assert_eq!(digits_of(&data_type(Digits::Two)), Some(Digits::Two));
        assert_eq!(digits_of(&data_type(Digits::Three)), Some(Digits::Three));
        for other in [
            DataType::Int64,
            DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true))),
            DataType::List(Arc::new(Field::new_list_field(
                DataType::Struct(Fields::empty()),
                true,
            ))),
        ] {
            assert_eq!(digits_of(&other), None);
        }
        let message = require("hdr_count", &[DataType::Utf8], 0).expect_err("text").to_string();
        assert!(message.contains("hdr_count takes a histogram"), "{message}");
    }
}
