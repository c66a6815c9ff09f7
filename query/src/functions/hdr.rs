//! `hdr(x)`: the histogram of a column, in three significant digits.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::digits::Digits;
use super::groups::{Groups, Single};
use super::histogram::Histogram;
use super::list;

/// The aggregate `hdr`.
pub(crate) fn hdr() -> AggregateUDF {
    AggregateUDF::new_from_impl(Hdr::new())
}

/// `hdr(x)`: all values of `x` as one histogram, exact counts in buckets of three significant
/// digits.
///
/// NULL, NaN, infinite and negative values are ignored, not counted as zero: a negative duration
/// is a broken clock and no fast request. A histogram of nothing is empty, not NULL. `DISTINCT`
/// is refused by the guard, since a tail counts every request.
///
/// ```sql
/// > SELECT region, hdr_quantile(hdr(total_us), 0.999) AS p999 FROM requests GROUP BY region;
/// +--------+---------+
/// | region | p999    |
/// +--------+---------+
/// | GB     | 3244032 |
/// +--------+---------+
/// ```
#[derive(Debug, PartialEq, Eq, Hash)]
struct Hdr {
    signature: Signature,
}

impl Hdr {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Hdr {
    fn name(&self) -> &str {
        "hdr"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [DataType::Null] => Ok(vec![DataType::Int64]),
            [number] if number.is_integer() => Ok(vec![DataType::Int64]),
            [number] if number.is_numeric() => Ok(vec![DataType::Float64]),
            _ => plan_err!("hdr takes one number, a duration in microseconds: hdr(total_us)"),
        }
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(list::data_type(Digits::Three))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = format_state_name(arguments.name, "histogram");
        Ok(vec![Arc::new(Field::new(name, list::data_type(Digits::Three), true))])
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(&arguments)?;
        Ok(Box::new(HdrAccumulator(Single::new(Digits::Three))))
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        !arguments.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        arguments: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        refuse_distinct(&arguments)?;
        Ok(Box::new(HdrGroups(Groups::new(Digits::Three))))
    }

    fn default_value(&self, _data_type: &DataType) -> Result<ScalarValue> {
        Single::new(Digits::Three).scalar()
    }
}

fn refuse_distinct(arguments: &AccumulatorArgs<'_>) -> Result<()> {
    if arguments.is_distinct {
        return plan_err!("hdr(DISTINCT …) is refused: a tail counts every request");
    }
    Ok(())
}

/// Calls `take(row, us)` for each row whose value counts.
pub(crate) fn each_value(values: &ArrayRef, mut take: impl FnMut(usize, u64)) -> Result<()> {
    match values.data_type() {
        DataType::Int64 => {
            let values = values.as_primitive::<Int64Type>();
            for row in 0..values.len() {
                if !values.is_null(row)
                    && let Ok(us) = u64::try_from(values.value(row))
                {
                    take(row, us);
                }
            }
        }
        DataType::Float64 => {
            let values = values.as_primitive::<Float64Type>();
            for row in 0..values.len() {
                let value = values.value(row);
                if !values.is_null(row) && value.is_finite() && value >= 0.0 {
                    // A float beyond u64 saturates, and the histogram clamps it.
                    take(row, value.round() as u64);
                }
            }
        }
        other => return exec_err!("hdr takes numbers, not {other}"),
    }
    Ok(())
}

/// `hdr` of one group.
#[derive(Debug)]
struct HdrAccumulator(Single);

impl Accumulator for HdrAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each_value(&values[0], |_row, us| self.0.histogram.record(us))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge(&states[0])
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.0.scalar()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.scalar()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.histogram.heap_bytes()
    }
}

/// `hdr` of many groups.
#[derive(Debug)]
struct HdrGroups(Groups);

impl GroupsAccumulator for HdrGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.0.resize(total_num_groups);
        let groups = &mut self.0;
        each_value(&values[0], |row, us| {
            if super::groups::passes(filter, row) {
                groups.histogram(group_indices[row]).record(us);
            }
        })?;
        self.0.settle(group_indices);
        Ok(())
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.0.merge(&values[0], group_indices, None, total_num_groups)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.0.emit(emit_to)?])
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.0.emit(emit_to)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut rows = vec![Histogram::new(Digits::Three); values[0].len()];
        each_value(&values[0], |row, us| {
            if super::groups::passes(filter, row) {
                rows[row].record(us);
            }
        })?;
        Ok(vec![list::from_histograms(Digits::Three, &mut rows)?])
    }

    fn size(&self) -> usize {
        self.0.bytes()
    }
}
