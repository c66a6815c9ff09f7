//! What an erasure leaves: nothing of its session, every other row as it was, and a budget that knows
//! what went.

use super::world::{
    FETCH, Spec, T0_NS, event, factors, received, span, span_id, standing_once, trace_id,
};
use crate::decode::Rows;
use crate::join::{Change, Config, Join};
use crate::schema::{Erasure, Event, Label, SessionId, Span, Subject};

/// A page's fetch with its server's span below it, in a trace and a session of their own; each weighs
/// three in the budget.
fn fetch(session: u8) -> (Vec<Span>, Vec<Event>) {
    let id = u64::from(session) * 10;
    let client = Spec { trace: session, id, ..FETCH };
    let server =
        Spec { trace: session, id: id + 1, parent: id, kind: "server", service: "shop", ..FETCH };
    let mut spans = vec![span(client), span(server)];
    for span in &mut spans {
        span.row.attributes = [(String::from("text"), "x".repeat(7_000))].into_iter().collect();
    }
    let mut left = event("behavior.abandon", "p1", 1, session, id, 5);
    left.row.body = Some("x".repeat(7_000));
    let named = SessionId::new(&format!("s{session}"));
    spans[0].row.session_id = named.clone();
    left.row.session_id = named;
    (spans, vec![left])
}

fn erasure(second: i64, session: &str) -> Rows {
    let session = SessionId::new(session).expect("not empty");
    let erasure = Erasure { app: Label::new("default"), subject: Subject::Session(session) };
    Rows { received_ns: T0_NS + second * 1_000_000_000, erasure: Some(erasure), ..Rows::default() }
}

#[test]
fn a_session_goes_whole_and_the_others_stay() {
    let mut join = Join::new(Config::default());
    let mut changes = Vec::new();
    for session in 1..=3 {
        let (spans, events) = fetch(session);
        join.push(received(0, spans, events));
        join.assert_weight();
    }
    changes.extend(join.emit());
    join.push(erasure(1, "s2"));
    join.assert_weight();
    assert_eq!(join.open(), (2, 4, 2), "traces, spans and sessions");
    // What comes again of it is dropped, and what its server tells of it later is a trace by itself.
    let (again, events) = fetch(2);
    join.push(received(2, vec![again[0].clone()], events));
    assert_eq!((join.counters()["erased_span"], join.counters()["erased_event"]), (1, 1));
    changes.extend(join.emit());
    assert!(changes.iter().any(|change| matches!(change, Change::Erase(_))));
    let standing = standing_once(changes);
    assert_eq!(factors(&standing, "shop"), (2, 2, 2));
    let gone = [trace_id(2).to_string(), span_id(20).to_string(), span_id(21).to_string()];
    let names = standing.spans.keys().chain(standing.requests.keys());
    let left: Vec<&String> =
        names.filter(|name| gone.iter().any(|gone| name.contains(gone))).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(standing.sessions.keys().collect::<Vec<_>>(), ["s1", "s3"]);
    assert_eq!(standing.events.len(), 2);
}
