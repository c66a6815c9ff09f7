//! Answers that nobody used.

use super::unseen::{SPAN, sighting};
use super::world::{Arrival, Spec, arrivals, beacon_attempt, event, join, span};
use crate::schema::{Label, Span};

/// A page's attempt of this number, the shop's answer, and what the shop asked for to give it; their
/// ids are the number with a digit.
fn page(number: i32, start_ms: i64, ms: i64, status: i32) -> [Span; 3] {
    let id = number as u64 * 10;
    let spec = Spec { id, start_ms, ms, status, ..SPAN };
    let server = Spec { id: id + 1, parent: id, kind: "server", service: "shop", ..spec };
    let query = Spec { id: id + 2, parent: id + 1, kind: "client", ms: 2, ..server };
    [beacon_attempt(span(spec), number), span(server), span(Spec { status: 200, ..query })]
}

/// The sends of a world by their ids: `-` where one was for nothing, else `+`.
fn wasted(world: Vec<Arrival>) -> String {
    let standing = join(&world, 1);
    let sends = standing.spans.into_values().filter(|row| row.is_send);
    let mut words: Vec<String> = sends
        .map(|row| format!("{}{}", row.span_id.0[7], if row.wasted { "-" } else { "+" }))
        .collect();
    words.sort();
    words.join(" ")
}

#[test]
fn failures_and_hedges_that_lost() {
    // A failure and all its work; then what succeeded, and its work.
    let world = arrivals([page(1, 0, 10, 503), page(2, 100, 10, 200)].concat());
    assert_eq!(wasted(world), "10- 12- 20+ 22+");
    // A hedge that lost, although it was answered.
    let mut hedge = page(2, 5, 50, 200);
    hedge[0].hints.beacon_attempt_kind = Some(Label::new("hedge"));
    let world = arrivals([page(1, 0, 20, 200), hedge].concat());
    assert_eq!(wasted(world), "10+ 12+ 20- 22-");
}

#[test]
fn whoever_waited_was_gone() {
    // The server's success is waste, and what it asked for.
    let [_, server, query] = page(1, 0, 5_000, 200);
    let mut world = arrivals([server, query]);
    let mut abandon = sighting("behavior.abandon", 2, 1, 10, 700, 700);
    abandon.hints.previous_attempts = Some(0);
    world.push(Arrival::Event(Box::new(abandon)));
    assert_eq!(wasted(world), "11- 12-");
}

#[test]
fn a_caller_that_aborted_uses_no_answer() {
    for (aborted_ms, error) in [(200, "abort"), (200, "AbortError"), (4_000, "abort")] {
        let [_, server, query] = page(1, 0, 5_000, 200);
        let [mut client, ..] = page(1, 0, aborted_ms, 0);
        client.row.error_type = Some(Label::new(error));
        assert_eq!(wasted(arrivals([client, server, query])), "10- 12-", "{aborted_ms} {error}");
    }
}

#[test]
fn a_server_that_was_hung_up_on_answers_nobody() {
    let server = |status, hung_up| {
        let [_, mut server, query] = page(1, 0, 5_000, status);
        server.row.parent_span_id = None;
        (server.hints.hung_up, server.hints.browser_made) = (hung_up, true);
        wasted(arrivals([server, query]))
    };
    assert_eq!(server(499, true), "11- 12-");
    assert_eq!(server(200, true), "11- 12-");
    assert_eq!(server(200, false), "11+ 12+");
    // Where the caller tells of its answer, its word holds.
    let [client, mut server, query] = page(1, 0, 10, 200);
    server.hints.hung_up = true;
    assert_eq!(wasted(arrivals([client, server, query])), "10+ 12+");
}

#[test]
fn a_page_that_fell_silent_uses_no_answer() {
    let world = |more: Vec<Arrival>| {
        let [_, server, query] = page(1, 0, 5_000, 200);
        let mut world = arrivals([server, query]);
        let mut pending = sighting("behavior.pending", 1, 1, 10, 3_000, 3_000);
        pending.hints.previous_attempts = Some(0);
        world.push(Arrival::Event(Box::new(pending)));
        world.extend(more);
        wasted(world)
    };
    assert_eq!(world(vec![]), "11- 12-");
    // One that was hidden may only be frozen, and its user still waits.
    let mut hidden = event("behavior.visibility", "p1", 2, 0, 0, 3_500);
    hidden.hints.hidden = Some(true);
    assert_eq!(world(vec![Arrival::Event(Box::new(hidden))]), "11+ 12+");
}
