//! `hdr_censored(x, finished)`: times of those who finished and of those who left, kept apart.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::censored::{self, CensoredGroups, CensoredSingle};
use super::digits::Digits;
use super::hdr::each_value;

/// The aggregate `hdr_censored`.
pub(crate) fn hdr_censored() -> AggregateUDF {
    AggregateUDF::new_from_impl(HdrCensored::new())
}

/// `hdr_censored(x, finished)`: all values of `x` as two histograms of three digits, those that
/// `finished` and those that had only lasted so long when the user left.
///
/// `x` is how long was waited, whatever came of it: `waited_us`, never `total_us`, which is NULL of
/// those who left. Values that `hdr` ignores are ignored. Where `finished` is NULL it is not known
/// to have finished, and counts as left. The result is
/// `struct<finished: histogram, left: histogram>`; `hdr_merge` sums such results exactly, in any
/// order.
///
/// ```sql
/// > SELECT hdr_quantile(c, 0.75) AS p75_us, hdr_quantile(c['finished'], 0.75) AS naive_us,
///          hdr_count(c) AS n, hdr_count(c['left']) AS left_early
///   FROM (SELECT hdr_censored(waited_us, outcome IN ('ok', 'failed')) AS c
///         FROM (VALUES (100, 'ok'), (300, 'ok'), (150, 'abandoned'), (200, 'pending'),
///                      (400, 'failed'), (120, 'ok')) AS requests(waited_us, outcome));
/// +--------+----------+---+------------+
/// | p75_us | naive_us | n | left_early |
/// +--------+----------+---+------------+
/// | 400    | 300      | 6 | 2          |
/// +--------+----------+---+------------+
/// ```
#[derive(Debug, PartialEq, Eq, Hash)]
struct HdrCensored {
    signature: Signature,
}

impl HdrCensored {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for HdrCensored {
    fn name(&self) -> &str {
        "hdr_censored"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let number = match arguments.first() {
            Some(DataType::Null) => DataType::Int64,
            Some(number) if number.is_integer() => DataType::Int64,
            Some(number) if number.is_numeric() => DataType::Float64,
            _ => return usage(),
        };
        match arguments {
            [_, DataType::Boolean | DataType::Null] => Ok(vec![number, DataType::Boolean]),
            _ => usage(),
        }
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(censored::data_type(Digits::Three))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = format_state_name(arguments.name, "censored");
        Ok(vec![Arc::new(Field::new(name, censored::data_type(Digits::Three), true))])
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(&arguments)?;
        Ok(Box::new(CensoredAccumulator(CensoredSingle::new(Digits::Three))))
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        !arguments.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        arguments: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        refuse_distinct(&arguments)?;
        Ok(Box::new(CensoredGroupsAccumulator(CensoredGroups::new(Digits::Three))))
    }

    fn default_value(&self, _data_type: &DataType) -> Result<ScalarValue> {
        CensoredSingle::new(Digits::Three).scalar()
    }
}

fn usage<T>() -> Result<T> {
    plan_err!(
        "hdr_censored takes a wait in microseconds and whether it finished: \
         hdr_censored(waited_us, outcome IN ('ok', 'failed'))"
    )
}

fn refuse_distinct(arguments: &AccumulatorArgs<'_>) -> Result<()> {
    if arguments.is_distinct {
        return plan_err!("hdr_censored(DISTINCT …) is refused: a tail counts every request");
    }
    Ok(())
}

/// Calls `take(row, us, finished)` for each row whose value counts.
fn each_wait(values: &[ArrayRef], mut take: impl FnMut(usize, u64, bool)) -> Result<()> {
    let finished = values[1].as_boolean();
    each_value(&values[0], |row, us| {
        take(row, us, !finished.is_null(row) && finished.value(row));
    })
}

/// `hdr_censored` of one group.
#[derive(Debug)]
struct CensoredAccumulator(CensoredSingle);

impl Accumulator for CensoredAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each_wait(values, |_row, us, finished| self.0.record(us, finished))
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
        size_of_val(self) + self.0.heap_bytes()
    }
}

/// `hdr_censored` of many groups.
#[derive(Debug)]
struct CensoredGroupsAccumulator(CensoredGroups);

impl GroupsAccumulator for CensoredGroupsAccumulator {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.0.resize(total_num_groups);
        let groups = &mut self.0;
        each_wait(values, |row, us, finished| {
            if super::groups::passes(filter, row) {
                groups.histogram(group_indices[row], finished).record(us);
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
        let mut rows = CensoredGroups::new(Digits::Three);
        rows.resize(values[0].len());
        each_wait(values, |row, us, finished| {
            if super::groups::passes(filter, row) {
                rows.histogram(row, finished).record(us);
            }
        })?;
        Ok(vec![rows.emit(EmitTo::All)?])
    }

    fn size(&self) -> usize {
        self.0.bytes()
    }
}
