//! `hdr_merge(h)`: many histograms as one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::censored::{self, CensoredGroups, CensoredSingle};
use super::digits::Digits;
use super::groups::{Groups, Single};
use super::histogram::Histogram;
use super::list::{self, Histograms};

/// The aggregate `hdr_merge`.
pub(crate) fn hdr_merge() -> AggregateUDF {
    AggregateUDF::new_from_impl(HdrMerge::new())
}

/// `hdr_merge(h)`: the sum of histograms, exact, in any order and any partition.
///
/// The result has the digits of the column. A column mixes no digits (Arrow has one type per
/// column): bring both sides of a `UNION` to two digits with `hdr_coarsen(h)`, which is exact.
/// Counts are signed, so rows that withdraw a fact may be summed with the others. Censored
/// histograms are merged part by part, and stay censored.
///
/// ```sql
/// > SELECT hdr_quantile(hdr_merge(h), 0.99) FROM (SELECT region, hdr(total_us) AS h FROM requests GROUP BY region);
/// +--------+
/// | 925695 |
/// +--------+
/// ```
#[derive(Debug, PartialEq, Eq, Hash)]
struct HdrMerge {
    signature: Signature,
}

impl HdrMerge {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for HdrMerge {
    fn name(&self) -> &str {
        "hdr_merge"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        if arguments.first().is_none_or(|first| !censored::is_meant(first)) {
            list::require("hdr_merge", arguments, 0)?;
        } else {
            censored::require("hdr_merge", arguments, 0)?;
        }
        if arguments.len() != 1 {
            return plan_err!("hdr_merge takes one histogram");
        }
        Ok(arguments.to_vec())
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments.first().and_then(censored::digits_of) {
            Some(digits) => Ok(censored::data_type(digits)),
            None => Ok(list::data_type(list::require("hdr_merge", arguments, 0)?)),
        }
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = format_state_name(arguments.name, "histogram");
        let data_type = arguments.return_field.data_type().clone();
        Ok(vec![Arc::new(Field::new(name, data_type, true))])
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(&arguments)?;
        if let Some(digits) = censored::digits_of(arguments.return_field.data_type()) {
            return Ok(Box::new(CensoredMerge(CensoredSingle::new(digits))));
        }
        Ok(Box::new(MergeAccumulator(Single::new(digits(&arguments)?))))
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        !arguments.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        arguments: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        refuse_distinct(&arguments)?;
        if let Some(digits) = censored::digits_of(arguments.return_field.data_type()) {
            return Ok(Box::new(CensoredMergeGroups(CensoredGroups::new(digits))));
        }
        let digits = digits(&arguments)?;
        Ok(Box::new(MergeGroups { groups: Groups::new(digits), digits }))
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        if let Some(digits) = censored::digits_of(data_type) {
            return CensoredSingle::new(digits).scalar();
        }
        let digits = list::digits_of(data_type).unwrap_or(Digits::Two);
        Single::new(digits).scalar()
    }
}

fn refuse_distinct(arguments: &AccumulatorArgs<'_>) -> Result<()> {
    if arguments.is_distinct {
        return plan_err!("hdr_merge(DISTINCT …) is refused: equal histograms are not duplicates");
    }
    Ok(())
}

fn digits(arguments: &AccumulatorArgs<'_>) -> Result<Digits> {
    list::require("hdr_merge", &[arguments.return_field.data_type().clone()], 0)
}

/// `hdr_merge` of one group.
#[derive(Debug)]
struct MergeAccumulator(Single);

impl Accumulator for MergeAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.merge(&values[0])
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

/// `hdr_merge` of many groups.
#[derive(Debug)]
struct MergeGroups {
    groups: Groups,
    digits: Digits,
}

impl GroupsAccumulator for MergeGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.merge(&values[0], group_indices, filter, total_num_groups)
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.merge(&values[0], group_indices, None, total_num_groups)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.groups.emit(emit_to)?])
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.groups.emit(emit_to)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = Histograms::try_new(&values[0])?;
        let mut states = vec![Histogram::new(self.digits); rows.rows()];
        for (row, state) in states.iter_mut().enumerate() {
            if super::groups::passes(filter, row)
                && let Some(pairs) = rows.row(row)
            {
                state.add_pairs(rows.digits(), pairs);
            }
        }
        Ok(vec![list::from_histograms(self.digits, &mut states)?])
    }

    fn size(&self) -> usize {
        self.groups.bytes()
    }
}

/// `hdr_merge` of one group of censored histograms.
#[derive(Debug)]
struct CensoredMerge(CensoredSingle);

impl Accumulator for CensoredMerge {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.merge(&values[0])
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

/// `hdr_merge` of many groups of censored histograms.
#[derive(Debug)]
struct CensoredMergeGroups(CensoredGroups);

impl GroupsAccumulator for CensoredMergeGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.0.merge(&values[0], group_indices, filter, total_num_groups)
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
        let mut rows = CensoredGroups::new(self.0.digits());
        let each: Vec<usize> = (0..values[0].len()).collect();
        rows.merge(&values[0], &each, filter, each.len())?;
        Ok(vec![rows.emit(EmitTo::All)?])
    }

    fn size(&self) -> usize {
        self.0.bytes()
    }
}
