//! The scan's counts beside those of the decoded structs.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;

use super::*;

const ALL: Limits = Limits { records_max: u64::MAX, decoded_bytes_max: u64::MAX };

fn value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        any::<String>().prop_map(Value::StringValue),
        any::<i64>().prop_map(Value::IntValue),
        any::<f64>().prop_map(Value::DoubleValue),
        any::<bool>().prop_map(Value::BoolValue),
        vec(any::<u8>(), 0..20).prop_map(Value::BytesValue),
    ];
    let leaf = option::of(leaf).prop_map(|value| AnyValue { value });
    leaf.prop_recursive(4, 16, 4, |inner| {
        let list =
            vec(inner.clone(), 0..4).prop_map(|values| Value::ArrayValue(ArrayValue { values }));
        let map = vec(("[a-z]{0,4}", option::of(inner)), 0..4).prop_map(|pairs| {
            let values = pairs.into_iter().map(|(key, value)| KeyValue {
                key,
                value,
                ..KeyValue::default()
            });
            Value::KvlistValue(KeyValueList { values: values.collect() })
        });
        prop_oneof![list, map].prop_map(|value| AnyValue { value: Some(value) })
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    vec(("[a-z.]{0,8}", option::of(value())), 0..4).prop_map(|pairs| {
        pairs
            .into_iter()
            .map(|(key, value)| KeyValue { key, value, ..KeyValue::default() })
            .collect()
    })
}

fn resource() -> impl Strategy<Value = Option<Resource>> {
    option::of(attributes().prop_map(|attributes| Resource { attributes, ..Resource::default() }))
}

fn scope() -> impl Strategy<Value = Option<InstrumentationScope>> {
    let scope = (any::<String>(), attributes()).prop_map(|(name, attributes)| {
        InstrumentationScope { name, attributes, ..InstrumentationScope::default() }
    });
    option::of(scope)
}

fn span() -> impl Strategy<Value = Span> {
    let event = (any::<u64>(), any::<String>(), attributes()).prop_map(|(at, name, attributes)| {
        span::Event { time_unix_nano: at, name, attributes, ..span::Event::default() }
    });
    let link = (vec(any::<u8>(), 0..17), attributes(), any::<u32>()).prop_map(
        |(trace_id, attributes, flags)| span::Link {
            trace_id,
            attributes,
            flags,
            ..span::Link::default()
        },
    );
    let ids = vec(any::<u8>(), 0..17);
    let status =
        option::of((any::<String>(), 0..3).prop_map(|(message, code)| Status { message, code }));
    (
        ids,
        any::<String>(),
        any::<[u64; 2]>(),
        attributes(),
        vec(event, 0..4),
        vec(link, 0..4),
        status,
        any::<u32>(),
    )
        .prop_map(
            |(trace_id, name, [start, end], attributes, events, links, status, flags)| Span {
                span_id: trace_id.clone(),
                trace_id,
                name,
                start_time_unix_nano: start,
                end_time_unix_nano: end,
                attributes,
                events,
                links,
                status,
                flags,
                ..Span::default()
            },
        )
}

fn trace_request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope_spans = (scope(), vec(span(), 0..4)).prop_map(|(scope, spans)| ScopeSpans {
        scope,
        spans,
        schema_url: String::from("s"),
    });
    let group = (resource(), vec(scope_spans, 0..3)).prop_map(|(resource, scope_spans)| {
        ResourceSpans { resource, scope_spans, schema_url: String::new() }
    });
    vec(group, 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

fn logs_request() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let record = (any::<u64>(), option::of(value()), attributes(), any::<String>()).prop_map(
        |(at, body, attributes, event_name)| LogRecord {
            observed_time_unix_nano: at,
            body,
            attributes,
            event_name,
            ..LogRecord::default()
        },
    );
    let scope_logs = (scope(), vec(record, 0..4)).prop_map(|(scope, log_records)| ScopeLogs {
        scope,
        log_records,
        ..ScopeLogs::default()
    });
    let group = (resource(), vec(scope_logs, 0..3)).prop_map(|(resource, scope_logs)| {
        ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }
    });
    vec(group, 0..3).prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs })
}

fn exemplars() -> impl Strategy<Value = Vec<Exemplar>> {
    vec(attributes(), 0..3).prop_map(|all| {
        all.into_iter()
            .map(|filtered_attributes| Exemplar { filtered_attributes, ..Exemplar::default() })
            .collect()
    })
}

fn data() -> impl Strategy<Value = Data> {
    let number = || {
        let point = (attributes(), exemplars(), any::<u64>());
        let point = point.prop_map(|(attributes, exemplars, time_unix_nano)| NumberDataPoint {
            attributes,
            exemplars,
            time_unix_nano,
            ..NumberDataPoint::default()
        });
        vec(point, 0..4)
    };
    let histogram = (attributes(), exemplars(), vec(any::<u64>(), 0..5), vec(any::<f64>(), 0..5))
        .prop_map(|(attributes, exemplars, bucket_counts, explicit_bounds)| HistogramDataPoint {
            attributes,
            exemplars,
            bucket_counts,
            explicit_bounds,
            ..HistogramDataPoint::default()
        });
    let exponential = (attributes(), exemplars()).prop_map(|(attributes, exemplars)| {
        ExponentialHistogramDataPoint { attributes, exemplars, ..Default::default() }
    });
    let summary = (attributes(), vec(any::<f64>(), 0..4)).prop_map(|(attributes, quantiles)| {
        let quantile_values =
            quantiles.into_iter().map(|quantile| ValueAtQuantile { quantile, value: 1.0 });
        SummaryDataPoint {
            attributes,
            quantile_values: quantile_values.collect(),
            ..SummaryDataPoint::default()
        }
    });
    prop_oneof![
        number().prop_map(|data_points| Data::Gauge(Gauge { data_points })),
        number().prop_map(|data_points| Data::Sum(Sum { data_points, ..Sum::default() })),
        vec(histogram, 0..4).prop_map(|data_points| {
            Data::Histogram(Histogram { data_points, ..Histogram::default() })
        }),
        vec(exponential, 0..4).prop_map(|data_points| {
            Data::ExponentialHistogram(ExponentialHistogram { data_points, ..Default::default() })
        }),
        vec(summary, 0..4).prop_map(|data_points| Data::Summary(Summary { data_points })),
    ]
}

fn metrics_request() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let metric = (any::<String>(), attributes(), option::of(data()))
        .prop_map(|(name, metadata, data)| Metric { name, metadata, data, ..Metric::default() });
    let scope_metrics = (scope(), vec(metric, 0..3)).prop_map(|(scope, metrics)| ScopeMetrics {
        scope,
        metrics,
        ..ScopeMetrics::default()
    });
    let group = (resource(), vec(scope_metrics, 0..3)).prop_map(|(resource, scope_metrics)| {
        ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }
    });
    vec(group, 0..3).prop_map(|resource_metrics| ExportMetricsServiceRequest { resource_metrics })
}

/// How often a struct's name stands in the debug text, which names every struct that was decoded.
fn named(text: &str, name: &str) -> u64 {
    let is_name =
        |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'"');
    let opening = format!("{name} {{");
    text.match_indices(&opening)
        .filter(|(at, _)| !is_name(text.as_bytes().get(at.wrapping_sub(1)).copied()))
        .count() as u64
}

/// What was decoded. Free text that looks like a struct is as good as impossible.
fn decoded(message: &impl std::fmt::Debug) -> Counts {
    let text = format!("{message:?}");
    let sum = |names: &[&str]| names.iter().map(|name| named(&text, name)).sum();
    Counts {
        resources: sum(&["ResourceSpans", "ResourceLogs", "ResourceMetrics"]),
        scopes: sum(&["ScopeSpans", "ScopeLogs", "ScopeMetrics"]),
        records: sum(&[
            "Span",
            "LogRecord",
            "NumberDataPoint",
            "HistogramDataPoint",
            "ExponentialHistogramDataPoint",
            "SummaryDataPoint",
        ]),
        metrics: sum(&["Metric"]),
        attributes: sum(&["KeyValue"]),
        events: sum(&["Event"]),
        links: sum(&["Link"]),
        decoded_bytes: 0,
    }
}

/// Scans in pieces of `size` bytes.
fn in_pieces(signal: Signal, bytes: &[u8], size: usize) -> Result<Counts, ScanError> {
    let mut scanner = Scanner::protobuf(signal, ALL);
    for piece in bytes.chunks(size) {
        scanner.feed(piece)?;
    }
    scanner.finish()
}

fn check(signal: Signal, message: &(impl Message + std::fmt::Debug), size: usize) {
    let scanned = in_pieces(signal, &message.encode_to_vec(), size).expect("a right message");
    let expected = decoded(message);
    assert_eq!(Counts { decoded_bytes: 0, ..scanned }, expected);
    let least = expected.records * 200 + expected.attributes * 48 + expected.events * 64;
    assert!(scanned.decoded_bytes >= least, "{scanned:?}");
}

proptest! {
    #[test]
    fn counts_are_those_of_the_decoded_structs(
        traces in trace_request(),
        logs in logs_request(),
        metrics in metrics_request(),
        size in 1_usize..50,
    ) {
        check(Signal::Traces, &traces, size);
        check(Signal::Logs, &logs, size);
        check(Signal::Metrics, &metrics, size);
    }

    #[test]
    fn pieces_do_not_matter_and_nothing_panics(bytes in vec(any::<u8>(), 0..200), size in 1_usize..20) {
        for signal in [Signal::Traces, Signal::Logs, Signal::Metrics] {
            prop_assert_eq!(in_pieces(signal, &bytes, size), in_pieces(signal, &bytes, 1000));
        }
        let mut scanner = Scanner::json(ALL);
        let outcome = bytes.chunks(size).try_for_each(|piece| scanner.feed(piece));
        prop_assert!(outcome.is_ok());
    }

    /// What the scan refuses as malformed prost refuses too: no honest body is lost to the scan.
    #[test]
    fn damage_that_prost_reads_is_read(
        traces in trace_request(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = traces.encode_to_vec();
        prop_assume!(!bytes.is_empty());
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let Ok(message) = ExportTraceServiceRequest::decode(&*bytes) else { return Ok(()) };
        match super::traces(&bytes, &ALL) {
            Ok(counts) => prop_assert!(counts.records >= decoded(&message).records),
            Err(error) => prop_assert_eq!(
                error, ScanError::Malformed("a field is of no kind that OTLP has")
            ),
        }
    }
}

#[test]
fn json_counts_what_stands_in_its_arrays() {
    let check = |body: &str, resources, scopes, records, attributes| {
        for size in [1, 7, 1000] {
            let mut scanner = Scanner::json(ALL);
            for piece in body.as_bytes().chunks(size) {
                scanner.feed(piece).expect(body);
            }
            let counts = scanner.finish().expect(body);
            let found = (counts.resources, counts.scopes, counts.records, counts.attributes);
            assert_eq!(found, (resources, scopes, records, attributes), "{body}");
        }
    };
    check("", 0, 0, 0, 0);
    check(r#"{"resourceSpans":[]}"#, 0, 0, 0, 0);
    check(r#"{"resourceSpans": [ {"scopeSpans" : [{"spans":[{},null , 7]}, {}]} ]}"#, 1, 2, 3, 0);
    check(r#"{"sp\u0061ns":[{},{}]}"#, 0, 0, 2, 0);
    check(r#"{"logRecords":[{"attributes":[{"key":"spans","value":{}}]}]}"#, 0, 0, 1, 1);
    check(r#"{"a":"spans\":[1,2,3]","dataPoints":[[1,2],"x,y"]}"#, 0, 0, 2, 0);
    check(r#"["spans",[1,2]]"#, 0, 0, 0, 0);
}

#[test]
fn limits_hold() {
    let limits = Limits { records_max: 2, decoded_bytes_max: 10_000 };
    let spans = |count: usize| {
        let scope = ScopeSpans { spans: vec![Span::default(); count], ..ScopeSpans::default() };
        let group = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
        ExportTraceServiceRequest { resource_spans: vec![group] }.encode_to_vec()
    };
    assert_eq!(super::traces(&spans(2), &limits).expect("two").records, 2);
    let error = super::traces(&spans(3), &limits).expect_err("three");
    assert_eq!(error, ScanError::TooMany { what: "records", max: 2 });
    let poor = Limits { records_max: 100, ..limits };
    let error = super::traces(&spans(100), &poor).expect_err("a hundred");
    assert_eq!(error, ScanError::TooCostly { max: 10_000 });
    let cut = &spans(2)[..5];
    assert_eq!(super::traces(cut, &limits), Err(ScanError::Malformed("it breaks off")));
    assert_eq!(super::logs(&[], &limits), Ok(Counts::default()));
    assert!(super::metrics(&[0xff; 20], &limits).is_err());
    let mut scanner = Scanner::json(limits);
    let deep = "[".repeat(JSON_DEPTH_MAX + 1);
    assert_eq!(scanner.feed(deep.as_bytes()), Err(ScanError::TooDeep { max: JSON_DEPTH_MAX }));
}
