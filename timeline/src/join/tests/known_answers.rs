//! The answers that the definitions give by hand.

use super::world::{
    Arrival, FETCH, Spec, arrivals, beacon_attempt, event, factors, join, span, span_id, trace_id,
};
use crate::schema::{Label, PageId, Span};

/// Each span of a test has an id of its own.
const SPAN: Spec<'static> = Spec { id: 0, target: "/x", ..FETCH };

/// A call from `caller` to `callee`: the caller's span `id` and the callee's `id + 1`.
fn call(base: Spec<'static>, callee: &'static str) -> [Span; 2] {
    let server = Spec { id: base.id + 1, parent: base.id, kind: "server", service: callee, ..base };
    [span(base), span(server)]
}

#[test]
fn three_layers_of_four_attempts_multiply() {
    let mut spans = Vec::new();
    let mut next = 1;
    for first in 0..4 {
        let base = Spec { id: next, start_ms: first * 1_000, ms: 900, status: 503, ..SPAN };
        let [client, server] = call(base, "a");
        next += 2;
        spans.extend([beacon_attempt(client, first as i32 + 1), server.clone()]);
        for second in 0..4 {
            let (parent, start_ms) = (base.id + 1, base.start_ms + second * 200);
            let inner = Spec {
                id: next,
                parent,
                service: "a",
                start_ms,
                ms: 190,
                target: "http://b/y",
                ..base
            };
            spans.extend(call(inner, "b"));
            next += 2;
            for third in 0..4 {
                let (parent, start_ms) = (inner.id + 1, inner.start_ms + third * 45);
                let leaf = Spec {
                    id: next,
                    parent,
                    service: "b",
                    start_ms,
                    ms: 40,
                    target: "http://c/z",
                    ..inner
                };
                spans.extend(call(leaf, "c"));
                next += 2;
            }
        }
    }
    let standing = join(&arrivals(spans), 7);
    assert_eq!(factors(&standing, "a"), (4, 1, 1));
    assert_eq!(factors(&standing, "b"), (16, 4, 1));
    assert_eq!(factors(&standing, "c"), (64, 16, 1));
    let request = &standing.requests[&trace_id(1).to_string()];
    assert_eq!((request.attempts, request.outcome.as_str()), (4, "failed"));
    assert_eq!(standing.requests.len(), 1);
    let deepest = standing.spans.values().map(|row| row.retry_depth).max();
    assert_eq!(deepest, Some(3));
}

#[test]
fn a_dependency_called_on_the_last_attempt_is_not_amplified() {
    let mut spans = Vec::new();
    for (attempt, status) in [(1, 503), (2, 503), (3, 200)] {
        let base =
            Spec { id: attempt * 10, start_ms: attempt as i64 * 100, ms: 50, status, ..SPAN };
        let [client, server] = call(base, "shop");
        spans.extend([beacon_attempt(client, attempt as i32), server]);
        if status == 200 {
            let query = Spec {
                id: 35,
                parent: 31,
                service: "shop",
                target: "INSERT orders",
                ms: 5,
                status: 0,
                ..base
            };
            spans.push(span(query));
        }
    }
    let mut standing = join(&arrivals(spans), 1);
    assert_eq!(factors(&standing, "shop"), (3, 1, 1));
    assert_eq!(factors(&standing, "unknown"), (1, 1, 1));
    let request = standing.requests.remove(&trace_id(1).to_string()).expect("one request");
    assert_eq!((request.attempts, request.outcome.as_str()), (3, "ok"));
    assert_eq!((request.first_status, request.final_status), (Some(503), Some(200)));
    assert_eq!(request.total_us, Some(250_000));
    assert_eq!(request.coverage, "matched");
    assert_eq!(request.cause, Some(Label::new("503")));
    assert!(request.attempt_list.iter().all(|attempt| attempt.server_us.is_some()));
}

#[test]
fn half_of_a_hundred_shed_at_the_gateway() {
    let mut spans = Vec::new();
    for request in 0..100_u8 {
        let shed = request % 2 == 0;
        let base =
            Spec { trace: request + 1, id: 10, status: if shed { 503 } else { 200 }, ..SPAN };
        let attempts = if shed {
            vec![(base, 1), (Spec { id: 20, start_ms: 50, status: 200, ..base }, 2)]
        } else {
            vec![(base, 1)]
        };
        for (base, attempt) in attempts {
            let [client, server] = call(base, "gateway");
            spans.extend([beacon_attempt(client, attempt), server]);
            if base.status == 200 {
                let query = Spec {
                    id: base.id + 5,
                    parent: base.id + 1,
                    service: "gateway",
                    target: "db",
                    status: 0,
                    ..base
                };
                let mut query = span(query);
                query.hints.callee = Some(Label::new("postgresql"));
                spans.push(query);
            }
        }
    }
    let standing = join(&arrivals(spans), 13);
    assert_eq!(factors(&standing, "gateway"), (150, 100, 100));
    assert_eq!(factors(&standing, "postgresql"), (100, 100, 100));
    assert_eq!(standing.requests.len(), 100);
    assert_eq!(standing.sessions["s1"].requests, 100);
    assert_eq!(standing.sessions["s1"].attempts, 150);
}

#[test]
fn attempts_under_one_server_span_are_counted_by_convention_or_inferred() {
    for annotated in [true, false] {
        let mut spans = vec![span(Spec { id: 5, kind: "server", service: "a", ms: 500, ..SPAN })];
        for (attempt, status) in [(0, 500), (1, 500), (2, 200)] {
            let start_ms = 10 + i64::from(attempt) * 50;
            let base = Spec {
                id: 10 + attempt as u64,
                parent: 5,
                service: "a",
                target: "http://b/1",
                start_ms,
                status,
                ..SPAN
            };
            let mut client = span(base);
            client.hints.resend_count = (annotated && attempt > 0).then_some(attempt);
            client.hints.callee = Some(Label::new("b"));
            spans.push(client);
        }
        let standing = join(&arrivals(spans), 2);
        assert_eq!(factors(&standing, "b"), (3, 1, 1), "annotated: {annotated}");
    }
}

#[test]
fn polling_is_not_retrying_and_nested_clients_count_once() {
    let server = span(Spec { id: 5, kind: "server", service: "a", ms: 500, ..SPAN });
    let poll = Spec { id: 10, parent: 5, service: "a", target: "http://b/1", ..SPAN };
    let again = Spec { id: 20, start_ms: 100, ..poll };
    let inner = Spec { id: 21, parent: 20, ..again };
    let spans = [poll, again, inner].map(|spec| {
        let mut span = span(spec);
        span.hints.callee = Some(Label::new("b"));
        span
    });
    let standing = join(&arrivals(std::iter::once(server).chain(spans)), 1);
    assert_eq!(factors(&standing, "b"), (2, 2, 2));
}

#[test]
fn leaving_reloading_and_coming_back() {
    let abandon = |sequence| {
        let mut event = event("behavior.abandon", "p1", sequence, 1, 10, 700);
        event.hints.waited_us = Some(700_000);
        event.hints.previous_attempts = Some(0);
        event.hints.abandon_trigger = Some(Label::new("leave"));
        Arrival::Event(Box::new(event))
    };
    let reload = || {
        let mut event = event("browser.navigation", "p2", 0, 0, 0, 900);
        event.hints.navigation_type = Some(Label::new("reload"));
        event.hints.previous_page_id = PageId::new("p1");
        Arrival::Event(Box::new(event))
    };
    let withdrawn =
        Arrival::Event(Box::new(event("behavior.abandon_withdrawn", "p1", 9, 1, 10, 900)));
    let server = || {
        let spec = Spec { id: 11, parent: 10, kind: "server", service: "shop", ms: 5_000, ..SPAN };
        Arrival::Span(Box::new(span(spec)))
    };
    let finished =
        Arrival::Span(Box::new(beacon_attempt(span(Spec { id: 10, ms: 5_000, ..SPAN }), 1)));
    let check = |arrivals: Vec<Arrival>, outcome: &str, trigger: Option<&str>| {
        let standing = join(&arrivals, 1);
        assert_eq!(standing.requests.len(), 1);
        let request = &standing.requests[&trace_id(1).to_string()];
        assert_eq!(request.outcome, outcome);
        assert_eq!(request.abandon_trigger.as_ref().map(Label::as_str), trigger);
        if outcome == "abandoned" {
            assert_eq!((request.waited_us, request.total_us), (700_000, None));
            assert!(request.outcome_final);
        }
    };
    check(vec![abandon(3)], "abandoned", Some("leave"));
    check(vec![abandon(3), server()], "abandoned", Some("leave"));
    check(vec![abandon(3), reload(), server()], "abandoned", Some("reload"));
    check(vec![server(), reload(), abandon(3)], "abandoned", Some("reload"));
    check(vec![abandon(3), withdrawn.clone()], "pending", None);
    check(vec![finished, withdrawn, abandon(3), server()], "ok", None);
    let standing = join(&[abandon(3), reload(), server()], 1);
    assert_eq!(standing.sessions["s1"].refreshes, 1);
    assert_eq!(standing.sessions["s1"].abandonments, 1);
    assert!(standing.spans.values().all(|row| row.session_id.is_some() && row.region == "GB"));
}

/// Browsers' clocks are coarse: what a page sends twice at once begins at one moment, and its own numbers
/// tell which came first.
#[test]
fn two_at_once_are_a_first_and_its_hedge_whatever_their_ids() {
    for (first, second) in [(1, 2), (2, 1)] {
        let sent = |id, attempt| {
            let mut span = beacon_attempt(span(Spec { id, ..SPAN }), attempt);
            span.hints.beacon_attempt_kind =
                Some(Label::new(if attempt == 1 { "first" } else { "hedge" }));
            span
        };
        let standing = join(&arrivals(vec![sent(first, 1), sent(second, 2)]), 3);
        let mut kinds: Vec<_> = standing
            .spans
            .values()
            .map(|row| (row.attempt, row.attempt_kind.as_str(), row.original))
            .collect();
        kinds.sort_unstable();
        let original = Some(span_id(first));
        assert_eq!(kinds, [(1, "first", original), (2, "hedge", original)]);
        assert_eq!(standing.requests.len(), 1);
    }
}

#[test]
fn an_answer_that_the_page_may_not_see_is_one() {
    for (is_opaque, outcome) in [(true, "ok"), (false, "failed")] {
        let mut client = span(Spec { id: 10, status: 0, ..SPAN });
        if is_opaque {
            let said = (String::from("behavior.opaque"), String::from("true"));
            client.row.attributes = std::iter::once(said).collect();
            client.row.error_type = None;
        }
        let standing = join(&arrivals(vec![beacon_attempt(client, 1)]), 1);
        assert_eq!(standing.requests[&trace_id(1).to_string()].outcome, outcome);
    }
}

#[test]
fn a_trace_without_a_session_is_a_request_of_its_root() {
    let server = span(Spec { id: 5, kind: "server", service: "a", ms: 120, ..SPAN });
    let standing = join(&arrivals(vec![server]), 1);
    let request = &standing.requests[&trace_id(1).to_string()];
    assert_eq!((request.layer.as_str(), request.total_us), ("service", Some(120_000)));
    assert_eq!(request.session_id, None);
}
