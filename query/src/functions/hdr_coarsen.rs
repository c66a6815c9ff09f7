//! `hdr_coarsen(h)`: a histogram in two significant digits.

use arrow::array::Array;
use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, EmitTo, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::censored::{self, CensoredGroups};
use super::digits::Digits;
use super::histogram::Histogram;
use super::list::{self, Histograms};

/// The scalar function `hdr_coarsen`.
pub(crate) fn hdr_coarsen() -> ScalarUDF {
    ScalarUDF::new_from_impl(HdrCoarsen::new())
}

/// `hdr_coarsen(h)`: the histogram in two significant digits, exact: each bucket of three digits
/// lies inside one of two. It brings `hdr(x)` and stored histograms to one type, for a `UNION`
/// below `hdr_merge`. NULL becomes an empty histogram. Of a censored histogram both parts are
/// coarsened.
///
/// ```sql
/// > SELECT hdr_quantile(hdr_coarsen(hdr(x)), 1.0) FROM (VALUES (10001)) AS t(x);
/// +-------+
/// | 10016 |
/// +-------+
/// ```
#[derive(Debug, PartialEq, Eq, Hash)]
struct HdrCoarsen {
    signature: Signature,
}

impl HdrCoarsen {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for HdrCoarsen {
    fn name(&self) -> &str {
        "hdr_coarsen"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        if arguments.first().and_then(censored::digits_of).is_none() {
            list::require("hdr_coarsen", arguments, 0)?;
        }
        if arguments.len() != 1 {
            return plan_err!("hdr_coarsen takes one histogram");
        }
        Ok(arguments.to_vec())
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(match arguments.first().and_then(censored::digits_of) {
            Some(_) => censored::data_type(Digits::Two),
            None => list::data_type(Digits::Two),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let histograms = arguments.args[0].to_array(arguments.number_rows)?;
        if censored::digits_of(histograms.data_type()).is_some() {
            let mut coarse = CensoredGroups::new(Digits::Two);
            let each: Vec<usize> = (0..histograms.len()).collect();
            coarse.merge(&histograms, &each, None, each.len())?;
            return Ok(ColumnarValue::Array(coarse.emit(EmitTo::All)?));
        }
        let rows = Histograms::try_new(&histograms)?;
        let mut coarse = vec![Histogram::new(Digits::Two); rows.rows()];
        for (row, histogram) in coarse.iter_mut().enumerate() {
            if let Some(pairs) = rows.row(row) {
                histogram.add_pairs(rows.digits(), pairs);
            }
        }
        Ok(ColumnarValue::Array(list::from_histograms(Digits::Two, &mut coarse)?))
    }
}
