//! What is rejected and why, exactly; what is cut; and that admission is idempotent.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use prost::Message;

use super::super::json;
use super::*;

const TRACE: &str = "5b8efff798038103d269b633813fc60c";
const SPAN: &str = "eee19b7ec3c1b174";

fn spans(json: &str) -> ExportTraceServiceRequest {
    let body = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{json}]}}]}}]}}"#);
    json::traces(body.as_bytes()).expect("legal JSON")
}

fn records(json: &str) -> ExportLogsServiceRequest {
    let body = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{json}]}}]}}]}}"#);
    json::logs(body.as_bytes()).expect("legal JSON")
}

fn points(metric: &str) -> ExportMetricsServiceRequest {
    let body = format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}"#);
    json::metrics(body.as_bytes()).expect("legal JSON")
}

#[test]
fn spans_need_both_ids() {
    for (trace, span, expected) in [
        (TRACE, SPAN, None),
        (&TRACE.to_uppercase(), &SPAN.to_uppercase(), None),
        ("", SPAN, Some("invalid_trace_id")),
        ("5b8e", SPAN, Some("invalid_trace_id")),
        ("W47/95gDgQPSabYzgT/GDA==", SPAN, Some("invalid_trace_id")),
        (&"0".repeat(32), SPAN, Some("invalid_trace_id")),
        (TRACE, "", Some("invalid_span_id")),
        (TRACE, "0000000000000000", Some("invalid_span_id")),
        (TRACE, "not hexadecimal!", Some("invalid_span_id")),
    ] {
        let mut request = spans(&format!(r#"{{"traceId":"{trace}","spanId":"{span}"}}"#));
        let rejected = traces(&mut request, Sizes::default());
        let by_reason: Vec<_> = expected.into_iter().map(|reason| (reason, 1)).collect();
        assert_eq!(rejected.by_reason, by_reason, "{trace} {span}");
        assert_eq!(rejected.count, by_reason.len() as u64);
        assert_eq!(request.resource_spans.is_empty(), expected.is_some());
    }
}

#[test]
fn one_bad_record_costs_no_other() {
    let good = format!(r#"{{"traceId":"{TRACE}","spanId":"{SPAN}","parentSpanId":"00"}}"#);
    let mut request = spans(&format!(r#"{good},{{}},{good},{{"traceId":"{TRACE}"}},{{}}"#));
    let rejected = traces(&mut request, Sizes::default());
    assert_eq!(rejected.count, 3);
    assert_eq!(rejected.by_reason, [("invalid_trace_id", 2), ("invalid_span_id", 1)]);
    assert_eq!(rejected.message, "3 of 5 spans rejected: invalid_trace_id 2, invalid_span_id 1");
    let kept = &request.resource_spans[0].scope_spans[0].spans;
    assert_eq!((kept.len(), kept[0].parent_span_id.len()), (2, 0));
    assert_eq!(traces(&mut request, Sizes::default()), Rejected::default());
}

#[test]
fn log_records_need_a_name_only() {
    let named =
        |name: &str| format!(r#"{{"key":"event.name","value":{{"stringValue":"{name}"}}}}"#);
    for (json, expected) in [
        (String::from(r#"{"eventName":"exception"}"#), 0),
        (format!(r#"{{"attributes":[{}]}}"#, named("exception")), 0),
        (format!(r#"{{"attributes":[{}]}}"#, named("")), 1),
        (String::from(r#"{"body":{"stringValue":"a line of a log"}}"#), 1),
        (String::from(r#"{"eventName":"e","traceId":"00","spanId":"zz"}"#), 0),
    ] {
        let mut request = records(&json);
        let rejected = logs(&mut request, Sizes::default());
        assert_eq!(rejected.count, expected, "{json}");
        assert!(expected == 0 || rejected.by_reason == [("no_event_name", 1)]);
        let left = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
        for record in left.flat_map(|scope| &scope.log_records) {
            assert!(record.trace_id.is_empty() && record.span_id.is_empty());
        }
    }
}

#[test]
fn data_points_need_a_name_and_fitting_buckets() {
    let histogram =
        |point: &str| format!(r#"{{"name":"m","histogram":{{"dataPoints":[{point}]}}}}"#);
    for (metric, reason) in [
        (String::from(r#"{"name":"m","gauge":{"dataPoints":[{"asInt":1}]}}"#), None),
        (String::from(r#"{"gauge":{"dataPoints":[{"asInt":1}]}}"#), Some("no_metric_name")),
        (histogram(r#"{"count":1}"#), None),
        (histogram(r#"{"bucketCounts":[1,2],"explicitBounds":[5]}"#), None),
        (histogram(r#"{"bucketCounts":[1],"explicitBounds":[5]}"#), Some("buckets_without_bounds")),
        (
            histogram(r#"{"bucketCounts":[1,1,1],"explicitBounds":[5,5]}"#),
            Some("bounds_not_ascending"),
        ),
        (
            histogram(r#"{"bucketCounts":[1,1],"explicitBounds":["NaN"]}"#),
            Some("bounds_not_ascending"),
        ),
    ] {
        let mut request = points(&metric);
        let rejected = metrics(&mut request, Sizes::default());
        let expected: Vec<_> = reason.into_iter().map(|reason| (reason, 1)).collect();
        assert_eq!(rejected.by_reason, expected, "{metric}");
    }
}

#[test]
fn what_is_too_big_is_cut_and_counted() {
    let text = |bytes: usize| AnyValue { value: Some(Value::StringValue("é".repeat(bytes / 2))) };
    let attribute = |key: &str, value| KeyValue {
        key: String::from(key),
        value: Some(value),
        ..KeyValue::default()
    };
    let nested = (0..DEPTH_MAX + 2).fold(text(2), |value, _| AnyValue {
        value: Some(Value::ArrayValue(ArrayValue { values: vec![value] })),
    });
    let many = |count: usize, value: AnyValue| {
        (0..count).map(|number| attribute(&format!("k{number}"), value.clone())).collect::<Vec<_>>()
    };
    for (attributes, expected) in [
        (vec![attribute("k", text(VALUE_BYTES_MAX))], vec![]),
        (vec![attribute("k", text(VALUE_BYTES_MAX + 2))], vec![("value_cut", 1)]),
        (vec![attribute("k", nested)], vec![("value_cut", 1)]),
        (vec![attribute(&"k".repeat(KEY_BYTES_MAX + 1), text(2))], vec![("attribute_dropped", 1)]),
        (many(ATTRIBUTES_MAX + 5, AnyValue { value: None }), vec![("attribute_dropped", 5)]),
        (many(5, text(VALUE_BYTES_MAX)), vec![("attribute_dropped", 2)]),
    ] {
        let mut request = spans(&format!(r#"{{"traceId":"{TRACE}","spanId":"{SPAN}"}}"#));
        request.resource_spans[0].scope_spans[0].spans[0].attributes = attributes;
        let rejected = traces(&mut request, Sizes::default());
        assert_eq!((rejected.count, rejected.shortened), (0, expected));
        assert!(request.encoded_len() < RECORD_BYTES_MAX * 2);
        assert_eq!(traces(&mut request, Sizes::default()), Rejected::default());
    }
}

#[test]
fn less_may_be_let_in() {
    let sizes = Sizes { attributes_max: 2, value_bytes_max: 4, ..Sizes::default() };
    let pair = |key: &str| format!(r#"{{"key":"{key}","value":{{"stringValue":"longer"}}}}"#);
    let pairs = [pair("a"), pair("b"), pair("c")].join(",");
    let ids = format!(r#""traceId":"{TRACE}","spanId":"{SPAN}""#);
    let mut request = spans(&format!(r#"{{{ids},"attributes":[{pairs}]}}"#));
    let rejected = traces(&mut request, sizes);
    assert_eq!(rejected.shortened, [("value_cut", 2), ("attribute_dropped", 1)]);
    assert_eq!(traces(&mut request, sizes), Rejected::default());
    assert_eq!(traces(&mut request, Sizes::default()), Rejected::default());
    assert!(sizes.check().is_ok() && Sizes { parts_max: 129, ..sizes }.check().is_err());
}
