//! The OTLP/HTTP door: one row for each status of the standard.

use std::io::Write;

use super::*;
use crate::stand::{Answer, EVENT, NOW_NS, SPAN, Stand, bomb, logs, send, traces};

const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

async fn post(
    stand: &Stand,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Answer {
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(router(&stand.collector), "127.0.0.1:9", request.body(body.into()).expect("a request"))
        .await
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

fn protobuf(json: &str) -> Vec<u8> {
    ethogram_timeline::decode::json::traces(json.as_bytes()).expect("right JSON").encode_to_vec()
}

/// Method, path, headers, body; the status they get, and the content type of the answer.
type Case =
    (&'static str, &'static str, Vec<(&'static str, &'static str)>, Vec<u8>, u16, &'static str);

/// What is sent to a door whose bodies may have 4 KiB.
fn cases() -> Vec<Case> {
    let span = traces(&[SPAN]);
    let large = "x".repeat(4097);
    let bomb = gzip(&"x".repeat(1 << 20));
    let charset = ("content-type", "Application/JSON; charset=utf-8");
    let (json, proto, plain) =
        ("application/json", "application/x-protobuf", "text/plain; charset=utf-8");
    let zstd = ("content-encoding", "zstd");
    let gz = ("content-encoding", "gzip");
    vec![
        ("POST", "/v1/traces", vec![JSON], span.clone().into(), 200, json),
        ("POST", "/v1/traces", vec![charset], span.clone().into(), 200, json),
        ("POST", "/v1/traces", vec![PROTOBUF], protobuf(&span), 200, proto),
        ("POST", "/v1/traces", vec![JSON, gz], gzip(&span), 200, json),
        (
            "POST",
            "/v1/traces",
            vec![JSON, zstd],
            zstd::bulk::compress(span.as_bytes(), 3).expect("compresses"),
            200,
            json,
        ),
        (
            "POST",
            "/v1/traces",
            vec![JSON, ("content-encoding", "identity")],
            span.clone().into(),
            200,
            json,
        ),
        ("POST", "/v1/logs", vec![JSON], logs(&[EVENT]).into(), 200, json),
        ("POST", "/v1/metrics", vec![JSON], b"{}".to_vec(), 200, json),
        ("POST", "/v1/traces", vec![PROTOBUF], Vec::new(), 200, proto),
        ("GET", "/v1/traces", vec![], Vec::new(), 405, plain),
        ("PUT", "/v1/traces", vec![JSON], span.clone().into(), 405, plain),
        ("OPTIONS", "/v1/traces", vec![("origin", "https://a.example")], Vec::new(), 405, plain),
        ("POST", "/v1/profiles", vec![JSON], b"{}".to_vec(), 404, plain),
        ("POST", "/", vec![JSON], b"{}".to_vec(), 404, plain),
        (
            "POST",
            "/v1/traces",
            vec![("content-type", "text/plain")],
            span.clone().into(),
            415,
            plain,
        ),
        ("POST", "/v1/traces", vec![], span.clone().into(), 415, plain),
        (
            "POST",
            "/v1/traces",
            vec![JSON, ("content-encoding", "br")],
            span.clone().into(),
            415,
            json,
        ),
        ("POST", "/v1/traces", vec![JSON], large.clone().into(), 413, json),
        ("POST", "/v1/traces", vec![PROTOBUF], large.clone().into(), 413, proto),
        ("POST", "/v1/traces", vec![JSON, gz], bomb, 413, json),
        ("POST", "/v1/traces", vec![JSON], b"{".to_vec(), 400, json),
        ("POST", "/v1/traces", vec![PROTOBUF], b"\xff\xff".to_vec(), 400, proto),
        ("POST", "/v1/traces", vec![JSON, gz], b"no gzip".to_vec(), 400, json),
    ]
}

#[tokio::test]
async fn status_and_type_by_request() {
    let stand = Stand::new(r#"{"otlp": {"body_bytes_max": 4096}}"#);
    for (method, path, headers, body, status, media_type) in cases() {
        let answer = post(&stand, method, path, &headers, body).await;
        let case = format!("{method} {path} {headers:?}");
        assert_eq!(answer.status.as_u16(), status, "{case}");
        assert_eq!(answer.header("content-type"), media_type, "{case}");
        assert_eq!(answer.header("retry-after"), "", "{case}");
        match (status, media_type) {
            (200, "application/json") => assert_eq!(answer.text(), "{}", "{case}"),
            (200, _) => assert!(answer.body.is_empty(), "{case}"),
            (_, "application/json") => {
                let body: serde_json::Value =
                    serde_json::from_slice(&answer.body).expect("a google.rpc.Status");
                assert!(!body["message"].as_str().expect("a message").is_empty(), "{case}");
            }
            _ => assert!(!answer.body.is_empty(), "{case}"),
        }
    }
    assert_eq!(stand.records().len(), 7, "empty requests leave no record");
}

#[tokio::test]
async fn bombs_are_refused_before_they_are_decoded() {
    let stand = Stand::new("{}");
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let unread = format!(r#"{{"nobody reads this":{}}}"#, nested(100_000));
    let value = format!(r#"{{"resourceSpans":{}}}"#, nested(100_000));
    let (gz, zstd) = (("content-encoding", "gzip"), ("content-encoding", "zstd"));
    let many = traces(&vec!["null"; 65_537]);
    let cases = [
        ("/v1/traces", vec![PROTOBUF, gz], bomb::gzip_spans(), 400, "too_many"),
        ("/v1/traces", vec![PROTOBUF, zstd], bomb::zstd_spans(), 400, "too_many"),
        ("/v1/traces", vec![PROTOBUF, gz], bomb::gzip_zeros(), 400, "undecodable"),
        ("/v1/metrics", vec![PROTOBUF, zstd], bomb::zstd_zeros(), 400, "undecodable"),
        ("/v1/traces", vec![PROTOBUF, gz], gzip_twice(), 400, "undecodable"),
        ("/v1/traces", vec![PROTOBUF], bomb::deep_value(32), 200, ""),
        ("/v1/traces", vec![PROTOBUF], bomb::deep_value(33), 400, "too_deep"),
        ("/v1/traces", vec![PROTOBUF], bomb::deep_value(10_000), 400, "too_deep"),
        ("/v1/traces", vec![JSON], unread.into(), 400, "too_deep"),
        ("/v1/traces", vec![JSON], value.into(), 400, "too_deep"),
        ("/v1/traces", vec![JSON], many.into(), 400, "too_many"),
    ];
    for (path, headers, body, status, reason) in cases {
        let before = refused(&stand, reason);
        let case = format!("{path} {headers:?} {} bytes", body.len());
        let answer = post(&stand, "POST", path, &headers, body).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (status, ""), "{case}");
        assert_eq!(refused(&stand, reason) - before, u64::from(status != 200), "{case}");
        assert_eq!(stand.collector.budget.used(), 0, "{case}: what was reserved is given back");
    }
}

fn refused(stand: &Stand, reason: &str) -> u64 {
    let refused = stand.collector.counters.read().refused;
    refused.iter().filter(|(known, ..)| known.name() == reason).map(|(_, _, count)| count).sum()
}

fn gzip_twice() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&bomb::gzip_spans()).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

#[tokio::test]
async fn a_record_holds_who_sent_it_and_what() {
    let stand = Stand::new(r#"{"tokens": [{"id": "team-a", "token": "secret", "app": "shop"}]}"#);
    let answer = post(&stand, "POST", "/v1/traces", &[JSON], traces(&[SPAN])).await;
    assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (401, "Bearer"));
    let wrong = [JSON, ("authorization", "Bearer guess")];
    assert_eq!(
        post(&stand, "POST", "/v1/traces", &wrong, traces(&[SPAN])).await.status.as_u16(),
        401
    );
    assert!(stand.records().is_empty());

    let right = [JSON, ("authorization", "Bearer secret")];
    assert_eq!(
        post(&stand, "POST", "/v1/traces", &right, traces(&[SPAN])).await.status.as_u16(),
        200
    );
    let records = stand.records();
    let record = &records[0];
    assert_eq!(
        (record.app.as_str(), record.key_id.as_str(), record.verified),
        ("shop", "team-a", true)
    );
    assert_eq!((record.service.as_str(), record.country.as_str()), ("", "unknown"));
    assert_eq!(record.received_ns, NOW_NS);
    assert!(record.logs.is_empty() && record.metrics.is_empty());
    let stored = <ExportTraceServiceRequest as Message>::decode(&*record.traces).expect("protobuf");
    assert_eq!(stored.resource_spans[0].scope_spans[0].spans[0].name, "GET");
}

#[tokio::test]
async fn partial_success_counts_exactly() {
    let stand = Stand::new("{}");
    let bad = r#"{"traceId":"","spanId":"","name":"bad"}"#;
    let answer = post(&stand, "POST", "/v1/traces", &[JSON], traces(&[SPAN, bad, bad])).await;
    assert_eq!(answer.status.as_u16(), 200);
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(body["partialSuccess"]["rejectedSpans"], "2");
    assert!(!body["partialSuccess"]["errorMessage"].as_str().expect("a message").is_empty());

    let unnamed = r#"{"body":{"stringValue":"a line of a log"}}"#;
    let answer = post(&stand, "POST", "/v1/logs", &[JSON], logs(&[unnamed, EVENT])).await;
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(body["partialSuccess"]["rejectedLogRecords"], "1");

    let answer = post(&stand, "POST", "/v1/traces", &[PROTOBUF], protobuf(&traces(&[bad]))).await;
    let response = ExportResponse::decode(&*answer.body).expect("an export response");
    assert_eq!(response.partial_success.expect("partial").rejected, 1);

    assert_eq!(stand.records().len(), 2, "a request of which nothing is left leaves no record");
    let values = stand.collector.counters.read();
    assert_eq!(values.accepted.map(|(_, count)| count), [1, 1, 0]);
    let rejected: u64 = values.rejected.iter().map(|(_, _, count)| count).sum();
    assert_eq!(rejected, 4);
}

#[tokio::test]
async fn what_may_be_retried_says_when() {
    let full = Stand::new(r#"{"limits": {"in_flight_bytes_max": 10}}"#);
    let closed = Stand::new("{}");
    closed.collector.log.close();
    for stand in [full, closed] {
        let answer = post(&stand, "POST", "/v1/traces", &[JSON], traces(&[SPAN])).await;
        assert_eq!(answer.status.as_u16(), 503);
        let seconds: u64 = answer.header("retry-after").parse().expect("seconds");
        assert!((1..=30).contains(&seconds));
        assert_eq!(stand.collector.budget.used(), 0, "what was reserved is given back");
    }
}

#[tokio::test]
async fn large_bodies_take_the_long_way() {
    let stand = Stand::new("{}");
    let spans = vec![SPAN; 4_000];
    let answer = post(&stand, "POST", "/v1/traces", &[JSON], traces(&spans)).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "{}"));
    assert_eq!(stand.collector.counters.read().accepted[0].1, 4_000);
}

#[tokio::test]
async fn cross_origin_is_off_unless_configured() {
    let asks = ("origin", "https://shop.example.com");
    let answer = post(&Stand::new("{}"), "OPTIONS", "/v1/traces", &[asks], Body::empty()).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (405, ""));
    let stand = Stand::new(r#"{"otlp": {"cors_origins": ["https://*.example.com"]}}"#);
    let ours = ("origin", "https://shop.example.com");
    let answer = post(&stand, "OPTIONS", "/v1/traces", &[ours], Body::empty()).await;
    assert_eq!(answer.status.as_u16(), 204);
    assert_eq!(answer.header("access-control-allow-origin"), ours.1);
    assert_eq!(answer.header("access-control-max-age"), "7200");
    assert!(answer.header("access-control-allow-headers").contains("traceparent"));
    let answer = post(&stand, "POST", "/v1/traces", &[ours, JSON], traces(&[SPAN])).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("access-control-allow-origin")),
        (200, ours.1)
    );
    assert_eq!(
        (answer.header("vary"), answer.header("access-control-expose-headers")),
        ("Origin", "Retry-After")
    );
    let theirs = ("origin", "https://evil.test");
    let answer = post(&stand, "OPTIONS", "/v1/traces", &[theirs], Body::empty()).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (405, ""));
}
