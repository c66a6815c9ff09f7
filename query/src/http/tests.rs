//! The surface as a client sees it: a running follower without a log, and one request after the
//! other through the router.

use axum::body::{Body, to_bytes};
use ethogram_timeline::clock::FixedClock;
use http::{HeaderMap, Method, Request};
use tower::ServiceExt;

use super::*;
use crate::follow;

struct Fixture {
    _directory: tempfile::TempDir,
    surface: Arc<Surface>,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(follower) = self.surface.take_follower() {
            follower.stop();
        }
    }
}

fn fixture(adjust: impl FnOnce(&mut Config)) -> Fixture {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = Config::default();
    adjust(&mut config);
    let clock: Arc<dyn Clock> = Arc::new(FixedClock::new(1_700_000_000_000_000_000));
    let following = follow::start(&config.follow, directory.path(), Arc::clone(&clock))
        .expect("an empty store");
    let engine =
        Engine::open(&config.sql, &directory.path().join("store")).expect("the store is there");
    let surface = Arc::new(Surface::new(config, engine, following, clock));
    Fixture { _directory: directory, surface }
}

async fn ask(fixture: &Fixture, request: Request<Body>) -> (u16, HeaderMap, String) {
    let response = router(Arc::clone(&fixture.surface)).oneshot(request).await.expect("infallible");
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 1 << 20).await.expect("a small body");
    (parts.status.as_u16(), parts.headers, String::from_utf8_lossy(&bytes).into_owned())
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("a request")
}

fn sql(sql: &str, accept: &str) -> Request<Body> {
    Request::post("/api/v1/sql")
        .header("content-type", "application/json")
        .header("accept", accept)
        .body(Body::from(serde_json::json!({"sql": sql}).to_string()))
        .expect("a request")
}

#[tokio::test]
async fn a_panic_ends_its_own_request() {
    async fn broken() -> &'static str {
        panic!("a defect in a handler")
    }
    let routes = guarded(
        Router::new()
            .route("/broken", axum::routing::get(broken))
            .route("/whole", axum::routing::get(|| async { "whole" })),
    );
    for (path, status) in [("/whole", 200), ("/broken", 500), ("/whole", 200)] {
        let response = routes.clone().oneshot(get(path)).await.expect("infallible");
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert!(response.headers().contains_key(CONTENT_SECURITY_POLICY), "{path}");
    }
}

#[tokio::test]
async fn what_is_refused_is_counted() {
    let fixture = fixture(|config| config.sql.text_bytes_max = 100);
    let long = "x".repeat(101);
    for (text, expected) in [("SELECT 1; SELECT 2", 400), (long.as_str(), 413), ("SELECT 1", 200)] {
        let (status, _, body) = ask(&fixture, sql(text, "application/json")).await;
        assert_eq!(status, expected, "{text}: {body}");
    }
    let counted = Kind::ALL.map(|kind| fixture.surface.refused.of(kind));
    assert_eq!(counted, [1, 1, 0], "{:?}", Kind::ALL);
}

#[tokio::test]
async fn every_path_answers_as_documented() {
    let fixture = fixture(|_config| {});
    // Ready is who has read what was committed before; here there is nothing to read.
    while ask(&fixture, get("/readyz")).await.0 != 200 {
        tokio::task::yield_now().await;
    }
    for (path, status, media_type, part) in [
        ("/", 200, "text/html", ""),
        ("/healthz", 200, "text/plain", "ok"),
        ("/readyz", 200, "text/plain", "ok"),
        ("/status", 200, "application/json", "\"role\":\"query\""),
        ("/metrics", 200, "text/plain; version=0.0.4", "# TYPE ethogram_sends_total counter"),
        ("/api/v1/sessions/none/timeline", 404, "application/json", "no session none is known"),
        ("/api/v1/sessions/none/timeline?app=x", 404, "application/json", "no session"),
        ("/api/v1/sessions/none/timeline?ap=x", 400, "application/json", "\"kind\":\"plan\""),
        ("/api/v1/sessions/%ff/timeline", 400, "application/json", "\"kind\":\"plan\""),
        ("/nothing", 404, "text/plain", "not found"),
        ("/api/v1/nothing", 404, "application/json", "\"kind\":\"plan\""),
        ("/api/v1/sql", 405, "application/json", "\"kind\":\"plan\""),
    ] {
        let (found, headers, body) = ask(&fixture, get(path)).await;
        assert_eq!(found, status, "{path}: {body}");
        let found_type = headers.get("content-type").and_then(|value| value.to_str().ok());
        assert!(found_type.unwrap_or_default().starts_with(media_type), "{path}: {found_type:?}");
        assert!(body.contains(part), "{path}: {body}");
        assert!(headers.contains_key("content-security-policy"), "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let fixture = fixture(|_config| {});
    for (method, path, allowed) in [
        (Method::POST, "/", "GET,HEAD"),
        (Method::PUT, "/main.js", "GET,HEAD"),
        (Method::POST, "/metrics", "GET,HEAD"),
        (Method::DELETE, "/api/v1/sql", "POST"),
        (Method::POST, "/api/v1/sessions/none/timeline", "GET,HEAD"),
    ] {
        let shown = format!("{method} {path}");
        let request =
            Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
        let (status, headers, body) = ask(&fixture, request).await;
        assert_eq!(
            (status, &headers["allow"]),
            (405, &HeaderValue::from_static(allowed)),
            "{shown}"
        );
        let said: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(said["error"]["kind"], "plan", "{shown}: {body}");
    }
}

#[tokio::test]
async fn statements_answer_in_the_format_asked_for() {
    let fixture = fixture(|_config| {});
    for (accept, expected) in [
        (
            "application/json",
            "{\"columns\":[{\"name\":\"a\",\"type\":\"Int64\"}],\"rows\":[{\"a\":1}],\
             \"row_count\":1,\"complete_until\":\"1970-01-01T00:00:00Z\"}",
        ),
        ("application/x-ndjson", "{\"a\":1}\n"),
        ("text/csv", "a\r\n1\r\n"),
    ] {
        let (status, headers, body) = ask(&fixture, sql("SELECT 1 AS a", accept)).await;
        assert_eq!((status, body.as_str()), (200, expected));
        assert_eq!(headers["content-type"], accept);
        assert!(headers.contains_key("ethogram-complete-until"));
    }
    let arrow = "application/vnd.apache.arrow.stream";
    let (status, headers, body) = ask(&fixture, sql("SELECT 1 AS a", arrow)).await;
    assert_eq!((status, body.is_empty()), (200, false));
    assert_eq!(headers["content-type"], arrow);
}

#[tokio::test]
async fn wrong_requests_say_whose_fault_it_is() {
    let fixture = fixture(|config| config.sql.result_rows_max = 10);
    let raw = |media_type: &str, body: String| {
        Request::builder()
            .method(Method::POST)
            .uri("/api/v1/sql")
            .header("content-type", media_type)
            .body(Body::from(body))
            .expect("a request")
    };
    let rows = format!("VALUES {}", vec!["(1)"; 20].join(", "));
    let limits = fixture.surface.engine.limits().clone();
    for (request, status, kind, part) in [
        (sql("SELEC 1", "*/*"), 400, "plan", "Expected"),
        (sql("SELECT nothing", "*/*"), 400, "plan", "nothing"),
        (sql("SELECT 1 / 0", "*/*"), 400, "plan", "ivide by zero"),
        (sql("SELECT CAST('x' AS INT)", "*/*"), 400, "plan", "x"),
        (sql("DROP TABLE spans", "*/*"), 400, "plan", "only SELECT"),
        (sql(&rows, "*/*"), 422, "limit", "larger than 10 rows"),
        (sql("SELECT 1", "image/png"), 406, "plan", "text/csv"),
        (raw("text/plain", String::from("SELECT 1")), 415, "plan", "application/json"),
        (raw("application/json", String::from("SELECT 1")), 400, "plan", "the body is not"),
        (raw("application/json", String::from("{\"query\":\"SELECT 1\"}")), 400, "plan", "sql"),
        (
            raw(
                "application/json",
                format!("{{\"sql\":\"{}\"}}", "x".repeat(limits.text_bytes_max + 1)),
            ),
            413,
            "limit",
            "bytes",
        ),
        (
            raw("application/json", "x".repeat(limits.text_bytes_max * 7)),
            413,
            "limit",
            "larger than",
        ),
    ] {
        let (found, _headers, body) = ask(&fixture, request).await;
        assert_eq!(found, status, "{part}: {body}");
        let value: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(value["error"]["kind"], kind, "{body}");
        let message = value["error"]["message"].as_str().expect("a message");
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[tokio::test]
async fn a_dead_follower_is_not_ready() {
    let fixture = fixture(|_config| {});
    fixture.surface.take_follower().expect("it runs").stop();
    let (status, _headers, body) = ask(&fixture, get("/readyz")).await;
    assert_eq!((status, body.as_str()), (503, "the follower has ended\n"));
    assert_eq!(ask(&fixture, get("/healthz")).await.0, 200);
}
