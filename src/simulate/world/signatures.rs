//! Each scenario's signature, looked for where a reader of its telemetry would look: in the spans
//! that leave the world, and in the truth where only the truth knows.

use super::super::wire::{Kind, Span, Value};
use super::tests::{run, service};
use super::*;

/// Long enough for every disturbance and for the calm after it.
const SECONDS: u64 = 30;

/// The length of the slots in which arrivals are counted.
const SLOT_NS: i64 = 100_000_000;

/// The spans of `kind` that the service of this name wrote.
fn spans<'a>(output: &'a Output, name: &str, kind: Kind) -> impl Iterator<Item = &'a Span> {
    let service = service(name);
    let exports = output.exports.iter().filter(move |export| export.service == service);
    exports.flat_map(|export| &export.spans).filter(move |span| span.kind == kind)
}

fn says(span: &Span, key: &str, expected: &str) -> bool {
    span.attributes.iter().any(|attribute| {
        attribute.0 == key
            && match &attribute.1 {
                Value::Text(text) => text == expected,
                Value::Word(word) => *word == expected,
                _ => false,
            }
    })
}

/// Whether a span began within these seconds of the world.
fn within(span: &Span, from_s: i64, until_s: i64) -> bool {
    (from_s * SECOND_NS as i64..until_s * SECOND_NS as i64).contains(&span.start_ns)
}

fn milliseconds(span: &Span) -> i64 {
    (span.end_ns - span.start_ns) / MILLISECOND_NS as i64
}

fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// The gateway's arrivals in the busiest slot as a multiple of the mean slot's, after the first
/// seconds.
fn synchrony(name: &str) -> f64 {
    let (_, output) = run(name, 3, SECONDS, 0);
    let mut slots = vec![0_u64; SECONDS as usize * 10];
    for span in spans(&output, "gateway", Kind::Server).filter(|span| within(span, 3, 30)) {
        slots[(span.start_ns / SLOT_NS) as usize] += 1;
    }
    let mean = slots.iter().sum::<u64>() as f64 / (slots.len() - 30) as f64;
    slots.into_iter().max().unwrap_or(0) as f64 / mean
}

#[test]
fn a_herd_arrives_at_the_same_time_and_comes_back_in_step() {
    let (steady, herd) = (synchrony("steady"), synchrony("thundering-herd"));
    assert!(steady < 6.0 && herd > 12.0, "steady {steady}, herd {herd}");
    let (_, output) = run("thundering-herd", 3, SECONDS, 0);
    // The summoned arrive from second 5 on; who was refused comes back one second later.
    let refused = spans(&output, "gateway", Kind::Server)
        .filter(|span| span.failed && milliseconds(span) == 0 && within(span, 5, 6));
    let refused = refused.count();
    let in_slots = |from: i64, until: i64| {
        let slots = from * SLOT_NS..until * SLOT_NS;
        spans(&output, "gateway", Kind::Server)
            .filter(|span| slots.contains(&span.start_ns))
            .count()
    };
    let (lull, echo) = (in_slots(57, 60), in_slots(60, 65));
    assert!(refused > 50, "{refused} refused");
    assert!(echo > 3 * lull && echo > refused / 2, "lull {lull}, echo {echo} of {refused}");
}

/// The largest number of misses of the hot key that follow each other closely.
fn largest_burst(name: &str) -> usize {
    let (_, output) = run(name, 3, SECONDS, 0);
    let mut misses: Vec<i64> = spans(&output, "catalog", Kind::Client)
        .filter(|span| says(span, "db.query.summary", "SELECT featured"))
        .map(|span| span.start_ns)
        .filter(|at| *at > 3 * SECOND_NS as i64)
        .collect();
    misses.sort_unstable();
    let close = |pair: &[i64]| pair[1] - pair[0] < SECOND_NS as i64;
    let bursts = misses.chunk_by(|first, second| close(&[*first, *second]));
    bursts.map(<[i64]>::len).max().unwrap_or(0)
}

#[test]
fn a_stampede_misses_in_bursts() {
    let (steady, stampede) = (largest_burst("steady"), largest_burst("cache-stampede"));
    assert!(steady <= 2 && stampede >= 6, "steady {steady}, stampede {stampede}");
    // It is the cache that breaks down, not its use: most are hits.
    let (_, output) = run("cache-stampede", 3, SECONDS, 0);
    let count = |summary| {
        spans(&output, "catalog", Kind::Client)
            .filter(|span| says(span, "db.query.summary", summary))
            .count()
    };
    let (reads, fills) = (count("GET catalog"), count("SET catalog"));
    assert!(fills * 2 < reads, "{fills} fills of {reads} reads");
}

#[test]
fn an_outage_is_one_regions_and_many_leave() {
    let (world, _) = run("region-outage", 3, SECONDS, 0);
    let share = |region: &RegionTruth| {
        let disappointed = region.failed + region.abandoned();
        disappointed as f64 / region.requests as f64
    };
    for (region, truth) in world.context.scenario.regions.iter().zip(&world.truth().regions) {
        let (share, left) = (share(truth), truth.abandoned());
        if region.country == "DE" {
            assert!(share > 0.2 && left > 50, "{share} of {}, {left} left", truth.requests);
        } else {
            assert!(share < 0.05, "{} {share} of {}", region.country, truth.requests);
        }
    }
}

#[test]
fn a_flash_crowd_is_three_to_five_times_the_sessions() {
    let scenario = Scenario::find("flash-crowd").expect("it is listed");
    let mut world = World::new(scenario, 3, 0);
    let mut sessions = |until_s: u64| {
        world.advance(until_s * SECOND_NS);
        world.truth().regions.iter().map(|region| region.sessions).sum::<u64>()
    };
    let (at_5, at_20, at_35) = (sessions(5), sessions(20), sessions(35));
    let factor = (at_20 - at_5) as f64 / (at_35 - at_20) as f64;
    assert!((3.0..5.0).contains(&factor), "{factor}");
}

#[test]
fn an_exhausted_pool_is_a_plateau() {
    let (_, output) = run("pool-exhaustion", 3, SECONDS, 0);
    let waits = |from_s, until_s| {
        let queries = ["catalog", "cart"].into_iter().flat_map(|name| {
            spans(&output, name, Kind::Client).filter(|span| says(span, "db.namespace", "shop"))
        });
        let served = queries.filter(|span| within(span, from_s, until_s) && !span.failed);
        median(served.map(milliseconds).collect())
    };
    let (before, early, late, after) = (waits(2, 5), waits(8, 13), waits(13, 18), waits(24, 30));
    let level = early as f64 / late as f64;
    assert!((0.7..1.4).contains(&level), "no plateau: {early} ms, then {late} ms");
    assert!(early > 8 * before, "no queue: {before} ms, then {early} ms");
    assert!(after < 2 * before, "no recovery: {before} ms, then {after} ms");
}

#[test]
fn a_bad_deploy_is_one_services_errors() {
    let (_, output) = run("bad-deploy", 3, SECONDS, 0);
    let errors = |name, from_s, until_s| {
        let handled: Vec<&Span> = spans(&output, name, Kind::Server)
            .filter(|span| within(span, from_s, until_s))
            .collect();
        let failed = handled.iter().filter(|span| span.failed).count();
        failed as f64 / handled.len() as f64
    };
    let (before, during, after) =
        (errors("cart", 1, 6), errors("cart", 6, 21), errors("cart", 23, 30));
    assert!((0.4..0.6).contains(&during), "{during}");
    assert!(before < 0.02 && after < 0.02, "before {before}, after {after}");
    for other in ["catalog", "payment"] {
        let share = errors(other, 6, 21);
        assert!(share < 0.02, "{other}: {share}");
    }
}
