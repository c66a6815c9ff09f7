//! kill -9 of the collector, the query role and the supervisor at random points under a mixed load:
//! nothing acknowledged is lost, nothing stands twice.
//!
//! `ETHOGRAM_TEST_KILLS` says how often, `ETHOGRAM_TEST_SEED` which story. Rates and times are
//! printed (`--nocapture`) and not judged: a test cannot know how busy its machine is.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::harness::load::{Door, Load, check_once};
use crate::harness::{Ethogram, number_from, wait_for};

/// Kills in every test run; 200 in the long form.
const KILLS: u64 = 20;

/// Bodies that are acknowledged between two kills, at most, so that each kill meets another state.
const BETWEEN_KILLS_MAX: u64 = 1_000;

/// Connections, each with one body in flight. Sixty commit as fast as thousands would: the log
/// takes what gathered during a commit.
const DOORS: [(Door, u64); 4] =
    [(Door::Beacon, 20), (Door::HttpSpans, 20), (Door::HttpEvents, 10), (Door::Grpc, 10)];

const VICTIMS: [&str; 3] = ["collector", "query", "supervisor"];

#[test]
fn nothing_acknowledged_is_lost() {
    let kills = number_from("ETHOGRAM_TEST_KILLS", KILLS);
    let seed = number_from("ETHOGRAM_TEST_SEED", 1);
    println!("{kills} kills, seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    // Seals run all the time, so that kills meet them too. Roles whose supervisor was killed stop
    // in order, and the senders leave them nothing to wait for.
    // A follower seals between two pieces that it reads: small ones, so that a short life gets on.
    let mut ethogram = Ethogram::start(&[
        "--query-follow-store-seal-s=1",
        "--collector-limits-drain-s=1",
        "--query-follow-read-bytes-max=65536",
    ]);
    let load = Load::start(&ethogram.at, &DOORS);
    let mut best_rate = 0.0_f64;
    let mut longest = [Duration::ZERO; VICTIMS.len()];
    for kill in 0..kills {
        let victim = if kill < 3 { kill as usize } else { random.random_range(0..VICTIMS.len()) };
        let more = random.random_range(1..BETWEEN_KILLS_MAX);
        best_rate = best_rate.max(acknowledge(&load, more));
        let began = Instant::now();
        match VICTIMS[victim] {
            "supervisor" => ethogram.kill_supervisor(),
            role => ethogram.kill_role(role),
        }
        load.redirect(&ethogram.at);
        if VICTIMS[victim] != "query" {
            acknowledge(&load, 1);
        } else {
            wait_for("an answer", || ethogram.try_sql("SELECT 1").ok());
        }
        longest[victim] = longest[victim].max(began.elapsed());
    }
    let last = acknowledge(&load, BETWEEN_KILLS_MAX);
    let promised = load.stop();
    let bodies: u64 = promised.iter().map(|promised| promised.bodies).sum();
    println!(
        "{bodies} bodies acknowledged, {:.0}/s between kills; back after at most {}",
        best_rate.max(last),
        VICTIMS
            .iter()
            .zip(longest)
            .map(|(who, took)| format!("{took:.1?} ({who})"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    check_once(&ethogram.at.query, &promised);
}

/// Waits until so many more bodies are acknowledged; how many there were a second.
fn acknowledge(load: &Load, more: u64) -> f64 {
    let (began, before) = (Instant::now(), load.acknowledged());
    wait_for("load", || (load.acknowledged() >= before + more).then_some(()));
    (load.acknowledged() - before) as f64 / began.elapsed().as_secs_f64()
}
