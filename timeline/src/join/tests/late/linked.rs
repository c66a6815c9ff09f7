//! Traces that are derived together, of which one part comes late.

use super::super::linked::hundred;
use super::super::world::{FETCH, abandoned, factors, foreign};
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each attempt has a trace of its own and nobody numbers them; what they belong together with was let
    /// go hours before.
    #[test]
    fn attempts_that_nobody_numbers_are_one_call_however_late(
        delays_s in prop::collection::vec(0..DAY_S, 97),
        batch in 1_usize..50,
        faults in prop::collection::vec((1_usize..400, any::<bool>()), 0..4),
        budget in prop::option::of(200_usize..400),
    ) {
        let world = hundred(true, true);
        let arrivals = world.iter().enumerate().map(|(at, arrival)| {
            // What has not begun yet cannot be told of.
            (delays_s[at % delays_s.len()] + 9_000, arrival.clone())
        });
        let mut arrivals: Vec<(i64, Arrival)> = arrivals.collect();
        arrivals.sort_by_key(|(received_s, _)| *received_s);
        let expected = of_the_facts(join(&world, usize::MAX));
        let (found, joined) = late_within(budget, &arrivals, batch, &faults);
        let found = of_the_facts(found);
        prop_assert_eq!(factors(&found, "shop"), (130, 100, 100));
        prop_assert_eq!(&found.spans, &expected.spans);
        prop_assert_eq!(&found.requests, &expected.requests);
        prop_assert_eq!(joined.counters().get("attempt_not_noted"), None);
    }
}

/// Half a minute's budget is for what rows name. Beyond it neighbours are looked for in the next minute, and
/// the late row waits for them.
#[test]
fn what_does_not_fit_in_is_linked_a_minute_later() {
    let world = hundred(true, false);
    let is_retry = |arrival: &&Arrival| match arrival {
        Arrival::Span(span) => span.row.trace_id.0[15] >= 100,
        Arrival::Event(_) => false,
    };
    let (retries, firsts): (Vec<_>, Vec<_>) = world.iter().partition(is_retry);
    let first = firsts.into_iter().map(|one| (10_000, one.clone()));
    let second = retries.into_iter().map(|one| (30_000, one.clone()));
    let arrivals: Vec<(i64, Arrival)> = first.chain(second).collect();
    let expected = of_the_facts(join(&world, usize::MAX));
    for budget in [8, 40] {
        let (found, joined) = late_within(Some(budget), &arrivals, 5, &[]);
        let found = of_the_facts(found);
        assert_eq!(factors(&found, "shop"), (130, 100, 100), "{:?}", joined.counters());
        assert_eq!(found.requests, expected.requests);
        assert_eq!(joined.counters().get("attempt_not_sought"), None);
    }
}
