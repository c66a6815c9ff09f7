//! `hdr_fraction_below(h, us)`: the share of values faster than a threshold.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::histogram::count;
use super::list::{self, Histograms};

/// The scalar function `hdr_fraction_below`.
pub(crate) fn hdr_fraction_below() -> ScalarUDF {
    ScalarUDF::new_from_impl(HdrFractionBelow::new())
}

/// `hdr_fraction_below(h, us)`: the share of values whose bucket's midpoint lies below `us`
/// microseconds, 0 to 1 (`Float64`): an objective such as "99 % below 2 s" in one call.
///
/// NULL where an argument is NULL or the histogram is empty. The bucket that holds `us` itself
/// counts as a whole, on the side of its midpoint.
///
/// ```sql
/// > SELECT hdr_fraction_below(hdr(x), 100) FROM (VALUES (10), (20), (200), (300)) AS t(x);
/// +-----+
/// | 0.5 |
/// +-----+
/// ```
#[derive(Debug, PartialEq, Eq, Hash)]
struct HdrFractionBelow {
    signature: Signature,
}

impl HdrFractionBelow {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for HdrFractionBelow {
    fn name(&self) -> &str {
        "hdr_fraction_below"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        list::require("hdr_fraction_below", arguments, 0)?;
        match arguments {
            [histogram, us] if us.is_numeric() || us.is_null() => {
                Ok(vec![histogram.clone(), DataType::Int64])
            }
            _ => plan_err!(
                "hdr_fraction_below takes a histogram and microseconds: hdr_fraction_below(h, 2000000)"
            ),
        }
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let histograms = arguments.args[0].to_array(arguments.number_rows)?;
        let thresholds = arguments.args[1].to_array(arguments.number_rows)?;
        let thresholds = thresholds.as_primitive::<Int64Type>();
        let rows = Histograms::try_new(&histograms)?;
        let digits = rows.digits();
        let answers: Float64Array = (0..rows.rows())
            .map(|row| {
                let pairs = rows.row(row)?;
                let total = count(pairs.clone());
                if thresholds.is_null(row) || total <= 0 {
                    return None;
                }
                // A negative threshold has nothing below it.
                let threshold = u64::try_from(thresholds.value(row)).unwrap_or(0);
                let below = count(pairs.take_while(|pair| digits.midpoint_us(pair.0) < threshold));
                Some(below as f64 / total as f64)
            })
            .collect();
        Ok(ColumnarValue::Array(Arc::new(answers)))
    }
}
