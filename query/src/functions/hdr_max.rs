//! `hdr_max(h)`: the largest value of a histogram, to its resolution.

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::list::{self, Histograms};

/// The scalar function `hdr_max`.
pub(crate) fn hdr_max() -> ScalarUDF {
    ScalarUDF::new_from_impl(HdrMax::new())
}

/// `hdr_max(h)`: the midpoint of the highest bucket with values, in microseconds (`Int64`); NULL
/// where `h` is NULL or empty.
///
/// ```sql
/// > SELECT hdr_max(hdr(x)) FROM (VALUES (10), (20)) AS t(x);
/// +----+
/// | 20 |
/// +----+
/// ```
#[derive(Debug, PartialEq, Eq, Hash)]
struct HdrMax {
    signature: Signature,
}

impl HdrMax {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for HdrMax {
    fn name(&self) -> &str {
        "hdr_max"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        list::require("hdr_max", arguments, 0)?;
        if arguments.len() != 1 {
            return plan_err!("hdr_max takes one histogram");
        }
        Ok(arguments.to_vec())
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let histograms = arguments.args[0].to_array(arguments.number_rows)?;
        let rows = Histograms::try_new(&histograms)?;
        let answers: Int64Array = (0..rows.rows())
            .map(|row| {
                let highest = rows.row(row)?.filter(|pair| pair.1 > 0).last()?.0;
                i64::try_from(rows.digits().midpoint_us(highest)).ok()
            })
            .collect();
        Ok(ColumnarValue::Array(Arc::new(answers)))
    }
}
