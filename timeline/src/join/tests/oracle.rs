//! The definitions once more, naively: every send against every other, from the complete list.
//!
//! It shares no code with the join, takes no hint but the target, and is quadratic or worse, so it
//! is only asked about small worlds whose spans form trees.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::world::{Spec, arrivals, join, span};
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

/// What was sent again for a caller below its one span, earliest first: callees beside the first one
/// that were asked for the same thing, each because the one before had failed.
fn again<'a>(all: &'a [Span], caller: &Span) -> Vec<&'a Span> {
    let mut callees: Vec<&Span> =
        all.iter().filter(|one| serves(one) && above(all, one) == Some(caller)).collect();
    callees.sort_by_key(|one| (one.row.time_client, one.row.span_id));
    let mut made: Vec<&Span> = callees.iter().take(1).copied().collect();
    for one in callees.into_iter().skip(1) {
        if made.last().is_some_and(|last| key(last) == key(one) && continues(last, one)) {
            made.push(one);
        }
    }
    let caller_sends = caller.row.kind == "client" && is_send(all, caller);
    made.into_iter().skip(1).filter(|_| caller_sends).collect()
}

/// The send that a caller knows of: itself, or the one that this was sent again for.
fn known<'a>(all: &'a [Span], send: &'a Span) -> &'a Span {
    let caller = above(all, send).filter(|caller| again(all, caller).contains(&send));
    caller.unwrap_or(send)
}

/// The sends that the same execution makes for the same thing, earliest first.
fn siblings<'a>(all: &'a [Span], send: &Span) -> Vec<&'a Span> {
    let alike = |other: &&Span| {
        is_send(all, other)
            && known(all, other) == *other
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
    let known = known(all, send);
    let (mut number, mut ordinal, mut before) = (0, 0, None);
    for one in siblings(all, known) {
        let goes_on = before.is_some_and(|before| continues(before, one));
        ordinal += usize::from(before.is_some() && !goes_on);
        number = if goes_on { number + 1 } else { 1 };
        before = Some(one);
        let again = again(all, one);
        if one == known {
            let at = again.iter().position(|one| *one == send);
            number += at.map_or(0, |at| at as i32 + 1);
            break;
        }
        number += again.len() as i32;
    }
    (number, ordinal)
}

/// Two sends are one logical call when everything on the way to them is alike.
fn call(all: &[Span], send: &Span) -> String {
    let known = known(all, send);
    let caller = context(all, known).map(|up| call(all, send_of(all, up)));
    format!("{} {caller:?} {:?} {}", send.row.trace_id, key(known), place(all, known).1)
}

/// The sends of a logical call that callers know of.
fn of_call<'a>(all: &'a [Span], call: &str) -> Vec<&'a Span> {
    let alike = |other: &&Span| {
        is_send(all, other) && known(all, other) == *other && self::call(all, other) == call
    };
    all.iter().filter(alike).collect()
}

fn original<'a>(all: &'a [Span], send: &Span) -> &'a Span {
    let alike = of_call(all, &call(all, send)).into_iter();
    alike.min_by_key(|one| (one.row.time_client, one.row.span_id)).expect("itself")
}

/// What the user came to know of a request whose first send this is: attempts and outcome.
fn request(all: &[Span], first: &Span) -> Option<(usize, &'static str)> {
    let browser = |span: &Span| span.row.layer == "browser" && span.row.kind == "client";
    let any_browser = all.iter().any(|span| same(span, first) && span.row.layer == "browser");
    let alone = first.row.parent_span_id.is_none() || !any_browser;
    let root = serves(first) && above(all, first).is_none() && alone;
    let attempts = of_call(all, &call(all, first));
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
        let standing = join(&arrivals(spans.iter().cloned()), 3);
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
