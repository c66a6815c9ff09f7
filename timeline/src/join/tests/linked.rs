//! Attempts in traces of their own, and what is counted of them.

use proptest::prelude::*;

use super::order::assert_order_is_nothing;
use super::world::{
    Arrival, FETCH, Spec, Standing, abandoned, arrivals, beacon_attempt, factors, join, received,
    span, span_id, trace_id,
};
use crate::join::{Change, Config, Join};
use crate::schema::{Label, SessionId, Span};

/// One request of these answers: the browser's spans, the shop's, and the database's under it.
/// What follows a redirect or a challenge says that it is a resend.
fn request(number: u8, of_their_own: bool, answers: &[i32]) -> Vec<Span> {
    let mut spans = Vec::new();
    for (at, status) in answers.iter().enumerate() {
        let trace = if of_their_own && at > 0 { number + 70 + at as u8 * 30 } else { number };
        let id = u64::from(number) * 100 + at as u64 * 10;
        // Requests come in pairs that overlap, so that inference has something to confuse.
        let pair = i64::from(number / 2) * 100_000 + i64::from(number % 2);
        let start_ms = pair + at as i64 * 1_000;
        let client = Spec { trace, id: id + 1, start_ms, status: *status, ..FETCH };
        let shop = Spec { id: id + 2, parent: id + 1, kind: "server", service: "shop", ..client };
        let query = Spec { id: id + 3, parent: id + 2, kind: "client", target: "db/x", ..shop };
        let (mut client, mut query) = (span(client), span(query));
        if at > 0 && matches!(answers[at - 1], 302 | 401) {
            client.hints.resend_count = Some(1);
        }
        query.hints.callee = Some(Label::new("db"));
        spans.extend([client, span(shop), query]);
    }
    spans
}

/// A hundred operations of which twenty are retried once and five twice, ten of them resent.
pub(super) fn hundred(of_their_own: bool, resends: bool) -> Vec<Arrival> {
    let answers = |number: u8| match number {
        0..20 => vec![503, 200],
        20..25 => vec![0, 503, 200],
        25..30 if resends => vec![302, 200],
        30..35 if resends => vec![401, 200],
        _ => vec![200],
    };
    arrivals((0..100).flat_map(|number| request(number, of_their_own, &answers(number))))
}

#[test]
fn a_hundred_operations_amplify_by_one_point_three() {
    for of_their_own in [false, true] {
        for resends in [false, true] {
            let world = hundred(of_their_own, resends);
            let twice = || world.iter().chain(&world).cloned().collect::<Vec<_>>();
            let mut mixed = twice();
            mixed.sort_by_key(|arrival| match arrival {
                Arrival::Span(span) => u64::from_be_bytes(span.row.span_id.0) * 7_919 % 1_009,
                Arrival::Event(_) => 0,
            });
            for (arrivals, batch) in [(world.clone(), 1), (twice(), 7), (mixed, 11)] {
                let name = format!("own traces: {of_their_own}, resends: {resends}, by {batch}");
                let standing = join(&arrivals, batch);
                assert_eq!(factors(&standing, "shop"), (130, 100, 100), "{name}");
                let session = &standing.sessions["s1"];
                assert_eq!((session.requests, session.attempts), (100, 130), "{name}");
                assert_eq!(standing.requests.len(), 100, "{name}");
                assert_eq!(standing.settled_requests.len(), 100, "{name}");
            }
        }
    }
}

#[test]
fn three_traces_are_one_request() {
    let standing = join(&arrivals(request(1, true, &[0, 503, 200])), 1);
    let request = &standing.requests[&trace_id(1).to_string()];
    assert_eq!((request.attempts, request.outcome.as_str()), (3, "ok"));
    assert_eq!((request.first_status, request.final_status), (Some(503), Some(200)));
    assert_eq!(request.total_us, Some(2_010_000));
    let kinds: Vec<&str> = request.attempt_list.iter().map(|item| item.kind.as_str()).collect();
    assert_eq!(kinds, ["first", "retry", "retry"]);
    // The shop and its database stand where they stood, of one logical call each.
    assert_eq!(factors(&standing, "shop"), (3, 1, 1));
    assert_eq!(factors(&standing, "db"), (3, 3, 1));
    assert!(standing.spans.values().all(|row| row.request_id == Some(trace_id(1))));
    let browser = standing.spans.values().filter(|row| row.kind == "client" && row.attempt > 1);
    assert!(browser.clone().all(|row| row.retry_evidence == "inferred"));
    assert_eq!(browser.count(), 2);
}

/// A job's call, outside of any request: each attempt is the root of its own trace, and says its count.
fn job(counted: &[(i32, Option<i32>)]) -> Standing {
    let attempts = counted.iter().enumerate().map(|(at, (status, count))| {
        let mut attempt = span(Spec {
            trace: 1 + at as u8,
            id: 1 + at as u64,
            parent: 0,
            kind: "client",
            service: "job",
            start_ms: at as i64 * 1_000,
            status: *status,
            ..FETCH
        });
        attempt.row.session_id = None;
        attempt.row.layer = Label::new("service");
        attempt.hints.resend_count = *count;
        attempt.hints.callee = Some(Label::new("stock"));
        attempt
    });
    join(&arrivals(attempts.collect::<Vec<_>>()), 1)
}

#[test]
fn three_traces_of_a_service_are_one_call_by_its_count() {
    let of = |counted: &[(i32, Option<i32>)]| factors(&job(counted), "stock");
    let [first, second, third] = [(500, None), (500, Some(1)), (200, Some(2))];
    assert_eq!(of(&[first, second, third]), (3, 1, 1));
    // A challenge is answered by a resend.
    assert_eq!(of(&[(401, None), (200, Some(1))]), (1, 1, 1));
    let challenged = job(&[(401, None), (503, Some(1)), (200, Some(2))]);
    let numbers: Vec<i32> = challenged.spans.values().map(|row| row.attempt).collect();
    assert_eq!((factors(&challenged, "stock"), numbers), ((2, 1, 1), vec![1, 0, 2]));
    // Workers ask for the same thing at the same time: nothing follows without saying so.
    assert_eq!(of(&[first, (500, None), (200, None)]), (3, 3, 3));
    assert_eq!(of(&[first, first, second, second, third, third]), (6, 2, 2));
    // An attempt that was not seen leaves its call without a beginning, and nothing takes its place.
    assert_eq!(of(&[first, third]).0, 2);
    assert_eq!(job(&[first, third]).spans.values().map(|row| row.attempt).max(), Some(3));
}

fn pair(first: Spec<'static>, second: Spec<'static>, change: impl Fn(&mut Span, u8)) -> Standing {
    let (mut one, mut other) = (span(first), span(Spec { trace: 2, id: 2, ..second }));
    change(&mut one, 1);
    change(&mut other, 2);
    join(&arrivals(vec![other, one]), 1)
}

#[test]
fn what_links_two_traces_and_what_does_not() {
    let failed = Spec { status: 503, ..FETCH };
    let later = Spec { start_ms: 1_000, ..FETCH };
    let check = |first, second, change: &dyn Fn(&mut Span, u8), requests: usize| {
        assert_eq!(pair(first, second, change).requests.len(), requests);
    };
    check(failed, later, &|_, _| {}, 1);
    check(Spec { status: 0, ..FETCH }, later, &|_, _| {}, 1);
    check(Spec { status: 429, ..FETCH }, later, &|_, _| {}, 1);
    check(Spec { status: 404, ..FETCH }, later, &|_, _| {}, 2);
    check(FETCH, later, &|_, _| {}, 2);
    check(failed, Spec { start_ms: 5, ..FETCH }, &|_, _| {}, 2);
    check(failed, Spec { start_ms: 60_010, ..FETCH }, &|_, _| {}, 1);
    check(failed, Spec { start_ms: 60_011, ..FETCH }, &|_, _| {}, 2);
    check(failed, Spec { target: "http://shop/y", ..later }, &|_, _| {}, 2);
    let others = |span: &mut Span, at: u8| {
        span.row.session_id = SessionId::new(&format!("s{at}"));
    };
    check(failed, later, &others, 2);
    let ours = |span: &mut Span, _| span.hints.beacon_previous_attempts = Some(0);
    check(failed, later, &ours, 2);
    let keys = |span: &mut Span, at: u8| span.hints.idempotency_key = Some(format!("k{at}"));
    check(failed, later, &keys, 2);
}

/// An attempt of our beacon in the trace that another SDK has named for it.
fn adopted(trace: u8, number: i32, spec: Spec<'_>) -> Span {
    let mut told = beacon_attempt(span(Spec { trace, id: u64::from(trace), ..spec }), number);
    told.hints.intent_id = Some(trace_id(1));
    told
}

#[test]
fn attempts_that_the_beacon_numbers_are_linked_by_number() {
    let at = |trace: u8, number, start_ms, status| {
        adopted(trace, number, Spec { start_ms, status, ..FETCH })
    };
    let attempts = |spans: Vec<Span>| {
        let standing = join(&arrivals(spans), 1);
        let mut attempts: Vec<i32> = standing.requests.values().map(|row| row.attempts).collect();
        attempts.sort_unstable();
        attempts
    };
    let three = || vec![at(1, 1, 0, 503), at(2, 2, 1_000, 503), at(3, 3, 200_000, 200)];
    let standing = join(&arrivals(three()), 1);
    let request = &standing.requests[&trace_id(1).to_string()];
    assert_eq!((request.attempts, request.outcome.as_str()), (3, "ok"));
    assert_eq!((request.intent_id, request.repeat), (trace_id(1), 0));
    assert!(standing.spans.values().all(|row| row.request_id == Some(trace_id(1))));
    // Whatever came of the attempt before, and whenever it was: the beacon's word holds.
    assert_eq!(attempts(vec![at(1, 1, 0, 200), at(2, 2, 1_000, 200)]), [2]);
    assert_eq!(attempts(three().into_iter().rev().collect()), [3]);
    // The user's repetition is a request of its own, whose attempts are numbered anew.
    let repeated =
        [(4, 1, 300_000, 503), (5, 2, 301_000, 200)].map(|(trace, number, ms, status)| {
            let mut told = at(trace, number, ms, status);
            told.hints.repeat = 1;
            told
        });
    assert_eq!(attempts(three().into_iter().chain(repeated).collect()), [2, 3]);
    // Of two requests that a page began in one trace, each is followed by its own.
    let other = |trace: u8, number, start_ms, status| {
        adopted(trace, number, Spec { start_ms, status, target: "http://shop/y", ..FETCH })
    };
    let mut second = other(1, 1, 5, 503);
    second.row.span_id = span_id(77);
    let world = vec![at(1, 1, 0, 503), second, at(2, 2, 1_000, 200), other(3, 2, 1_001, 200)];
    assert_eq!(attempts(world), [2, 2]);
    // A later one whose predecessor is missing stands for its call.
    assert_eq!(attempts(vec![at(1, 1, 0, 503), at(3, 3, 2_000, 200)]), [1, 1]);
}

#[test]
fn an_adopted_attempt_whose_page_was_left_is_one_of_its_request() {
    let mut abandon = abandoned(2, 2, 1_500, 500, 1);
    abandon.hints.intent_id = Some(trace_id(1));
    let first = adopted(1, 1, Spec { status: 503, ..FETCH });
    let mut world = arrivals(vec![first]);
    world.push(Arrival::Event(Box::new(abandon)));
    for _ in 0..2 {
        let standing = join(&world, 1);
        let rows: Vec<_> =
            standing.requests.values().map(|row| (row.attempts, row.outcome.as_str())).collect();
        assert_eq!(rows, [(2, "abandoned")]);
        world.reverse();
    }
}

#[test]
fn service_roots_are_linked_by_their_idempotency_key_alone() {
    let server = Spec { kind: "server", service: "shop", status: 503, ..FETCH };
    let later = Spec { start_ms: 1_000, status: 200, ..server };
    assert_eq!(pair(server, later, |_, _| {}).requests.len(), 2);
    let key = |span: &mut Span, _| span.hints.idempotency_key = Some(String::from("k"));
    let standing = pair(server, later, key);
    assert_eq!(factors(&standing, "shop"), (2, 1, 1));
    let request = &standing.requests[&trace_id(1).to_string()];
    assert_eq!((request.attempts, request.outcome.as_str()), (2, "ok"));
    assert_eq!(
        standing.spans.values().filter(|r| r.retry_evidence == "idempotency_key").count(),
        1
    );
}

/// Browser spans of few traces and targets, close in time: many links, many ways to confuse them.
fn many_traces() -> impl Strategy<Value = Vec<Arrival>> {
    let statuses = prop::sample::select(vec![0, 200, 401, 503]);
    let one = (1_u8..9, 0_usize..3, 0_i64..900, 1_i64..60, statuses, 0_u8..12);
    prop::collection::vec(one, 2..16).prop_map(|specs| {
        let spans = specs.into_iter().enumerate().map(|(at, spec)| {
            let (trace, what, start_ms, ms, status, hint) = spec;
            let target = ["http://t/x", "http://t/y", "http://t/x"][what];
            let (kind, service) = if hint < 10 { ("client", "web") } else { ("server", "a") };
            let id = at as u64 + 1;
            let mut span =
                span(Spec { trace, id, kind, service, target, start_ms, ms, status, ..FETCH });
            span.hints.idempotency_key = (hint % 5 == 0).then(|| format!("k{}", hint % 2));
            span.hints.resend_count = (hint == 7).then_some(1);
            span.hints.beacon_previous_attempts = (hint == 8).then_some(0);
            if hint == 9 {
                // Our beacon's, numbered within the request that it names.
                span.hints.beacon_previous_attempts = Some(at as i32 % 3);
                span.hints.intent_id = Some(trace_id(1 + at as u8 % 2));
                span.hints.repeat = at as i32 / 8;
            }
            span
        });
        arrivals(spans)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn links_do_not_depend_on_order_batching_or_repetition(
        world in many_traces(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 16),
        batch in 1_usize..5,
    ) {
        assert_order_is_nothing(&world, &order, batch)?;
    }
}

/// For each span, each in a trace of its own, the one whose next attempt it is: of the failures that
/// nobody has answered yet, the one that has waited longest.
fn naive_links(spans: &[Span]) -> Vec<Option<usize>> {
    let end = |at: usize| spans[at].row.time_client.plus_us(spans[at].row.duration_us).0;
    let mut links: Vec<Option<usize>> = Vec::new();
    for (at, span) in spans.iter().enumerate() {
        let fits = |before: &usize| {
            let row = &spans[*before].row;
            let gap = span.row.time_client.0 - end(*before);
            row.status_code.is_none_or(|code| code == 429 || code >= 500)
                && row.name == span.row.name
                && (0..=60_000_000_000).contains(&gap)
                && !links.contains(&Some(*before))
        };
        let found = (0..at).filter(fits).min_by_key(|before| end(*before));
        links.push(found);
    }
    links
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn links_agree_with_the_naive_rule(
        specs in prop::collection::vec(
            (0_i64..120_000, 1_i64..9_000, 0_usize..2, prop::sample::select(vec![0, 200, 404, 429, 503])),
            1..14,
        ),
    ) {
        let mut specs = specs;
        specs.sort_by_key(|(start_ms, ..)| *start_ms);
        let spans: Vec<Span> = specs.iter().enumerate().map(|(at, (start_ms, ms, what, status))| {
            let target = ["http://t/x", "http://t/y"][*what];
            let (trace, id) = (at as u8 + 1, at as u64 + 1);
            span(Spec { trace, id, target, start_ms: *start_ms, ms: *ms, status: *status, ..FETCH })
        }).collect();
        let standing = join(&arrivals(spans.clone()), 4);
        let links = naive_links(&spans);
        prop_assert_eq!(standing.requests.len(), links.iter().filter(|link| link.is_none()).count());
        for (at, span) in spans.iter().enumerate() {
            let way: Vec<usize> = std::iter::successors(Some(at), |at| links[*at]).collect();
            let first = &spans[*way.last().expect("itself")].row;
            let name = format!("{} {} client", span.row.trace_id, span.row.span_id);
            let row = &standing.spans[&name];
            prop_assert_eq!(row.attempt, way.len() as i32);
            prop_assert_eq!((row.original, row.request_id), (Some(first.span_id), Some(first.trace_id)));
        }
    }
}

#[test]
fn a_retry_that_comes_after_its_first_attempt_was_counted() {
    let mut own = Join::new(Config::default());
    let (mut sends, mut requests, mut rows) = (0, 0, 0);
    let mut push = |own: &mut Join, seconds: i64, spans: Vec<Span>| {
        own.push(received(seconds, spans, vec![]));
        for change in own.emit() {
            match change {
                Change::SettledSend(_) => sends += 1,
                Change::SettledRequest(_) => requests += 1,
                Change::Request(delta) => {
                    rows += i32::from(delta.new.is_some()) - i32::from(delta.old.is_some());
                }
                _ => {}
            }
        }
        (sends, requests, rows)
    };
    let first = span(Spec { status: 503, ..FETCH });
    let retry = span(Spec { trace: 2, id: 2, start_ms: 40_000, ..FETCH });
    assert_eq!(push(&mut own, 0, vec![first]), (0, 0, 1));
    assert_eq!(push(&mut own, 30, vec![]), (1, 1, 1));
    // The first attempt stays open with its retry, and its request is not counted again.
    assert_eq!(push(&mut own, 50, vec![retry]), (1, 1, 1));
    assert_eq!(push(&mut own, 130, vec![]), (2, 1, 1));
    assert_eq!(own.open().0, 2);
    assert_eq!(push(&mut own, 171, vec![]), (2, 1, 1));
    assert_eq!(own.open().0, 0);
    assert_eq!(own.counters().get("changed_after_settling"), Some(&1));
}
