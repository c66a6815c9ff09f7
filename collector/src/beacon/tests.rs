//! The browsers' door: keys, origins, places, sizes and statuses.

use std::io::Write;

use super::*;
use crate::stand::{Answer, EVENT, SPAN, Stand, send};
use ethogram_timeline::record::Source;

const POST: &str = "/v1/ethogram?key=local";
const PLAIN: (&str, &str) = ("content-type", "text/plain;charset=UTF-8");

fn body() -> String {
    format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{SPAN}]}}]}}],
            "resourceLogs":[{{"scopeLogs":[{{"logRecords":[{EVENT}]}}]}}]}}"#
    )
}

async fn ask(
    stand: &Stand,
    method: &str,
    uri: &str,
    peer: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Answer {
    let mut request = http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(router(&stand.collector, Vec::new()), peer, request.body(body.into()).expect("a request"))
        .await
}

async fn post(stand: &Stand, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    ask(stand, "POST", POST, "127.0.0.1:9", headers, body).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

/// Method, path and query, headers, body, and the status they get.
type Case = (&'static str, &'static str, Vec<(&'static str, &'static str)>, Vec<u8>, u16);

#[tokio::test]
async fn status_by_request() {
    let stand = Stand::new("{}");
    let json = ("content-type", "application/json");
    let protobuf = ("content-type", "application/x-protobuf");
    let zeros = gzip(&vec![b' '; 2 << 20]);
    let cases: Vec<Case> = vec![
        ("POST", POST, vec![PLAIN], body().into(), 204),
        ("POST", POST, vec![json], body().into(), 204),
        ("POST", POST, vec![], body().into(), 204),
        ("POST", POST, vec![PLAIN], gzip(body().as_bytes()), 204),
        ("POST", POST, vec![PLAIN, ("origin", "https://any.example")], body().into(), 204),
        ("POST", POST, vec![PLAIN], b"{}".to_vec(), 204),
        ("OPTIONS", POST, vec![("origin", "https://any.example")], Vec::new(), 204),
        ("POST", "/v1/ethogram?key=loc%61l", vec![PLAIN], body().into(), 204),
        ("POST", "/v1/ethogram?key=other", vec![PLAIN], body().into(), 401),
        ("POST", "/v1/ethogram", vec![PLAIN], body().into(), 401),
        ("POST", "/v1/beacon?key=local", vec![PLAIN], body().into(), 204),
        ("POST", POST, vec![protobuf], body().into(), 415),
        ("GET", POST, vec![], Vec::new(), 405),
        ("POST", "/v1/traces", vec![PLAIN], body().into(), 404),
        ("POST", POST, vec![PLAIN], b"{".to_vec(), 400),
        ("POST", POST, vec![PLAIN], vec![b' '; (64 << 10) + 1], 413),
        ("POST", POST, vec![PLAIN], zeros, 413),
        ("GET", "/ethogram.js", vec![], Vec::new(), 200),
        ("POST", "/ethogram.js", vec![], Vec::new(), 405),
    ];
    for (method, uri, headers, body, status) in cases {
        let answer = ask(&stand, method, uri, "127.0.0.1:9", &headers, body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {uri} {headers:?}");
        assert!(status != 204 || answer.body.is_empty());
    }
    assert_eq!(stand.records().len(), 7, "an empty beacon leaves no record");
}

#[tokio::test]
async fn one_record_holds_traces_and_logs() {
    let stand = Stand::new(
        r#"{"keys": [{"id": "k1", "key": "public", "app": "shop", "service": "storefront"}],
            "proxy": {"trusted": ["127.0.0.0/8"]},
            "geo": {"databases": ["../tests/data/maxmind-test/GeoIP2-City-Test.mmdb"], "regions": {"GB": "emea"}}}"#,
    );
    let headers = [PLAIN, ("x-forwarded-for", "8.8.8.8, 2.125.160.216")];
    let answer =
        ask(&stand, "POST", "/v1/ethogram?key=public", "127.0.0.1:9", &headers, body()).await;
    assert_eq!(answer.status.as_u16(), 204);
    let records = stand.records();
    assert_eq!(records.len(), 1);
    let record = &records[0];
    assert_eq!(record.source, Source::Beacon);
    assert_eq!([&*record.app, &*record.service, &*record.key_id], ["shop", "storefront", "k1"]);
    assert_eq!([&*record.country, &*record.subdivision, &*record.region], ["GB", "GB-ENG", "emea"]);
    assert!(record.geo_source.starts_with("GeoIP2-City "), "{}", record.geo_source);
    assert!(!record.verified && !record.traces.is_empty() && !record.logs.is_empty());
}

#[tokio::test]
async fn a_forged_address_counts_for_nothing() {
    let stand =
        Stand::new(r#"{"proxy": {"trusted": []}, "geo": {"country_header": "cf-ipcountry"}}"#);
    let headers = [PLAIN, ("x-forwarded-for", "2.125.160.216"), ("cf-ipcountry", "GB")];
    assert_eq!(post(&stand, &headers, body()).await.status.as_u16(), 204);
    assert_eq!(stand.records()[0].country, "unknown");
}

#[tokio::test]
async fn origins_are_exact() {
    let stand = Stand::new(r#"{"beacon": {"origins": ["https://shop.example"], "path": "/t"}}"#);
    let check = async |method: &str, origin: Option<&str>, status: u16, echoed: &str| {
        let mut headers = vec![PLAIN];
        headers.extend(origin.map(|origin| ("origin", origin)));
        let answer = ask(&stand, method, "/t?key=local", "127.0.0.1:9", &headers, body()).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {origin:?}");
        assert_eq!(answer.header("access-control-allow-origin"), echoed, "{method} {origin:?}");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
    };
    let ours = "https://shop.example";
    check("POST", Some(ours), 204, ours).await;
    check("OPTIONS", Some(ours), 204, ours).await;
    check("POST", Some("https://evil.test"), 403, "").await;
    check("OPTIONS", Some("https://evil.test"), 403, "").await;
    check("POST", Some("null"), 403, "").await;
    check("POST", None, 403, "").await;
}

#[tokio::test]
async fn pages_hear_what_share_of_sessions_to_tell_of() {
    for (config, told) in [("{}", ""), (r#"{"beacon": {"sample_ratio": 0.05}}"#, "0.05")] {
        let answer = post(&Stand::new(config), &[PLAIN], body()).await;
        assert_eq!(answer.status.as_u16(), 204);
        assert_eq!(answer.header("ethogram-sample-ratio"), told);
        // A page of another origin can read no header but those named.
        assert_eq!(answer.header("access-control-expose-headers").is_empty(), told.is_empty());
    }
}

#[tokio::test]
async fn a_network_that_sends_too_often_is_told_so() {
    let stand = Stand::new(r#"{"beacon": {"prefix_bodies_per_second": 1, "prefix_burst": 2}}"#);
    let origin = ("origin", "https://shop.example");
    for status in [204, 204, 429] {
        let answer = ask(&stand, "POST", POST, "192.0.2.7:9", &[PLAIN, origin], body()).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(!answer.header("retry-after").is_empty(), status == 429);
        // Without it a page could not read how long to wait.
        assert_eq!(answer.header("access-control-expose-headers"), "Retry-After");
    }
    assert_eq!(
        ask(&stand, "POST", POST, "192.0.3.7:9", &[PLAIN], body()).await.status.as_u16(),
        204
    );
}

#[tokio::test]
async fn keys_and_sessions_have_quotas() {
    let stand = Stand::new(
        r#"{"beacon": {"key_bodies_per_second": 1, "key_burst": 5,
            "session_records_per_second": 1, "session_burst": 3}}"#,
    );
    let body = |session: &str| {
        format!(
            r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"session.id",
                "value":{{"stringValue":"{session}"}}}}]}},
                "scopeLogs":[{{"logRecords":[{EVENT},{EVENT}]}}]}}]}}"#
        )
    };
    let cases = [
        ("192.0.2.1:9", "a", 204, ""),
        ("192.0.2.1:9", "a", 429, "session_quota"),
        ("192.0.2.1:9", "b", 204, ""),
        ("198.51.100.1:9", "b", 429, "session_quota"), // A session is one, wherever it is.
        ("198.51.100.1:9", "c", 204, ""),
        ("203.0.113.1:9", "d", 429, "key_quota"),
        ("127.0.0.1:9", "a", 204, ""),
    ];
    for (peer, session, status, reason) in cases {
        let answer = ask(&stand, "POST", POST, peer, &[PLAIN], body(session)).await;
        assert_eq!(answer.status.as_u16(), status, "{peer} {session}");
        let delay = answer.header("retry-after").parse::<u64>().ok();
        assert_eq!(delay.is_some_and(|delay| (1..=30).contains(&delay)), status == 429);
        if status == 429 {
            let refused = stand.collector.counters.read().refused;
            assert!(refused.iter().any(|(known, ..)| known.name() == reason), "{refused:?}");
        }
    }
}
