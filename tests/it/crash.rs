//! kill -9 of the collector, the query role and the supervisor at random points under a mixed load:
//! nothing acknowledged is lost, nothing stands twice.
//!
//! `ETHOGRAM_TEST_KILLS` says how often, `ETHOGRAM_TEST_SEED` which story. Rates and times are
//! printed (`--nocapture`). The rate is held in the long form only: a test cannot know how busy its
//! machine is. How long a recovery takes is held by `cargo bench --workspace --bench recovery`.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::harness::load::{Door, Load, check_once};
use crate::harness::{Ethogram, is_held, number_from, wait_for};

/// Kills in every test run; 200 in the long form.
const KILLS: u64 = 20;

/// Bodies that are acknowledged between two kills, at most, so that each kill meets another state.
const BETWEEN_KILLS_MAX: u64 = 1_000;

/// Connections, each with one body in flight. Sixty commit as fast as thousands would: the log
/// takes what gathered during a commit.
const DOORS: [(Door, u64); 5] = [
    (Door::Beacon, 20),
    (Door::HttpSpans, 20),
    (Door::HttpEvents, 10),
    (Door::HttpMetrics, 5),
    (Door::Grpc, 10),
];

/// Where the rate is held: four times the connections, so that no wait for a disk is the limit, which
/// together send twice what must be reached, so that an hour of it fits in the tables' memory.
const HELD_DOORS: [(Door, u64); 5] = [
    (Door::Beacon, 80),
    (Door::HttpSpans, 80),
    (Door::HttpEvents, 40),
    (Door::HttpMetrics, 20),
    (Door::Grpc, 40),
];
const HELD_PER_SECOND: f64 = 2_000.0;
const ACKNOWLEDGED_PER_SECOND_MIN: f64 = 1_000.0;

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
    let load = if is_held() {
        Load::start_paced(&ethogram.at, &HELD_DOORS, HELD_PER_SECOND)
    } else {
        Load::start(&ethogram.at, &DOORS)
    };
    let mut between = Between::default();
    let mut longest = [Duration::ZERO; VICTIMS.len()];
    for kill in 0..kills {
        let victim = if kill < 3 { kill as usize } else { random.random_range(0..VICTIMS.len()) };
        let more = random.random_range(1..BETWEEN_KILLS_MAX);
        between.acknowledge(&load, more);
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
    between.acknowledge(&load, BETWEEN_KILLS_MAX);
    let promised = load.stop();
    let bodies: u64 = promised.iter().map(|promised| promised.bodies).sum();
    println!(
        "{bodies} bodies acknowledged, {:.0}/s between kills; back after at most {}",
        between.per_second(),
        VICTIMS
            .iter()
            .zip(longest)
            .map(|(who, took)| format!("{took:.1?} ({who})"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    check_once(&ethogram.at.query, &promised);
    let rate = between.per_second();
    assert!(!is_held() || rate >= ACKNOWLEDGED_PER_SECOND_MIN, "{rate:.0} bodies a second");
}

/// What was acknowledged while nobody was being killed, and in which time.
#[derive(Default)]
struct Between {
    bodies: u64,
    time: Duration,
}

impl Between {
    /// Waits until so many more bodies are acknowledged.
    fn acknowledge(&mut self, load: &Load, more: u64) {
        let began = Instant::now();
        self.bodies += acknowledge(load, more);
        self.time += began.elapsed();
    }

    fn per_second(&self) -> f64 {
        self.bodies as f64 / self.time.as_secs_f64()
    }
}

/// Waits until so many more bodies are acknowledged; how many there were.
fn acknowledge(load: &Load, more: u64) -> u64 {
    let before = load.acknowledged();
    wait_for("load", || (load.acknowledged() >= before + more).then_some(()));
    load.acknowledged() - before
}
