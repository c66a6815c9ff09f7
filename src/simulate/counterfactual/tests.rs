//! What a scenario shows is a consequence: without its cause it does not come about.

use super::super::engine::SECOND_NS;
use super::super::truth::RegionTruth;
use super::super::world::World;
use super::super::world::tests::service;
use super::*;

/// A scenario without these things, moved to `seconds`.
fn world(name: &str, without: &[Without], seconds: u64) -> World {
    let mut scenario = Scenario::find(name).expect("it is listed");
    without.iter().for_each(|without| without.change(&mut scenario));
    let mut world = World::new(scenario, 3, 0);
    world.advance(seconds * SECOND_NS);
    world
}

/// Sends per logical call at a service, between two moments.
fn amplification(
    name: &str,
    without: &[Without],
    callee: &str,
    (from_s, until_s): (u64, u64),
) -> f64 {
    let mut world = world(name, without, from_s);
    let before = world.truth().service(service(callee));
    world.advance(until_s * SECOND_NS);
    let after = world.truth().service(service(callee));
    (after.sends - before.sends) as f64 / (after.logical_calls - before.logical_calls) as f64
}

fn sum(world: &World, count: impl Fn(&RegionTruth) -> u64) -> u64 {
    world.truth().regions.iter().map(count).sum()
}

/// The share of requests that did not end well.
fn unhappy(name: &str, without: &[Without], seconds: u64) -> f64 {
    let world = world(name, without, seconds);
    let unhappy = sum(&world, |region| region.failed + region.abandoned());
    unhappy as f64 / sum(&world, |region| region.requests) as f64
}

#[test]
fn a_storm_is_made_of_retries() {
    let during = (8, 20);
    let storm = amplification("retry-storm", &[], "payment", during);
    let calm = amplification("retry-storm", &[Without::Retries], "payment", during);
    assert!(storm > 2.5, "{storm}");
    assert_eq!(calm, 1.0);
    // Payment is as slow either way, but without the storm it does the work of those who still wait.
    let (stormy, calm) =
        (unhappy("retry-storm", &[], 60), unhappy("retry-storm", &[Without::Disturbances], 60));
    assert!(stormy > 0.03 && calm < 0.005, "with {stormy}, undisturbed {calm}");
}

#[test]
fn a_storm_outlives_its_cause_and_ends_sooner_without_retries() {
    // The disturbance ends at second 20; what is still queued and repeated then is its echo.
    let sends = |without: &[Without]| {
        let mut world = world("retry-storm", without, 20);
        let before = world.truth().service(service("payment"));
        world.advance(24 * SECOND_NS);
        let after = world.truth().service(service("payment"));
        (after.sends - before.sends) as f64 / (after.logical_calls - before.logical_calls) as f64
    };
    let (with, without) = (sends(&[]), sends(&[Without::Retries]));
    assert!(with > 1.3 && without == 1.0, "with {with}, without {without}");
}

#[test]
fn a_cache_is_what_keeps_the_shop_alive() {
    let (with, without) =
        (unhappy("cache-stampede", &[], 30), unhappy("cache-stampede", &[Without::Cache], 30));
    assert!(with < 0.05 && without > 0.3, "unhappy: with {with}, without {without}");
}

#[test]
fn who_waits_for_ever_leaves_nothing() {
    for name in ["region-outage", "slow-dependency", "retry-storm"] {
        let abandoned =
            |without: &[Without]| sum(&world(name, without, 30), RegionTruth::abandoned);
        let (impatient, patient) = (abandoned(&[]), abandoned(&[Without::Impatience]));
        assert!(impatient > 20, "{name}: {impatient}");
        // What is left then was nobody's wait: a badge that loads while its reader goes on.
        assert!(patient * 4 < impatient, "{name}: {patient} instead of {impatient}");
    }
}

#[test]
fn who_never_repeats_has_hardly_more_requests_than_intents() {
    for name in ["retry-storm", "slow-dependency"] {
        let repeats = |without: &[Without]| {
            let world = world(name, without, 30);
            sum(&world, |region| region.requests) - sum(&world, |region| region.intents)
        };
        // Who comes to a page again later asks again what it had failed to show.
        let (with, without) = (repeats(&[]), repeats(&[Without::Repeats]));
        assert!(with > 4 * without.max(1), "{name}: with {with}, without {without}");
    }
}

#[test]
fn every_scenario_is_steady_without_its_disturbance() {
    for name in [
        "retry-storm",
        "slow-dependency",
        "region-outage",
        "pool-exhaustion",
        "bad-deploy",
        "flash-crowd",
    ] {
        let calm = unhappy(name, &[Without::Disturbances], 30);
        assert!(calm < 0.01, "{name}: {calm}");
    }
}
