//! `hdr_count(h)`: how many values a histogram holds.

use std::sync::Arc;

use arrow::array::{Array, Int64Array};
use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::censored::{self, Censored};
use super::histogram::count;
use super::list::{self, Histograms};

/// The scalar function `hdr_count`.
pub(crate) fn hdr_count() -> ScalarUDF {
    ScalarUDF::new_from_impl(HdrCount::new())
}

/// `hdr_count(h)`: the number of values of a histogram (`Int64`), NULL where `h` is NULL. Of a
/// censored histogram it is the number of both, of those who finished and of those who left.
///
/// ```sql
/// > SELECT hdr_count(hdr(x)) FROM (VALUES (10), (20), (NULL)) AS t(x);
/// +---+
/// | 2 |
/// +---+
/// ```
#[derive(Debug, PartialEq, Eq, Hash)]
struct HdrCount {
    signature: Signature,
}

impl HdrCount {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for HdrCount {
    fn name(&self) -> &str {
        "hdr_count"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        if arguments.first().and_then(censored::digits_of).is_none() {
            list::require("hdr_count", arguments, 0)?;
        }
        if arguments.len() != 1 {
            return plan_err!("hdr_count takes one histogram");
        }
        Ok(arguments.to_vec())
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let histograms = arguments.args[0].to_array(arguments.number_rows)?;
        if censored::digits_of(histograms.data_type()).is_some() {
            let rows = Censored::try_new(&histograms)?;
            let both = |(finished, left): (Vec<_>, Vec<_>)| count(finished.into_iter().chain(left));
            let answers: Int64Array = (0..rows.rows()).map(|row| rows.row(row).map(both)).collect();
            return Ok(ColumnarValue::Array(Arc::new(answers)));
        }
        let rows = Histograms::try_new(&histograms)?;
        let answers: Int64Array = (0..rows.rows()).map(|row| rows.row(row).map(count)).collect();
        Ok(ColumnarValue::Array(Arc::new(answers)))
    }
}
