//! Sessions from their beginning to their end: who ends them and when, and whose rows are theirs.

use super::world::{
    Arrival, Spec, Standing, T0_NS, beacon_attempt, event, join, span, span_id, standing, trace_id,
};
use crate::decode::Rows;
use crate::join::ended::EndedAhead;
use crate::join::{Change, Join};
use crate::schema::{Event, Label, PageId, SessionId, Span, TabId, Time};

/// A join that says everything at once, and all that it has said.
#[derive(Default)]
struct Life {
    join: Join,
    changes: Vec<Change>,
}

impl Life {
    /// Receives these at a second, at which they happened, too.
    fn at(&mut self, second: i64, spans: Vec<Span>, mut events: Vec<Event>) {
        let received = Time(T0_NS + second * 1_000_000_000);
        for event in &mut events {
            (event.row.time, event.row.time_received) = (received, received);
        }
        self.join.push(Rows { received_ns: received.0, spans, events, ..Rows::default() });
        self.changes.extend(self.join.emit());
    }

    fn standing(&self) -> Standing {
        standing(self.changes.clone())
    }

    fn state(&self, session: &str) -> String {
        self.standing().sessions[session].state.to_string()
    }
}

/// Something that a page of a session tells.
fn of(session: &str, page: &str, sequence: i64) -> Event {
    let mut event = event("behavior.click", page, sequence, 0, 0, 0);
    event.row.session_id = SessionId::new(session);
    event
}

#[test]
fn a_session_ends_when_its_successor_begins_whichever_is_heard_first() {
    let last = of("s1", "p1", 0);
    let mut start = of("s2", "p2", 0);
    start.row.event_name = Label::new("session.start");
    start.hints.previous_session_id = SessionId::new("s1");
    for order in [[&last, &start], [&start, &last]] {
        let mut life = Life::default();
        for (second, event) in order.into_iter().enumerate() {
            life.at(second as i64, vec![], vec![event.clone()]);
        }
        assert_eq!([life.state("s1"), life.state("s2")], ["closed", "open"]);
        // What still comes of it does not begin it anew, but for the one that nobody has followed.
        life.at(7_200, vec![], vec![of("s1", "p1", 1), of("s2", "p2", 1)]);
        assert_eq!([life.state("s1"), life.state("s2")], ["closed", "reopened"]);
        assert_eq!(life.join.counters().get("session_end_forgotten"), None);
    }
}

#[test]
fn ends_heard_ahead_are_bounded() {
    let key = |number: u32| {
        (SessionId::new(&format!("s{number}")).expect("not empty"), Label::new("default"))
    };
    let mut ended = EndedAhead::default();
    for number in 0..1_000 {
        assert_eq!(ended.remember(&key(number), 1_000), 0);
    }
    assert_eq!(ended.remember(&key(7), 1_000), 0, "it is known already");
    assert_eq!(ended.remember(&key(1_000), 1_000), 1);
    let known = |ended: &EndedAhead| [0, 1, 7, 1_000].map(|number| ended.knows(&key(number)));
    assert_eq!(known(&ended), [false, true, true, true]);
    // A start with a smaller limit lets go of what is over it.
    assert_eq!(ended.remember(&key(7), 1), 999);
    assert_eq!(known(&ended), [false, false, false, true]);
}

#[test]
fn thirty_minutes_of_silence_end_a_session() {
    for (silent_s, silent, spoken) in [(1_799, "open", "open"), (1_801, "closed", "reopened")] {
        for begun_s in [0, 300] {
            let mut life = Life::default();
            life.at(0, vec![], vec![of("s1", "p1", 0)]);
            life.at(begun_s, vec![], vec![of("s1", "p1", 1)]);
            let mut another = Life::default();
            another.at(0, vec![], vec![of("s1", "p1", 0)]);
            another.at(begun_s, vec![], vec![of("s1", "p1", 1)]);
            life.at(begun_s + silent_s, vec![], vec![]);
            assert_eq!(life.state("s1"), silent, "{silent_s} s after {begun_s} s");
            another.at(begun_s + silent_s, vec![], vec![of("s1", "p1", 2)]);
            assert_eq!(another.state("s1"), spoken, "{silent_s} s after {begun_s} s");
        }
    }
}

#[test]
fn four_hours_end_a_session_however_busy() {
    let mut life = Life::default();
    for number in 0..24 {
        life.at(number * 600, vec![], vec![of("s1", "p1", number)]);
    }
    life.at(4 * 3_600 - 1, vec![], vec![]);
    assert_eq!(life.state("s1"), "open");
    life.at(4 * 3_600, vec![], vec![]);
    assert_eq!(life.state("s1"), "closed");
}

/// The session of each span of a trace that two pages asked in, as a cached page makes them, when the
/// spans come in this order.
fn in_two_sessions(order: &[usize]) -> (Vec<Option<String>>, Option<u64>) {
    let spec = |id, parent, kind, service| Spec {
        trace: 1,
        id,
        parent,
        kind,
        service,
        target: "http://shop/x",
        start_ms: id as i64 * 10,
        ms: 5,
        status: 200,
    };
    let mut second = beacon_attempt(span(spec(3, 0, "client", "web")), 1);
    second.row.session_id = SessionId::new("s2");
    let spans = [
        beacon_attempt(span(spec(1, 0, "client", "web")), 1),
        span(spec(2, 1, "server", "shop")),
        second,
        span(spec(4, 3, "server", "shop")),
        span(spec(5, 0, "server", "shop")),
        span(spec(6, 2, "client", "shop")),
        span(spec(7, 6, "server", "stock")),
        span(spec(8, 4, "internal", "shop")),
    ];
    let mut life = Life::default();
    for at in order {
        life.at(0, vec![spans[*at].clone()], vec![]);
    }
    for second in [60, 600, 9_000] {
        life.at(second, vec![], vec![]);
    }
    // What comes later takes the trace back, which was counted.
    life.at(9_001, vec![span(spec(9, 5, "internal", "shop"))], vec![]);
    life.at(9_600, vec![], vec![]);
    let rows = life.standing().spans;
    let session = |id: u64| {
        let row = rows.values().find(|row| row.span_id == span_id(id)).expect("it was sent");
        row.session_id.as_ref().map(|id| id.to_string())
    };
    let sessions = (1..=9).map(session).collect();
    (sessions, life.join.counters().get("trace_in_two_sessions").copied())
}

#[test]
fn a_trace_seen_in_two_sessions_is_of_the_nearest_client() {
    let [first, second] = ["s1", "s2"].map(|id| Some(String::from(id)));
    let expected = [
        first.clone(),
        first.clone(),
        second.clone(),
        second.clone(),
        None,
        first.clone(),
        first,
        second,
        None,
    ];
    for order in [[0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0], [4, 1, 7, 0, 2, 6, 3, 5]] {
        let (found, counted) = in_two_sessions(&order);
        assert_eq!(found, expected, "{order:?}");
        assert_eq!(counted, Some(1), "once, {order:?}");
    }
}

/// A request that was pending when its page was left.
fn left(page: &str, trace: u8) -> Arrival {
    let mut event = event("behavior.abandon", page, 5, trace, u64::from(trace) * 10, 400);
    event.hints.waited_us = Some(200_000);
    event.hints.previous_attempts = Some(0);
    event.hints.abandon_trigger = Some(Label::new("leave"));
    Arrival::Event(Box::new(event))
}

fn navigation(page: &str, before: &str, kind: &str, at_ms: i64) -> Arrival {
    let mut event = event("browser.navigation", page, 0, 0, 0, at_ms);
    event.hints.navigation_type = Some(Label::new(kind));
    event.hints.previous_page_id = PageId::new(before);
    Arrival::Event(Box::new(event))
}

/// How the page of the request of `trace` was left, in both orders of arrival.
fn trigger(world: &[Arrival], trace: u8) -> String {
    let said = |standing: &Standing| {
        let request = &standing.requests[&trace_id(trace).to_string()];
        request.abandon_trigger.as_ref().expect("it was left").to_string()
    };
    let turned: Vec<Arrival> = world.iter().rev().cloned().collect();
    let found = said(&join(world, 1));
    assert_eq!(said(&join(&turned, 1)), found, "the order of arrival mattered");
    found
}

#[test]
fn two_tabs_of_one_session_are_left_each_by_itself() {
    let mut other = left("p2", 2);
    if let Arrival::Event(event) = &mut other {
        event.row.tab_id = TabId::new("t2");
    }
    let world = [left("p1", 1), other, navigation("p3", "p1", "reload", 500)];
    assert_eq!(trigger(&world, 1), "reload");
    assert_eq!(trigger(&world, 2), "leave");
    let standing = join(&world, 1);
    let session = &standing.sessions["s1"];
    assert_eq!((session.pages, session.refreshes), (3, 1));
    assert_eq!((session.requests, session.abandonments), (2, 2));
    assert_eq!(standing.events.len(), 3, "each page counts its records by itself");
}

#[test]
fn of_two_pages_that_follow_one_the_first_decides() {
    for (reload_ms, navigate_ms, expected) in [(500, 600, "reload"), (600, 500, "navigate")] {
        let world = [
            left("p1", 1),
            navigation("p2", "p1", "reload", reload_ms),
            navigation("p3", "p1", "navigate", navigate_ms),
        ];
        assert_eq!(trigger(&world, 1), expected);
    }
}
