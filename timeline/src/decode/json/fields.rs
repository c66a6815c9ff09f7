//! Which key is which field, of the messages of spans and log records and what all signals share.
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
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use serde::de::MapAccess;

use super::BeaconBody;
use super::read::{Message, Odd, Reader};
use super::scalar::{Base64, Boolean, Double, Enumeration, Id, Integer, Text};
use super::structure::{Many, Maybe, One};
use crate::decode::admit::MALFORMED;

/// Implements [`Message`] from a table of keys, fields and forms, and a last arm for the keys that
/// are alternatives of one field; in brackets what an odd field does.
macro_rules! message {
    (
        $type:ty $([$odd:ident $(, $spoil:expr $(, $bytes:expr)?)?])? { $( $key:literal => $($field:ident).+: $form:ty, )* }
        $( oneof($this:ident, $reader:ident) { $( $one:literal => $body:expr, )* } )?
    ) => {
        impl Message for $type {
            $( const ODD: Odd = Odd::$odd; )?

            $( $( $( const ODD_BYTES: usize = $bytes; )? )? )?

            $( $( fn spoil(&mut self) {
                let spoil: fn(&mut Self) = $spoil;
                spoil(self);
            } )? )?

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

pub(super) use {choose, message};

/// What a value becomes that is not of the type it says, and the key of an attribute that is none: as
/// with text that is not Unicode, the loss is seen, and is no more than it has to be.
const ODD_TEXT: &str = "\u{fffd}";

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

message!(Resource [Forgive, |resource| resource.attributes = vec![KeyValue::odd()], size_of::<KeyValue>()] {
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
message!(InstrumentationScope [Forgive, |scope| scope.name = String::from(ODD_TEXT)] {
    "name" => name: Text,
    "version" => version: Text,
    "attributes" => attributes: Many<One<KeyValue>>,
    "droppedAttributesCount" => dropped_attributes_count: Integer<u32>,
});
message!(KeyValue [Spoil, |pair| {
    pair.key = String::from(ODD_TEXT);
    pair.value = Some(AnyValue::odd());
}] {
    "key" => key: Text,
    "value" => value: Maybe<One<AnyValue>>,
});
message!(ArrayValue [Pass] { "values" => values: Many<One<AnyValue>>, });
message!(KeyValueList [Pass] { "values" => values: Many<One<KeyValue>>, });
message!(AnyValue [Spoil, |value| value.value = Some(Value::StringValue(String::from(ODD_TEXT)))] {} oneof(this, reader) {
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

message!(ResourceSpans [Forgive, |resource| resource.scope_spans = vec![ScopeSpans::odd()], size_of::<(ScopeSpans, Span)>()] {
    "resource" => resource: Maybe<One<Resource>>,
    "scopeSpans" => scope_spans: Many<One<ScopeSpans>>,
    "schemaUrl" => schema_url: Text,
});
message!(ScopeSpans [Forgive, |scope| scope.spans = vec![Span::odd()], size_of::<Span>()] {
    "scope" => scope: Maybe<One<InstrumentationScope>>,
    "spans" => spans: Many<One<Span>>,
    "schemaUrl" => schema_url: Text,
});
message!(Span [Spoil, |span| span.trace_id = MALFORMED.to_vec()] {
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
message!(span::Event [Pass] {
    "timeUnixNano" => time_unix_nano: Integer<u64>,
    "name" => name: Text,
    "attributes" => attributes: Many<One<KeyValue>>,
    "droppedAttributesCount" => dropped_attributes_count: Integer<u32>,
});
message!(span::Link [Pass] {
    "traceId" => trace_id: Id,
    "spanId" => span_id: Id,
    "traceState" => trace_state: Text,
    "attributes" => attributes: Many<One<KeyValue>>,
    "droppedAttributesCount" => dropped_attributes_count: Integer<u32>,
    "flags" => flags: Integer<u32>,
});
message!(Status [Pass] {
    "message" => message: Text,
    "code" => code: Enumeration,
});

message!(ResourceLogs [Forgive, |resource| resource.scope_logs = vec![ScopeLogs::odd()], size_of::<(ScopeLogs, LogRecord)>()] {
    "resource" => resource: Maybe<One<Resource>>,
    "scopeLogs" => scope_logs: Many<One<ScopeLogs>>,
    "schemaUrl" => schema_url: Text,
});
message!(ScopeLogs [Forgive, |scope| scope.log_records = vec![LogRecord::odd()], size_of::<LogRecord>()] {
    "scope" => scope: Maybe<One<InstrumentationScope>>,
    "logRecords" => log_records: Many<One<LogRecord>>,
    "schemaUrl" => schema_url: Text,
});
message!(LogRecord [Spoil, |record| record.trace_id = MALFORMED.to_vec()] {
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
