//! Troubles that lose nothing, change nothing unasked, and repeat themselves.

use super::super::beacon::Body;
use super::super::services::Export;
use super::super::world::World;
use super::*;

const CALM: Trouble = Trouble {
    annotate: Annotate::Default,
    duplicate: 0.0,
    reorder: false,
    delay: None,
    skew: None,
    drift: 0.0,
    sample_ratio: 1.0,
    tracer: false,
    pages_only: false,
};

fn body(number: u64) -> Output {
    let (address, bytes) = (format!("192.0.2.{number}"), Vec::new());
    let body = Body { address, user_agent: "", bytes, spans: number, events: 0, again: false };
    let export = Export { service: 0, spans: Vec::new(), again: false };
    Output { bodies: vec![body], exports: vec![export] }
}

/// Lets a hundred bodies enter, one each tenth of a second, and gives those that arrive each tenth:
/// their numbers, and how many of them were copies.
fn travel(trouble: &Trouble) -> (Vec<(u64, u64)>, usize) {
    let mut way = Way::new(trouble.clone(), 7);
    let (mut arrived, mut copies) = (Vec::new(), 0);
    for tenth in 0..1000 {
        if tenth < 100 {
            way.enter(body(tenth), tenth * SECOND_NS / 10);
        }
        for body in way.arrived(tenth * SECOND_NS / 10).bodies {
            copies += usize::from(body.again);
            arrived.push((tenth, body.spans));
        }
    }
    assert_eq!(way.next_due_ns(), None);
    assert!(way.duplicates() as usize >= copies);
    (arrived, copies)
}

#[test]
fn without_options_everything_leaves_at_once() {
    let expected: Vec<(u64, u64)> = (0..100).map(|number| (number, number)).collect();
    assert_eq!(travel(&CALM), (expected, 0));
}

#[test]
fn nothing_is_lost_whatever_the_trouble() {
    let check = |trouble: Trouble, copies_expected: std::ops::RangeInclusive<usize>| {
        let (arrived, copies) = travel(&trouble);
        assert_eq!(travel(&trouble), (arrived.clone(), copies), "{trouble:?}");
        assert!(copies_expected.contains(&copies), "{trouble:?}: {copies}");
        let mut numbers: Vec<u64> = arrived.iter().map(|(_, number)| *number).collect();
        let sorted = numbers.is_sorted();
        assert_eq!(sorted, !trouble.reorder && trouble.delay.is_none(), "{trouble:?}");
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 100, "{trouble:?}");
        let latest = arrived.iter().map(|(tenth, number)| tenth - number).max().unwrap_or(0);
        let allowed =
            if trouble.reorder { 31 } else { 0 } + if trouble.delay.is_some() { 201 } else { 0 };
        assert!(latest <= allowed, "{trouble:?}: {latest}");
    };
    let delay = Some(Duration::from_secs(20));
    check(Trouble { duplicate: 1.0, ..CALM }, 100..=100);
    check(Trouble { duplicate: 0.3, ..CALM }, 15..=45);
    check(Trouble { reorder: true, ..CALM }, 0..=0);
    check(Trouble { delay, ..CALM }, 0..=0);
    check(Trouble { delay, reorder: true, duplicate: 0.3, ..CALM }, 15..=45);
}

#[test]
fn annotations_are_set_everywhere_or_nowhere() {
    let annotated = |annotate| {
        let mut scenario = Scenario::find("demo").expect("it is listed");
        Trouble { annotate, ..CALM }.instrument(&mut scenario);
        let steps = scenario.services.iter().flat_map(|service| &service.routes);
        let calls = steps.flat_map(|route| &route.steps).filter_map(|step| match step {
            Step::Call(calls) => Some(calls),
            _ => None,
        });
        let mut said: Vec<bool> = calls.flatten().map(|call| call.annotated).collect();
        said.sort_unstable();
        said.dedup();
        said
    };
    assert_eq!(annotated(Annotate::All), [true]);
    assert_eq!(annotated(Annotate::None), [false]);
    assert_eq!(annotated(Annotate::Default), [false, true]);
}

#[test]
fn what_happens_stays_what_it_was() {
    let truth = |trouble: Trouble| {
        let mut scenario = Scenario::find("retry-storm").expect("it is listed");
        trouble.instrument(&mut scenario);
        let mut world = World::new(scenario.clone(), 7, 0);
        world.advance(20 * SECOND_NS);
        let truth = world.truth().json(&scenario);
        ((truth["hops"].clone(), truth["regions"].clone()), world.take_output().bodies)
    };
    let ((calm, told), (troubled, told_wrong)) = (
        truth(CALM),
        truth(Trouble {
            annotate: Annotate::None,
            skew: Some(Duration::from_secs(30 * 24 * 3600)),
            drift: 500.0,
            tracer: true,
            ..CALM
        }),
    );
    assert!(calm == troubled, "{calm:?}\n{troubled:?}");
    assert_ne!(told[0].bytes, told_wrong[0].bytes);
    let (summed, summaries) = truth(Trouble { sample_ratio: 0.0, ..CALM });
    assert!(calm == summed, "{calm:?}\n{summed:?}");
    let said: Vec<String> = summaries
        .iter()
        .map(|body| String::from_utf8(body.bytes.clone()).expect("JSON is text"))
        .collect();
    assert!(said.len() > 100);
    for text in said {
        assert!(text.contains("behavior.summary") && text.contains("behavior.attempts"), "{text}");
        for id in ["session.id", "page_id", "tab_id", "user.id", "traceId", "spanId", "sequence"] {
            assert!(!text.contains(id), "{id} in {text}");
        }
    }
}

#[test]
fn a_share_is_a_part_of_one() {
    let check = |text, expected: Option<f64>| assert_eq!(share(text).ok(), expected, "{text}");
    check("0", Some(0.0));
    check("0.3", Some(0.3));
    check("1", Some(1.0));
    check("1.1", None);
    check("-0.1", None);
    check("NaN", None);
    check("half", None);
}
