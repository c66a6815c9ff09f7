//! The definitions once more, naively: every send against every other, from the complete list.
//!
//! It shares no code with the join, takes no hint but the target, and is quadratic or worse, so it
//! is only asked about small worlds whose spans form trees.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::world::{Arrival, Spec, join, span};
use crate::schema::{SessionId, Span};

const HTTP: [i32; 4] = [0, 200, 404, 503];

fn serves(span: &Span) -> bool {
    span.row.kind == "server"
}

fn end(span: &Span) -> i64 {
    span.row.time_client.plus_us(span.row.duration_us).0
}

fn above<'a>(all: &'a [Span], span: &Span) -> Option<&'a Span> {
    let parent = span.row.parent_span_id?;
    all.iter().find(|other| (other.row.trace_id, other.row.span_id) == (span.row.trace_id, parent))
}

fn path<'a>(all: &'a [Span], span: &Span) -> Vec<&'a Span> {
    std::iter::successors(above(all, span), |at| above(all, at)).collect()
}

/// A span that stands for a send: a caller that wraps no caller of its own service, or a callee
/// that is not the first one under such a caller.
fn is_send(all: &[Span], span: &Span) -> bool {
    let wraps = all.iter().any(|inner| {
        let between = path(all, inner);
        let at = between.iter().position(|up| up.row.span_id == span.row.span_id && same(up, span));
        let own = |up: &&&Span| !serves(up) && up.row.service == span.row.service;
        inner.row.kind == "client"
            && at.is_some_and(|at| between[..at].iter().chain(&[inner]).all(|up| own(&up)))
    });
    match span.row.kind.as_str() {
        "client" => !wraps,
        "server" => above(all, span).is_none_or(|up| {
            let first = all.iter().filter(|one| serves(one) && above(all, one) == Some(up));
            let first = first.min_by_key(|one| (one.row.time_client, one.row.span_id));
            up.row.kind != "client" || !is_send(all, up) || first != Some(span)
        }),
        _ => false,
    }
}

fn same(one: &Span, other: &Span) -> bool {
    one.row.trace_id == other.row.trace_id
}

/// The execution in which a span happens: the nearest callee above it.
fn context<'a>(all: &'a [Span], span: &Span) -> Option<&'a Span> {
    path(all, span).into_iter().find(|up| serves(up))
}

/// The send whose execution this callee is: its caller's where that is a send, else its own.
fn send_of<'a>(all: &'a [Span], callee: &'a Span) -> &'a Span {
    if is_send(all, callee) { callee } else { above(all, callee).expect("it has a caller") }
}

fn key(span: &Span) -> (String, String) {
    let callee = if serves(span) { span.row.service.as_str() } else { "" };
    let target = span.hints.target.clone();
    (String::from(callee), target.unwrap_or_else(|| span.row.name.to_string()))
}

/// The sends that the same execution makes for the same thing, earliest first.
fn siblings<'a>(all: &'a [Span], send: &Span) -> Vec<&'a Span> {
    let alike = |other: &&Span| {
        is_send(all, other)
            && same(other, send)
            && context(all, other) == context(all, send)
            && key(other) == key(send)
    };
    let mut alike: Vec<&Span> = all.iter().filter(alike).collect();
    alike.sort_by_key(|other| (other.row.time_client, other.row.span_id));
    alike
}

fn continues(before: &Span, send: &Span) -> bool {
    let (ended, row) = (end(before), &before.row);
    let failed = row.status_code.map_or(row.error_type.is_some(), |code| code >= 500);
    match ended <= send.row.time_client.0 {
        true => failed && send.row.time_client.0 - ended <= 60_000_000_000,
        false => send.hints.target.is_some(),
    }
}

/// The attempt's number, and the ordinal of its call among the calls of its execution and key.
fn place(all: &[Span], send: &Span) -> (i32, usize) {
    let (mut number, mut ordinal, mut before) = (0, 0, None);
    for one in siblings(all, send) {
        let goes_on = before.is_some_and(|before| continues(before, one));
        ordinal += usize::from(before.is_some() && !goes_on);
        number = if goes_on { number + 1 } else { 1 };
        before = Some(one);
        if one == send {
            break;
        }
    }
    (number, ordinal)
}

/// Two sends are one logical call when everything on the way to them is alike.
fn call(all: &[Span], send: &Span) -> String {
    let caller = context(all, send).map(|up| call(all, send_of(all, up)));
    format!("{} {caller:?} {:?} {}", send.row.trace_id, key(send), place(all, send).1)
}

fn original<'a>(all: &'a [Span], send: &Span) -> &'a Span {
    let own = call(all, send);
    let alike = all.iter().filter(|other| is_send(all, other) && call(all, other) == own);
    alike.min_by_key(|one| (one.row.time_client, one.row.span_id)).expect("itself")
}

/// What the user came to know of a request whose first send this is: attempts and outcome.
fn request(all: &[Span], first: &Span) -> Option<(usize, &'static str)> {
    let browser = |span: &Span| span.row.layer == "browser" && span.row.kind == "client";
    let any_browser = all.iter().any(|span| same(span, first) && span.row.layer == "browser");
    let alone = first.row.parent_span_id.is_none() || !any_browser;
    let root = serves(first) && above(all, first).is_none() && alone;
    let own = call(all, first);
    let attempts: Vec<&Span> =
        all.iter().filter(|one| is_send(all, one) && call(all, one) == own).collect();
    let begins = browser(first) || root;
    let ok =
        |one: &&Span| one.row.status_code.map_or(one.row.layer != "browser", |code| code < 400);
    let outcome = if attempts.iter().any(ok) { "ok" } else { "failed" };
    begins.then_some((attempts.len(), outcome))
}

/// A random small forest: a parent comes before its children, and may be missing.
fn forest() -> impl Strategy<Value = Vec<Span>> {
    let one = (
        (1_u8..3, 0_u64..6, 0_usize..8, 0_usize..3, 0_usize..2),
        (0_i64..400, 1_i64..90, 0_usize..4),
    );
    prop::collection::vec(one, 1..14).prop_map(|specs| {
        let spans = specs.into_iter().enumerate().map(|(at, (shape, (start_ms, ms, status)))| {
            let (trace, up, kind, service, target) = shape;
            let kind =
                ["client", "client", "client", "server", "server", "server", "internal", "client"]
                    [kind];
            let service =
                ["web", "a", "b"][if kind == "server" { service.max(1) } else { service }];
            let id = at as u64 + 1;
            let (parent, target) = (id.saturating_sub(up) % id, ["http://t/x", "topic"][target]);
            let status = HTTP[status];
            let mut span =
                span(Spec { trace, id, parent, kind, service, target, start_ms, ms, status });
            // Attempts in traces of their own have an oracle of their own, in `linked`.
            span.row.session_id = SessionId::new(&format!("s{trace}"));
            span.hints.target = span.hints.target.filter(|target| target.contains('/'));
            span
        });
        spans.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_join_agrees_with_the_definitions(spans in forest()) {
        let arrivals: Vec<Arrival> =
            spans.iter().map(|span| Arrival::Span(Box::new(span.clone()))).collect();
        let standing = join(&arrivals, 3);
        for span in &spans {
            let name = format!("{} {} {}", span.row.trace_id, span.row.span_id, span.row.kind);
            let row = &standing.spans[&name];
            prop_assert_eq!(row.is_send, is_send(&spans, span), "is {} a send", name);
            if row.is_send {
                prop_assert_eq!(row.attempt, place(&spans, span).0, "the attempt of {}", name);
                let first = original(&spans, span);
                prop_assert_eq!(row.original, Some(first.row.span_id), "original of {}", name);
            }
        }
        let truth = |span: &&Span| is_send(&spans, span) && original(&spans, span) == *span;
        let expected: BTreeMap<_, _> = spans.iter().filter(truth).filter_map(|first| {
            Some(((first.row.trace_id, first.row.span_id), request(&spans, first)?))
        }).collect();
        let found: BTreeMap<_, _> = standing.requests.values().map(|row| {
            let key = (row.trace_id, row.attempt_list[0].span_id);
            (key, (row.attempts as usize, row.outcome.as_str()))
        }).collect();
        prop_assert_eq!(found, expected);
    }
}
