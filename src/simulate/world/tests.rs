//! The world: equal seeds, feedback, and sums that must agree.

use super::*;
use serde_json::Value as Json;

/// Runs a scenario for so many seconds and to the end, and gives the truth and what was sent.
pub(super) fn run(name: &str, seed: u64, seconds: u64, epoch_ns: i64) -> (World, Output) {
    let scenario = Scenario::find(name).expect("the scenario is listed");
    live(scenario, seed, seconds, epoch_ns)
}

/// The same with a scenario that is not listed.
pub(crate) fn live(scenario: Scenario, seed: u64, seconds: u64, epoch_ns: i64) -> (World, Output) {
    let mut world = World::new(scenario, seed, epoch_ns);
    world.advance(seconds * SECOND_NS);
    world.close();
    let mut until_s = seconds;
    while !world.drained() {
        until_s += 1;
        assert!(until_s < seconds + 60, "the world does not come to rest");
        world.advance(until_s * SECOND_NS);
    }
    world.flush();
    let output = world.take_output();
    (world, output)
}

fn truth(world: &World) -> Json {
    world.truth().json(&world.context.scenario)
}

pub(crate) fn service(name: &str) -> usize {
    let scenario = Scenario::find("steady").expect("it is listed");
    scenario.services.iter().position(|service| service.name == name).expect("it exists")
}

fn local_factor(world: &World, name: &str) -> f64 {
    let hop = world.truth().service(service(name));
    hop.sends as f64 / hop.first_attempts as f64
}

#[test]
fn the_same_seed_gives_the_same_truth() {
    for (name, _) in super::super::SCENARIOS {
        let (first, _) = run(name, 7, 20, 1_000);
        let (second, _) = run(name, 7, 20, 2_000_000_000);
        assert_eq!(truth(&first), truth(&second), "{name}");
        let (other, _) = run(name, 8, 20, 1_000);
        assert_ne!(truth(&first), truth(&other), "{name}");
    }
}

#[test]
fn overload_feeds_back() {
    let (steady, _) = run("steady", 3, 30, 0);
    let (storm, _) = run("retry-storm", 3, 30, 0);
    let (calm, stormy) = (local_factor(&steady, "payment"), local_factor(&storm, "payment"));
    assert!(calm < 1.05, "steady: {calm}");
    assert!(stormy > 1.5, "storm: {stormy}");
    let sends = |world: &World| world.truth().service(service("payment")).sends;
    assert!(sends(&storm) > 2 * sends(&steady), "{} {}", sends(&storm), sends(&steady));
    let abandoned =
        |world: &World| world.truth().regions.iter().map(RegionTruth::abandoned).sum::<u64>();
    assert!(abandoned(&storm) > 3 * abandoned(&steady).max(1));
}

#[test]
fn slowness_makes_users_leave_and_the_truth_knows_their_answers() {
    let (world, _) = run("slow-dependency", 3, 30, 0);
    let regions = &world.truth().regions;
    let abandoned: u64 = regions.iter().map(RegionTruth::abandoned).sum();
    assert!(abandoned > 50, "{abandoned}");
    let json = truth(&world);
    let known = json["regions"].as_array().expect("a list").iter();
    let known: u64 =
        known.filter_map(|region| region["abandoned_would_have"]["count"].as_u64()).sum();
    assert_eq!(known, abandoned);
}

#[test]
fn nothing_is_lost_or_counted_twice() {
    for (name, _) in super::super::SCENARIOS {
        let (world, output) = run(name, 11, 40, 0);
        adds_up(name, &world, &output);
    }
}

/// Holds what a world that has come to rest has counted against itself and what it sent.
pub(crate) fn adds_up(name: &str, world: &World, output: &Output) {
    let truth = world.truth();
    for (place, hop) in &truth.hops {
        let later = hop.retries + hop.hedges;
        assert_eq!(hop.sends, hop.first_attempts + later, "{name} {place:?}");
        assert!(hop.first_attempts >= hop.logical_calls, "{name} {place:?}");
        assert!(hop.logical_calls > 0, "{name} {place:?}");
    }
    for region in &truth.regions {
        let outcomes = region.ok + region.failed + region.abandoned() + region.cancelled;
        assert_eq!((outcomes, region.pending()), (region.requests, 0), "{name}");
        assert_eq!(
            region.requests,
            region.intents + region.repeats_user + region.repeats_refresh,
            "{name}"
        );
    }
    let spans: u64 = output.bodies.iter().map(|body| body.spans).sum();
    assert_eq!(spans, truth.browser_spans, "{name}");
    let exported: usize = output.exports.iter().map(|export| export.spans.len()).sum();
    assert_eq!(exported as u64, truth.service_spans, "{name}");
    // A send of the browser ends as a span, or is abandoned as an event.
    let attempts: u64 = truth.regions.iter().map(|region| region.attempts).sum();
    let abandoned: u64 = truth.regions.iter().map(RegionTruth::abandoned).sum();
    assert_eq!(attempts, spans + abandoned, "{name}");
}

#[test]
fn the_demo_speaks_at_once_and_recovers() {
    let scenario = Scenario::find("demo").expect("it is listed");
    let mut world = World::new(scenario, 1, 0);
    world.advance(3 * SECOND_NS);
    let output = world.take_output();
    assert!(output.bodies.len() >= 3, "{} bodies", output.bodies.len());
    assert!(!output.exports.is_empty());
    world.advance(60 * SECOND_NS);
    let before = world.truth().service(service("payment"));
    world.advance(120 * SECOND_NS);
    let after = world.truth().service(service("payment"));
    let sends = (after.sends - before.sends) as f64;
    let factor = sends / (after.first_attempts - before.first_attempts) as f64;
    assert!(factor < 1.1, "the storm does not end: {factor}");
}

#[test]
fn bodies_are_whole_and_sequences_have_no_gap() {
    let (_, output) = run("retry-storm", 5, 20, 1_700_000_000_000_000_000);
    let mut sequences = std::collections::BTreeMap::<String, Vec<u64>>::new();
    for body in &output.bodies {
        let json: Json = serde_json::from_slice(&body.bytes).expect("a body is JSON");
        let attribute = |attributes: &Json, key: &str| {
            let found = attributes.as_array()?.iter().find(|attribute| attribute["key"] == key)?;
            let value = found["value"].as_object()?.values().next()?;
            Some(value.as_str()?.to_owned())
        };
        let groups =
            [("resourceSpans", "scopeSpans", "spans"), ("resourceLogs", "scopeLogs", "logRecords")];
        for (resources, scopes, records) in groups {
            let resource = &json[resources][0];
            if resource.is_null() {
                continue;
            }
            let page = attribute(&resource["resource"]["attributes"], "behavior.page_id");
            let seen = sequences.entry(page.expect("the page is named")).or_default();
            for record in resource[scopes][0][records].as_array().expect("records are listed") {
                let sequence = attribute(&record["attributes"], "behavior.sequence");
                seen.push(sequence.expect("it is numbered").parse().expect("by a number"));
            }
        }
    }
    assert!(sequences.len() > 50);
    for (page, mut seen) in sequences {
        seen.sort_unstable();
        assert_eq!(seen, (0..seen.len() as u64).collect::<Vec<_>>(), "{page}");
    }
}
