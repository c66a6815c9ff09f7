//! One fetch told by two scripts of the page, in every way that they can stand to each other.

use proptest::prelude::*;

use super::order::{assert_order_is_nothing, shuffled};
use super::world::{
    Arrival, FETCH, Spec, Standing, abandoned, arrivals, beacon_attempt, factors, foreign, join,
    span, trace_id,
};
use crate::schema::{Label, RequestRow, SessionId, Span};

/// A fetch of 40 ms, of which its server's 20 leave as much to the network.
const SPAN: Spec<'static> = Spec { ms: 40, ..FETCH };

/// How two scripts stand to each other in the page.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    /// The other SDK was loaded last: it sets the trace context, and our beacon adopts its trace,
    /// another one for each attempt. The first of them is the intent of all.
    Adopted,
    /// The same, and our beacon's span stands below the other.
    Below,
    /// The other SDK continues our beacon's trace below its span.
    Above,
    /// The other SDK was loaded first, and replaced our beacon's trace context by its own.
    Replaced,
    /// The other SDK sends no trace context.
    Ours,
    /// Neither has a server that is traced.
    Untraced,
    /// There is no other SDK.
    Alone,
    /// There is no beacon.
    Foreign,
}

const LAYOUTS: [Layout; 8] = [
    Layout::Adopted,
    Layout::Below,
    Layout::Above,
    Layout::Replaced,
    Layout::Ours,
    Layout::Untraced,
    Layout::Alone,
    Layout::Foreign,
];

/// One fetch of `number` with these answers, each attempt told as `layout` says, and its servers.
fn fetch(number: u8, layout: Layout, start_ms: i64, answers: &[i32]) -> Vec<Arrival> {
    let mut spans = Vec::new();
    for (at, status) in answers.iter().enumerate() {
        let id = u64::from(number) * 100 + at as u64 * 10 + 1;
        let start_ms = start_ms + at as i64 * 1_000;
        let own_trace = number * 8 + 1 + at as u8;
        // The other script ends later: it waits for the body.
        let ours = Spec { trace: number * 8, id, start_ms, status: *status, ..SPAN };
        let other = Spec { trace: own_trace, id: id + 1, start_ms: start_ms + 1, ms: 55, ..ours };
        let (ours, other) = match layout {
            Layout::Adopted => {
                let trace = if at == 0 { ours.trace } else { own_trace };
                (Some(Spec { trace, ..ours }), Some(Spec { trace, ..other }))
            }
            Layout::Below => {
                let trace = own_trace - at as u8;
                let other = Spec { trace, ..other };
                (Some(Spec { parent: other.id, trace, ..ours }), Some(other))
            }
            Layout::Above => {
                (Some(ours), Some(Spec { trace: ours.trace, parent: ours.id, ..other }))
            }
            Layout::Replaced | Layout::Ours | Layout::Untraced => (Some(ours), Some(other)),
            Layout::Alone => (Some(ours), None),
            Layout::Foreign => (None, Some(Spec { trace: own_trace - at as u8, ..other })),
        };
        spans.extend(ours.map(|ours| {
            let mut told = beacon_attempt(span(ours), at as i32 + 1);
            if layout == Layout::Adopted {
                told.hints.intent_id = Some(trace_id(number * 8));
            }
            told
        }));
        spans.extend(other.map(foreign));
        let parent = if layout == Layout::Ours { ours } else { other.or(ours) };
        if let Some(parent) = parent.filter(|_| layout != Layout::Untraced) {
            let server = Spec { id: id + 2, parent: parent.id, kind: "server", ..parent };
            spans.push(span(Spec { service: "shop", ms: 20, ..server }));
        }
    }
    arrivals(spans)
}

fn requests(standing: &Standing) -> Vec<(i32, &str, &str)> {
    let row = |row: &RequestRow| row.attempts;
    let all = standing.requests.values();
    all.map(|one| (row(one), one.outcome.as_str(), one.coverage.as_str())).collect()
}

#[test]
fn one_fetch_told_twice_is_one_attempt() {
    for layout in LAYOUTS {
        let standing = join(&fetch(1, layout, 0, &[200]), 1);
        let matched = if layout == Layout::Untraced { "not_received" } else { "matched" };
        assert_eq!(requests(&standing), [(1, "ok", matched)], "{layout:?}");
        let sends = standing.spans.values().filter(|row| row.is_send).count();
        assert_eq!(sends, 1, "{layout:?}");
        if layout == Layout::Untraced {
            continue;
        }
        assert_eq!(factors(&standing, "shop"), (1, 1, 1), "{layout:?}");
        let send = standing.spans.values().find(|row| row.is_send).expect("a send");
        let server = standing.spans.values().find(|row| row.kind == "server").expect("a server");
        assert_eq!(
            server.parent_span_id,
            Some(send.span_id),
            "{layout:?}: the named parent stands"
        );
        if layout == Layout::Foreign {
            continue;
        }
        assert_eq!(send.caller, "web", "{layout:?}");
        assert_eq!(standing.sessions["s1"].requests, 1, "{layout:?}");
        for row in standing.spans.values() {
            assert!(row.session_id.is_some() && row.region == "GB", "{layout:?}: {row:?}");
            assert_eq!(row.request_id, Some(trace_id(8 + u8::from(layout == Layout::Below))));
        }
        let request = standing.requests.values().next().expect("one");
        assert_eq!((request.service.as_str(), request.total_us), ("web", Some(40_000)));
        assert_eq!(request.network_us, Some(20_000));
    }
}

#[test]
fn attempts_told_twice_are_attempts_of_one_request() {
    for layout in LAYOUTS {
        if matches!(layout, Layout::Foreign | Layout::Below) {
            continue;
        }
        let standing = join(&fetch(1, layout, 0, &[503, 503, 200]), 1);
        let matched = if layout == Layout::Untraced { "not_received" } else { "matched" };
        assert_eq!(requests(&standing), [(3, "ok", matched)], "{layout:?}");
        if layout != Layout::Untraced {
            assert_eq!(factors(&standing, "shop"), (3, 1, 1), "{layout:?}");
        }
        let said = standing.spans.values().filter(|row| row.retry_evidence == "beacon").count();
        assert_eq!(said, 2, "{layout:?}: the beacon's word holds");
    }
}

#[test]
fn a_double_click_is_two_requests() {
    for layout in LAYOUTS {
        for apart_ms in [0, 3, 19] {
            let mut world = fetch(1, layout, 0, &[200]);
            world.extend(fetch(2, layout, apart_ms, &[200]));
            let standing = join(&world, 1);
            assert_eq!(requests(&standing).len(), 2, "{layout:?} {apart_ms}");
            if layout != Layout::Untraced {
                assert_eq!(factors(&standing, "shop"), (2, 2, 2), "{layout:?} {apart_ms}");
            }
        }
    }
    // Two server spans are two sends, whoever told of them.
    let mut world = fetch(1, Layout::Alone, 0, &[200]);
    world.extend(fetch(2, Layout::Foreign, 1, &[200]));
    assert_eq!(requests(&join(&world, 1)).len(), 2);
}

#[test]
fn what_tells_two_fetches_apart() {
    let told = |change: &dyn Fn(&mut Span)| {
        let ours = beacon_attempt(span(SPAN), 1);
        let mut other = foreign(Spec { trace: 2, id: 2, start_ms: 1, ..SPAN });
        change(&mut other);
        join(&arrivals([ours, other]), 1).spans.values().filter(|row| row.is_send).count()
    };
    let session = |name: &str| SessionId::new(name);
    assert_eq!(told(&|_| {}), 1);
    assert_eq!(told(&|span| span.row.session_id = session("s1")), 1);
    assert_eq!(told(&|span| span.row.session_id = session("s2")), 2);
    assert_eq!(told(&|span| span.row.status_code = None), 1);
    assert_eq!(told(&|span| span.row.status_code = Some(503)), 2);
    assert_eq!(told(&|span| span.row.method = Label::new("POST")), 2);
    assert_eq!(told(&|span| span.hints.target = Some(String::from("http://shop/y"))), 2);
    assert_eq!(told(&|span| span.row.time_client = span.row.time_client.plus_us(19_000)), 1);
    assert_eq!(told(&|span| span.row.time_client = span.row.time_client.plus_us(20_000)), 2);
    assert_eq!(told(&|span| span.row.layer = Label::new("service")), 2);
    assert_eq!(told(&|span| span.hints.beacon_previous_attempts = Some(0)), 2);
}

#[test]
fn an_abort_that_the_beacon_tells_as_an_event() {
    let mut abandon = abandoned(1, 1, 40, 40, 0);
    abandon.hints.abandon_trigger = Some(Label::new("abort"));
    for trace in [1, 2] {
        let other = Spec { trace, id: 2, start_ms: 1, status: 0, ..SPAN };
        let server = Spec { id: 3, parent: 2, kind: "server", service: "shop", ..other };
        let mut world = arrivals([foreign(other), span(server)]);
        world.push(Arrival::Event(Box::new(abandon.clone())));
        let standing = join(&world, 1);
        assert_eq!(requests(&standing), [(1, "abandoned", "matched")], "{trace}");
        assert_eq!(factors(&standing, "shop"), (1, 1, 1), "{trace}");
    }
}

#[test]
fn requests_of_one_adopted_trace_keep_their_attempts_apart() {
    // Another SDK's span began the trace of two requests that are sent again by turns.
    let attempt = |id: u64, target, start_ms, number: i32, status| {
        let spec = Spec { id, target, start_ms, status, ..SPAN };
        beacon_attempt(span(spec), number)
    };
    let world = arrivals([
        attempt(1, "http://shop/x", 0, 1, 503),
        attempt(2, "http://shop/y", 10, 1, 503),
        attempt(3, "http://shop/x", 100, 2, 503),
        attempt(4, "http://shop/y", 110, 2, 200),
        attempt(5, "http://shop/x", 200, 3, 200),
    ]);
    let standing = join(&world, 1);
    let mut attempts: Vec<i32> = standing.requests.values().map(|row| row.attempts).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [2, 3]);
}

fn worlds() -> impl Strategy<Value = Vec<(usize, i64, Vec<i32>)>> {
    let answers = prop::sample::select(vec![vec![200], vec![503, 200], vec![404]]);
    prop::collection::vec((0..LAYOUTS.len(), 0_i64..6, answers), 1..7)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_fetch_is_counted_once(
        fetches in worlds(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 40),
        batch in 1_usize..6,
    ) {
        // On one page every fetch is told in one way.
        let layout = LAYOUTS[fetches[0].0 % 6];
        let mut world = Vec::new();
        let mut attempts = 0;
        for (number, (_, gap, answers)) in fetches.iter().enumerate() {
            let layout = if layout == Layout::Below { Layout::Adopted } else { layout };
            let start_ms = number as i64 * 5_000 + gap * 7;
            world.extend(fetch(number as u8 + 1, layout, start_ms, answers));
            attempts += answers.len();
        }
        let expected = assert_order_is_nothing(&world, &order, batch)?;
        prop_assert_eq!(expected.requests.len(), fetches.len());
        let sends = expected.spans.values().filter(|row| row.is_send).count();
        prop_assert_eq!(sends, attempts);
    }

    #[test]
    fn the_partners_are_a_function_of_the_set(
        specs in prop::collection::vec((0_u8..12, any::<bool>(), 0_i64..120, 0_usize..3), 2..30),
        order in prop::collection::vec(any::<prop::sample::Index>(), 30),
        batch in 1_usize..6,
    ) {
        let spans = specs.iter().enumerate().map(|(at, (trace, ours, start_ms, session))| {
            let spec = Spec { trace: trace + 1, id: at as u64 + 1, start_ms: *start_ms, ..SPAN };
            let mut told = if *ours { beacon_attempt(span(spec), 1) } else { foreign(spec) };
            told.row.session_id = SessionId::new(["", "s1", "s2"][*session]);
            told
        });
        let world = arrivals(spans);
        let shuffled = shuffled(&world, &order);
        prop_assert!(join(&shuffled, batch) == join(&world, usize::MAX), "the order mattered");
    }
}
