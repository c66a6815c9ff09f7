//! Traces that are derived together, of which one part comes late.

use super::super::world::{FETCH, abandoned, foreign};
use super::*;

/// A fetch whose server's span fits into it.
const SPAN: Spec<'static> = Spec { id: 11, ms: 40, ..FETCH };

/// What the shop did for the fetch `id` of `trace`, and below it.
fn served(trace: u8, id: u64, parent: u64, kind: &'static str) -> Span {
    span(Spec { trace, id, parent, kind, service: "shop", start_ms: 15, ms: 9, ..SPAN })
}

/// Checks that spans received at these seconds are, in the end, what they are all at once.
fn check_spans(arrivals: Vec<(i64, Span)>, requests: usize) {
    let arrivals: Vec<(i64, Arrival)> = arrivals
        .into_iter()
        .map(|(received_s, span)| (received_s, Arrival::Span(Box::new(span))))
        .collect();
    let world: Vec<Arrival> = arrivals.iter().map(|(_, arrival)| arrival.clone()).collect();
    let expected = of_the_facts(join(&world, usize::MAX));
    let found = of_the_facts(late(&arrivals, 1, &[]).0);
    assert_eq!(found.requests.len(), requests);
    assert_eq!(found.requests, expected.requests);
    assert_eq!(found.spans, expected.spans);
}

#[test]
fn the_beacon_may_tell_of_a_fetch_later_than_another_sdk() {
    let other = Spec { trace: 2, id: 21, start_ms: 1, ..SPAN };
    for late_s in [1, 25, 100] {
        let arrivals = vec![
            (0, foreign(other)),
            (0, served(2, 22, 21, "server")),
            (late_s, beacon_attempt(span(SPAN), 1)),
        ];
        check_spans(arrivals, 1);
    }
}

#[test]
fn what_the_beacon_told_as_an_event_comes_back_with_its_trace() {
    let other = foreign(Spec { trace: 2, id: 21, start_ms: 1, status: 0, ..SPAN });
    let arrivals = [
        (0, Arrival::Event(Box::new(abandoned(1, 11, 40, 40, 0)))),
        (0, Arrival::Span(Box::new(other))),
        (3_600, Arrival::Span(Box::new(served(2, 22, 21, "server")))),
    ];
    let found = late(&arrivals, 1, &[]).0;
    let rows = found.requests.values().map(|row| (row.attempts, row.outcome.as_str()));
    assert_eq!(rows.collect::<Vec<_>>(), [(1, "abandoned")]);
}

#[test]
fn a_group_that_has_parted_comes_back_as_its_parts() {
    // Two fetches of one URL at almost one time, each told once. An hour later it turns out that the second
    // one was told twice, and no longer stands with the first.
    let other = Spec { trace: 2, id: 21, start_ms: 10, ..SPAN };
    let twin = Spec { trace: 3, id: 31, start_ms: 10, ..SPAN };
    let arrivals = vec![
        (0, beacon_attempt(span(SPAN), 1)),
        (0, served(1, 12, 11, "server")),
        (0, foreign(other)),
        (0, served(2, 22, 21, "server")),
        (3_600, served(2, 23, 22, "internal")),
        (3_600, beacon_attempt(span(twin), 1)),
        (7_200, served(1, 13, 12, "internal")),
        (10_800, served(2, 24, 22, "internal")),
    ];
    check_spans(arrivals, 2);
}
