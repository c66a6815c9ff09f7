//! Traces of a hundred thousand spans in every shape that tempts a loop within a loop, and rows in every
//! shape that tempts the join to keep them for ever.
//!
//! No wall time is asserted: a quadratic step would take 10^10 turns, and these would not end.

use super::world::{
    Arrival, FETCH, Spec, Standing, T0_NS, arrivals, event, join, received, span, standing,
    trace_id,
};
use crate::join::callees::{Answer, Asked, Callees, Known};
use crate::join::{Config, Join};
use crate::schema::{Label, PageId, Time, TraceId};

const SPANS: u64 = 100_000;

const SPAN: Spec<'static> =
    Spec { service: "a", target: "http://b/x", ms: 1, status: 503, ..FETCH };

fn joined(spec: impl Fn(u64) -> Spec<'static>) -> Standing {
    join(&arrivals((1..=SPANS).map(|id| span(Spec { id, ..spec(id) }))), usize::MAX)
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
        let standing = join(&arrivals((2..SPANS + 2).map(told)), usize::MAX);
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
    let caller = |id: u64| {
        let mut span = span(Spec { id, parent: id - 1, ..SPAN });
        span.hints.callee = Some(Label::new(&format!("callee {id}")));
        span
    };
    // Labels are kept once each, so a tenth of the others is enough to tell n² from n log n.
    let world = arrivals((1..=SPANS / 5).map(caller));
    assert_eq!(sends(&join(&world, usize::MAX)), world.len());
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
    let spans = (1..=SPANS).map(|id| span(Spec { id, kind: "internal", ..SPAN }));
    let mut world = arrivals(spans);
    world.extend((0..10_000).map(|at| {
        let name = if at % 2 == 0 { "behavior.abandon" } else { "exception" };
        let mut event = event(name, "p1", at, 1, 2 * SPANS + at as u64, at);
        event.hints.previous_attempts = Some(at as i32 / 2);
        if at % 2 == 1 {
            event.row.session_id = None;
        }
        Arrival::Event(Box::new(event))
    }));
    let standing = join(&world, usize::MAX);
    assert_eq!(standing.events.len(), 10_000);
    assert_eq!(standing.requests[&trace_id(1).to_string()].attempts, 5_000);
}

/// A trace id of its own for each number.
fn nth_trace(number: i64) -> Option<TraceId> {
    TraceId::from_bytes(&(u128::from(number.unsigned_abs()) + 1).to_be_bytes())
}

#[test]
fn traces_of_events_alone_are_within_the_budget() {
    let mut join = Join::new(Config { spans_max: 100, ..Config::default() });
    let pending = |number: i64| {
        let mut event = event("behavior.pending", "p1", number, 1, 1, 0);
        event.row.trace_id = nth_trace(number);
        event
    };
    for second in 0..20 {
        join.push(received(second, vec![], (second * 50..second * 50 + 50).map(pending).collect()));
        assert!(join.open().0 <= 150, "after {second} s: {:?}", join.open());
    }
    assert!(join.counters()["settled_early"] >= 800);
}

#[test]
fn rows_with_many_or_long_attributes_count_as_several() {
    let long = vec![(String::from("text"), "x".repeat(36 << 10))];
    let many: Vec<_> = (0..750).map(|number| (number.to_string(), String::new())).collect();
    for attributes in [long, many] {
        let mut join = Join::new(Config { spans_max: 100, ..Config::default() });
        let large = |number: i64| {
            let mut span = span(Spec { trace: number as u8, kind: "server", ..FETCH });
            span.row.attributes = attributes.iter().cloned().collect();
            span
        };
        for second in 0..40 {
            let spans = vec![large(1 + second * 2), large(2 + second * 2)];
            join.push(received(second, spans, vec![]));
            assert!(join.open().1 <= 12, "after {second} s: {:?}", join.open());
        }
        assert!(join.counters()["settled_early"] >= 60);
        // What they weigh is counted anew where the join goes on from its checkpoint.
        let mut state = Vec::new();
        join.write(&mut state).expect("it is written");
        let mut join = Join::read(Join::FORM, &state).expect("it is read");
        for second in 40..50 {
            join.push(received(second, vec![large(1 + second * 2)], vec![]));
            assert!(join.open().1 <= 12, "after {second} s: {:?}", join.open());
        }
    }
}

#[test]
fn a_page_that_counts_backwards_by_twos() {
    let records = || (0..20_000).rev().map(|at| event("behavior.click", "p1", at * 2, 0, 0, 0));
    let mut join = Join::new(Config::default());
    join.push(received(0, vec![], records().collect()));
    assert_eq!(join.counters().get("duplicate_event"), None);
    let apart = join.counters()["sequence_not_kept"];
    assert!(apart > 19_000, "{apart}");
    // What has no room in its page is known to have come all the same.
    join.push(received(60, vec![], records().collect()));
    assert_eq!(join.counters()["duplicate_event"], 20_000);
}

#[test]
fn smaller_limits_are_met_and_counted() {
    let config = Config { session_pages_max: 2, fingerprints_max: 10, ..Config::default() };
    let mut join = Join::new(config);
    let pages = ["p1", "p2", "p3"].map(|page| event("behavior.click", page, 0, 0, 0, 0));
    join.push(received(0, vec![], pages.into()));
    assert_eq!(join.counters()["page_not_kept"], 1);
    assert_eq!(join.counters()["sequence_not_kept"], 1);
    let without_page = |at: i64| {
        let mut event = event("behavior.click", "p1", 0, 0, 0, at);
        event.row.page_id = None;
        event
    };
    join.push(received(0, vec![], (0..20).map(without_page).collect()));
    join.push(received(1, vec![], vec![]));
    // The third page's event is known by a fingerprint as well.
    assert_eq!(join.counters()["fingerprint_forgotten"], 11);
    assert_eq!(join.reach().1.entries, 10);
}

#[test]
fn a_page_that_leaves_a_thousand_requests() {
    let abandon = |number: i64| {
        let mut event = event("behavior.abandon", "p1", number, 1, 1, 0);
        event.row.trace_id = nth_trace(number);
        event.hints.waited_us = Some(1_000);
        event
    };
    let mut join = Join::new(Config::default());
    join.push(received(0, vec![], (0..1_000).map(abandon).collect()));
    assert_eq!(join.counters()["left_trace_forgotten"], 1_000 - 256);
    // All the same each learns how the next page was reached.
    let mut navigation = event("browser.navigation", "p2", 0, 0, 0, 500);
    navigation.hints.navigation_type = Some(Label::new("reload"));
    navigation.hints.previous_page_id = PageId::new("p1");
    join.push(received(1, vec![], vec![navigation]));
    let mut changes = join.emit();
    for second in [30, 400, 3_000] {
        join.push(received(second, vec![], vec![]));
        changes.extend(join.emit());
    }
    let found = standing(changes);
    let reload = |trigger: &Option<Label>| trigger.as_ref().is_some_and(|it| *it == "reload");
    let reloads = found.requests.values().filter(|row| reload(&row.abandon_trigger)).count();
    assert_eq!(reloads, 1_000);
}

#[test]
fn hosts_that_are_asked_now_take_the_place_of_those_that_were() {
    let mut callees = Callees::default();
    let trace = (trace_id(1), Label::new("default"));
    let asked = |number: i64| Asked {
        app: Label::new("default"),
        caller: Label::new("web"),
        host: Label::new(&format!("{number}.example")),
        method: Label::new("GET"),
        route: Label::new("/x"),
    };
    let answer = Answer { service: Label::new("shop"), route: Label::new("/x") };
    let mut forgotten = 0;
    for number in 0..10_000 {
        let known = Known::at(Time(T0_NS + number));
        callees.find(&trace, vec![(asked(number), answer.clone(), known)]);
        forgotten += callees.learn(4_096);
        assert_eq!(callees.answer(&asked(number), Time(T0_NS)), Some(answer.clone()));
    }
    assert!(forgotten >= 2 * 5_000, "of hosts and of routes: {forgotten}");
    assert_eq!(callees.answer(&asked(0), Time(T0_NS)), None);
    assert_eq!(callees.answer(&asked(8_000), Time(T0_NS)), Some(answer));
}
