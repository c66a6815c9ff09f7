//! What nobody told: requests that reached no server, whose browser is missing, that were left.

use super::world::{
    Arrival, FETCH, Spec, Standing, arrivals, beacon_attempt, event, join, received, span, span_id,
    trace_id,
};
use crate::join::{Change, Config, Join};
use crate::schema::{Event, Label, SessionId, Span};

pub(super) const SPAN: Spec<'static> = Spec { target: "http://shop.example/x", ..FETCH };

/// An event about the attempt `id` of `trace` to the usual place, as long as it has waited.
pub(super) fn sighting(
    name: &str,
    sequence: i64,
    trace: u8,
    id: u64,
    waited_ms: i64,
    at_ms: i64,
) -> Event {
    let mut event = event(name, "p1", sequence, trace, id, at_ms);
    event.hints.waited_us = Some(waited_ms * 1_000);
    event.hints.method = Some(Label::new("GET"));
    event.hints.target = Some(String::from(SPAN.target));
    event.hints.callee = Some(Label::new("shop.example"));
    event
}

fn asking_host(spec: Spec<'_>) -> Span {
    let mut span = span(spec);
    span.hints.callee = Some(Label::new("shop.example"));
    span
}

#[test]
fn an_unannotated_request_whose_last_attempt_was_abandoned_is_one() {
    for trace in [1, 2] {
        let first = asking_host(Spec { status: 503, ..SPAN });
        let mut world = arrivals([first]);
        let abandon = sighting("behavior.abandon", 4, trace, 2, 500, 700);
        world.push(Arrival::Event(Box::new(abandon)));
        for batch in [1, 9] {
            let standing = join(&world, batch);
            let request = &standing.requests[&trace_id(1).to_string()];
            assert_eq!(standing.requests.len(), 1, "in trace {trace}");
            assert_eq!((request.attempts, request.outcome.as_str()), (2, "abandoned"));
            world.reverse();
        }
    }
}

/// A browser's call, with the shop's span below it where `route` says what the shop calls it.
fn call(number: u8, host: &str, asked: &str, served: Option<(&'static str, &str)>) -> Vec<Span> {
    let spec = Spec { trace: number, id: u64::from(number) * 10, ..SPAN };
    let mut client = beacon_attempt(span(spec), 1);
    client.hints.callee = Some(Label::new(host));
    client.row.route = Label::new(asked);
    let server = served.map(|(service, route)| {
        let spec = Spec { id: spec.id + 1, parent: spec.id, kind: "server", service, ..spec };
        let mut server = span(spec);
        server.row.route = Label::new(route);
        server
    });
    std::iter::once(client).chain(server).collect()
}

/// Callee and route of the calls that nobody answered, by trace.
fn unanswered(standing: &Standing, numbers: &[u8]) -> Vec<(String, String)> {
    let row = |number: &u8| {
        let row = standing.spans.values().find(|row| row.trace_id == trace_id(*number));
        let row = row.expect("a span");
        let request = &standing.requests[&trace_id(*number).to_string()];
        assert_eq!(request.callee, row.callee);
        (row.callee.to_string(), row.route.to_string())
    };
    numbers.iter().map(row).collect()
}

#[test]
fn a_host_stands_for_its_service_until_it_is_known() {
    let of = |name: &str, route: &str| (String::from(name), String::from(route));
    let seen = [
        call(1, "shop.example", "/x/{id}", Some(("shop", "/x/:id"))),
        call(2, "shop.example", "/y", Some(("shop", "/y"))),
        call(3, "mixed.example", "/x", Some(("left", "/x"))),
        call(4, "mixed.example", "/y", Some(("right", "/y"))),
    ];
    let vain = [
        call(5, "shop.example", "/x/{id}", None),
        call(6, "shop.example", "/z", None),
        call(7, "mixed.example", "/y", None),
        call(8, "mixed.example", "/z", None),
        call(9, "other.example", "/x", None),
    ];
    let expected = [
        of("shop", "/x/:id"),
        of("shop", "/z"),
        of("right", "/y"),
        of("mixed.example", "/z"),
        of("other.example", "/x"),
    ];
    let mut world = arrivals(seen.into_iter().chain(vain).flatten());
    for batch in [1, 3, usize::MAX] {
        assert_eq!(unanswered(&join(&world, batch), &[5, 6, 7, 8, 9]), expected);
        world.reverse();
        assert_eq!(unanswered(&join(&world, batch), &[5, 6, 7, 8, 9]), expected);
        world.rotate_left(3);
    }
    let alone = arrivals(call(5, "shop.example", "/x", None));
    assert_eq!(unanswered(&join(&alone, 1), &[5]), [of("shop.example", "/x")]);
}

/// A server's span whose caller is not seen.
fn served(change: impl FnOnce(&mut Span)) -> Span {
    let mut server =
        span(Spec { id: 2, parent: 1, kind: "server", service: "shop", status: 499, ..SPAN });
    server.hints.hung_up = true;
    change(&mut server);
    server
}

#[test]
fn a_request_is_not_final_while_its_browser_may_still_come() {
    let mut own = Join::new(Config::default());
    let mut last = None;
    let mut at = |own: &mut Join, seconds: i64, spans: Vec<Span>| {
        own.push(received(seconds, spans, vec![]));
        for change in own.emit() {
            if let Change::Request(delta) = change {
                last = delta.new.map(|(_, row)| (row.layer.to_string(), row.outcome_final));
            }
        }
        last.clone()
    };
    let finals = |layer: &str, is_final| Some((String::from(layer), is_final));
    let orphan = served(|span| span.row.status_code = Some(200));
    assert_eq!(at(&mut own, 0, vec![orphan]), finals("service", false));
    assert_eq!(at(&mut own, 60, vec![]), finals("service", false));
    let client = beacon_attempt(span(SPAN), 1);
    assert_eq!(at(&mut own, 61, vec![client]), finals("browser", true));
    let mut other = Join::new(Config::default());
    let orphan = || served(|span| span.row.status_code = Some(200));
    assert_eq!(at(&mut other, 0, vec![orphan()]), finals("service", false));
    assert_eq!(at(&mut other, 121, vec![]), finals("service", true));
    let root = served(|span| span.row.parent_span_id = None);
    assert_eq!(at(&mut Join::new(Config::default()), 0, vec![root]), finals("service", true));
}

#[test]
fn what_gives_an_abandonment_away() {
    let said = |world: Vec<Arrival>| {
        let standing = join(&world, 1);
        assert_eq!(standing.requests.len(), 1);
        let row = standing.requests.into_values().next().expect("one");
        let word = |label: &Option<Label>| {
            label.as_ref().map_or(String::from("-"), |word| word.to_string())
        };
        let words = [word(&row.abandon_evidence), word(&row.abandon_trigger)];
        assert!(row.outcome_final || row.outcome == "pending", "{row:?}");
        assert!(row.outcome != "abandoned" || row.total_us.is_none());
        format!("{} {}", row.outcome, words.join(" "))
    };
    let in_session = |span: &mut Span| span.row.session_id = SessionId::new("s1");
    let pending = || Arrival::Event(Box::new(sighting("behavior.pending", 1, 1, 1, 3_000, 3_000)));
    let hidden = |word, sequence| {
        let mut event = event("behavior.visibility", "p1", sequence, 0, 0, 3_500);
        event.hints.hidden = Some(word);
        Arrival::Event(Box::new(event))
    };
    // The server's word alone, of a caller that is a browser's for sure.
    assert_eq!(said(arrivals([served(in_session)])), "abandoned inferred disconnect");
    let document = |span: &mut Span| {
        span.hints.browser_made = true;
        span.row.parent_span_id = None;
    };
    assert_eq!(said(arrivals([served(document)])), "abandoned inferred disconnect");
    assert_eq!(said(arrivals([served(|_| {})])), "failed - -");
    let untroubled = |span: &mut Span| {
        in_session(span);
        span.hints.hung_up = false;
    };
    assert_eq!(said(arrivals([served(untroubled)])), "failed - -");
    // What the browser says holds.
    let client = || beacon_attempt(span(Spec { status: 503, ..SPAN }), 1);
    assert_eq!(said(arrivals([served(in_session), client()])), "failed - -");
    let abandon = || Arrival::Event(Box::new(sighting("behavior.abandon", 2, 1, 1, 4_000, 4_000)));
    let mut world = arrivals([served(in_session)]);
    world.push(abandon());
    assert_eq!(said(world), "abandoned observed leave");
    // A page that fell silent; one that was hidden may only be frozen.
    assert_eq!(said(vec![pending()]), "abandoned inferred silence");
    assert_eq!(said(vec![pending(), hidden(true, 2)]), "pending - -");
    assert_eq!(
        said(vec![hidden(false, 3), pending(), hidden(true, 2)]),
        "abandoned inferred silence"
    );
    assert_eq!(said(vec![pending(), abandon()]), "abandoned observed leave");
}

#[test]
fn work_below_a_service_that_hung_up_is_no_users_doing() {
    // The caller's span is missing, but other work of its trace is here.
    let mut server = served(|span| span.row.session_id = SessionId::new("s1"));
    server.row.parent_span_id = Some(span_id(77));
    let root = span(Spec { id: 9, kind: "server", service: "gateway", ..SPAN });
    let standing = join(&arrivals([server, root]), 1);
    assert!(standing.requests.values().all(|row| row.outcome != "abandoned"));
}

#[test]
fn the_first_of_two_spans_of_one_id_holds() {
    let mut own = Join::new(Config::default());
    let mut push = |seconds: i64, span: Span| {
        own.push(received(seconds, vec![span], vec![]));
        own.emit();
        ["duplicate_span", "dedupe_conflict"].map(|name| own.counters().get(name).copied())
    };
    let first = || span(SPAN);
    let mut again = first();
    again.row.time_received = again.row.time_received.plus_us(5_000_000);
    again.row.time = again.row.time.plus_us(3);
    let other = span(Spec { status: 503, ..SPAN });
    assert_eq!(push(0, first()), [None, None]);
    assert_eq!(push(1, again), [Some(1), None]);
    assert_eq!(push(2, other), [Some(1), Some(1)]);
}

#[test]
fn a_drifting_clock_keeps_correlated_rows_in_order() {
    // A clock that is thirty days behind and loses 500 ppm, for four hours.
    let mut world = Vec::new();
    for number in 0..60_u8 {
        let true_ms = i64::from(number) * 240_000;
        let drift_ms = -30 * 86_400_000 - true_ms / 2_000;
        let spec = Spec { trace: number + 1, id: 10, start_ms: true_ms + drift_ms, ms: 90, ..SPAN };
        let server = Spec { id: 11, parent: 10, kind: "server", service: "shop", ..spec };
        world.push(beacon_attempt(span(spec), 1));
        world.push(span(Spec { start_ms: true_ms + 20, ms: 50, ..server }));
    }
    let spans: Vec<Span> = world.clone();
    let standing = join(&arrivals(world), 1);
    let session = &standing.sessions["s1"];
    let (Some(offset), Some(error)) = (session.clock_offset_us, session.clock_error_us) else {
        panic!("bounded from both sides: {session:?}");
    };
    for pair in spans.chunks(2) {
        let (browser, server) = (&pair[0].row, &pair[1].row);
        let refined = browser.time_client.plus_us(offset);
        assert!(refined <= server.time, "no service stands before the request above it");
        let true_offset = server.time.plus_us(-20_000).us_since(browser.time_client);
        assert!((true_offset - offset).abs() <= error + 90_000, "{true_offset} {offset} {error}");
    }
}
