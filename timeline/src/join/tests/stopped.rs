//! Callers that stopped waiting: what that says of retries and of clocks.

use super::world::{Arrival, Spec, factors, join, span};
use crate::schema::{Label, Span};

/// A browser's fetch that was answered.
const FETCH: Spec<'static> = Spec {
    trace: 1,
    id: 1,
    parent: 0,
    kind: "client",
    service: "web",
    target: "http://shop/search",
    start_ms: 0,
    ms: 300,
    status: 200,
};

/// The same without an answer, for `error`.
fn unanswered(spec: Spec<'_>, error: &str) -> Span {
    let mut span = span(Spec { status: 0, ..spec });
    span.row.error_type = Some(Label::new(error));
    span
}

fn arrivals(spans: Vec<Span>) -> Vec<Arrival> {
    spans.into_iter().map(|span| Arrival::Span(Box::new(span))).collect()
}

#[test]
fn what_is_replaced_is_not_retried() {
    let check = |ms, error, expected| {
        let first = unanswered(Spec { ms, ..FETCH }, error);
        let second = span(Spec { trace: 2, id: 2, start_ms: ms + 1, ..FETCH });
        let standing = join(&arrivals(vec![first, second]), 1);
        assert_eq!(factors(&standing, "unknown"), expected, "{error} after {ms} ms");
    };
    // A search at every key gives the one before up; who gives up late has a timeout of its own.
    check(200, "abort", (2, 2, 2));
    check(999, "AbortError", (2, 2, 2));
    check(1_000, "abort", (2, 1, 1));
    check(200, "network", (2, 1, 1));
    check(5_000, "timeout", (2, 1, 1));
}

#[test]
fn a_callee_may_outlast_a_caller_that_stopped_waiting() {
    let server = |spec: Spec<'static>, parent: u64, from_ms: i64, ms: i64| {
        let (id, start_ms) = (parent + 1, spec.start_ms + from_ms);
        span(Spec {
            id,
            parent,
            kind: "server",
            service: "shop",
            start_ms,
            ms,
            status: 200,
            ..spec
        })
    };
    let later = Spec { trace: 2, id: 11, start_ms: 10_000, ..FETCH };
    let spans = vec![
        unanswered(FETCH, "abort"),
        server(FETCH, 1, 100, 4_900),
        span(later),
        server(later, 11, 50, 200),
    ];
    let standing = join(&arrivals(spans), 1);
    let session = &standing.sessions["s1"];
    // Both clocks are the same; the answered fetch leaves 50 ms to either side, and what a clock may
    // drift in the session's ten seconds comes to them.
    assert_eq!(session.clock_offset_us, Some(0));
    assert_eq!(session.clock_error_us, Some(50_000 + 10 * 500));
}
