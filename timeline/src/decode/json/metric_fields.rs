//! Which key is which field, of the messages of metrics.

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, exemplar, exponential_histogram_data_point, metric, number_data_point,
    summary_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde::de::MapAccess;

use super::fields::{choose, message};
use super::read::{Message, Odd, Reader};
use super::scalar::{Boolean, Double, Enumeration, Id, Integer, Text};
use super::structure::{Many, Maybe, One};
use crate::decode::admit::{MALFORMED_FLAGS, MALFORMED_METRIC};

message!(ResourceMetrics [Forgive, |resource| resource.scope_metrics = vec![ScopeMetrics::odd()], size_of::<(ScopeMetrics, Metric)>()] {
    "resource" => resource: Maybe<One<Resource>>,
    "scopeMetrics" => scope_metrics: Many<One<ScopeMetrics>>,
    "schemaUrl" => schema_url: Text,
});
message!(ScopeMetrics [Forgive, |scope| scope.metrics = vec![Metric::odd()], size_of::<Metric>()] {
    "scope" => scope: Maybe<One<InstrumentationScope>>,
    "metrics" => metrics: Many<One<Metric>>,
    "schemaUrl" => schema_url: Text,
});
message!(Metric [Spoil, |metric| metric.name = String::from(MALFORMED_METRIC)] {
    "name" => name: Text,
    "description" => description: Text,
    "unit" => unit: Text,
    "metadata" => metadata: Many<One<KeyValue>>,
} oneof(this, reader) {
    "gauge" => choose!(this.data, metric::Data::Gauge, reader.value::<One<Gauge>>("gauge")),
    "sum" => choose!(this.data, metric::Data::Sum, reader.value::<One<Sum>>("sum")),
    "histogram" =>
        choose!(this.data, metric::Data::Histogram, reader.value::<One<Histogram>>("histogram")),
    "exponentialHistogram" => choose!(
        this.data,
        metric::Data::ExponentialHistogram,
        reader.value::<One<ExponentialHistogram>>("exponentialHistogram")
    ),
    "summary" => choose!(this.data, metric::Data::Summary, reader.value::<One<Summary>>("summary")),
});
message!(Gauge [Pass] { "dataPoints" => data_points: Many<One<NumberDataPoint>>, });
message!(Sum [Pass] {
    "dataPoints" => data_points: Many<One<NumberDataPoint>>,
    "aggregationTemporality" => aggregation_temporality: Enumeration,
    "isMonotonic" => is_monotonic: Boolean,
});
message!(Histogram [Pass] {
    "dataPoints" => data_points: Many<One<HistogramDataPoint>>,
    "aggregationTemporality" => aggregation_temporality: Enumeration,
});
message!(ExponentialHistogram [Pass] {
    "dataPoints" => data_points: Many<One<ExponentialHistogramDataPoint>>,
    "aggregationTemporality" => aggregation_temporality: Enumeration,
});
message!(Summary [Pass] { "dataPoints" => data_points: Many<One<SummaryDataPoint>>, });
message!(NumberDataPoint [Spoil, |point| point.flags = MALFORMED_FLAGS] {
    "attributes" => attributes: Many<One<KeyValue>>,
    "startTimeUnixNano" => start_time_unix_nano: Integer<u64>,
    "timeUnixNano" => time_unix_nano: Integer<u64>,
    "exemplars" => exemplars: Many<One<Exemplar>>,
    "flags" => flags: Integer<u32>,
} oneof(this, reader) {
    "asDouble" =>
        choose!(this.value, number_data_point::Value::AsDouble, reader.value::<Double>("asDouble")),
    "asInt" =>
        choose!(this.value, number_data_point::Value::AsInt, reader.value::<Integer<i64>>("asInt")),
});
message!(HistogramDataPoint [Spoil, |point| point.flags = MALFORMED_FLAGS] {
    "attributes" => attributes: Many<One<KeyValue>>,
    "startTimeUnixNano" => start_time_unix_nano: Integer<u64>,
    "timeUnixNano" => time_unix_nano: Integer<u64>,
    "count" => count: Integer<u64>,
    "sum" => sum: Maybe<Double>,
    "bucketCounts" => bucket_counts: Many<Integer<u64>>,
    "explicitBounds" => explicit_bounds: Many<Double>,
    "exemplars" => exemplars: Many<One<Exemplar>>,
    "flags" => flags: Integer<u32>,
    "min" => min: Maybe<Double>,
    "max" => max: Maybe<Double>,
});
message!(ExponentialHistogramDataPoint [Spoil, |point| point.flags = MALFORMED_FLAGS] {
    "attributes" => attributes: Many<One<KeyValue>>,
    "startTimeUnixNano" => start_time_unix_nano: Integer<u64>,
    "timeUnixNano" => time_unix_nano: Integer<u64>,
    "count" => count: Integer<u64>,
    "sum" => sum: Maybe<Double>,
    "scale" => scale: Integer<i32>,
    "zeroCount" => zero_count: Integer<u64>,
    "positive" => positive: Maybe<One<exponential_histogram_data_point::Buckets>>,
    "negative" => negative: Maybe<One<exponential_histogram_data_point::Buckets>>,
    "flags" => flags: Integer<u32>,
    "exemplars" => exemplars: Many<One<Exemplar>>,
    "min" => min: Maybe<Double>,
    "max" => max: Maybe<Double>,
    "zeroThreshold" => zero_threshold: Double,
});
message!(exponential_histogram_data_point::Buckets [Pass] {
    "offset" => offset: Integer<i32>,
    "bucketCounts" => bucket_counts: Many<Integer<u64>>,
});
message!(SummaryDataPoint [Spoil, |point| point.flags = MALFORMED_FLAGS] {
    "attributes" => attributes: Many<One<KeyValue>>,
    "startTimeUnixNano" => start_time_unix_nano: Integer<u64>,
    "timeUnixNano" => time_unix_nano: Integer<u64>,
    "count" => count: Integer<u64>,
    "sum" => sum: Double,
    "quantileValues" => quantile_values: Many<One<summary_data_point::ValueAtQuantile>>,
    "flags" => flags: Integer<u32>,
});
message!(summary_data_point::ValueAtQuantile [Pass] {
    "quantile" => quantile: Double,
    "value" => value: Double,
});
message!(Exemplar [Pass] {
    "filteredAttributes" => filtered_attributes: Many<One<KeyValue>>,
    "timeUnixNano" => time_unix_nano: Integer<u64>,
    "spanId" => span_id: Id,
    "traceId" => trace_id: Id,
} oneof(this, reader) {
    "asDouble" => choose!(this.value, exemplar::Value::AsDouble, reader.value::<Double>("asDouble")),
    "asInt" => choose!(this.value, exemplar::Value::AsInt, reader.value::<Integer<i64>>("asInt")),
});
