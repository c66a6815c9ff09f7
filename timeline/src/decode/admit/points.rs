//! Which data points are let in, metric by metric.

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, HistogramDataPoint, Metric};

use super::bound::{Bounds, NAME_BYTES_MAX};
use super::{MALFORMED_FIELD, MALFORMED_FLAGS, MALFORMED_METRIC, Tally, clear_invalid};

/// Buckets of one histogram; SDKs make 16 explicit or 160 exponential ones.
pub const BUCKETS_MAX: usize = 4096;

/// Judges and bounds the data points of a metric; false where none is left.
pub(super) fn judge(metric: &mut Metric, tally: &mut Tally) -> bool {
    let odd = (metric.name == MALFORMED_METRIC).then_some(MALFORMED_FIELD);
    let nameless = odd.or(metric.name.is_empty().then_some("no_metric_name"));
    let mut bounds = tally.bounds();
    bounds.text(&mut metric.name, NAME_BYTES_MAX);
    bounds.text(&mut metric.unit, NAME_BYTES_MAX);
    bounds.text(&mut metric.description, NAME_BYTES_MAX);
    bounds.attributes(&mut metric.metadata);
    /// Keeps the points without a fault, and bounds what they carry.
    macro_rules! judge {
        ($points:expr, |$point:ident| $fault:expr, $($exemplars:ident)?) => {{
            $points.retain_mut(|$point| {
                let odd = ($point.flags == MALFORMED_FLAGS).then_some(MALFORMED_FIELD);
                tally.judge(nameless.or(odd).or($fault)) && {
                    let mut bounds = tally.bounds();
                    bounds.attributes(&mut $point.attributes);
                    $( bound_exemplars(&mut $point.$exemplars, &mut bounds); )?
                    true
                }
            });
            !$points.is_empty()
        }};
    }
    let judged = tally.judged();
    let has_points = match &mut metric.data {
        Some(Data::Gauge(gauge)) => judge!(gauge.data_points, |point| None, exemplars),
        Some(Data::Sum(sum)) => judge!(sum.data_points, |point| None, exemplars),
        Some(Data::Histogram(histogram)) => {
            judge!(histogram.data_points, |point| histogram_fault(point), exemplars)
        }
        Some(Data::ExponentialHistogram(histogram)) => judge!(
            histogram.data_points,
            |point| {
                let sides = [&point.positive, &point.negative].into_iter().flatten();
                let most = sides.map(|side| side.bucket_counts.len()).max();
                (most > Some(BUCKETS_MAX)).then_some("too_many_buckets")
            },
            exemplars
        ),
        Some(Data::Summary(summary)) => {
            judge!(summary.data_points, |point| (point.quantile_values.len() > BUCKETS_MAX)
                .then_some("too_many_quantiles"),)
        }
        None => false,
    };
    // One that is odd and tells of no points counts as one.
    if odd.is_some() && tally.judged() == judged {
        tally.judge(odd);
    }
    has_points
}

fn bound_exemplars(exemplars: &mut Vec<Exemplar>, bounds: &mut Bounds<'_>) {
    bounds.parts(exemplars);
    for exemplar in exemplars {
        clear_invalid::<16>(&mut exemplar.trace_id);
        clear_invalid::<8>(&mut exemplar.span_id);
        bounds.attributes(&mut exemplar.filtered_attributes);
    }
}

/// Why an explicit histogram has no meaning.
fn histogram_fault(point: &HistogramDataPoint) -> Option<&'static str> {
    let (buckets, bounds) = (&point.bucket_counts, &point.explicit_bounds);
    if buckets.len() > BUCKETS_MAX {
        Some("too_many_buckets")
    } else if buckets.len() != bounds.len() + 1 && !(buckets.is_empty() && bounds.is_empty()) {
        Some("buckets_without_bounds")
    } else if !bounds.is_sorted_by(|low, high| low < high) || bounds.iter().any(|at| at.is_nan()) {
        Some("bounds_not_ascending")
    } else {
        None
    }
}
