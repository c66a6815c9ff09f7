//! `hdr_quantile_bound(c, q)`: what a quantile is at least, where too many left to know it.

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::censored;
use super::hdr_quantile::{answers, microseconds, with_quantile};
use super::survival::Answer;

/// The scalar function `hdr_quantile_bound`.
pub(crate) fn hdr_quantile_bound() -> ScalarUDF {
    ScalarUDF::new_from_impl(HdrQuantileBound::new())
}

/// `hdr_quantile_bound(c, q)`: what a quantile of a censored histogram is, or what it is at least,
/// in microseconds (`Int64`).
///
/// Where the estimate reaches `q` it is `hdr_quantile(c, q)`. Where too many left, it is the
/// greatest lower bound there is: the longest wait of all, since nobody was there to see more, as
/// the least value of its bucket. `hdr_is_bound(c, q)` tells the two apart.
///
/// Like the estimate, the bound takes those who left to be no different from those who stayed.
/// `hdr_quantile(hdr(waited_us), q)` is a lower bound that assumes nothing, and is never above it.
///
/// ```sql
/// > SELECT q, hdr_quantile(c, q), hdr_quantile_bound(c, q), hdr_is_bound(c, q)
///   FROM (SELECT hdr_censored(x, finished) AS c
///         FROM (VALUES (100, true), (200, false), (300, false)) AS t(x, finished)),
///        (VALUES (0.3), (0.5)) AS quantiles(q);
/// +-----+------+-----+-------+
/// | 0.3 | 100  | 100 | false |
/// | 0.5 | NULL | 300 | true  |
/// +-----+------+-----+-------+
/// ```
#[derive(Debug, PartialEq, Eq, Hash)]
struct HdrQuantileBound {
    signature: Signature,
}

impl HdrQuantileBound {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for HdrQuantileBound {
    fn name(&self) -> &str {
        "hdr_quantile_bound"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        censored::require("hdr_quantile_bound", arguments, 0)?;
        with_quantile("hdr_quantile_bound", arguments)
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let answers: Int64Array = answers("hdr_quantile_bound", &arguments)?
            .into_iter()
            .map(|answer| match answer? {
                (digits, Answer::Reached(bucket)) => microseconds(digits.midpoint_us(bucket)),
                (digits, Answer::NotBefore(bucket)) => microseconds(digits.least_us(bucket)),
            })
            .collect();
        Ok(ColumnarValue::Array(Arc::new(answers)))
    }
}
