//! The leniency of the reader as tables, its refusals with their paths, and that nothing panics.

use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::decode::admit::{self, Sizes};

const TRACE: &str = include_str!("../../../../tests/data/otlp-examples/trace.json");
const LOGS: &str = include_str!("../../../../tests/data/otlp-examples/logs.json");
const METRICS: &str = include_str!("../../../../tests/data/otlp-examples/metrics.json");
const EVENTS: &str = include_str!("../../../../tests/data/otlp-examples/events.json");

fn request(span: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#)
}

fn span(json: &str) -> Span {
    let mut request = traces(request(json).as_bytes()).expect("a legal request");
    request.resource_spans.remove(0).scope_spans.remove(0).spans.remove(0)
}

fn attribute(json: &str) -> Option<Value> {
    let mut span = span(&format!(r#"{{"attributes":[{{"key":"k","value":{json}}}]}}"#));
    span.attributes.remove(0).value.and_then(|value| value.value)
}

#[test]
fn reads_the_examples_of_the_standard() {
    let request = traces(TRACE.as_bytes()).expect("an example");
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!((span.name.as_str(), span.kind), ("I'm a server span", 2));
    assert_eq!(span.trace_id[..2], [0x5b, 0x8e]);
    assert_eq!(span.start_time_unix_nano, 1_544_712_660_000_000_000);

    let events = logs(EVENTS.as_bytes()).expect("an example");
    let record = &events.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!(record.event_name, "browser.page_view");
    let Some(Value::KvlistValue(body)) = record.body.as_ref().and_then(|body| body.value.as_ref())
    else {
        panic!("the body is a list");
    };
    assert_eq!(body.values[0].value, Some(AnyValue { value: Some(Value::IntValue(0)) }));
    assert_eq!(logs(LOGS.as_bytes()).expect("an example").resource_logs.len(), 1);

    let request = metrics(METRICS.as_bytes()).expect("an example");
    let points = &request.resource_metrics[0].scope_metrics[0].metrics;
    assert_eq!(points.len(), 4);
    let Some(Data::Histogram(histogram)) = &points[2].data else { panic!("a histogram") };
    assert_eq!(histogram.data_points[0].bucket_counts, [1, 1]);
    assert_eq!(histogram.data_points[0].sum, Some(2.0));
}

#[test]
fn accepts_every_legal_form_of_a_scalar() {
    let time = 1_500_000_000_000_000_000;
    for text in ["1500000000000000000", "\"1500000000000000000\"", "1.5e18", "\"1.5e18\""] {
        assert_eq!(span(&format!(r#"{{"startTimeUnixNano":{text}}}"#)).start_time_unix_nano, time);
    }
    for (text, expected) in [
        (r#"{"intValue":"-7"}"#, Value::IntValue(-7)),
        (r#"{"intValue":-7.0}"#, Value::IntValue(-7)),
        (r#"{"intValue":9223372036854775807}"#, Value::IntValue(i64::MAX)),
        (r#"{"doubleValue":3}"#, Value::DoubleValue(3.0)),
        (r#"{"doubleValue":"1.5"}"#, Value::DoubleValue(1.5)),
        (r#"{"doubleValue":1e999}"#, Value::DoubleValue(f64::INFINITY)),
        (r#"{"doubleValue":"-Infinity"}"#, Value::DoubleValue(f64::NEG_INFINITY)),
        (r#"{"bytesValue":"-_8="}"#, Value::BytesValue(vec![0xfb, 0xff])),
        (r#"{"bytesValue":"+/8"}"#, Value::BytesValue(vec![0xfb, 0xff])),
        (r#"{"stringValue":null,"boolValue":true}"#, Value::BoolValue(true)),
        (r#"{"stringValue":"x","unknownValue":{"a":[1]}}"#, Value::StringValue("x".into())),
    ] {
        assert_eq!(attribute(text), Some(expected), "{text}");
    }
    assert!(
        matches!(attribute(r#"{"doubleValue":"NaN"}"#), Some(Value::DoubleValue(v)) if v.is_nan())
    );
    assert_eq!(attribute("null"), None);
    assert_eq!(span(r#"{"flags":"257","droppedLinksCount":"3"}"#).flags, 257);
    let odd = span(r#"{"traceId":"5b8E","spanId":"xyz","parentSpanId":"abc"}"#);
    assert_eq!(
        (odd.trace_id, odd.span_id, odd.parent_span_id),
        (vec![0x5b, 0x8e], vec![0], vec![0])
    );
}

#[test]
fn absent_null_and_unknown_are_the_default() {
    for body in ["{}", "null", r#"{"resourceSpans":null}"#, r#"{"resource_spans":[{}],"x":1}"#] {
        let request = traces(body.as_bytes());
        assert_eq!(request.is_ok(), body != "null", "{body}");
        assert_eq!(request.unwrap_or_default(), ExportTraceServiceRequest::default(), "{body}");
    }
    let nulls = r#"{"traceId":null,"name":null,"kind":null,"status":null,"events":null,"links":[],
        "startTimeUnixNano":null,"attributes":null,"flags":null,"dropped_links_count":5}"#;
    assert_eq!(span(nulls), Span::default());
    assert_eq!(span("null"), Span::default());
}

#[test]
fn what_is_not_unicode_is_replaced() {
    assert_eq!(span(r#"{"name":"a\ud800b"}"#).name, "a\u{fffd}b");
    let mut body = request(r#"{"name":"a?b","x\udfff":"\udfff"}"#).into_bytes();
    let place = body.iter().position(|byte| *byte == b'?').expect("it is there");
    body[place] = 0xff;
    let request = traces(&body).expect("read");
    assert_eq!(request.resource_spans[0].scope_spans[0].spans[0].name, "a\u{fffd}b");
}

/// One odd field costs its record, and of an attribute its value: never the neighbours.
#[test]
fn an_odd_field_costs_its_record() {
    let good = r#"{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"}"#;
    for odd in [
        r#""kind":"SPAN_KIND_SERVER""#,
        r#""status":{"code":"STATUS_CODE_OK"}"#,
        r#""name":5"#,
        r#""name":true,"kind":2"#,
        r#""startTimeUnixNano":"soon""#,
        r#""startTimeUnixNano":-1"#,
        r#""startTimeUnixNano":1.5"#,
        r#""startTimeUnixNano":1e999"#,
        r#""startTimeUnixNano":{"seconds":[1]}"#,
        r#""events":[{"timeUnixNano":[1,2]}]"#,
        r#""traceId":7"#,
        r#""name":["a",{"b":[]}]"#,
        r#""name":{"a":"b"},"kind":2"#,
        r#""spanId":{}"#,
        r#""attributes":{"a":1}"#,
        r#""attributes":"none""#,
        r#""events":{}"#,
        r#""events":[7]"#,
        r#""links":true"#,
        r#""status":"ok""#,
        r#""status":[]"#,
    ] {
        let body = request(&format!("{good},{{{odd},\"flags\":1}},{good}"));
        let mut read = traces(body.as_bytes()).expect(odd);
        let spans = &read.resource_spans[0].scope_spans[0].spans;
        assert_eq!((spans.len(), spans[1].flags), (3, 1), "{odd}: what follows is read");
        let rejected = admit::traces(&mut read, Sizes::default());
        assert_eq!(rejected.by_reason, [("malformed_field", 1)], "{odd}");
        assert_eq!(read.resource_spans[0].scope_spans[0].spans.len(), 2, "{odd}");
    }
    let replaced = Some(Value::StringValue(String::from("\u{fffd}")));
    for odd in [
        r#"{"bytesValue":"?"}"#,
        r#"{"doubleValue":"x"}"#,
        r#"{"intValue":"true"}"#,
        r#"{"boolValue":{"a":1}}"#,
        r#"{"stringValue":5}"#,
        r#"{"stringValue":{"a":[1]}}"#,
        r#"{"bytesValue":[1,2]}"#,
        r#"{"arrayValue":[1,2]}"#,
        r#"{"arrayValue":{"values":{}}}"#,
        r#"{"kvlistValue":{"values":7}}"#,
        r#""a word""#,
        "7",
        "[7]",
    ] {
        assert_eq!(attribute(odd), replaced, "{odd}");
        let span = span(&format!(r#"{{"attributes":[{{"value":{odd}}}],"traceId":"5b8e"}}"#));
        assert_eq!(span.trace_id, [0x5b, 0x8e], "{odd}: the record is none the worse");
    }
    let of = |point: &str| {
        let points = format!(r#"[{{"asInt":"1"}},{point}]"#);
        format!(
            r#"{{"resourceMetrics":[{{"schemaUrl":5,"scopeMetrics":[{{"metrics":[{{"name":"m","gauge":{{"dataPoints":{points}}}}}]}}]}}]}}"#
        )
    };
    for (point, count) in [(r#"{"timeUnixNano":"soon"}"#, 1), (r#"{"asInt":"1"}"#, 0)] {
        let mut read = metrics(of(point).as_bytes()).expect(point);
        let rejected = admit::metrics(&mut read, Sizes::default());
        assert_eq!(rejected.count, count, "{point}");
    }
}

/// Where records should be and are not, one is counted, and those beside it are kept.
#[test]
fn an_odd_holder_of_records_counts_as_one() {
    let span = r#"{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"}"#;
    let good = format!(r#"{{"scopeSpans":[{{"spans":[{span}]}}]}}"#);
    for (odd, kept) in [
        (r#"7"#, 2),
        (r#"["scopeSpans"]"#, 2),
        (r#"{"scopeSpans":{}}"#, 2),
        (r#"{"scopeSpans":["a"]}"#, 2),
        (r#"{"scopeSpans":[{"spans":{"0":{}}}]}"#, 2),
        (r#"{"scopeSpans":[{"scope":7,"spans":[7,SPAN]}]}"#, 3),
    ] {
        let odd = odd.replace("SPAN", span);
        let body = format!(r#"{{"resourceSpans":[{good},{odd},{good}]}}"#);
        let mut read = traces(body.as_bytes()).expect(&odd);
        let rejected = admit::traces(&mut read, Sizes::default());
        assert_eq!(rejected.by_reason, [("malformed_field", 1)], "{odd}");
        let spans = read.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        assert_eq!(spans.map(|scope| scope.spans.len()).sum::<usize>(), kept, "{odd}");
    }
    let both = br#"{"resourceSpans":"none","resourceLogs":[{"scopeLogs":[{"logRecords":[{"eventName":"a"}]}]}]}"#;
    let mut read = beacon(both).expect("an object");
    assert_eq!(admit::traces(&mut read.traces, Sizes::default()).count, 1);
    assert_eq!(admit::logs(&mut read.logs, Sizes::default()).count, 0);
    assert_eq!(read.logs.resource_logs.len(), 1);
    for metric in ["7", r#"{"name":"m","gauge":7}"#, r#"{"name":"m","sum":{"dataPoints":{}}}"#] {
        let body =
            format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}"#);
        let mut read = metrics(body.as_bytes()).expect(metric);
        assert_eq!(admit::metrics(&mut read, Sizes::default()).count, 1, "{metric}");
    }
}

/// Neither a resource nor a scope has a record to cost: what it lost is seen in it.
#[test]
fn an_odd_resource_tells_of_it() {
    for resource in ["7", r#"{"attributes":{"service.name":"a"}}"#, r#"{"attributes":[7]}"#] {
        let body = format!(r#"{{"resourceSpans":[{{"resource":{resource}}}]}}"#);
        let read = traces(body.as_bytes()).expect(resource);
        let resource = read.resource_spans[0].resource.as_ref().expect("it is there");
        let keys: Vec<&str> = resource.attributes.iter().map(|pair| pair.key.as_str()).collect();
        assert_eq!(keys, ["\u{fffd}"], "{resource:?}");
    }
    let scopes = br#"{"resourceSpans":[{"scopeSpans":[{"scope":7}]}]}"#;
    let read = traces(scopes).expect("read");
    let scope = read.resource_spans[0].scope_spans[0].scope.as_ref();
    assert_eq!(scope.map(|scope| scope.name.as_str()), Some("\u{fffd}"));
}

#[test]
fn refuses_what_is_no_object_or_no_json_with_its_path() {
    let at = "resourceSpans[0].scopeSpans[0].spans[0]";
    for (json, path, message) in [
        (r#"{"attributes":[{},{"value":x}]}"#, ".attributes[1].value", "expected value"),
        (r#"{"name":"a\qb"}"#, ".name", "invalid escape"),
    ] {
        let error = traces(request(json).as_bytes()).expect_err(json);
        assert_eq!(error.path, format!("{at}{path}"), "{json}");
        assert!(error.message.contains(message), "{error}");
    }
    for body in ["", "[]", "5", "null", "{", r#"{"resourceSpans":[{}]} x"#, "{\"a\":1,}"] {
        assert!(traces(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn depth_is_cut_and_survives_protobuf() {
    for (open, close) in [
        (r#"{"arrayValue":{"values":["#, "]}}"),
        (r#"{"kvlistValue":{"values":[{"key":"k","value":"#, "}]}}"),
    ] {
        for depth in [1, 23, 24, 25, 26, 29] {
            let value =
                format!("{}{}{}", open.repeat(depth), r#"{"intValue":1}"#, close.repeat(depth));
            let attributes = format!(r#"{{"attributes":[{{"key":"k","value":{value}}}]}}"#);
            let body = request(&format!(r#"{{"events":[{attributes}],"links":[{attributes}]}}"#));
            let read = traces(body.as_bytes()).expect("read at any depth");
            let again = ExportTraceServiceRequest::decode(read.encode_to_vec().as_slice());
            assert_eq!(again, Ok(read), "{depth}");
        }
    }
    // What is unknown may nest without end.
    let endless = format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(traces(request(&endless).as_bytes()).is_ok());
    let endless = format!(r#"{{"resourceSpans":{}"#, "[".repeat(100_000));
    assert!(traces(endless.as_bytes()).is_err());
}

#[test]
fn empty_elements_do_not_multiply_memory() {
    let body = format!(r#"{{"resourceSpans":[{}{{}}]}}"#, "{},".repeat(1_000_000));
    let error = traces(body.as_bytes()).expect_err("refused");
    assert!(error.message.contains("too many elements that are empty"), "{error}");
    let body = format!(r#"{{"resourceSpans":[{}7]}}"#, "7,".repeat(1_000_000));
    let error = traces(body.as_bytes()).expect_err("nor do those of a wrong type");
    assert!(error.message.contains("of a wrong type"), "{error}");
    // Who writes attributes wrongly, and all of them, still has the rest.
    let words =
        r#"{"attributes":["a","a","a","a","a","a","a","a","a","a"],"name":"GET /checkout"}"#;
    let spans = vec![words; 100].join(",");
    let read = traces(request(&spans).as_bytes()).expect("read");
    assert_eq!(read.resource_spans[0].scope_spans[0].spans.len(), 100);
}

#[test]
fn a_beacon_holds_both_signals() {
    let body = beacon(br#"{"resourceSpans":[{}],"resourceLogs":[{},{}]}"#).expect("read");
    assert_eq!((body.traces.resource_spans.len(), body.logs.resource_logs.len()), (1, 2));
}

fn read_all(body: &[u8]) {
    let read = (traces(body), logs(body), metrics(body), beacon(body));
    if let (Ok(traces), Ok(logs), Ok(metrics), Ok(_)) = read {
        assert!(ExportTraceServiceRequest::decode(traces.encode_to_vec().as_slice()).is_ok());
        assert!(ExportLogsServiceRequest::decode(logs.encode_to_vec().as_slice()).is_ok());
        assert!(ExportMetricsServiceRequest::decode(metrics.encode_to_vec().as_slice()).is_ok());
    }
}

proptest! {
    #[test]
    fn never_panics_on_bytes(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_all(&body);
    }

    #[test]
    fn never_panics_on_damaged_examples(
        example in proptest::sample::select(vec![TRACE, LOGS, METRICS, EVENTS]),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut body = example.as_bytes().to_vec();
        for (place, byte) in damage {
            let place = place.index(body.len());
            body[place] = byte;
        }
        if cuts {
            body.truncate(cut.index(body.len()));
        }
        read_all(&body);
    }
}
