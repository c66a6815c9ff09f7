//! What the product says of a world against what really happened in it.
//!
//! The simulated callers count in their own loops, and nothing of the join is known to them. Both
//! sides are compared hop by hop, region by region and send by send; a failure lists every place that
//! deviates, and what was taken for what.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::counters::{unlike_amplification, unlike_sql};
use crate::hops::{
    HOP_NUMBERS, Places, REGION_NUMBERS, answered_hops, answered_regions, contradictions,
    deviations, true_hops, true_regions, with_factors,
};
use crate::world::{World, number, seeds, word};

/// Every scenario, how long it is looked at, and how many retries it must at least have, so that a
/// comparison means something. `demo` stands for the first look.
const SCENARIOS: [(&str, &str, usize); 10] = [
    ("demo", "28s", 20),
    ("steady", "15s", 0),
    ("retry-storm", "20s", 200),
    ("slow-dependency", "20s", 0),
    ("thundering-herd", "12s", 100),
    ("cache-stampede", "14s", 0),
    ("region-outage", "18s", 0),
    ("flash-crowd", "12s", 0),
    ("pool-exhaustion", "18s", 100),
    ("bad-deploy", "18s", 80),
];

/// Nothing is lost, but nothing comes once, in order, or in time either.
const TROUBLED: [&str; 6] = ["--duplicate", "0.3", "--reorder", "--delay", "20s", "--annotate"];

#[test]
fn annotated_calls_are_within_one_percent() {
    for (scenario, duration, retries) in SCENARIOS {
        for seed in seeds() {
            let options = ["--duration", duration, "--annotate", "all"];
            let world = World::new(scenario, seed, &options, &[]);
            check(&world, 0.01, retries);
            report(&world, unlike_sql(&world.ethogram));
        }
    }
}

#[test]
fn doubled_shuffled_late_and_unannotated_calls_are_within_five_percent() {
    for (scenario, duration, retries) in SCENARIOS {
        for seed in seeds() {
            let options = [&["--duration", duration][..], &TROUBLED, &["none"]].concat();
            let world = World::new(scenario, seed, &options, &[]);
            check(&world, 0.05, retries);
            report(&world, unlike_sql(&world.ethogram));
        }
    }
}

/// Over sockets and in real time the same holds.
#[test]
fn a_world_over_sockets_is_within_five_percent() {
    let options = ["--duration", "12s", "--annotate", "none", "--duplicate", "0.3", "--reorder"];
    let world = World::live("retry-storm", 7, &options);
    assert!(number(&world.truth, "duplicates") > 0);
    check(&world, 0.05, 20);
    report(&world, unlike_amplification(&world.ethogram));
}

/// Pages without a beacon: each send is a trace of its own, and one that was given up leaves no span.
/// What a user asks again by hand is told from what a program sends again by clicks and page loads.
#[test]
fn pages_that_number_nothing_are_within_five_percent() {
    for (scenario, duration, retries) in SCENARIOS {
        for seed in seeds() {
            let options = ["--duration", duration, "--annotate", "none", "--tracer", "--reorder"];
            let options = [&options[..], &["--duplicate", "0.3"]].concat();
            check_tracer(&World::new(scenario, seed, &options, &[]), retries);
        }
    }
}

/// Compares hops within `tolerance`, users within five percent, retries, sessions and coverage.
pub(crate) fn check(world: &World, tolerance: f64, retries_min: usize) {
    let ethogram = &world.ethogram;
    let (hops, regions) = (true_hops(&world.truth), true_regions(&world.truth));
    assert!(hops.len() > 15 && regions.len() == 8, "the world is too small: {hops:?} {regions:?}");
    let mut wrong = deviations(&hops, &answered_hops(ethogram), &HOP_NUMBERS, tolerance);
    let answered = answered_regions(ethogram);
    wrong.extend(deviations(&regions, &answered, &REGION_NUMBERS, tolerance));
    wrong.extend(contradictions(ethogram));
    let found = Retries::of(world);
    if found.right < retries_min {
        wrong.push(format!("only {} retries: no scenario", found.right));
    }
    if found.precision() < 0.98 || found.recall() < 0.98 {
        wrong.push(found.told());
    }
    // What numbers its own sends is easy to tell: of the others alone it must hold as well.
    let silent = Retries::among(world, |send| send["caller"] != "browser");
    if silent.is_off() {
        wrong.push(format!("of services alone: {}", silent.told()));
    }
    wrong.extend(strangers(world, 0.999));
    wrong.extend(unmatched(world, 0.95));
    report(world, wrong);
}

/// Logical calls that a place must have had for five percent of it to be more than one or two.
const CALLS_MIN: f64 = 40.0;

/// Retries that a world must have for a precision of them.
const RETRIES_MIN: usize = 50;

/// Compares hops within five percent as far as they are large enough, all of a hop's routes together,
/// what users asked again, and retries.
fn check_tracer(world: &World, retries_min: usize) {
    let (hops, answered) = (true_hops(&world.truth), answered_hops(&world.ethogram));
    let mut wrong = deviations(&hops, &answered, &["sends"], 0.05);
    let large: Vec<&String> = hops
        .iter()
        .filter(|(_, numbers)| numbers["logical_calls"] >= CALLS_MIN)
        .map(|(place, _)| place)
        .collect();
    let only = |places: &Places| {
        let places = places.iter().filter(|(place, _)| large.contains(place));
        places.map(|(place, numbers)| (place.clone(), numbers.clone())).collect::<Places>()
    };
    wrong.extend(deviations(&only(&hops), &only(&answered), &HOP_NUMBERS, 0.05));
    let merged = (over_routes(&hops), over_routes(&answered));
    wrong.extend(deviations(&merged.0, &merged.1, &HOP_NUMBERS, 0.05));
    wrong.extend(contradictions(&world.ethogram));
    wrong.extend(unlike_users(world, 0.05));
    let found = Retries::of(world);
    if found.right < retries_min / 2 {
        wrong.push(format!("only {} retries: no scenario", found.right));
    }
    if found.is_off() {
        wrong.push(found.told());
    }
    println!("{}: {}", word(&world.truth, "scenario"), found.told());
    report(world, wrong);
}

/// The hops between services, whatever is asked.
fn over_routes(hops: &Places) -> Places {
    let mut merged = Places::new();
    for (place, numbers) in hops {
        let of: Vec<&str> = place.split(' ').take(3).collect();
        let sum = merged.entry(of.join(" ")).or_default();
        for name in ["sends", "first_attempts", "logical_calls"] {
            *sum.entry(name).or_default() += numbers[name];
        }
    }
    with_factors(merged)
}

/// Requests, intents and the user's factor that are further from the truth than a share. Whoever gave
/// up left a request that the gateway alone tells of.
fn unlike_users(world: &World, tolerance: f64) -> Vec<String> {
    let rows = world
        .ethogram
        .sql("SELECT count(*) AS requests, count(DISTINCT intent_id) AS intents FROM requests");
    let users = |requests: f64, intents: f64| {
        let numbers = [("requests", requests), ("intents", intents), ("user", requests / intents)];
        Places::from([(String::from("users"), BTreeMap::from(numbers))])
    };
    let found = users(number(&rows[0], "requests") as f64, number(&rows[0], "intents") as f64);
    let truth = users(world.total("requests") as f64, world.total("intents") as f64);
    deviations(&truth, &found, &["requests", "intents", "user"], tolerance)
}

fn report(world: &World, wrong: Vec<String>) {
    let name = word(&world.truth, "scenario");
    let seed = number(&world.truth, "seed");
    assert!(wrong.is_empty(), "{name} of seed {seed}\n{}", wrong.join("\n"));
}

/// What was taken for a retry, against what was one.
#[derive(Default)]
struct Retries {
    sends: usize,
    right: usize,
    /// Taken for a retry, and was none.
    invented: usize,
    /// Of these, what a user had asked before in vain.
    by_users: usize,
    /// Was a retry, and not taken for one.
    missed: usize,
    /// Of these, sends that left no span of their own.
    unseen: usize,
    confusions: BTreeMap<String, usize>,
}

impl Retries {
    /// Looks at every send that is answered.
    fn of(world: &World) -> Self {
        Self::among(world, |_| true)
    }

    /// Looks at those of them that are `meant`.
    fn among(world: &World, meant: impl Fn(&Value) -> bool) -> Self {
        let sends: HashMap<&str, &Value> =
            world.details("send").map(|send| (word(send, "span_id"), send)).collect();
        let mut found = Self::default();
        for row in world.ethogram.sql(
            "SELECT span_id, parent_span_id, kind, attempt, attempt_kind, retry_evidence, caller, \
             callee, route FROM spans WHERE is_send",
        ) {
            // A send that was given up is known by its callee's span alone; so is what a proxy has sent
            // again, but by no other's name.
            let own = word(&row, "span_id");
            let seen = word(&row, "kind") == "client" || sends.contains_key(own);
            let id = if seen { own } else { word(&row, "parent_span_id") };
            let send = sends.get(id).unwrap_or_else(|| panic!("nobody has sent {row}"));
            if !meant(send) {
                continue;
            }
            found.sends += 1;
            let taken = number(&row, "attempt") > 1;
            let was = number(send, "attempt") > 1;
            found.right += usize::from(taken && was);
            if taken == was {
                continue;
            }
            let by_user = taken && send["repeats"] == true;
            found.invented += usize::from(taken);
            found.by_users += usize::from(by_user);
            found.missed += usize::from(was);
            found.unseen += usize::from(was && !seen);
            let what = match (taken, by_user, seen) {
                (true, true, _) => "a user's repetition taken for a retry",
                (true, false, _) => "a first attempt taken for a retry",
                (false, _, true) => "a retry taken for a first attempt",
                (false, _, false) => "a retry without a span taken for a first attempt",
            };
            let hop = format!("{} > {} {}", row["caller"], row["callee"], row["route"]);
            *found.confusions.entry(format!("{what}: {hop}")).or_default() += 1;
        }
        found
    }

    /// Whether too many are taken for what they are not. Where next to nothing was retried, a share of
    /// it says nothing: one in two hundred sends may be, then.
    fn is_off(&self) -> bool {
        let wrong = self.invented + self.missed;
        let few = self.right + self.missed < RETRIES_MIN && wrong * 200 <= self.sends;
        !few && (self.precision() < 0.98 || self.recall() < 0.98)
    }

    fn precision(&self) -> f64 {
        share(self.right, self.invented)
    }

    fn precision_but_for_users(&self) -> f64 {
        share(self.right, self.invented - self.by_users)
    }

    fn recall(&self) -> f64 {
        share(self.right, self.missed)
    }

    fn recall_of_the_seen(&self) -> f64 {
        share(self.right, self.missed - self.unseen)
    }

    /// All of it, for people.
    fn told(&self) -> String {
        let confusions: Vec<String> =
            self.confusions.iter().map(|(what, count)| format!("  {count} × {what}")).collect();
        format!(
            "{} retries, precision {:.4} ({:.4} but for users), recall {:.4} ({:.4} of the seen)\n{}",
            self.right,
            self.precision(),
            self.precision_but_for_users(),
            self.recall(),
            self.recall_of_the_seen(),
            confusions.join("\n")
        )
    }
}

/// Of both together, the first; 1 where there is neither.
fn share(right: usize, wrong: usize) -> f64 {
    if right + wrong == 0 { 1.0 } else { right as f64 / (right + wrong) as f64 }
}

/// Services' spans that are not in the session of the page whose request they are of, as its caller
/// knows it.
fn strangers(world: &World, share_min: f64) -> Option<String> {
    let pages = world.details("send").filter(|send| send["caller"] == "browser");
    let session_of: HashMap<&str, &str> =
        pages.map(|send| (word(send, "trace_id"), word(send, "session_id"))).collect();
    let rows = world.ethogram.sql(
        "SELECT trace_id, session_id, count(*) AS n FROM spans WHERE layer = 'service' \
         GROUP BY trace_id, session_id",
    );
    let (mut spans, mut joined) = (0, 0);
    for row in &rows {
        let session = session_of.get(word(row, "trace_id"));
        spans += number(row, "n");
        joined += if row["session_id"].as_str() == session.copied() { number(row, "n") } else { 0 };
    }
    let enough = spans > 500 && joined as f64 >= share_min * spans as f64;
    (!enough).then(|| format!("{joined} of {spans} service spans are in their session"))
}

/// Browsers' requests without a service span, though one of their sends arrived; and whether those
/// that the network lost say so.
fn unmatched(world: &World, share_min: f64) -> Vec<String> {
    let mut reached: HashMap<&str, bool> = HashMap::new();
    for send in world.details("send").filter(|send| send["caller"] == "browser") {
        *reached.entry(word(send, "trace_id")).or_default() |= send["lost"] == false;
    }
    let rows = world.ethogram.sql(
        "SELECT trace_id, coverage FROM requests WHERE layer = 'browser' AND coverage <> 'matched'",
    );
    let mut wrong: Vec<String> = rows
        .iter()
        .filter(|row| reached.get(word(row, "trace_id")) != Some(&false))
        .map(|row| format!("a request that arrived has no service span: {row}"))
        .collect();
    let silent = rows.iter().filter(|row| word(row, "coverage") != "not_answered");
    wrong.extend(silent.map(|row| format!("a lost request is not known as such: {row}")));
    let requests = world.total("requests");
    // At the first look most requests have their server's side, whatever the reason for the others.
    let matched = requests - rows.len() as i64;
    if word(&world.truth, "scenario") == "demo" && (matched as f64) < share_min * requests as f64 {
        wrong.push(format!("{matched} of {requests} requests have their service span"));
    }
    // Of what the network did not lose there is nothing left to explain.
    let lost = reached.values().filter(|reached| !**reached).count();
    let explained = requests - rows.len() as i64 + lost as i64;
    if (explained as f64) < share_min * requests as f64 {
        wrong.push(format!("{} of {requests} requests have no service span", rows.len()));
    }
    wrong
}
