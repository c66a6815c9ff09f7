//! What is sent, made in advance so that sending costs little: whole requests of HTTP/1.1, and calls of
//! gRPC in their frames.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

/// Spans of a large request: what SDKs send at once.
pub(crate) const BATCH_SPANS: usize = 512;

/// Records of a page's body: a request and an event.
pub(crate) const PAGE_RECORDS: usize = 2;

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// A whole request over OTLP/HTTP; one span alone is not worth compressing.
pub(crate) fn http(spans: usize, seed: u64) -> Vec<u8> {
    let body = export(spans, seed);
    let (body, coding) = if spans == 1 { (body, "identity") } else { (gzip(&body), "gzip") };
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\n\
         Content-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

/// The body of a call over gRPC: one compressed message in its frame.
pub(crate) fn grpc(spans: usize, seed: u64) -> Bytes {
    let message = gzip(&export(spans, seed));
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    Bytes::from([[1].as_slice(), length.as_slice(), message.as_slice()].concat())
}

/// A whole request of a page.
pub(crate) fn beacon(seed: u64) -> Vec<u8> {
    let (trace, span, now) = (u128::from(seed) | 1 << 127, seed | 1 << 63, now_ns());
    let start = now - 90_000_000;
    let resource = format!(
        r#""resource":{{"attributes":[{{"key":"telemetry.sdk.name","value":{{"stringValue":"ethogram"}}}},{{"key":"session.id","value":{{"stringValue":"session-{seed}"}}}},{{"key":"behavior.tab_id","value":{{"stringValue":"{seed:016x}"}}}},{{"key":"behavior.page_id","value":{{"stringValue":"{seed:016x}"}}}},{{"key":"behavior.sent_at","value":{{"intValue":"{now}"}}}}]}}"#
    );
    let body = format!(
        r#"{{"resourceSpans":[{{{resource},"scopeSpans":[{{"spans":[{{"traceId":"{trace:032x}","spanId":"{span:016x}","name":"GET","kind":3,"startTimeUnixNano":"{start}","endTimeUnixNano":"{now}","attributes":[{{"key":"url.full","value":{{"stringValue":"http://shop.example/n"}}}}]}}]}}]}}],"resourceLogs":[{{{resource},"scopeLogs":[{{"logRecords":[{{"eventName":"browser.page_view","timeUnixNano":"{now}","attributes":[{{"key":"behavior.sequence","value":{{"intValue":"{seed}"}}}}]}}]}}]}}]}}"#
    );
    format!(
        "POST /v1/ethogram?key=local HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// An export of so many spans.
fn export(spans: usize, seed: u64) -> Vec<u8> {
    let attribute = |key: &str, value: &str| KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.into())) }),
        ..KeyValue::default()
    };
    let now = now_ns();
    let span = |number: usize| Span {
        trace_id: (u128::from(seed) << 64 | number as u128 | 1 << 127).to_be_bytes().to_vec(),
        span_id: (seed << 20 | number as u64 | 1 << 63).to_be_bytes().to_vec(),
        name: String::from("GET /products/{id}"),
        kind: 2,
        start_time_unix_nano: now - 20_000_000,
        end_time_unix_nano: now,
        attributes: vec![
            attribute("http.request.method", "GET"),
            attribute("http.route", "/products/{id}"),
            attribute("url.path", "/products/42"),
            attribute("http.response.status_code", "200"),
            attribute("server.address", "shop.example"),
            attribute(
                "user_agent.original",
                "Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0.0.0 Safari/537.36",
            ),
        ],
        ..Span::default()
    };
    let scope_spans =
        vec![ScopeSpans { spans: (0..spans).map(span).collect(), ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}
