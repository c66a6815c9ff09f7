//! Redirects and challenges: what answers them is neither a call nor an attempt.

use super::world::{Spec, Standing, arrivals, factors, join, span, span_id};
use crate::schema::Label;

/// A call of service `a` below its server span: its target, its status, and HTTP's own count.
type Call = (&'static str, i32, Option<i32>);

/// The calls one after another, with the span ids 10, 11, …; each asks the host that it names.
fn calls(calls: &[Call]) -> Standing {
    let base = Spec {
        trace: 1,
        id: 5,
        parent: 0,
        kind: "server",
        service: "a",
        target: "/a",
        start_ms: 0,
        ms: 5_000,
        status: 200,
    };
    let mut spans = vec![span(base)];
    for (at, call) in calls.iter().enumerate() {
        let (target, status, count) = *call;
        let spec = Spec {
            id: 10 + at as u64,
            parent: 5,
            kind: "client",
            target,
            start_ms: 100 * at as i64,
            ms: 10,
            status,
            ..base
        };
        let mut client = span(spec);
        client.hints.callee = target.split('/').nth(2).map(Label::new);
        client.hints.resend_count = count;
        spans.push(client);
    }
    join(&arrivals(spans), 1)
}

/// Number, kind and evidence of each call, in order.
fn attempts(standing: &Standing) -> Vec<String> {
    let mut rows: Vec<_> = standing.spans.values().filter(|row| row.kind == "client").collect();
    rows.sort_by_key(|row| row.span_id);
    let said = |row: &&crate::schema::SpanRow| {
        format!("{} {} {}", row.attempt, row.attempt_kind, row.retry_evidence)
    };
    rows.iter().map(said).collect()
}

#[test]
fn redirects_and_challenges_are_resends() {
    for (status, second) in [(302, "http://b/2"), (302, "http://b/1"), (401, "http://b/1")] {
        let standing = calls(&[("http://b/1", status, None), (second, 200, Some(1))]);
        assert_eq!(factors(&standing, "b"), (1, 1, 1), "{status} {second}");
    }
    // Another request does not answer a challenge.
    let standing = calls(&[("http://b/1", 401, None), ("http://b/2", 200, Some(1))]);
    assert_eq!(factors(&standing, "b").0, 2);
}

/// Many clients renew a token and send again without a count.
#[test]
fn what_answers_a_challenge_need_not_be_counted() {
    let b = "http://b/1";
    let standing = calls(&[(b, 401, None), ("http://c/token", 200, None), (b, 200, None)]);
    assert_eq!(factors(&standing, "b"), (1, 1, 1));
    assert_eq!(attempts(&standing)[2], "0 resend none");
    // It may fail, and is retried then.
    let standing = calls(&[(b, 401, None), (b, 503, None), (b, 200, None)]);
    assert_eq!(attempts(&standing), ["1 first none", "0 resend none", "2 retry inferred"]);
    // Who thinks for a minute asks anew: each call between them stands for a tenth of a second.
    let mut later = vec![(b, 401, None)];
    later.extend([("http://c/think", 200, None); 601]);
    later.push((b, 200, None));
    assert_eq!(factors(&calls(&later), "b").0, 2);
    // Who is challenged again has not answered, who asks for something else neither, and what was
    // redirected may be asked again for its own sake.
    for (first, second) in [
        ((b, 401, None), (b, 401, None)),
        ((b, 401, None), ("http://b/2", 200, None)),
        ((b, 302, None), (b, 200, None)),
    ] {
        assert_eq!(factors(&calls(&[first, second]), "b").0, 2, "{first:?} {second:?}");
    }
}

#[test]
fn another_call_in_between_changes_nothing() {
    for status in [401, 407, 302] {
        let world =
            [("http://b/1", status, None), ("http://c/1", 200, None), ("http://b/1", 200, Some(1))];
        let standing = calls(&world);
        assert_eq!(factors(&standing, "b"), (1, 1, 1), "{status}");
        assert_eq!(factors(&standing, "c"), (1, 1, 1), "{status}");
        assert_eq!(attempts(&standing)[2], "0 resend none");
    }
}

#[test]
fn a_retry_after_a_failure_is_no_answer_to_somebody_elses_redirect() {
    let world =
        [("http://c/1", 302, None), ("http://b/1", 503, None), ("http://b/1", 200, Some(1))];
    let standing = calls(&world);
    assert_eq!(factors(&standing, "b"), (2, 1, 1));
    assert_eq!(attempts(&standing)[2], "2 retry resend_count");
}

#[test]
fn resends_do_not_count_in_the_numbers_of_later_attempts() {
    let b = "http://b/1";
    let standing = calls(&[(b, 401, None), (b, 503, Some(1)), (b, 200, Some(2))]);
    assert_eq!(factors(&standing, "b"), (2, 1, 1));
    let expected = ["1 first none", "0 resend none", "2 retry resend_count"];
    assert_eq!(attempts(&standing), expected);
    let answers = [(b, 503, None), (b, 401, Some(1)), (b, 503, Some(2)), (b, 200, Some(3))];
    let standing = calls(&answers);
    assert_eq!(factors(&standing, "b"), (3, 1, 1));
    let numbers = ["1 first none", "2 retry resend_count", "0 resend none", "3 retry resend_count"];
    assert_eq!(attempts(&standing), numbers);
}

#[test]
fn a_redirected_send_is_judged_by_its_resend() {
    let b = "http://b/1";
    let wasted = |standing: &Standing| {
        [10, 11, 12].map(|id| {
            let row = standing.spans.values().find(|row| row.span_id == span_id(id));
            row.is_some_and(|row| row.wasted)
        })
    };
    let standing = calls(&[(b, 401, None), (b, 200, Some(1))]);
    assert_eq!(wasted(&standing), [false, false, false]);
    let standing = calls(&[(b, 401, None), (b, 503, Some(1)), (b, 200, Some(2))]);
    assert_eq!(wasted(&standing), [true, true, false]);
}
