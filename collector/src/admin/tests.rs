//! Health, status and both metric formats, over a real log.

use super::*;
use crate::counters::Door;
use crate::stand::{Answer, Stand, send};

struct Page {
    stand: Stand,
    phase: watch::Sender<Phase>,
    router: Router,
}

fn page() -> Page {
    let stand = Stand::new(r#"{"tokens": [{"id": "team-a", "token": "secret"}]}"#);
    let (phase, phases) = watch::channel(Phase::Serving);
    let admin = Admin::new(&stand.collector, stand.recovery.clone(), phases);
    let router = router(Arc::new(admin));
    Page { stand, phase, router }
}

async fn ask(page: &Page, method: &str, path: &str, accept: &str) -> Answer {
    let request = http::Request::builder().method(method).uri(path).header("accept", accept);
    send(page.router.clone(), "127.0.0.1:9", request.body(Body::empty()).expect("a request")).await
}

#[tokio::test]
async fn status_by_request() {
    let page = page();
    for (method, path, status) in [
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/status", 200),
        ("GET", "/metrics", 200),
        ("GET", "/", 404),
        ("POST", "/healthz", 405),
        ("DELETE", "/status", 405),
        ("DELETE", "/nothing", 404),
        ("GET", "/api/v1/sessions/a", 405),
        ("POST", "/api/v1/users/b", 405),
        ("GET", "/api/v1/sessions/a/timeline", 404),
        ("GET", "/api/v1/sessions/", 404),
        ("DELETE", "/api/v1/nothing", 404),
        ("DELETE", "/api/v1/sessions/a?app=shop", 200),
        ("DELETE", "/api/v1/users/b", 200),
    ] {
        let answer = ask(&page, method, path, "*/*").await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}");
        assert!(method == "HEAD" || !answer.body.is_empty(), "{method} {path}");
        let allowed = if path.starts_with("/api/") { "DELETE" } else { "GET, HEAD" };
        assert!(status != 405 || answer.header("allow") == allowed, "{method} {path}");
    }
    page.phase.send_replace(Phase::Draining);
    assert_eq!(ask(&page, "GET", "/readyz", "*/*").await.status.as_u16(), 503);
    assert_eq!(ask(&page, "GET", "/healthz", "*/*").await.status.as_u16(), 200);
}

#[tokio::test]
async fn status_tells_what_an_operator_asks() {
    let page = page();
    let counters = &page.stand.collector.counters;
    counters.refuse(Door::Http, crate::admit::Reason::TooLarge);
    counters.reject(crate::admit::Kind::Logs, "no_event_name", 3);
    let answer = ask(&page, "GET", "/status", "*/*").await;
    assert!(!answer.text().contains("secret"));
    let status: Value = serde_json::from_slice(&answer.body).expect("JSON");
    for (path, expected) in [
        ("/ready", json!(true)),
        ("/geo/sources/0", json!("iptoasn-country (embedded) 2026-06-17")),
        ("/counts/requests_refused/too_large/otlp_http", json!(1)),
        ("/counts/records_rejected/logs/no_event_name", json!(3)),
        ("/limits/beacon/wire_bytes_max", json!(65_536)),
        ("/limits/all/connections_max", json!(4_096)),
        ("/tokens/0", json!("team-a")),
        ("/log/failed", json!(false)),
        ("/log_budget/bytes_max", json!(8_u64 << 30)),
        ("/clock/steps", json!({ "back": 0, "forward": 0, "ahead_ns": 0, "held_back_ns": 0 })),
    ] {
        assert_eq!(status.pointer(path), Some(&expected), "{path}");
    }
    assert!(status["committed"]["segment"].is_u64());
}

#[tokio::test]
async fn metrics_in_both_formats() {
    let page = page();
    page.stand.collector.counters.refuse(Door::Beacon, crate::admit::Reason::Quota);
    let sample = "ethogram_collector_refused_total{reason=\"quota\",door=\"beacon\"} 1\n";
    let answer = ask(&page, "GET", "/metrics", "text/plain").await;
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(answer.text().contains(sample) && !answer.text().contains("# EOF"));
    let answer = ask(&page, "GET", "/metrics", "application/openmetrics-text; version=1.0.0").await;
    assert!(answer.text().contains(sample) && answer.text().ends_with("# EOF\n"));
}
