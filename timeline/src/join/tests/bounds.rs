//! Traces of a hundred thousand spans in every shape that tempts a loop within a loop.
//!
//! No wall time is asserted: a quadratic step would take 10^10 turns, and these would not end.

use super::world::{Arrival, Spec, Standing, event, join, span, trace_id};
use crate::schema::Label;

const SPANS: u64 = 100_000;

const SPAN: Spec<'static> = Spec {
    trace: 1,
    id: 1,
    parent: 0,
    kind: "client",
    service: "a",
    target: "http://b/x",
    start_ms: 0,
    ms: 1,
    status: 503,
};

fn joined(spec: impl Fn(u64) -> Spec<'static>) -> Standing {
    let arrival = |id| Arrival::Span(Box::new(span(Spec { id, ..spec(id) })));
    let arrivals: Vec<Arrival> = (1..=SPANS).map(arrival).collect();
    join(&arrivals, usize::MAX)
}

#[test]
fn one_url_asked_fifty_thousand_times_at_once_and_told_twice() {
    for trace in [1, 2] {
        let told = |id: u64| {
            let ours = id.is_multiple_of(2);
            let start_ms = (id / 2) as i64 / 4;
            let spec = Spec { id, start_ms, service: "web", ms: 5, ..SPAN };
            let mut told = span(Spec { trace: if ours { 1 } else { trace }, ..spec });
            told.hints.beacon_previous_attempts = ours.then_some(0);
            told
        };
        let arrivals: Vec<Arrival> =
            (2..SPANS + 2).map(|id| Arrival::Span(Box::new(told(id)))).collect();
        let standing = join(&arrivals, usize::MAX);
        let found = sends(&standing);
        assert!(found >= SPANS as usize / 2, "none is lost: {found}");
        assert!(trace != 1 || found == SPANS as usize / 2, "every pair is found: {found}");
    }
}

fn sends(standing: &Standing) -> usize {
    standing.spans.values().filter(|row| row.is_send).count()
}

#[test]
fn one_call_of_a_hundred_thousand_unanswered_attempts() {
    let standing = joined(|id| Spec { start_ms: id as i64 * 2, ..SPAN });
    assert_eq!(sends(&standing), SPANS as usize);
    let last = standing.spans.values().map(|row| row.attempt).max();
    assert_eq!(last, Some(SPANS as i32));
}

#[test]
fn a_hundred_thousand_levels() {
    let kind = |id| if id % 2 == 0 { "server" } else { "client" };
    let standing = joined(|id| Spec { parent: id - 1, kind: kind(id), ..SPAN });
    assert_eq!(sends(&standing), SPANS as usize / 2);
    assert_eq!(standing.spans.values().map(|row| row.depth).max(), Some(SPANS as i32 - 1));
}

#[test]
fn callers_nested_in_callers_that_ask_others() {
    let arrival = |id: u64| {
        let mut span = span(Spec { id, parent: id - 1, ..SPAN });
        span.hints.callee = Some(Label::new(&format!("callee {id}")));
        Arrival::Span(Box::new(span))
    };
    // Labels are kept once each, so a tenth of the others is enough to tell n² from n log n.
    let arrivals: Vec<Arrival> = (1..=SPANS / 5).map(arrival).collect();
    assert_eq!(sends(&join(&arrivals, usize::MAX)), arrivals.len());
}

#[test]
fn a_ring_and_orphans() {
    let ring = joined(|id| Spec { parent: id % SPANS + 1, kind: "internal", ..SPAN });
    assert_eq!(ring.spans.values().filter(|row| row.depth == 0).count(), 1);
    let orphans = joined(|id| Spec { parent: id + 2 * SPANS, kind: "server", ..SPAN });
    assert_eq!(sends(&orphans), SPANS as usize);
    assert!(orphans.spans.values().all(|row| row.depth == 0));
}

#[test]
fn sightings_and_events_of_a_trace_with_many_spans() {
    let mut arrivals: Vec<Arrival> = (1..=SPANS)
        .map(|id| Arrival::Span(Box::new(span(Spec { id, kind: "internal", ..SPAN }))))
        .collect();
    arrivals.extend((0..10_000).map(|at| {
        let name = if at % 2 == 0 { "behavior.abandon" } else { "exception" };
        let mut event = event(name, "p1", at, 1, 2 * SPANS + at as u64, at);
        event.hints.previous_attempts = Some(at as i32 / 2);
        if at % 2 == 1 {
            event.row.session_id = None;
        }
        Arrival::Event(Box::new(event))
    }));
    let standing = join(&arrivals, usize::MAX);
    assert_eq!(standing.events.len(), 10_000);
    assert_eq!(standing.requests[&trace_id(1).to_string()].attempts, 5_000);
}
