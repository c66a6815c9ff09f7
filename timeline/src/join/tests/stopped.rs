//! Callers that stopped waiting: what that says of retries and of clocks.

use super::world::{FETCH, Spec, arrivals, factors, join, span};
use crate::schema::{Label, Span};

/// A search as a page sends it at every key.
const SEARCH: Spec<'static> = Spec { target: "http://shop/search", ms: 300, ..FETCH };

/// The same without an answer, for `error`.
fn unanswered(spec: Spec<'_>, error: &str) -> Span {
    let mut span = span(Spec { status: 0, ..spec });
    span.row.error_type = Some(Label::new(error));
    span
}

#[test]
fn what_is_replaced_is_not_retried() {
    let check = |ms, error, expected| {
        let first = unanswered(Spec { ms, ..SEARCH }, error);
        let second = span(Spec { trace: 2, id: 2, start_ms: ms + 1, ..SEARCH });
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
    let later = Spec { trace: 2, id: 11, start_ms: 10_000, ..SEARCH };
    let spans = vec![
        unanswered(SEARCH, "abort"),
        server(SEARCH, 1, 100, 4_900),
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
