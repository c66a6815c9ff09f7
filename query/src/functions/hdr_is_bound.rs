//! `hdr_is_bound(c, q)`: whether a quantile is only known to be at least so much.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::censored;
use super::hdr_quantile::{answers, with_quantile};
use super::survival::Answer;

/// The scalar function `hdr_is_bound`.
pub(crate) fn hdr_is_bound() -> ScalarUDF {
    ScalarUDF::new_from_impl(HdrIsBound::new())
}

/// `hdr_is_bound(c, q)`: true where too many left for a quantile of a censored histogram to be
/// known, so that `hdr_quantile_bound(c, q)` is a lower bound and `hdr_quantile(c, q)` is NULL; false
/// where it is known; NULL where the histogram or `q` is NULL, or nothing was counted.
///
/// ```sql
/// > SELECT hdr_is_bound(hdr_censored(x, finished), 0.99)
///   FROM (VALUES (100, true), (300, false)) AS t(x, finished);
/// +------+
/// | true |
/// +------+
/// ```
#[derive(Debug, PartialEq, Eq, Hash)]
struct HdrIsBound {
    signature: Signature,
}

impl HdrIsBound {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for HdrIsBound {
    fn name(&self) -> &str {
        "hdr_is_bound"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        censored::require("hdr_is_bound", arguments, 0)?;
        with_quantile("hdr_is_bound", arguments)
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let answers: BooleanArray = answers("hdr_is_bound", &arguments)?
            .into_iter()
            .map(|answer| answer.map(|(_, answer)| matches!(answer, Answer::NotBefore(_))))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(answers)))
    }
}
