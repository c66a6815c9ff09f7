//! `hdr_quantile(h, q)`: a quantile of a histogram, in microseconds.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::histogram::quantile_us;
use super::list::{self, Histograms};

/// The scalar function `hdr_quantile`.
pub(crate) fn hdr_quantile() -> ScalarUDF {
    ScalarUDF::new_from_impl(HdrQuantile::new())
}

/// `hdr_quantile(h, q)`: the order statistic ceil(q·n) of a histogram, as its bucket's midpoint in
/// microseconds (`Int64`).
///
/// `q` lies in 0 to 1; anything else is an error. NULL where the histogram or `q` is NULL, or
/// where the histogram holds no values. State `hdr_count(h)` beside it: p99.9 of fewer than some
/// ten thousand values is close to the maximum.
///
/// ```sql
/// > SELECT hdr_quantile(hdr(x), 0.5) FROM (VALUES (1), (2), (3)) AS t(x);
/// +---+
/// | 2 |
/// +---+
/// ```
#[derive(Debug, PartialEq, Eq, Hash)]
struct HdrQuantile {
    signature: Signature,
}

impl HdrQuantile {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for HdrQuantile {
    fn name(&self) -> &str {
        "hdr_quantile"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        list::require("hdr_quantile", arguments, 0)?;
        match arguments {
            [histogram, q] if q.is_numeric() || q.is_null() => {
                Ok(vec![histogram.clone(), DataType::Float64])
            }
            _ => plan_err!("hdr_quantile takes a histogram and a quantile: hdr_quantile(h, 0.99)"),
        }
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let histograms = arguments.args[0].to_array(arguments.number_rows)?;
        let quantiles = arguments.args[1].to_array(arguments.number_rows)?;
        let quantiles = quantiles.as_primitive::<Float64Type>();
        let rows = Histograms::try_new(&histograms)?;
        let mut answers = Int64Array::builder(rows.rows());
        for row in 0..rows.rows() {
            if quantiles.is_null(row) {
                answers.append_null();
                continue;
            }
            let quantile = quantiles.value(row);
            if !(0.0..=1.0).contains(&quantile) {
                return exec_err!("hdr_quantile: the quantile {quantile} is not between 0 and 1");
            }
            let answer = rows
                .row(row)
                .and_then(|pairs| quantile_us(rows.digits(), pairs, quantile))
                .and_then(|us| i64::try_from(us).ok());
            answers.append_option(answer);
        }
        Ok(ColumnarValue::Array(Arc::new(answers.finish())))
    }
}
