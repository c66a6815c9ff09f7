//! What happens at the limits of what is open: the longest silent go first, early and counted, and
//! come back when they are spoken of.

use super::world::{FETCH, Spec, T0_NS, event, span};
use crate::decode::Rows;
use crate::join::{Change, Config, Join};
use crate::schema::{Event, SessionId, Span, Time};

const SPAN: Spec<'static> = Spec { kind: "server", service: "a", target: "/x", ms: 1, ..FETCH };

fn at(second: i64, spans: Vec<Span>, mut events: Vec<Event>) -> Rows {
    let received_ns = T0_NS + second * 1_000_000_000;
    for event in &mut events {
        event.row.time_received = Time(received_ns);
    }
    Rows { received_ns, spans, events, ..Rows::default() }
}

fn of_session(number: i64, sequence: i64) -> Event {
    let mut event = event("behavior.click", &format!("p{number}"), sequence, 0, 0, number);
    event.row.session_id = SessionId::new(&format!("s{number}"));
    event
}

#[test]
fn the_longest_silent_traces_go_first() {
    let mut join = Join::new(Config { spans_max: 20, ..Config::default() });
    // The first trace began first, and is the only one that is still spoken of.
    let trace = |trace, id| span(Spec { trace, id, ..SPAN });
    join.push(at(0, vec![trace(1, 1)], vec![]));
    for number in 2..=20 {
        join.push(at(i64::from(number) / 4, vec![trace(number, 1)], vec![]));
    }
    join.push(at(6, vec![trace(1, 2)], vec![]));
    assert_eq!(join.open().1, 21);
    join.push(at(7, vec![], vec![]));
    assert_eq!(join.open().1, 18, "a tenth is made free at once");
    assert_eq!(join.counters().get("settled_early"), Some(&3));
    // The first is open: a second delivery of its span needs no recall. The second is not.
    join.push(at(8, vec![trace(1, 1), trace(1, 2)], vec![]));
    assert_eq!(join.recalled().0, 0);
    join.push(at(9, vec![trace(2, 7)], vec![]));
    assert_eq!(join.recalled().0, 1);
    assert_eq!(join.counters().get("late_span"), None);
}

#[test]
fn the_longest_silent_sessions_are_closed_early_and_reopen() {
    let mut join = Join::new(Config { sessions_max: 10, ..Config::default() });
    for number in 0..10 {
        join.push(at(number, vec![], vec![of_session(number, 0)]));
    }
    join.push(at(20, vec![], vec![of_session(0, 1), of_session(10, 0)]));
    let mut changes = join.emit();
    join.push(at(21, vec![], vec![]));
    changes.extend(join.emit());
    assert_eq!(join.open().2, 9);
    assert_eq!(join.counters().get("session_closed_early"), Some(&2));
    let closed = changes.iter().filter_map(|change| match change {
        Change::Session(delta) => delta.new.as_ref().filter(|(_, row)| row.state == "closed"),
        _ => None,
    });
    let closed: Vec<String> = closed.map(|(_, row)| row.session_id.to_string()).collect();
    assert_eq!(closed, ["s1", "s2"]);
    // It goes on where it was: its second delivery is known, and its row counts both pages.
    let mut another = of_session(1, 5);
    another.row.page_id = of_session(99, 0).row.page_id;
    join.push(at(30, vec![], vec![of_session(1, 0), another]));
    assert_eq!(join.counters().get("duplicate_event"), Some(&1));
    let rows = join.emit().into_iter().filter_map(|change| match change {
        Change::Session(delta) => delta.new,
        _ => None,
    });
    let rows: Vec<_> = rows.map(|(_, row)| (row.pages, row.state.to_string())).collect();
    assert_eq!(rows, [(2, String::from("reopened"))]);
}

#[test]
fn an_event_is_known_a_day_later_by_its_page_and_for_minutes_by_what_it_says() {
    let mut join = Join::default();
    let mut nameless = of_session(1, 0);
    nameless.row.sequence = None;
    let both = || vec![of_session(1, 7), nameless.clone()];
    join.push(at(0, vec![], both()));
    for (second, duplicates) in [(10, 2), (800, 4), (20 * 3_600, 5), (24 * 3_600, 6)] {
        join.push(at(second, vec![], both()));
        assert_eq!(join.counters()["duplicate_event"], duplicates, "after {second} s");
    }
}
