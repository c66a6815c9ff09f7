//! `hdr_patience(finished, abandoned [, censored])`: how long users wait before they leave.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, ListArray, StructArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, exec_datafusion_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::digits::Digits;
use super::list::{self, Histograms};
use super::survival::{Survival, steps};

/// The scalar function `hdr_patience`.
pub(crate) fn hdr_patience() -> ScalarUDF {
    ScalarUDF::new_from_impl(HdrPatience::new())
}

/// `hdr_patience(finished, abandoned)`, `hdr_patience(finished, abandoned, censored)`: the two
/// curves of patience, by the second of the wait, from histograms of how long was waited: by those
/// who got their answer, by those who left, and by those of whom neither is known (cancelled,
/// still pending, hidden).
///
/// A list with an item for each second in which anybody's wait ended:
/// * `waited_s`: the second, counted from 0
/// * `at_risk`: who was still waiting when it began
/// * `finished`, `abandoned`, `censored`: whose wait ended in it, and how; a bucket across a
///   full second counts to the later one
/// * `survival`: Kaplan–Meier of leaving, at its end: the share who would still be waiting had no
///   answer come. An answer censors. This is patience itself, whatever the system does.
/// * `incidence`: cumulative incidence of leaving, at its end: the share who really left by then.
///   An answer competes: whoever has it leaves no more. This is what slowness cost.
///
/// The two are not complements: 1 − survival counts those who would have left, too. In one bucket
/// leaving comes before an answer, and both before what is censored. Histograms of two and of three
/// digits are not mixed. NULL where a histogram is NULL.
///
/// ```sql
/// > SELECT p['waited_s'] AS s, p['at_risk'] AS n, p['survival'] AS survival, p['incidence'] AS incidence
///   FROM (SELECT unnest(hdr_patience(hdr(us) FILTER (WHERE ok), hdr(us) FILTER (WHERE NOT ok))) AS p
///         FROM (VALUES (1e6, true), (2e6, false), (3e6, true), (4e6, false)) AS t(us, ok));
/// +---+---+--------------------+-----------+
/// | s | n | survival           | incidence |
/// +---+---+--------------------+-----------+
/// | 1 | 4 | 1.0                | 0.0       |
/// | 2 | 3 | 0.6666666666666666 | 0.25      |
/// | 3 | 2 | 0.6666666666666666 | 0.25      |
/// | 4 | 1 | 0.0                | 0.5       |
/// +---+---+--------------------+-----------+
/// ```
#[derive(Debug, PartialEq, Eq, Hash)]
struct HdrPatience {
    signature: Signature,
}

impl HdrPatience {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for HdrPatience {
    fn name(&self) -> &str {
        "hdr_patience"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        if !(2..=3).contains(&arguments.len()) {
            return plan_err!(
                "hdr_patience takes histograms of the waits: \
                 hdr_patience(finished, abandoned) or hdr_patience(finished, abandoned, censored)"
            );
        }
        let first = list::require("hdr_patience", arguments, 0)?;
        for position in 1..arguments.len() {
            if list::require("hdr_patience", arguments, position)? != first {
                return plan_err!("{}", list::MIXED);
            }
        }
        Ok(arguments.to_vec())
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(item()))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns: Vec<ArrayRef> = arguments
            .args
            .iter()
            .map(|argument| argument.to_array(arguments.number_rows))
            .collect::<Result<_>>()?;
        let histograms: Vec<Histograms<'_>> =
            columns.iter().map(Histograms::try_new).collect::<Result<_>>()?;
        let mut curves = Vec::with_capacity(arguments.number_rows);
        for row in 0..arguments.number_rows {
            let pairs = |kind: usize| -> Option<Vec<(u32, i64)>> {
                histograms.get(kind).map_or(Some(Vec::new()), |of| Some(of.row(row)?.collect()))
            };
            let kinds = pairs(0).zip(pairs(1)).zip(pairs(2));
            let digits = histograms[0].digits();
            curves.push(kinds.map(|((finished, abandoned), censored)| {
                curve(digits, [finished, abandoned, censored])
            }));
        }
        Ok(ColumnarValue::Array(Arc::new(array(curves)?)))
    }
}

/// One second of the wait.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    waited_s: i64,
    at_risk: i128,
    /// Finished, abandoned, censored.
    ended: [i128; 3],
    survival: f64,
    incidence: f64,
}

/// Both curves. Within a second they follow the buckets; an item says how it ends.
fn curve(digits: Digits, histograms: [Vec<(u32, i64)>; 3]) -> Vec<Second> {
    let steps = steps(histograms);
    let total: i128 = steps.iter().flat_map(|step| step.counts).sum();
    let mut patience = Survival::new(total);
    // Neither gone nor answered: what the incidence of leaving is taken of.
    let mut waiting = Survival::new(total);
    let mut incidence = 0.0;
    let mut seconds: Vec<Second> = Vec::new();
    for step in steps.iter().filter(|step| step.counts != [0; 3]) {
        let [finished, abandoned, censored] = step.counts;
        // A bucket across a full second counts there: timeouts and timers end at full seconds or a
        // little later, hardly ever a thousandth before.
        let waited_s = (digits.greatest_us(step.bucket) / 1_000_000).cast_signed();
        if seconds.last().is_none_or(|last| last.waited_s != waited_s) {
            seconds.push(Second { waited_s, at_risk: waiting.at_risk(), ..Second::default() });
        }
        incidence += waiting.value() * (abandoned as f64 / waiting.at_risk() as f64);
        waiting.events(finished + abandoned);
        waiting.departures(censored);
        patience.events(abandoned);
        patience.departures(finished + censored);
        let second = seconds.last_mut().expect("just pushed");
        for (all, new) in second.ended.iter_mut().zip(step.counts) {
            *all += new;
        }
        (second.survival, second.incidence) = (patience.value(), incidence);
    }
    seconds
}

fn item() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Struct(fields()), false))
}

fn fields() -> Fields {
    let whole = |name: &str| Field::new(name, DataType::Int64, false);
    let share = |name: &str| Field::new(name, DataType::Float64, false);
    Fields::from(vec![
        whole("waited_s"),
        whole("at_risk"),
        whole("finished"),
        whole("abandoned"),
        whole("censored"),
        share("survival"),
        share("incidence"),
    ])
}

fn array(curves: Vec<Option<Vec<Second>>>) -> Result<ListArray> {
    let mut offsets: Vec<i32> = vec![0];
    let mut valid: Vec<bool> = Vec::with_capacity(curves.len());
    let mut all: Vec<Second> = Vec::new();
    for curve in curves {
        valid.push(curve.is_some());
        all.extend(curve.into_iter().flatten());
        let end = i32::try_from(all.len())
            .map_err(|_| exec_datafusion_err!("one batch holds too many seconds of patience"))?;
        offsets.push(end);
    }
    let whole = |of: &dyn Fn(&Second) -> i128| -> ArrayRef {
        let counts = all.iter().map(|second| i64::try_from(of(second)).unwrap_or(i64::MAX));
        Arc::new(Int64Array::from_iter_values(counts))
    };
    let share = |of: &dyn Fn(&Second) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(all.iter().map(of)))
    };
    let items = StructArray::try_new(
        fields(),
        vec![
            whole(&|second| i128::from(second.waited_s)),
            whole(&|second| second.at_risk),
            whole(&|second| second.ended[0]),
            whole(&|second| second.ended[1]),
            whole(&|second| second.ended[2]),
            share(&|second| second.survival),
            share(&|second| second.incidence),
        ],
        None,
    )?;
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(ListArray::try_new(item(), offsets, Arc::new(items), Some(valid.into()))?)
}
