//! Spans and events on their way out, and their two spellings: OTLP/JSON and protobuf.
//!
//! Not a client: nothing is sent here. The world writes its own OTLP so that it shares no code,
//! and no mistake, with what reads it. Invariants: identifiers are lower-case hex and 64-bit
//! integers decimal text in JSON, as OTLP says.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{self as proto, ResourceSpans, ScopeSpans};
use serde_json::{Value as Json, json};

/// Identifies a trace; of a browser's request also the request.
pub(crate) type TraceId = [u8; 16];

/// Identifies a span.
pub(crate) type SpanId = [u8; 8];

/// A named value of a span, an event or a resource.
#[derive(Clone, Debug)]
pub(crate) struct Attribute(pub(crate) &'static str, pub(crate) Value);

/// The types of value the world uses.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Word(&'static str),
    Int(i64),
    Bool(bool),
}

/// OTLP's kinds of span, those that appear here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
}

/// A finished span.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) parent: Option<SpanId>,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Nanoseconds since the Unix epoch by the emitter's clock.
    pub(crate) start_ns: i64,
    pub(crate) end_ns: i64,
    pub(crate) attributes: Vec<Attribute>,
    /// Whether the status is Error; else it is unset.
    pub(crate) failed: bool,
}

/// An event: a log record with a name.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// Nanoseconds since the Unix epoch by the emitter's clock.
    pub(crate) time_ns: i64,
    pub(crate) name: &'static str,
    pub(crate) about: Option<(TraceId, SpanId)>,
    pub(crate) attributes: Vec<Attribute>,
}

/// The attribute `name` with a text.
pub(crate) fn text(name: &'static str, value: impl Into<String>) -> Attribute {
    Attribute(name, Value::Text(value.into()))
}

/// The attribute `name` with a fixed word.
pub(crate) fn word(name: &'static str, value: &'static str) -> Attribute {
    Attribute(name, Value::Word(value))
}

/// The attribute `name` with a number.
pub(crate) fn int(name: &'static str, value: impl Into<i64>) -> Attribute {
    Attribute(name, Value::Int(value.into()))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

/// A list of attributes in OTLP/JSON.
pub(crate) fn attributes_json(attributes: &[Attribute]) -> Json {
    let one = |Attribute(key, value): &Attribute| {
        let value = match value {
            Value::Text(text) => json!({ "stringValue": text }),
            Value::Word(word) => json!({ "stringValue": word }),
            Value::Int(number) => json!({ "intValue": number.to_string() }),
            Value::Bool(truth) => json!({ "boolValue": truth }),
        };
        json!({ "key": key, "value": value })
    };
    Json::Array(attributes.iter().map(one).collect())
}

/// A span in OTLP/JSON.
pub(crate) fn span_json(span: &Span) -> Json {
    let mut json = json!({
        "traceId": hex(&span.trace_id),
        "spanId": hex(&span.span_id),
        "name": span.name,
        "kind": span.kind as i32,
        "startTimeUnixNano": span.start_ns.to_string(),
        "endTimeUnixNano": span.end_ns.to_string(),
        "attributes": attributes_json(&span.attributes),
    });
    if let Some(parent) = &span.parent {
        json["parentSpanId"] = hex(parent).into();
        json["flags"] = flags(span).into();
    }
    if span.failed {
        json["status"] = json!({ "code": 2 });
    }
    json
}

/// An event in OTLP/JSON.
pub(crate) fn record_json(record: &Record) -> Json {
    let mut json = json!({
        "timeUnixNano": record.time_ns.to_string(),
        "eventName": record.name,
        "attributes": attributes_json(&record.attributes),
    });
    if let Some((trace_id, span_id)) = &record.about {
        json["traceId"] = hex(trace_id).into();
        json["spanId"] = hex(span_id).into();
    }
    json
}

/// The spans of one service as an export request in OTLP/JSON.
pub(crate) fn request_json(resource: &[Attribute], scope: &str, spans: &[Span]) -> Json {
    let spans: Vec<Json> = spans.iter().map(span_json).collect();
    json!({ "resourceSpans": [{
        "resource": { "attributes": attributes_json(resource) },
        "scopeSpans": [{ "scope": { "name": scope }, "spans": spans }],
    }]})
}

/// The spans of one service as an export request in protobuf.
pub(crate) fn request_proto(
    resource: &[Attribute],
    scope: &str,
    spans: &[Span],
) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: attributes_proto(resource),
                ..Default::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope { name: scope.to_owned(), ..Default::default() }),
                spans: spans.iter().map(span_proto).collect(),
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    }
}

fn span_proto(span: &Span) -> proto::Span {
    proto::Span {
        trace_id: span.trace_id.to_vec(),
        span_id: span.span_id.to_vec(),
        parent_span_id: span.parent.map(|parent| parent.to_vec()).unwrap_or_default(),
        flags: flags(span),
        name: span.name.clone(),
        kind: span.kind as i32,
        start_time_unix_nano: span.start_ns.unsigned_abs(),
        end_time_unix_nano: span.end_ns.unsigned_abs(),
        attributes: attributes_proto(&span.attributes),
        status: span.failed.then(|| proto::Status {
            code: proto::status::StatusCode::Error as i32,
            message: String::new(),
        }),
        ..Default::default()
    }
}

fn attributes_proto(attributes: &[Attribute]) -> Vec<KeyValue> {
    let one = |Attribute(key, value): &Attribute| {
        let value = match value {
            Value::Text(text) => any_value::Value::StringValue(text.clone()),
            Value::Word(word) => any_value::Value::StringValue((*word).to_owned()),
            Value::Int(number) => any_value::Value::IntValue(*number),
            Value::Bool(truth) => any_value::Value::BoolValue(*truth),
        };
        KeyValue {
            key: (*key).to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..Default::default()
        }
    };
    attributes.iter().map(one).collect()
}

/// Sampled (1), "the parent is known to be remote or not" (0x100), "it is remote" (0x200).
fn flags(span: &Span) -> u32 {
    if span.kind == Kind::Server { 0x301 } else { 0x101 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_span_in_both_spellings() {
        let span = Span {
            trace_id: [0xab; 16],
            span_id: [1, 2, 3, 4, 5, 6, 7, 8],
            parent: Some([9; 8]),
            name: "GET".into(),
            kind: Kind::Client,
            start_ns: 1_700_000_000_000_000_000,
            end_ns: 1_700_000_000_000_000_007,
            attributes: vec![word("http.request.method", "GET"), int("server.port", 443)],
            failed: true,
        };
        let json = span_json(&span);
        assert_eq!(json["traceId"], "ab".repeat(16));
        assert_eq!(json["parentSpanId"], "09".repeat(8));
        assert_eq!(json["startTimeUnixNano"], "1700000000000000000");
        assert_eq!(json["attributes"][1]["value"]["intValue"], "443");
        let request = request_proto(&[word("service.name", "x")], "s", &[span]);
        let proto = &request.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!((proto.kind, proto.flags), (3, 0x101));
        assert_eq!(proto.status.as_ref().map(|status| status.code), Some(2));
    }
}
