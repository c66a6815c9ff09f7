//! What `hdr` and `hdr_merge` share: histograms of one group, and of many.
//!
//! It is not a function of its own. Invariant: `bytes` follows what the histograms hold on the
//! heap, so that the memory pool sees a query grow before the machine does.

use arrow::array::{Array, ArrayRef, BooleanArray};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::EmitTo;

use super::digits::Digits;
use super::histogram::Histogram;
use super::list::{self, Histograms};

/// True where `row` is not filtered out by an aggregate's `FILTER (WHERE …)`.
#[inline]
pub(crate) fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| !filter.is_null(row) && filter.value(row))
}

/// The histogram of a single group.
#[derive(Debug)]
pub(crate) struct Single {
    /// What was counted so far.
    pub(crate) histogram: Histogram,
    digits: Digits,
}

impl Single {
    /// No values yet.
    pub(crate) fn new(digits: Digits) -> Self {
        Self { histogram: Histogram::new(digits), digits }
    }

    /// Adds every histogram of a column.
    pub(crate) fn merge(&mut self, column: &ArrayRef) -> Result<()> {
        let rows = Histograms::try_new(column)?;
        for row in 0..rows.rows() {
            if let Some(pairs) = rows.row(row) {
                self.histogram.add_pairs(rows.digits(), pairs);
            }
        }
        Ok(())
    }

    /// The histogram as one SQL value.
    pub(crate) fn scalar(&mut self) -> Result<ScalarValue> {
        let array = list::from_histograms(self.digits, std::slice::from_mut(&mut self.histogram))?;
        ScalarValue::try_from_array(&array, 0)
    }
}

/// The histograms of many groups.
#[derive(Debug)]
pub(crate) struct Groups {
    digits: Digits,
    histograms: Vec<Histogram>,
    heap_bytes: usize,
    /// Heap bytes of each histogram when it was last measured.
    measured: Vec<usize>,
}

impl Groups {
    /// No groups yet.
    pub(crate) fn new(digits: Digits) -> Self {
        Self { digits, histograms: Vec::new(), heap_bytes: 0, measured: Vec::new() }
    }

    /// Makes room for `total` groups.
    pub(crate) fn resize(&mut self, total: usize) {
        self.histograms.resize(total, Histogram::new(self.digits));
        self.measured.resize(total, 0);
    }

    /// The histogram of one group, to be recorded into. Call [`Groups::settle`] afterwards.
    #[inline]
    pub(crate) fn histogram(&mut self, group: usize) -> &mut Histogram {
        &mut self.histograms[group]
    }

    /// Measures the groups a batch touched.
    pub(crate) fn settle(&mut self, touched: &[usize]) {
        for group in touched {
            let now = self.histograms[*group].heap_bytes();
            let before = std::mem::replace(&mut self.measured[*group], now);
            self.heap_bytes = self.heap_bytes + now - before;
        }
    }

    /// Adds each histogram of a column to its row's group.
    pub(crate) fn merge(
        &mut self,
        column: &ArrayRef,
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.resize(total);
        let rows = Histograms::try_new(column)?;
        for (row, group) in group_indices.iter().enumerate() {
            if passes(filter, row)
                && let Some(pairs) = rows.row(row)
            {
                self.histograms[*group].add_pairs(rows.digits(), pairs);
            }
        }
        self.settle(group_indices);
        Ok(())
    }

    /// Takes the first groups out, as one Arrow column.
    pub(crate) fn emit(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let mut emitted = emit_to.take_needed(&mut self.histograms);
        let measured = emit_to.take_needed(&mut self.measured);
        self.heap_bytes -= measured.iter().sum::<usize>();
        list::from_histograms(self.digits, &mut emitted)
    }

    /// Bytes held, for the memory pool.
    pub(crate) fn bytes(&self) -> usize {
        self.heap_bytes
            + self.histograms.capacity() * size_of::<Histogram>()
            + self.measured.capacity() * size_of::<usize>()
    }
}
