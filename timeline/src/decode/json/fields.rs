//! Which key is which field, of every message of the three signals.
//!
//! Keys are lowerCamelCase, as OTLP/JSON wants them; the snake_case of the `.proto` files is an
//! unknown key and skipped.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, exemplar, exponential_histogram_data_point, metric, number_data_point,
    summary_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use serde::de::MapAccess;

use super::BeaconBody;
use super::number::{Base64, Boolean, Double, Enumeration, Id, Integer};
use super::read::{Many, Maybe, Message, One, Reader, Text};

/// Implements [`Message`] from a table of keys, fields and forms, and a last arm for the keys that
/// are alternatives of one field.
macro_rules! message {
    (
        $type:ty { $( $key:literal => $($field:ident).+: $form:ty, )* }
        $( oneof($this:ident, $reader:ident) { $( $one:literal => $body:expr, )* } )?
    ) => {
        impl Message for $type {
            fn field<'de, A: MapAccess<'de>>(
                &mut self,
                key: &str,
                reader: &mut Reader<'_, A>,
            ) -> Result<(), A::Error> {
                match key {
                    $( $key => reader.set::<$form>($key, &mut self.$($field).+), )*
                    $( $( $one => {
                        let ($this, $reader) = (self, reader);
                        $body;
                        Ok(())
                    } )* )?
                    _ => reader.skip(),
                }
            }
        }
    };
}

/// Sets a field with alternatives, where the key's value is not `null`: the last one wins.
macro_rules! choose {
    ($target:expr, $variant:path, $value:expr) => {
        if let Some(value) = $value? {
            $target = Some($variant(value));
        }
    };
}

message!(ExportTraceServiceRequest {
    "resourceSpans" => resource_spans: Many<One<ResourceSpans>>,
});
message!(ExportLogsServiceRequest {
    "resourceLogs" => resource_logs: Many<One<ResourceLogs>>,
});
message!(ExportMetricsServiceRequest {
    "resourceMetrics" => resource_metrics: Many<One<ResourceMetrics>>,
});
message!(BeaconBody {
    "resourceSpans" => traces.resource_spans: Many<One<ResourceSpans>>,
    "resourceLogs" => logs.resource_logs: Many<One<ResourceLogs>>,
});

message!(Resource {
    "attributes" => attributes: Many<One<KeyValue>>,
    "droppedAttributesCount" => dropped_attributes_count: Integer<u32>,
    "entityRefs" => entity_refs: Many<One<EntityRef>>,
});
message!(EntityRef {
    "schemaUrl" => schema_url: Text,
    "type" => r#type: Text,
    "idKeys" => id_keys: Many<Text>,
    "descriptionKeys" => description_keys: Many<Text>,
});
message!(InstrumentationScope {
    "name" => name: Text,
    "version" => version: Text,
    "attributes" => attributes: Many<One<KeyValue>>,
    "droppedAttributesCount" => dropped_attributes_count: Integer<u32>,
});
message!(KeyValue {
    "key" => key: Text,
    "value" => value: Maybe<One<AnyValue>>,
});
message!(ArrayValue { "values" => values: Many<One<AnyValue>>, });
message!(KeyValueList { "values" => values: Many<One<KeyValue>>, });
message!(AnyValue {} oneof(this, reader) {
    "stringValue" => choose!(this.value, Value::StringValue, reader.value::<Text>("stringValue")),
    "boolValue" => choose!(this.value, Value::BoolValue, reader.value::<Boolean>("boolValue")),
    "intValue" => choose!(this.value, Value::IntValue, reader.value::<Integer<i64>>("intValue")),
    "doubleValue" => choose!(this.value, Value::DoubleValue, reader.value::<Double>("doubleValue")),
    "bytesValue" => choose!(this.value, Value::BytesValue, reader.value::<Base64>("bytesValue")),
    "arrayValue" =>
        choose!(this.value, Value::ArrayValue, reader.nested::<One<ArrayValue>>("arrayValue")),
    "kvlistValue" =>
        choose!(this.value, Value::KvlistValue, reader.nested::<One<KeyValueList>>("kvlistValue")),
});

message!(ResourceSpans {
    "resource" => resource: Maybe<One<Resource>>,
    "scopeSpans" => scope_spans: Many<One<ScopeSpans>>,
    "schemaUrl" => schema_url: Text,
});
message!(ScopeSpans {
    "scope" => scope: Maybe<One<InstrumentationScope>>,
    "spans" => spans: Many<One<Span>>,
    "schemaUrl" => schema_url: Text,
});
message!(Span {
    "traceId" => trace_id: Id,
    "spanId" => span_id: Id,
    "traceState" => trace_state: Text,
    "parentSpanId" => parent_span_id: Id,
    "flags" => flags: Integer<u32>,
    "name" => name: Text,
    "kind" => kind: Enumeration,
    "startTimeUnixNano" => start_time_unix_nano: Integer<u64>,
    "endTimeUnixNano" => end_time_unix_nano: Integer<u64>,
    "attributes" => attributes: Many<One<KeyValue>>,
    "droppedAttributesCount" => dropped_attributes_count: Integer<u32>,
    "events" => events: Many<One<span::Event>>,
    "droppedEventsCount" => dropped_events_count: Integer<u32>,
    "links" => links: Many<One<span::Link>>,
    "droppedLinksCount" => dropped_links_count: Integer<u32>,
    "status" => status: Maybe<One<Status>>,
});
message!(span::Event {
    "timeUnixNano" => time_unix_nano: Integer<u64>,
    "name" => name: Text,
    "attributes" => attributes: Many<One<KeyValue>>,
    "droppedAttributesCount" => dropped_attributes_count: Integer<u32>,
});
message!(span::Link {
    "traceId" => trace_id: Id,
    "spanId" => span_id: Id,
    "traceState" => trace_state: Text,
    "attributes" => attributes: Many<One<KeyValue>>,
    "droppedAttributesCount" => dropped_attributes_count: Integer<u32>,
    "flags" => flags: Integer<u32>,
});
message!(Status {
    "message" => message: Text,
    "code" => code: Enumeration,
});

message!(ResourceLogs {
    "resource" => resource: Maybe<One<Resource>>,
    "scopeLogs" => scope_logs: Many<One<ScopeLogs>>,
    "schemaUrl" => schema_url: Text,
});
message!(ScopeLogs {
    "scope" => scope: Maybe<One<InstrumentationScope>>,
    "logRecords" => log_records: Many<One<LogRecord>>,
    "schemaUrl" => schema_url: Text,
});
message!(LogRecord {
    "timeUnixNano" => time_unix_nano: Integer<u64>,
    "observedTimeUnixNano" => observed_time_unix_nano: Integer<u64>,
    "severityNumber" => severity_number: Enumeration,
    "severityText" => severity_text: Text,
    "body" => body: Maybe<One<AnyValue>>,
    "attributes" => attributes: Many<One<KeyValue>>,
    "droppedAttributesCount" => dropped_attributes_count: Integer<u32>,
    "flags" => flags: Integer<u32>,
    "traceId" => trace_id: Id,
    "spanId" => span_id: Id,
    "eventName" => event_name: Text,
});

message!(ResourceMetrics {
    "resource" => resource: Maybe<One<Resource>>,
    "scopeMetrics" => scope_metrics: Many<One<ScopeMetrics>>,
    "schemaUrl" => schema_url: Text,
});
message!(ScopeMetrics {
    "scope" => scope: Maybe<One<InstrumentationScope>>,
    "metrics" => metrics: Many<One<Metric>>,
    "schemaUrl" => schema_url: Text,
});
message!(Metric {
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
message!(Gauge { "dataPoints" => data_points: Many<One<NumberDataPoint>>, });
message!(Sum {
    "dataPoints" => data_points: Many<One<NumberDataPoint>>,
    "aggregationTemporality" => aggregation_temporality: Enumeration,
    "isMonotonic" => is_monotonic: Boolean,
});
message!(Histogram {
    "dataPoints" => data_points: Many<One<HistogramDataPoint>>,
    "aggregationTemporality" => aggregation_temporality: Enumeration,
});
message!(ExponentialHistogram {
    "dataPoints" => data_points: Many<One<ExponentialHistogramDataPoint>>,
    "aggregationTemporality" => aggregation_temporality: Enumeration,
});
message!(Summary { "dataPoints" => data_points: Many<One<SummaryDataPoint>>, });
message!(NumberDataPoint {
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
message!(HistogramDataPoint {
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
message!(ExponentialHistogramDataPoint {
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
message!(exponential_histogram_data_point::Buckets {
    "offset" => offset: Integer<i32>,
    "bucketCounts" => bucket_counts: Many<Integer<u64>>,
});
message!(SummaryDataPoint {
    "attributes" => attributes: Many<One<KeyValue>>,
    "startTimeUnixNano" => start_time_unix_nano: Integer<u64>,
    "timeUnixNano" => time_unix_nano: Integer<u64>,
    "count" => count: Integer<u64>,
    "sum" => sum: Double,
    "quantileValues" => quantile_values: Many<One<summary_data_point::ValueAtQuantile>>,
    "flags" => flags: Integer<u32>,
});
message!(summary_data_point::ValueAtQuantile {
    "quantile" => quantile: Double,
    "value" => value: Double,
});
message!(Exemplar {
    "filteredAttributes" => filtered_attributes: Many<One<KeyValue>>,
    "timeUnixNano" => time_unix_nano: Integer<u64>,
    "spanId" => span_id: Id,
    "traceId" => trace_id: Id,
} oneof(this, reader) {
    "asDouble" => choose!(this.value, exemplar::Value::AsDouble, reader.value::<Double>("asDouble")),
    "asInt" => choose!(this.value, exemplar::Value::AsInt, reader.value::<Integer<i64>>("asInt")),
});
