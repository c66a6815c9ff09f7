//! From the wire to rows: the beacon, services old and new, other browser SDKs, metrics.

mod robust;
mod senders;

use super::*;
use crate::record::Source;
use crate::schema::Time;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;

const RECEIVED: i64 = 1_700_000_000_000_000_000;
const TRACE: &str = "5b8efff798038103d269b633813fc60c";

fn list(pairs: &[(&str, &str)]) -> String {
    let pair = |(key, value): &(&str, &str)| {
        format!(r#"{{"key":{key:?},"value":{{"stringValue":{value:?}}}}}"#)
    };
    pairs.iter().map(pair).collect::<Vec<_>>().join(",")
}

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// A span with these attributes and this resource, sent by `source`.
fn span(source: Source, kind: i32, resource: Pairs<'_>, attributes: Pairs<'_>) -> Span {
    let body = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{}]}},"scopeSpans":[{{"spans":[{{
            "traceId":"{TRACE}","spanId":"eee19b7ec3c1b174","name":"GET","kind":{kind},
            "startTimeUnixNano":"1699999990000000000","endTimeUnixNano":"1699999990000250000",
            "attributes":[{}]}}]}}]}}]}}"#,
        list(resource),
        list(attributes)
    );
    let mut envelope = Envelope::new(source, RECEIVED);
    envelope.service = String::from("web");
    envelope.country = String::from("GB");
    envelope.traces = json::traces(body.as_bytes()).expect("legal JSON").encode_to_vec();
    let mut rows = rows(&envelope).expect("it decodes");
    assert_eq!((rows.spans.len(), rows.dropped.len()), (1, 0));
    rows.spans.remove(0)
}

fn event(source: Source, record: &str) -> Event {
    let body = format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{}]}},
            "scopeLogs":[{{"logRecords":[{record}]}}]}}]}}"#,
        list(&[("session.id", "s1"), ("behavior.sent_at", "1699999999000000000")])
    );
    let mut envelope = Envelope::new(source, RECEIVED);
    envelope.logs = json::logs(body.as_bytes()).expect("legal JSON").encode_to_vec();
    rows(&envelope).expect("it decodes").events.remove(0)
}

#[test]
fn a_beacon_span_becomes_a_browser_row() {
    let resource = [
        ("session.id", "s1"),
        ("behavior.tab_id", "t1"),
        ("behavior.page_id", "p1"),
        ("behavior.sent_at", "1699999999000000000"),
        ("service.name", "forged"),
        ("service.version", "1.2"),
    ];
    let attributes = [
        ("http.request.method", "GET"),
        ("url.full", "https://shop.example/orders/42"),
        ("server.address", "shop.example"),
        ("server.port", "443"),
        ("http.response.status_code", "503"),
        ("behavior.attempt", "2"),
        ("behavior.attempt_kind", "retry"),
        ("behavior.intent_id", TRACE),
        ("behavior.repeat", "1"),
        ("behavior.repeat_cause", "refresh"),
        ("behavior.sequence", "7"),
    ];
    let Span { row, hints } = span(Source::Beacon, 3, &resource, &attributes);
    // The browser's clock is a second behind the collector's.
    assert_eq!(row.time, Time(RECEIVED - 9_000_000_000));
    assert_eq!(row.time_client, Time(RECEIVED - 10_000_000_000));
    assert_eq!((row.duration_us, row.status_code, row.sequence), (250, Some(503), Some(7)));
    for (column, expected) in [
        (&row.service, "web"),
        (&row.service_version, "1.2"),
        (&row.layer, "browser"),
        (&row.kind, "client"),
        (&row.method, "GET"),
        (&row.route, "/orders/{id}"),
        (&row.country, "GB"),
        (&row.region, "unknown"),
        (&row.attempt_kind, "none"),
        (&row.callee, "unknown"),
    ] {
        assert_eq!(column, expected);
    }
    assert_eq!(row.session_id.as_ref().map(|id| id.as_str()), Some("s1"));
    assert_eq!(row.page_id.as_ref().map(|id| id.as_str()), Some("p1"));
    assert_eq!(row.resource.get("behavior.tab_id"), Some("t1"));
    assert_eq!(hints.beacon_previous_attempts, Some(1));
    assert_eq!(hints.intent_id, TRACE.parse().ok());
    assert_eq!((hints.repeat, hints.resend_count), (1, None));
    assert_eq!(hints.callee.as_ref().map(|label| label.as_str()), Some("shop.example"));
    assert_eq!(hints.target.as_deref(), Some("https://shop.example/orders/42"));
    assert_eq!(hints.sent_at, Some(Time(RECEIVED - 1_000_000_000)));
}

#[test]
fn old_and_new_names_give_the_same_row() {
    let new = span(
        Source::Otlp,
        2,
        &[
            ("service.name", "shop"),
            ("deployment.environment.name", "prod"),
            ("cloud.region", "eu"),
        ],
        &[
            ("http.request.method", "PUT"),
            ("http.response.status_code", "200"),
            ("url.path", "/a"),
            ("user.id", "7"),
        ],
    );
    let old = span(
        Source::Otlp,
        2,
        &[("service.name", "shop"), ("deployment.environment", "prod"), ("cloud.region", "eu")],
        &[
            ("http.method", "PUT"),
            ("http.status_code", "200"),
            ("http.target", "/a?b"),
            ("enduser.id", "7"),
        ],
    );
    assert_eq!(new.hints, old.hints);
    assert_eq!(old.row.attributes.get("http.method"), Some("PUT"), "as it was sent");
    let mut renamed = old.row.clone();
    renamed.attributes = new.row.attributes.clone();
    renamed.resource = new.row.resource.clone();
    assert_eq!(renamed, new.row);
    assert_eq!((new.row.service.as_str(), new.row.layer.as_str()), ("shop", "service"));
    assert_eq!((new.row.time, new.row.time_client), (old.row.time_client, new.row.time));
}

#[test]
fn evidence_of_attempts_counts_the_earlier_sends() {
    for (name, value, expected) in [
        ("http.request.resend_count", "2", [Some(2), None, None, None]),
        ("http.resend_count", "2", [Some(2), None, None, None]),
        ("rpc.grpc.request.metadata.grpc-previous-rpc-attempts", "1", [None, Some(1), None, None]),
        ("http.request.header.x-envoy-attempt-count", "1", [None, None, Some(0), None]),
        ("http.request.header.x_envoy_attempt_count", "3", [None, None, Some(2), None]),
        ("behavior.attempt", "1", [None, None, None, Some(0)]),
        ("behavior.attempt", "-5", [None, None, None, Some(0)]),
        ("behavior.attempt", "99999999999", [None, None, None, Some(i32::MAX - 1)]),
        ("behavior.attempt", "first", [None, None, None, None]),
    ] {
        let hints = span(Source::Otlp, 3, &[], &[(name, value)]).hints;
        let counts = [
            hints.resend_count,
            hints.grpc_previous_attempts,
            hints.envoy_previous_attempts,
            hints.beacon_previous_attempts,
        ];
        assert_eq!(counts, expected, "{name}={value}");
    }
    let key = [("http.request.header.idempotency-key", "\"8e03978e\"")];
    let hints = span(Source::Otlp, 2, &[], &key).hints;
    assert_eq!(hints.idempotency_key.as_deref(), Some("8e03978e"));
}

#[test]
fn calls_name_their_callee_and_target() {
    let check = |kind, attributes: Pairs<'_>, callee, target| {
        let hints = span(Source::Otlp, kind, &[], attributes).hints;
        assert_eq!(hints.callee.as_ref().map(|label| label.as_str()), callee, "{attributes:?}");
        assert_eq!(hints.target.as_deref(), target, "{attributes:?}");
    };
    check(3, &[("peer.service", "pay"), ("server.address", "x")], Some("pay"), None);
    check(3, &[("db.system", "redis"), ("server.address", "x")], Some("redis"), None);
    check(
        3,
        &[("db.system.name", "postgresql"), ("db.namespace", "shop"), ("db.statement", "SELECT 1")],
        Some("postgresql/shop"),
        Some("SELECT 1"),
    );
    check(4, &[("messaging.destination.name", "jobs")], Some("jobs"), Some("jobs"));
    check(3, &[("rpc.service", "a.B"), ("rpc.method", "C")], Some("a.B"), Some("a.B/C"));
    check(3, &[("net.peer.name", "db"), ("net.peer.port", "5432")], Some("db:5432"), None);
    check(
        3,
        &[("url.full", "http://a.example:80/b?c")],
        Some("a.example"),
        Some("http://a.example:80/b"),
    );
    check(2, &[("url.path", "/b"), ("server.address", "x")], None, Some("/b"));
    check(1, &[("url.path", "/b")], None, None);
}

#[test]
fn other_browser_sdks_are_recognised() {
    for (resource, attributes, layer, session) in [
        (
            &[("telemetry.sdk.language", "webjs")][..],
            &[("session.id", "a")][..],
            "browser",
            Some("a"),
        ),
        (&[("rum.sessionId", "b"), ("session.id", "c")], &[], "browser", Some("b")),
        (&[("rum.sessionId", "b")], &[("session.id", "a")], "browser", Some("a")),
        (&[("browser.platform", "x"), ("session.id", "c")], &[], "browser", Some("c")),
        (&[("telemetry.sdk.language", "nodejs")], &[], "service", None),
    ] {
        let row = span(Source::Otlp, 3, resource, attributes).row;
        assert_eq!(row.layer, layer, "{resource:?}");
        assert_eq!(row.session_id.as_ref().map(|id| id.as_str()), session, "{resource:?}");
    }
}

#[test]
fn a_browser_request_without_an_answer_failed_in_the_network() {
    let web = [("telemetry.sdk.language", "webjs")];
    let node = [("telemetry.sdk.language", "nodejs")];
    let get = ("http.method", "GET");
    for (resource, kind, attributes, code, error) in [
        (&web, 3, &[get, ("http.response.status_code", "0")][..], None, Some("network")),
        (&web, 3, &[get], None, Some("network")),
        (&web, 3, &[get, ("error.type", "abort")], None, Some("abort")),
        (&web, 3, &[get, ("behavior.opaque", "true")], None, None),
        (&web, 3, &[get, ("behavior.opaque", "false")], None, Some("network")),
        (&web, 3, &[get, ("http.status_code", "500")], Some(500), None),
        (&web, 1, &[get], None, None),
        (&web, 3, &[], None, None),
        (&node, 3, &[get, ("http.status_code", "0")], None, None),
    ] {
        let row = span(Source::Otlp, kind, resource, attributes).row;
        assert_eq!(row.status_code, code, "{attributes:?}");
        assert_eq!(row.error_type.as_ref().map(|label| label.as_str()), error, "{attributes:?}");
    }
}

#[test]
fn places_come_from_the_record_or_the_envelope() {
    let said = [("geo.country.iso_code", "FR"), ("geo.region.iso_code", "FR-IDF")];
    let mapped = [said[0], said[1], ("behavior.region", "emea")];
    for (source, attributes, expected) in [
        (Source::Otlp, &said[..], ["FR", "FR-IDF", "FR"]),
        (Source::Otlp, &mapped, ["FR", "FR-IDF", "emea"]),
        (Source::Otlp, &[], ["GB", "unknown", "unknown"]),
        (Source::Beacon, &mapped, ["GB", "unknown", "unknown"]),
    ] {
        let row = span(source, 2, &[], attributes).row;
        assert_eq!([row.country, row.subdivision, row.region], expected);
    }
}

#[test]
fn events_carry_what_the_join_reads() {
    let pairs = list(&[
        ("behavior.abandon_target", "request"),
        ("behavior.abandon_trigger", "leave"),
        ("behavior.waited_us", "2500000"),
        ("behavior.total_waited_us", "4000000"),
        ("behavior.attempt", "2"),
        ("http.request.method", "GET"),
        ("url.full", "https://shop.example/orders/42"),
        ("behavior.sequence", "3"),
    ]);
    let record = format!(
        r#"{{"eventName":"behavior.abandon","timeUnixNano":"1699999998000000000",
            "traceId":"{TRACE}","spanId":"eee19b7ec3c1b174","attributes":[{pairs}]}}"#
    );
    let Event { row, hints } = event(Source::Beacon, &record);
    assert_eq!(row.event_name, "behavior.abandon");
    assert_eq!(row.time, Time(RECEIVED - 1_000_000_000));
    assert_eq!(row.trace_id, TRACE.parse().ok());
    assert_eq!((row.value, row.sequence, row.body), (Some(2_500_000.0), Some(3), None));
    assert_eq!((hints.waited_us, hints.total_waited_us), (Some(2_500_000), Some(4_000_000)));
    assert_eq!(hints.previous_attempts, Some(1));
    assert_eq!(hints.abandon_trigger.as_ref().map(|label| label.as_str()), Some("leave"));
    assert_eq!(hints.route.as_ref().map(|label| label.as_str()), Some("/orders/{id}"));

    // The deprecated attribute, no time, a body that is a list.
    let pairs = list(&[("event.name", "old")]);
    let record = format!(
        r#"{{"attributes":[{pairs}],"traceId":"00","body":{{"arrayValue":{{"values":[{{"intValue":1}}]}}}}}}"#
    );
    let Event { row, .. } = event(Source::Otlp, &record);
    assert_eq!((row.event_name.as_str(), row.layer.as_str()), ("old", "service"));
    assert_eq!((row.time, row.trace_id), (Time(RECEIVED), None));
    assert_eq!(row.body.as_deref(), Some("[1]"));
}

#[test]
fn the_metrics_of_the_standard_become_rows() {
    let example = include_str!("../../../../tests/data/otlp-examples/metrics.json");
    let mut request = json::metrics(example.as_bytes()).expect("an example");
    let metrics = &mut request.resource_metrics[0].scope_metrics[0].metrics;
    let Some(Data::Gauge(gauge)) = &mut metrics[1].data else { panic!("a gauge") };
    let point = gauge.data_points[0].clone();
    gauge.data_points.push(opentelemetry_proto::tonic::metrics::v1::NumberDataPoint {
        flags: 1,
        ..point.clone()
    });
    gauge
        .data_points
        .push(opentelemetry_proto::tonic::metrics::v1::NumberDataPoint { value: None, ..point });
    let mut envelope = Envelope::new(Source::Otlp, RECEIVED);
    envelope.metrics = request.encode_to_vec();
    let rows = rows(&envelope).expect("it decodes");
    assert_eq!(rows.dropped, [("no_recorded_value", 1), ("no_value", 1)]);
    let found: Vec<_> = rows
        .metrics
        .iter()
        .map(|row| (row.kind.as_str(), row.temporality.as_str(), row.value, row.count, row.sum))
        .collect();
    assert_eq!(
        found,
        [
            ("sum", "delta", Some(5.0), None, None),
            ("gauge", "unspecified", Some(10.0), None, None),
            ("histogram", "delta", None, Some(2), Some(2.0)),
            ("histogram", "delta", None, Some(3), Some(10.0)),
        ]
    );
    assert!(rows.metrics[0].monotonic);
    let buckets = rows.metrics[3].h.as_ref().map(|h| h.iter().collect::<Vec<_>>());
    assert_eq!(buckets, Some(vec![(0, 1), (6, 2)]));
    assert_eq!(rows.metrics[0].service, "my.service");
}

#[test]
fn repeated_keys_keep_the_last_value() {
    let repeated = [("a", "1"), ("b", "2"), ("a", "3")];
    let row = span(Source::Otlp, 1, &[], &repeated).row;
    assert_eq!(row.attributes.0.len(), 2);
    assert_eq!((row.attributes.get("a"), &*row.attributes.0[0].0), (Some("3"), "a"));
    // The same by the other way, for many.
    let names: Vec<String> = (0..100).map(|number| format!("k{}", number % 50)).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    assert_eq!(span(Source::Otlp, 1, &[], &many).row.attributes.0.len(), 50);
}

#[test]
fn nothing_is_dropped_uncounted() {
    let body = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{},{"traceId":"00"}]}]}],
        "resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}"#;
    let body = json::beacon(body.as_bytes()).expect("legal JSON");
    let mut envelope = Envelope::new(Source::Beacon, RECEIVED);
    envelope.traces = body.traces.encode_to_vec();
    envelope.logs = body.logs.encode_to_vec();
    let rows = rows(&envelope).expect("it decodes");
    assert_eq!(rows.dropped, [("invalid_trace_id", 2), ("no_event_name", 1)]);

    let mut tick = Envelope::new(Source::Tick, RECEIVED);
    tick.counters = vec![(String::from("requests"), 3)];
    let rows = super::rows(&tick).expect("it decodes");
    assert_eq!((rows.counters, rows.received_ns), (tick.counters, RECEIVED));

    envelope.logs = vec![0xff];
    assert!(matches!(super::rows(&envelope), Err(DecodeError::Logs(_))));
}
