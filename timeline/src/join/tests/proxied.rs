//! What a proxy without spans of its own sent again below one span of a caller's.

use super::world::{
    FETCH, Spec, Standing, arrivals, beacon_attempt, factors, join, span, span_id, trace_id,
};
use crate::schema::{Label, Span, SpanRow};

const CLIENT: Spec<'static> = Spec { service: "a", target: "http://b/x", ms: 300, ..FETCH };

/// A span of `b` below the caller's that answers `status`.
fn callee(id: u64, start_ms: i64, ms: i64, status: i32) -> Span {
    span(Spec { id, parent: 1, kind: "server", service: "b", start_ms, ms, status, ..CLIENT })
}

/// Envoy numbers its sends from 1, a gRPC channel counts those before; hints count those before.
fn envoy(mut span: Span, number: i32) -> Span {
    span.hints.envoy_previous_attempts = Some(number - 1);
    span
}

fn grpc(mut span: Span, before: Option<i32>) -> Span {
    span.hints.grpc_previous_attempts = before;
    span
}

fn joined(spans: &[Span]) -> Standing {
    let standing = join(&arrivals(spans.iter().cloned()), 1);
    let reversed = arrivals(spans.iter().rev().cloned());
    assert!(join(&reversed, 2) == standing, "the order of arrival mattered");
    standing
}

fn row(standing: &Standing, id: u64) -> &SpanRow {
    let mut rows = standing.spans.values();
    rows.find(|row| row.span_id == span_id(id)).expect("a span of this id")
}

/// Number, kind and evidence of a send.
fn attempt(standing: &Standing, id: u64) -> (i32, &str, &str) {
    let row = row(standing, id);
    (row.attempt, row.attempt_kind.as_str(), row.retry_evidence.as_str())
}

#[test]
fn a_proxys_retry_is_an_attempt_of_the_callers_call() {
    let answers = |first_ms| [callee(2, 10, first_ms, 503), callee(3, 150, 140, 200)];
    for (first_ms, kind) in [(90, "retry"), (200, "overlap")] {
        let [first, second] = answers(first_ms);
        let spans = [span(CLIENT), envoy(first, 1), envoy(second, 2)];
        let standing = joined(&spans);
        assert_eq!(factors(&standing, "b"), (2, 1, 1));
        assert_eq!(attempt(&standing, 1), (1, "first", "none"));
        assert_eq!(attempt(&standing, 3), (2, kind, "envoy"));
        assert_eq!(row(&standing, 3).original, Some(span_id(1)));
        let [first, second] = answers(first_ms);
        let standing = joined(&[span(CLIENT), grpc(first, None), grpc(second, Some(1))]);
        assert_eq!(factors(&standing, "b"), (2, 1, 1));
        assert_eq!(attempt(&standing, 3), (2, kind, "grpc"));
    }
}

#[test]
fn what_nobody_numbered_is_inferred_from_the_callees_own_end() {
    let standing = joined(&[span(CLIENT), callee(2, 10, 90, 503), callee(3, 150, 140, 200)]);
    assert_eq!(factors(&standing, "b"), (2, 1, 1));
    assert_eq!(attempt(&standing, 3), (2, "retry", "inferred"));
    // The first had succeeded, or something else was asked for: no retry.
    let standing = joined(&[span(CLIENT), callee(2, 10, 90, 200), callee(3, 150, 140, 200)]);
    assert_eq!(factors(&standing, "b"), (2, 2, 2));
    let mut other = callee(3, 150, 140, 200);
    other.row.name = Label::new("http://b/y");
    let standing = joined(&[span(CLIENT), callee(2, 10, 90, 503), other]);
    assert_eq!(factors(&standing, "b"), (2, 2, 2));
}

#[test]
fn a_gap_in_the_proxys_count_is_a_span_that_is_missing() {
    let spans = [
        span(CLIENT),
        envoy(callee(2, 10, 20, 503), 1),
        envoy(callee(3, 90, 20, 503), 3),
        envoy(callee(4, 150, 20, 200), 4),
    ];
    let standing = joined(&spans);
    assert_eq!(factors(&standing, "b"), (3, 1, 1));
    assert_eq!([3, 4].map(|id| attempt(&standing, id).0), [3, 4]);
}

#[test]
fn a_callers_own_retry_comes_after_its_proxys() {
    let server = span(Spec { id: 9, kind: "server", ms: 900, target: "/a", ..CLIENT });
    let mut calls = [
        span(Spec { parent: 9, status: 503, ..CLIENT }),
        span(Spec { id: 5, parent: 9, start_ms: 400, ..CLIENT }),
    ];
    calls[1].hints.resend_count = Some(1);
    let mut last = envoy(callee(6, 410, 20, 200), 1);
    last.row.parent_span_id = Some(span_id(5));
    let [first, second] = calls;
    let proxied = [envoy(callee(2, 10, 20, 503), 1), envoy(callee(3, 90, 20, 503), 2)];
    let mut spans = vec![server, first, second, last];
    spans.extend(proxied);
    let standing = joined(&spans);
    assert_eq!(factors(&standing, "b"), (3, 1, 1));
    let said = [1, 3, 5].map(|id| attempt(&standing, id));
    assert_eq!(said, [(1, "first", "none"), (2, "retry", "envoy"), (3, "retry", "resend_count")]);
}

#[test]
fn a_users_request_has_the_browsers_attempts_and_what_is_below_a_proxys_its_call() {
    let browser = Spec { service: "web", ..CLIENT };
    let query = |id: u64, parent: u64, start_ms: i64| {
        let spec = Spec { id, parent, service: "b", target: "db/x", start_ms, ms: 5, ..CLIENT };
        let mut query = span(spec);
        query.hints.callee = Some(Label::new("db"));
        query
    };
    let spans = [
        beacon_attempt(span(browser), 1),
        envoy(callee(2, 10, 90, 503), 1),
        query(20, 2, 20),
        envoy(callee(3, 150, 140, 200), 2),
        query(30, 3, 160),
    ];
    let standing = joined(&spans);
    assert_eq!(factors(&standing, "b"), (2, 1, 1));
    // Both executions ask the database once: its factor is inherited.
    let database: Vec<&SpanRow> = [20, 30].map(|id| row(&standing, id)).into_iter().collect();
    assert!(database.iter().all(|row| row.attempt == 1 && row.original == Some(span_id(20))));
    assert_eq!(database.iter().map(|row| row.retry_depth).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(database.iter().map(|row| row.wasted).collect::<Vec<_>>(), [true, false]);
    let request = &standing.requests[&trace_id(1).to_string()];
    assert_eq!(standing.requests.len(), 1);
    assert_eq!((request.attempts, request.total_us), (1, Some(300_000)));
    // One of two sends was of use.
    let useful = standing.spans.values().filter(|row| row.callee == "b" && row.is_send);
    assert_eq!(useful.filter(|row| !row.wasted).count(), 1);
}
