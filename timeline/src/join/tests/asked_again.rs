//! What a user asks again by hand, and attempts that only a server tells of, on pages that number
//! nothing.

use std::sync::Arc;

use proptest::prelude::*;

use super::order::assert_order_is_nothing;
use super::world::{Arrival, FETCH, Spec, Standing, arrivals, join, span, span_id, trace_id};
use crate::schema::{Attributes, SessionId, Span};

/// A fetch in a trace of its own.
fn fetch(trace: u8, start_ms: i64, status: i32) -> Span {
    span(Spec { trace, id: u64::from(trace) * 10, start_ms, status, ..FETCH })
}

/// Something that a page's SDK tells of its user.
fn mark(trace: u8, start_ms: i64, name: &'static str, key: &str, value: &str) -> Span {
    let id = u64::from(trace) * 10 + 5;
    let mut told = span(Spec { trace, id, kind: "internal", target: name, start_ms, ..FETCH });
    told.row.attributes = Attributes(Arc::from([(Box::from(key), Box::from(value))]));
    told
}

fn click(trace: u8, start_ms: i64) -> Span {
    mark(trace, start_ms, "click", "event_type", "click")
}

fn load(trace: u8, start_ms: i64, url: &str) -> Span {
    mark(trace, start_ms, "documentLoad", "http.url", url)
}

/// A browser's request as its server tells of it, whose clock is five seconds ahead.
fn served(trace: u8, parent: u64, start_ms: i64, status: i32) -> Span {
    let id = u64::from(trace) * 10 + 7;
    let start_ms = start_ms + 5_000;
    let spec =
        Spec { trace, id, parent, kind: "server", service: "shop", start_ms, ms: 3, ..FETCH };
    let mut told = span(Spec { status, ..spec });
    told.row.session_id = SessionId::new("s1");
    told.hints.target = Some(String::from("/x"));
    told.hints.browser_made = true;
    told
}

/// Attempts, repetition, cause, and the intent's trace of each request, in the order of their traces.
fn told(standing: &Standing) -> Vec<String> {
    let row = |row: &crate::schema::RequestRow| {
        let cause = row.repeat_cause.as_ref().map_or("-", |cause| cause.as_str());
        format!("{} {} {} {}", row.attempts, row.repeat, cause, row.intent_id.0[0])
    };
    standing.requests.values().map(row).collect()
}

#[test]
fn what_a_user_asks_again_is_no_retry() {
    let check = |between: Vec<Span>, expected: &[&str]| {
        let mut world = vec![fetch(1, 0, 503), fetch(2, 1_000, 200)];
        world.extend(between);
        for _ in 0..2 {
            let told = told(&join(&arrivals(world.clone()), 1));
            assert_eq!(told, expected, "{:?}", world.last().map(|span| span.row.name.clone()));
            world.reverse();
        }
    };
    check(vec![], &["2 0 - 1"]);
    check(vec![click(9, 900)], &["1 0 - 1", "1 1 user 1"]);
    check(vec![click(9, 5)], &["2 0 - 1"]);
    check(vec![click(9, 600)], &["2 0 - 1"]);
    check(vec![click(8, 600), click(9, 900)], &["2 0 - 1"]);
    let home = "https://shop.example/";
    check(vec![load(8, -5_000, home), load(9, 500, home)], &["1 0 - 1", "1 1 refresh 1"]);
    check(vec![load(8, -5_000, home), load(9, 500, "/cart")], &["1 0 - 1", "1 0 - 2"]);
    let route = mark(9, 500, "Navigation: /cart", "event_type", "click");
    check(vec![load(8, -5_000, home), route], &["1 0 - 1", "1 1 user 1"]);
    // Somebody else's click.
    let mut others = click(9, 900);
    others.row.session_id = SessionId::new("s2");
    check(vec![others], &["2 0 - 1"]);
}

#[test]
fn repetitions_of_an_intent_are_counted() {
    let world = vec![
        fetch(1, 0, 503),
        fetch(2, 500, 503),
        click(3, 2_000),
        fetch(4, 2_000, 503),
        fetch(5, 2_500, 503),
        load(6, -100, "/a"),
        load(7, 4_000, "/a"),
        fetch(8, 4_100, 0),
        fetch(9, 5_000, 200),
        // Nobody has failed: another intent.
        click(10, 8_000),
        fetch(11, 8_001, 200),
    ];
    let expected = ["2 0 - 1", "2 1 user 1", "2 2 refresh 1", "1 0 - 11"];
    assert_eq!(told(&join(&arrivals(world), 1)), expected);
}

#[test]
fn what_only_a_server_tells_of_is_an_attempt_by_the_browsers_clock() {
    let answered = || vec![fetch(1, 0, 503), served(1, 10, 5, 503)];
    let with = |more: Vec<Span>| join(&arrivals(answered().into_iter().chain(more)), 1);
    let standing = with(vec![served(2, 99, 1_020, 200)]);
    assert_eq!(told(&standing), ["2 0 - 1"]);
    let orphan = standing.spans.values().find(|row| row.trace_id == trace_id(2)).expect("it");
    assert_eq!((orphan.attempt, orphan.retry_evidence.as_str()), (2, "inferred"));
    // Its caller comes: nothing changes.
    let caller = || {
        let mut caller = fetch(2, 1_000, 200);
        caller.row.span_id = span_id(99);
        caller
    };
    assert_eq!(told(&with(vec![served(2, 99, 1_020, 200), caller()])), ["2 0 - 1"]);
    // The page was loaded again in between; what was given up is asked again.
    let loads = || vec![load(8, -5_000, "/a"), load(9, 900, "/a")];
    let reloaded = with(loads().into_iter().chain([served(2, 99, 1_020, 200)]).collect());
    assert_eq!(told(&reloaded), ["1 0 - 1", "1 1 refresh 1"]);
    let given_up = vec![served(2, 99, 820, 200), fetch(3, 1_000, 200)];
    let again = with(loads().into_iter().chain(given_up).collect());
    assert_eq!(told(&again), ["2 0 - 1", "1 1 refresh 1"]);
    // Of no browser, or of no known clock.
    let mut others = served(2, 99, 1_020, 200);
    others.hints.browser_made = false;
    assert_eq!(with(vec![others]).requests.len(), 2);
    let unknown = vec![fetch(1, 0, 503), served(2, 99, 1_020, 200)];
    assert_eq!(join(&arrivals(unknown), 1).requests.len(), 2);
}

fn worlds() -> impl Strategy<Value = Vec<Arrival>> {
    let one = (1_u8..12, 0_usize..6, 0_i64..2_000, prop::sample::select(vec![0, 200, 503]));
    prop::collection::vec(one, 2..16).prop_map(|specs| {
        let spans = specs.into_iter().enumerate().map(|(at, (trace, what, start_ms, status))| {
            let mut told = match what {
                0 | 1 => fetch(trace, start_ms, status),
                2 => served(trace, 10 + at as u64 % 8, start_ms, status),
                3 => click(trace, start_ms),
                4 => load(trace, start_ms, ["/a", "/b"][at % 2]),
                _ => served(trace, u64::from(trace) * 10, start_ms, status),
            };
            if what != 0 {
                told.row.span_id = span_id(1_000 + at as u64);
            }
            told
        });
        arrivals(spans)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_users_do_may_be_told_in_any_order(
        world in worlds(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 16),
        batch in 1_usize..5,
    ) {
        // Of two spans of one id the first in the order of the log holds.
        let mut known = std::collections::BTreeSet::new();
        let world: Vec<Arrival> = world
            .into_iter()
            .filter(|arrival| match arrival {
                Arrival::Span(span) => {
                    known.insert((span.row.trace_id, span.row.span_id, span.row.kind.clone()))
                }
                Arrival::Event(_) => true,
            })
            .collect();
        assert_order_is_nothing(&world, &order, batch)?;
    }
}
