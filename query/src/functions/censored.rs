//! The Arrow form of a censored histogram: `struct<finished, left>`, two histograms of one
//! resolution.
//!
//! `finished` holds what was seen to its end, `left` how long the others are known to have lasted.
//! Each part is an ordinary histogram: `hdr_quantile(c['finished'], q)` is the naive figure.
//! Counters that are kept apart become one with
//! `named_struct('finished', h_finished, 'left', h_left)`.
//!
//! It is not the estimate: that is [`super::survival`]. Invariant: the parts are told by their
//! names, so that exchanged fields are refused and not answered.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::EmitTo;

use super::digits::Digits;
use super::groups::{Groups, Single};
use super::histogram::Histogram;
use super::list::{self, Histograms};

/// The Arrow type of censored histograms of `digits`.
pub fn data_type(digits: Digits) -> DataType {
    DataType::Struct(fields(digits))
}

fn fields(digits: Digits) -> Fields {
    let part = |name: &str| Field::new(name, list::data_type(digits), true);
    Fields::from(vec![part("finished"), part("left")])
}

/// The resolution of both parts; `None` where the type is not a censored histogram.
pub fn digits_of(data_type: &DataType) -> Option<Digits> {
    let (finished, left) = parts_of(data_type)?;
    (finished == left).then_some(finished)
}

fn parts_of(data_type: &DataType) -> Option<(Digits, Digits)> {
    let DataType::Struct(fields) = data_type else { return None };
    let [finished, left] = fields.as_ref() else { return None };
    if finished.name() != "finished" || left.name() != "left" {
        return None;
    }
    Some((list::digits_of(finished.data_type())?, list::digits_of(left.data_type())?))
}

/// Whether somebody means a censored histogram by this, right or wrong: no other argument of ours
/// is a struct.
pub(crate) fn is_meant(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Struct(_))
}

/// Checks that argument `position` of `function` is a censored histogram, and says what it is
/// instead where it is not.
pub fn require(function: &str, arguments: &[DataType], position: usize) -> Result<Digits> {
    let argument = arguments.get(position);
    if let Some(digits) = argument.and_then(digits_of) {
        return Ok(digits);
    }
    if argument.is_some_and(|argument| parts_of(argument).is_some()) {
        return plan_err!("{}", list::MIXED);
    }
    let hint = match argument {
        Some(argument) if list::digits_of(argument).is_some() => {
            "; a plain histogram does not know who left"
        }
        Some(argument) if is_meant(argument) => {
            "; two histograms become one by named_struct('finished', h, 'left', h)"
        }
        _ => "",
    };
    plan_err!(
        "{function} takes a censored histogram, such as \
         hdr_censored(waited_us, outcome IN ('ok', 'failed')), as argument {}{hint}",
        position + 1
    )
}

/// Two columns of histograms as one column of censored ones.
pub(crate) fn from_parts(digits: Digits, finished: ArrayRef, left: ArrayRef) -> Result<ArrayRef> {
    Ok(Arc::new(StructArray::try_new(fields(digits), vec![finished, left], None)?))
}

/// A column of censored histograms, ready to be walked.
#[derive(Debug)]
pub(crate) struct Censored<'a> {
    rows: &'a StructArray,
    finished: Histograms<'a>,
    left: Histograms<'a>,
}

impl<'a> Censored<'a> {
    /// Looks at `array` as censored histograms; an error where it is of another type.
    pub(crate) fn try_new(array: &'a ArrayRef) -> Result<Self> {
        require("a censored function", &[array.data_type().clone()], 0)?;
        let rows = array.as_struct();
        let finished = Histograms::try_new(rows.column(0))?;
        Ok(Self { rows, finished, left: Histograms::try_new(rows.column(1))? })
    }

    /// The resolution of every histogram of the column.
    pub(crate) fn digits(&self) -> Digits {
        self.finished.digits()
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The pairs of one row, finished and left; `None` where the row is null. A part that is null
    /// has no pairs.
    #[expect(clippy::type_complexity, reason = "two lists of pairs, once")]
    pub(crate) fn row(&self, row: usize) -> Option<(Vec<(u32, i64)>, Vec<(u32, i64)>)> {
        let part = |part: &Histograms<'_>| part.row(row).into_iter().flatten().collect();
        (!self.rows.is_null(row)).then(|| (part(&self.finished), part(&self.left)))
    }
}

/// Both parts of a single group.
#[derive(Debug)]
pub(crate) struct CensoredSingle {
    digits: Digits,
    finished: Single,
    left: Single,
}

impl CensoredSingle {
    /// No values yet.
    pub(crate) fn new(digits: Digits) -> Self {
        Self { digits, finished: Single::new(digits), left: Single::new(digits) }
    }

    /// Counts one value.
    pub(crate) fn record(&mut self, us: u64, finished: bool) {
        let part = if finished { &mut self.finished } else { &mut self.left };
        part.histogram.record(us);
    }

    /// Adds every row of a column.
    pub(crate) fn merge(&mut self, column: &ArrayRef) -> Result<()> {
        let rows = Censored::try_new(column)?;
        for (finished, left) in (0..rows.rows()).filter_map(|row| rows.row(row)) {
            self.finished.histogram.add_pairs(rows.digits(), finished.into_iter());
            self.left.histogram.add_pairs(rows.digits(), left.into_iter());
        }
        Ok(())
    }

    /// Both as one SQL value.
    pub(crate) fn scalar(&mut self) -> Result<ScalarValue> {
        let part = |part: &mut Single| part.scalar()?.to_array();
        let array = from_parts(self.digits, part(&mut self.finished)?, part(&mut self.left)?)?;
        ScalarValue::try_from_array(&array, 0)
    }

    /// Bytes held on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.finished.histogram.heap_bytes() + self.left.histogram.heap_bytes()
    }
}

/// Both parts of many groups.
#[derive(Debug)]
pub(crate) struct CensoredGroups {
    digits: Digits,
    finished: Groups,
    left: Groups,
}

impl CensoredGroups {
    /// No groups yet.
    pub(crate) fn new(digits: Digits) -> Self {
        Self { digits, finished: Groups::new(digits), left: Groups::new(digits) }
    }

    /// The resolution.
    pub(crate) fn digits(&self) -> Digits {
        self.digits
    }

    /// Makes room for `total` groups.
    pub(crate) fn resize(&mut self, total: usize) {
        self.finished.resize(total);
        self.left.resize(total);
    }

    /// One part of one group, to be recorded into. Call [`CensoredGroups::settle`] afterwards.
    #[inline]
    pub(crate) fn histogram(&mut self, group: usize, finished: bool) -> &mut Histogram {
        if finished { self.finished.histogram(group) } else { self.left.histogram(group) }
    }

    /// Measures the groups a batch touched.
    pub(crate) fn settle(&mut self, touched: &[usize]) {
        self.finished.settle(touched);
        self.left.settle(touched);
    }

    /// Adds each row of a column to its group.
    pub(crate) fn merge(
        &mut self,
        column: &ArrayRef,
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.resize(total);
        let rows = Censored::try_new(column)?;
        for (row, group) in group_indices.iter().enumerate() {
            if super::groups::passes(filter, row)
                && let Some((finished, left)) = rows.row(row)
            {
                self.finished.histogram(*group).add_pairs(rows.digits(), finished.into_iter());
                self.left.histogram(*group).add_pairs(rows.digits(), left.into_iter());
            }
        }
        self.settle(group_indices);
        Ok(())
    }

    /// Takes the first groups out, as one Arrow column.
    pub(crate) fn emit(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        from_parts(self.digits, self.finished.emit(emit_to)?, self.left.emit(emit_to)?)
    }

    /// Bytes held, for the memory pool.
    pub(crate) fn bytes(&self) -> usize {
        self.finished.bytes() + self.left.bytes()
    }
}
