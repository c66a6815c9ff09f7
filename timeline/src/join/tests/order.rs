//! Any order of arrival, any batching and any number of deliveries end in the same rows, and so does any
//! way to read the log: much or little between two looks at what has changed.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::late::navigations;
use super::world::{
    Arrival, FETCH, Spec, Standing, beacon_attempt, event, join, record, span, standing_once,
    trace_id,
};
use crate::join::{Config, Join};
use crate::schema::{Label, Span};

const SERVICES: [&str; 4] = ["web", "a", "b", "c"];

/// A random small world: parents may be missing, point forward, or form cycles.
pub(super) fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let span = (
        1_u8..3,
        1_u64..12,
        0_u64..12,
        0_usize..4,
        0_usize..3,
        0_i64..400,
        1_i64..300,
        prop::sample::select(vec![0, 200, 401, 503]),
    )
        .prop_map(|(trace, id, parent, service, kind, start_ms, ms, status)| {
            let kind = ["client", "server", "internal"][kind];
            let service =
                if kind == "client" { SERVICES[service] } else { SERVICES[service.max(1)] };
            let spec = Spec {
                trace,
                id,
                parent,
                kind,
                service,
                target: "http://t/x",
                start_ms,
                ms,
                status,
            };
            let mut span = span(spec);
            if id % 4 == 0 {
                // Some weigh more than others in what may be open.
                span.row.attributes =
                    [(String::from("text"), "x".repeat(7_000))].into_iter().collect();
            }
            Arrival::Span(Box::new(if service == "web" {
                beacon_attempt(span, (id % 3) as i32 + 1)
            } else {
                span
            }))
        });
    let event = (0_usize..4, 0_i64..6, 1_u8..3, 1_u64..12, 0_i64..400).prop_map(
        |(name, sequence, trace, id, at)| {
            let names = [
                "behavior.abandon",
                "behavior.abandon_withdrawn",
                "behavior.pending",
                "behavior.click_burst",
            ];
            // A page uses a sequence number once: its event is a function of the number.
            let name = names[(name + sequence as usize) % 4];
            let mut event =
                event(name, &format!("p{sequence}{trace}{id}{at}"), sequence, trace, id, at);
            event.hints.waited_us = Some(at * 1_000);
            event.hints.previous_attempts = Some(0);
            event.hints.abandon_trigger = Some(Label::new("leave"));
            Arrival::Event(Box::new(event))
        },
    );
    prop::collection::vec(prop_oneof![4 => span, 1 => event], 1..24).prop_map(without_conflicts)
}

/// Two different spans under one id are a sender's error; the first delivery wins, so a world
/// without them is what the property speaks of.
fn without_conflicts(arrivals: Vec<Arrival>) -> Vec<Arrival> {
    let mut seen = std::collections::BTreeSet::new();
    arrivals
        .into_iter()
        .filter(|arrival| match arrival {
            Arrival::Span(span) => {
                seen.insert((span.row.trace_id, span.row.span_id, span.row.kind.clone()))
            }
            Arrival::Event(_) => true,
        })
        .collect()
}

/// The same arrivals in another order.
pub(super) fn shuffled(world: &[Arrival], order: &[prop::sample::Index]) -> Vec<Arrival> {
    let mut shuffled = world.to_vec();
    for (at, index) in order.iter().enumerate() {
        shuffled.swap(at % world.len(), index.index(world.len()));
    }
    shuffled
}

/// What stands after these arrivals, whatever their order, batching and repetition; fails where one of
/// them mattered.
pub(super) fn assert_order_is_nothing(
    world: &[Arrival],
    order: &[prop::sample::Index],
    batch: usize,
) -> Result<Standing, TestCaseError> {
    let expected = join(world, usize::MAX);
    let shuffled = shuffled(world, order);
    let twice: Vec<Arrival> = shuffled.iter().chain(world).cloned().collect();
    assert_same(&expected, &join(&shuffled, batch), "the order of arrival mattered")?;
    assert_same(&expected, &join(&twice, batch), "a second delivery mattered")?;
    Ok(expected)
}

/// Table by table, and row by row where rows have changed: a whole world in a message tells nothing.
fn assert_same(expected: &Standing, other: &Standing, why: &str) -> Result<(), TestCaseError> {
    assert_same_rows(&expected.spans, &other.spans, why)?;
    assert_same_rows(&expected.requests, &other.requests, why)?;
    assert_same_rows(&expected.sessions, &other.sessions, why)?;
    prop_assert_eq!(&expected.settled_sends, &other.settled_sends, "{}", why);
    prop_assert_eq!(&expected.settled_requests, &other.settled_requests, "{}", why);
    prop_assert_eq!(&expected.events, &other.events, "{}", why);
    Ok(())
}

fn assert_same_rows<R: PartialEq + std::fmt::Debug>(
    expected: &BTreeMap<String, R>,
    other: &BTreeMap<String, R>,
    why: &str,
) -> Result<(), TestCaseError> {
    for key in expected.keys().chain(other.keys()) {
        prop_assert_eq!(expected.get(key), other.get(key), "{}: {}", why, key);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_batching_and_repetition_do_not_matter(
        arrivals in arrivals(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        batch in 1_usize..9,
    ) {
        assert_order_is_nothing(&arrivals, &order, batch)?;
    }
}

/// Joins arrivals, each at its second, and looks at what has changed after those that `looks` names.
fn read(
    arrivals: &[(i64, Arrival)],
    looks: impl Fn(usize) -> bool,
) -> (Standing, BTreeMap<String, u64>) {
    let mut join = Join::new(Config::default());
    let mut changes = Vec::new();
    let end = arrivals.last().map_or(0, |(received_s, _)| *received_s);
    let ticks = [30, 100, 400, 3_000, 20_000].map(|later_s| (end + later_s, None));
    let arrivals = arrivals.iter().map(|(received_s, arrival)| (*received_s, Some(arrival)));
    for (at, (received_s, arrival)) in arrivals.chain(ticks).enumerate() {
        join.push(record(received_s, arrival));
        if looks(at) {
            changes.extend(join.emit());
        }
    }
    changes.extend(join.emit());
    let mut counters = join.counters().clone();
    // How often something changed after it was counted depends on how often it was said.
    counters.remove("changed_after_settling");
    (standing_once(changes), counters)
}

/// A browser's span that names its host; every third one as another SDK on the page tells it.
fn asking_host(mut span: Box<Span>) -> Arrival {
    if span.row.kind == "client" {
        let host = if span.row.duration_us % 2_000 == 0 { "t.example" } else { "u.example" };
        span.hints.callee = Some(Label::new(host));
    }
    if span.row.layer == "browser" && span.row.span_id.0[7].is_multiple_of(3) {
        span.hints.beacon_previous_attempts = None;
        (span.row.service, span.row.session_id) = (Label::new("web-otel"), None);
    }
    Arrival::Span(span)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_not_matter_when_the_log_is_read(
        world in arrivals(),
        seconds in prop::collection::vec(prop_oneof![4 => 0_i64..100, 1 => 0_i64..9_000], 40),
        looks in prop::collection::vec(any::<bool>(), 40),
    ) {
        let world = world.into_iter().chain(navigations()).map(|arrival| match arrival {
            Arrival::Span(span) => asking_host(span),
            Arrival::Event(event) => Arrival::Event(event),
        });
        let mut arrivals: Vec<(i64, Arrival)> = seconds.iter().copied().zip(world).collect();
        arrivals.sort_by_key(|(received_s, _)| *received_s);
        let never = read(&arrivals, |_| false);
        let sometimes = read(&arrivals, |at| looks[at % looks.len()]);
        let always = read(&arrivals, |_| true);
        for (other, name) in [(sometimes, "sometimes"), (always, "always")] {
            assert_same(&never.0, &other.0, name)?;
            prop_assert_eq!(&never.1, &other.1, "{}", name);
        }
    }
}

#[test]
fn who_answers_is_known_whenever_the_log_is_read() {
    let spec = |trace: u8, id| Spec {
        trace,
        id,
        parent: 0,
        kind: "client",
        service: "web",
        target: "http://shop.example/x",
        start_ms: 0,
        ms: 10,
        status: 503,
    };
    let asks = |trace, id| {
        let mut span = beacon_attempt(span(spec(trace, id)), 1);
        span.hints.callee = Some(Label::new("shop.example"));
        Arrival::Span(Box::new(span))
    };
    let below = |kind, service, trace, parent: u64| {
        let spec = Spec { id: parent + 1, parent, kind, service, ..spec(trace, 0) };
        Arrival::Span(Box::new(span(spec)))
    };
    let hours = 3_600;
    // The first two in vain are let go before the host is somebody else's, and one of them comes back.
    let arrivals = [
        (0, asks(1, 10)),
        (5, asks(2, 20)),
        (5, below("server", "shop", 2, 20)),
        (60, asks(9, 90)),
        (5 * hours, asks(3, 30)),
        (5 * hours, below("server", "mall", 3, 30)),
        (5 * hours + 1, asks(4, 40)),
        (5 * hours + 2, below("internal", "web", 1, 10)),
    ];
    let looks: [fn(usize) -> bool; 3] = [|_| true, |at| at == 3, |_| false];
    for looks in looks {
        let found = read(&arrivals, looks).0;
        let callee = |trace: u8| found.requests[&trace_id(trace).to_string()].callee.to_string();
        assert_eq!([1, 9, 4].map(callee), ["shop", "shop", "mall"]);
    }
}

#[test]
fn requests_that_begin_with_one_span_id_are_two() {
    let spec = |kind, service, id, parent, target| {
        let spec = Spec { trace: 2, id, parent, kind, service, target, ..FETCH };
        Arrival::Span(Box::new(span(spec)))
    };
    // A span that names itself as its parent stands under nobody, and its server's span under it.
    let own_parent = [
        spec("client", "web", 8, 8, "/x"),
        spec("server", "a", 8, 8, "/x"),
        spec("client", "web", 1, 0, "/y"),
    ];
    // Nobody called these two, whatever id their senders gave them.
    let one_id = [spec("server", "a", 8, 0, "/x"), spec("consumer", "b", 8, 0, "/y")];
    for arrivals in [&own_parent[..], &one_id] {
        assert_eq!(join(arrivals, 1).requests.len(), 2);
    }
}
