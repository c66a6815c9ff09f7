//! `hdr_quantile(h, q)`: a quantile of a histogram, in microseconds.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::censored::{self, Censored};
use super::digits::Digits;
use super::histogram::quantile_us;
use super::list::{self, Histograms};
use super::survival::{self, Answer};

/// The scalar function `hdr_quantile`.
pub(crate) fn hdr_quantile() -> ScalarUDF {
    ScalarUDF::new_from_impl(HdrQuantile::new())
}

/// `hdr_quantile(h, q)`: a quantile of a histogram, as its bucket's midpoint in microseconds
/// (`Int64`).
///
/// Of a plain histogram it is the order statistic ceil(q·n). Of a censored one it is the
/// Kaplan–Meier estimate of the time that everybody would have waited for the answer, those who
/// left included; in one bucket, answers come before departures. Where too many left to know it is
/// NULL: `hdr_quantile_bound(c, q)` then gives what it is at least, and `hdr_is_bound(c, q)` says so.
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
/// > SELECT hdr_quantile(hdr_censored(x, finished), 0.5)
///   FROM (VALUES (100, true), (200, true), (250, false), (300, true)) AS t(x, finished);
/// +-----+
/// | 200 |
/// +-----+
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
        if arguments.first().is_none_or(|first| !censored::is_meant(first)) {
            list::require("hdr_quantile", arguments, 0)?;
        } else {
            censored::require("hdr_quantile", arguments, 0)?;
        }
        with_quantile("hdr_quantile", arguments)
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let first = arguments.args[0].to_array(arguments.number_rows)?;
        if censored::digits_of(first.data_type()).is_some() {
            let answers: Int64Array = answers("hdr_quantile", &arguments)?
                .into_iter()
                .map(|answer| match answer? {
                    (digits, Answer::Reached(bucket)) => microseconds(digits.midpoint_us(bucket)),
                    (_, Answer::NotBefore(_)) => None,
                })
                .collect();
            return Ok(ColumnarValue::Array(Arc::new(answers)));
        }
        let rows = Histograms::try_new(&first)?;
        let quantiles = quantiles("hdr_quantile", &arguments)?;
        let answers: Int64Array = (0..rows.rows())
            .map(|row| microseconds(quantile_us(rows.digits(), rows.row(row)?, quantiles[row]?)?))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(answers)))
    }
}

/// The types of a histogram and a quantile.
pub(crate) fn with_quantile(function: &str, arguments: &[DataType]) -> Result<Vec<DataType>> {
    match arguments {
        [histogram, q] if q.is_numeric() || q.is_null() => {
            Ok(vec![histogram.clone(), DataType::Float64])
        }
        _ => plan_err!("{function} takes a histogram and a quantile: {function}(h, 0.99)"),
    }
}

/// The second argument, one for each row.
fn quantiles(function: &str, arguments: &ScalarFunctionArgs) -> Result<Vec<Option<f64>>> {
    let quantiles = arguments.args[1].to_array(arguments.number_rows)?;
    let quantiles: Vec<Option<f64>> = quantiles.as_primitive::<Float64Type>().iter().collect();
    match quantiles.iter().flatten().find(|quantile| !(0.0..=1.0).contains(*quantile)) {
        Some(wrong) => exec_err!("{function}: the quantile {wrong} is not between 0 and 1"),
        None => Ok(quantiles),
    }
}

/// Where the quantiles of censored histograms lie, one for each row, in buckets of which digits.
pub(crate) fn answers(
    function: &str,
    arguments: &ScalarFunctionArgs,
) -> Result<Vec<Option<(Digits, Answer)>>> {
    let column = arguments.args[0].to_array(arguments.number_rows)?;
    let rows = Censored::try_new(&column)?;
    let quantiles = quantiles(function, arguments)?;
    let answer = |row: usize| {
        let (finished, left) = rows.row(row)?;
        Some((rows.digits(), survival::quantile(finished, left, quantiles[row]?)?))
    };
    Ok((0..rows.rows()).map(answer).collect())
}

/// As SQL says it.
pub(crate) fn microseconds(us: u64) -> Option<i64> {
    i64::try_from(us).ok()
}
