//! Data points → rows of `metrics`.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, DataPointFlags, Metric, NumberDataPoint, SummaryDataPoint,
};

use super::counts::Counts;
use super::histogram::{self, Scale};
use super::sender::{Labels, Sender, attributes};
use crate::record::Envelope;
use crate::rollup::Buckets;
use crate::schema::{Attributes, MetricRow};

/// Where a summary's quantiles are kept, as JSON: they cannot be merged, so they are no column.
const QUANTILES_KEY: &str = "behavior.quantiles";

/// The rows of a request that has been admitted; points without a value are counted in `dropped`.
pub(super) fn rows(
    request: &ExportMetricsServiceRequest,
    envelope: &Envelope,
    labels: &Labels,
    dropped: &mut Counts,
) -> Vec<MetricRow> {
    let mut rows = Vec::new();
    for resource in &request.resource_metrics {
        let sender = Sender::new(envelope, resource.resource.as_ref(), labels);
        for metric in resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
            Series { metric, sender: &sender, rows: &mut rows, dropped }.push();
        }
    }
    rows
}

/// What one data point says, whatever its kind.
struct Point<'a> {
    time_unix_nano: u64,
    flags: u32,
    attributes: &'a [KeyValue],
    value: Option<f64>,
    count: Option<u64>,
    sum: Option<f64>,
    h: Option<Buckets>,
}

/// One metric on its way into rows.
struct Series<'a> {
    metric: &'a Metric,
    sender: &'a Sender<'a>,
    rows: &'a mut Vec<MetricRow>,
    dropped: &'a mut Counts,
}

impl Series<'_> {
    fn push(&mut self) {
        let metric = self.metric;
        let scale = Scale::of(&metric.unit);
        match &metric.data {
            Some(Data::Gauge(gauge)) => {
                for point in &gauge.data_points {
                    self.row("gauge", 0, false, number(point));
                }
            }
            Some(Data::Sum(sum)) => {
                for point in &sum.data_points {
                    self.row("sum", sum.aggregation_temporality, sum.is_monotonic, number(point));
                }
            }
            Some(Data::Histogram(data)) => {
                for point in &data.data_points {
                    let point = Point {
                        time_unix_nano: point.time_unix_nano,
                        flags: point.flags,
                        attributes: &point.attributes,
                        value: None,
                        count: Some(point.count),
                        sum: point.sum,
                        h: histogram::explicit(point, scale),
                    };
                    self.row("histogram", data.aggregation_temporality, false, point);
                }
            }
            Some(Data::ExponentialHistogram(data)) => {
                for point in &data.data_points {
                    let point = Point {
                        time_unix_nano: point.time_unix_nano,
                        flags: point.flags,
                        attributes: &point.attributes,
                        value: None,
                        count: Some(point.count),
                        sum: point.sum,
                        h: histogram::exponential(point, scale),
                    };
                    self.row("histogram", data.aggregation_temporality, false, point);
                }
            }
            Some(Data::Summary(data)) => {
                for point in &data.data_points {
                    self.summary(point);
                }
            }
            None => {}
        }
    }

    fn summary(&mut self, point: &SummaryDataPoint) {
        let before = self.rows.len();
        let of_point = Point {
            time_unix_nano: point.time_unix_nano,
            flags: point.flags,
            attributes: &point.attributes,
            value: None,
            count: Some(point.count),
            sum: Some(point.sum),
            h: None,
        };
        self.row("summary", 0, false, of_point);
        let quantiles: serde_json::Map<String, serde_json::Value> = point
            .quantile_values
            .iter()
            .map(|at| (format!("{:?}", at.quantile), serde_json::Value::from(at.value)))
            .collect();
        if let Some(row) = self.rows.get_mut(before).filter(|_| !quantiles.is_empty()) {
            let own =
                row.attributes.0.iter().map(|(key, text)| (key.to_string(), text.to_string()));
            let text = serde_json::Value::Object(quantiles).to_string();
            row.attributes =
                own.chain([(String::from(QUANTILES_KEY), text)]).collect::<Attributes>();
        }
    }

    fn row(&mut self, kind: &str, temporality: i32, monotonic: bool, point: Point<'_>) {
        let sender = self.sender;
        if point.flags & DataPointFlags::NoRecordedValueMask as u32 != 0 {
            return self.dropped.add("no_recorded_value", 1);
        }
        if point.value.is_none() && point.count.is_none() {
            return self.dropped.add("no_value", 1);
        }
        let temporality = match AggregationTemporality::try_from(temporality) {
            Ok(AggregationTemporality::Delta) => "delta",
            Ok(AggregationTemporality::Cumulative) => "cumulative",
            Ok(AggregationTemporality::Unspecified) | Err(_) => "unspecified",
        };
        self.rows.push(MetricRow {
            time: sender.time(sender.client_time(point.time_unix_nano)),
            time_received: sender.received,
            app: sender.app.clone(),
            environment: sender.environment.clone(),
            service: sender.service.clone(),
            service_version: sender.service_version.clone(),
            name: sender.labels.get(&self.metric.name),
            unit: sender.labels.or_unknown(Some(self.metric.unit.as_str().into())),
            kind: sender.labels.get(kind),
            temporality: sender.labels.get(temporality),
            monotonic,
            value: point.value,
            count: point.count.map(|count| i64::try_from(count).unwrap_or(i64::MAX)),
            sum: point.sum,
            h: point.h,
            cloud_region: sender.cloud_region.clone(),
            verified: sender.verified,
            attributes: attributes(point.attributes),
            resource: sender.resource.clone(),
        });
    }
}

fn number(point: &NumberDataPoint) -> Point<'_> {
    Point {
        time_unix_nano: point.time_unix_nano,
        flags: point.flags,
        attributes: &point.attributes,
        value: point.value.as_ref().map(|value| match value {
            Value::AsDouble(double) => *double,
            Value::AsInt(integer) => *integer as f64,
        }),
        count: None,
        sum: None,
        h: None,
    }
}
