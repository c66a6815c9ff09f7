//! What is added shows, and everything still adds up.

use super::super::truth::RegionTruth;
use super::super::wire::{Kind, Span, Value};
use super::super::world::tests::{adds_up, live, service};
use super::super::world::{Output, World};
use super::*;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// A scenario with something more, for long enough that it shows, and to its end.
fn lived(name: &str, with: With) -> (World, Output) {
    let mut scenario = Scenario::find(name).expect("it is listed");
    with.change(&mut scenario);
    let (world, output) = live(scenario, 3, 30, 0);
    adds_up(name, &world, &output);
    (world, output)
}

fn sum(world: &World, count: impl Fn(&RegionTruth) -> u64) -> u64 {
    world.truth().regions.iter().map(count).sum()
}

/// What an attribute says, as text.
fn said<'a>(attributes: &'a Json, key: &str) -> Option<&'a str> {
    let found = attributes.as_array()?.iter().find(|attribute| attribute["key"] == key)?;
    found["value"]["stringValue"].as_str()
}

/// The tabs of each session, and who follows whom, as bodies tell it.
fn sessions(output: &Output) -> (BTreeMap<String, BTreeSet<String>>, BTreeMap<String, String>) {
    let (mut tabs, mut followed) = (BTreeMap::<String, BTreeSet<String>>::new(), BTreeMap::new());
    for body in &output.bodies {
        let json: Json = serde_json::from_slice(&body.bytes).expect("a body is JSON");
        for (resources, scopes) in [("resourceSpans", "scopeSpans"), ("resourceLogs", "scopeLogs")]
        {
            let told = &json[resources][0];
            let attributes = &told["resource"]["attributes"];
            let Some(session) = said(attributes, "session.id") else { continue };
            let tab = said(attributes, "behavior.tab_id").expect("the tab is named");
            tabs.entry(session.to_owned()).or_default().insert(tab.to_owned());
            let records = told[scopes][0]["logRecords"].as_array();
            for record in records.into_iter().flatten() {
                let before = said(&record["attributes"], "session.previous_id");
                followed.extend(before.map(|before| (before.to_owned(), session.to_owned())));
            }
        }
    }
    (tabs, followed)
}

#[test]
fn tabs_share_their_session_and_outlive_it() {
    let (world, output) = lived("steady", With::Tabs);
    let (tabs, followed) = sessions(&output);
    assert_eq!(tabs.len() as u64, sum(&world, |region| region.sessions));
    let distinct: BTreeSet<&String> = tabs.values().flatten().collect();
    assert_eq!(distinct.len() as u64, sum(&world, |region| region.tabs));
    let shared = tabs.values().filter(|tabs| tabs.len() > 1).count();
    assert!(shared > 20 && followed.len() > 20, "{shared} shared, {} followed", followed.len());
    // Both tabs of some go over, and what is told of the old one and of the new one is of one visit.
    let both =
        |(before, after): (&String, &String)| tabs[before].intersection(&tabs[after]).count() > 1;
    assert!(followed.iter().filter(|pair| both(*pair)).count() > 5);
    assert!(followed.values().all(|after| tabs.contains_key(after)));
}

/// The spans of `kind` that the service of this name wrote.
fn spans<'a>(output: &'a Output, name: &str, kind: Kind) -> impl Iterator<Item = &'a Span> {
    let service = service(name);
    let exports = output.exports.iter().filter(move |export| export.service == service);
    exports.flat_map(|export| &export.spans).filter(move |span| span.kind == kind)
}

/// What a span says of itself, as text.
fn word_of<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    let found = span.attributes.iter().find(|attribute| attribute.0 == key)?;
    match &found.1 {
        Value::Text(text) => Some(text.as_str()),
        Value::Word(word) => Some(*word),
        _ => None,
    }
}

#[test]
fn a_proxy_repeats_below_one_span_of_its_caller() {
    let (world, output) = lived("bad-deploy", With::Proxies);
    let asks_cart = |span: &&Span| word_of(span, "server.address") == Some("cart");
    let asked = spans(&output, "gateway", Kind::Client).filter(asks_cart).count();
    let mut served = BTreeMap::<&str, usize>::new();
    for span in spans(&output, "cart", Kind::Server) {
        let count = word_of(span, "http.request.header.x-envoy-attempt-count");
        *served.entry(count.expect("the proxy counts")).or_default() += 1;
    }
    assert_eq!(served.keys().copied().collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!(served["1"], asked);
    assert!(served["2"] > 50 && served["3"] > 20, "{served:?}");
    let sends = world.truth().service(service("cart")).sends;
    assert_eq!(served.values().sum::<usize>() as u64, sends);
}

#[test]
fn a_hedge_is_sent_while_the_first_is_awaited_and_one_answer_is_taken() {
    let (world, output) = lived("pool-exhaustion", With::Hedges);
    let hedges = world.truth().service(service("catalog")).hedges;
    assert!(hedges > 30, "{hedges}");
    let ends = ["http.response.status_code", "error.type"];
    let is_silent = |span: &&Span| span.attributes.iter().all(|said| !ends.contains(&said.0));
    let given_up = spans(&output, "gateway", Kind::Client).filter(is_silent).count() as u64;
    assert!(given_up > 10 && given_up <= hedges, "{given_up} of {hedges}");
    let all: u64 = world.truth().hops.values().map(|hop| hop.hedges).sum();
    assert_eq!(all, hedges, "others hedge too");
}

#[test]
fn a_challenge_is_answered_by_the_same_request_and_counts_as_nothing() {
    let (world, output) = lived("bad-deploy", With::Challenges);
    let challenged = spans(&output, "cart", Kind::Server).filter(|span| status(span) == Some(401));
    let challenged = challenged.count() as u64;
    let (cart, all) = (service("cart"), spans(&output, "cart", Kind::Server).count() as u64);
    let hops = world.truth().hops.iter().filter(|((_, place), _)| place.service == cart);
    let resends: u64 = hops.map(|(_, hop)| hop.resends).sum();
    assert!(resends > 20 && resends == challenged, "{challenged} challenged, {resends} answered");
    assert_eq!(all, world.truth().service(cart).sends + resends);
}

fn status(span: &Span) -> Option<i64> {
    let found = span.attributes.iter().find(|said| said.0 == "http.response.status_code")?;
    if let Value::Int(status) = found.1 { Some(status) } else { None }
}
