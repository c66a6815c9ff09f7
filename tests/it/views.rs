//! What requests, sessions and the views say of a world, one by one, against what really happened in it.
//!
//! [`truth`](crate::truth) compares sums by hop and by region within a share; here every request and every
//! session is compared, and the sums of the views have no tolerance: everything is annotated, and
//! nothing was lost.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::world::{World, number, seeds, word};

/// The longest that both sides' roundings of a duration differ.
const ROUNDING_US: i64 = 2;

/// Counts by what they are of, such as `US leave`.
type Counts = BTreeMap<String, i64>;

#[test]
fn every_request_session_and_view_is_as_it_was() {
    for (scenario, retried_min) in [("retry-storm", 30), ("demo", 5)] {
        for seed in seeds() {
            let options = ["--duration", "20s", "--annotate", "all"];
            let world = World::new(scenario, seed, &options, &[]);
            let wrong = [
                unlike_requests(&world),
                unlike_sessions(&world),
                unlike(&waits_that_were(&world), &waits(&world)),
                unlike(&loads_that_were(&world), &loads(&world)),
                unlike(&policies_that_were(&world), &policies(&world)),
            ]
            .concat();
            assert!(wrong.is_empty(), "{scenario} of seed {seed}\n{}", wrong.join("\n"));
            let retried: i64 = policies_that_were(&world)
                .iter()
                .filter(|(name, _)| name.ends_with(" calls_retried"))
                .map(|(_, calls)| calls)
                .sum();
            let left = world.total("abandoned");
            assert!(retried >= retried_min && left > 5, "{scenario}: {retried} {left}");
        }
    }
}

/// The abandonment by a reload is known by the document that comes next. At its end the world opens none.
fn unlike_requests(world: &World) -> Vec<String> {
    let was: HashMap<&str, &Value> = world
        .details("request")
        .filter(|request| request["outcome"] != "would_have")
        .map(|request| (word(request, "trace_id"), request))
        .collect();
    let end_ns =
        number(&world.truth, "epoch_unix_ns") + number(&world.truth, "duration_ms") * 1_000_000;
    let rows = world.ethogram.sql(
        "SELECT trace_id, outcome, abandon_trigger AS trigger, abandon_evidence, waited_us, \
         CAST(time AS BIGINT) AS time_ns FROM requests WHERE layer = 'browser'",
    );
    let is_right = |row: &Value| {
        let Some(request) = was.get(word(row, "trace_id")) else { return false };
        let waited_us = number(row, "waited_us");
        let ended_ns = number(row, "time_ns") + waited_us * 1_000;
        let observed = row["outcome"] == "abandoned";
        row["outcome"] == request["outcome"]
            && (row["abandon_evidence"] == "observed") == observed
            && (waited_us - number(request, "total_us")).abs() <= ROUNDING_US
            && (row["trigger"] == request["trigger"]
                || row["trigger"] == "leave" && request["trigger"] == "reload" && ended_ns > end_ns)
    };
    let mut wrong: Vec<String> = rows
        .iter()
        .filter(|row| !is_right(row))
        .map(|row| format!("{row} was {:?}", was.get(word(row, "trace_id"))))
        .collect();
    wrong.extend(absent(was.keys().copied(), &rows, "trace_id"));
    wrong
}

fn unlike_sessions(world: &World) -> Vec<String> {
    let mut was: BTreeMap<&str, (BTreeSet<&str>, i64)> = BTreeMap::new();
    for send in world.details("send").filter(|send| send["caller"] == "browser") {
        let (calls, attempts) = was.entry(word(send, "session_id")).or_default();
        calls.insert(word(send, "call"));
        *attempts += 1;
    }
    let rows = world
        .ethogram
        .sql("SELECT session_id, requests, attempts FROM sessions WHERE session_id IS NOT NULL");
    let mut wrong = absent(was.keys().copied(), &rows, "session_id");
    let unlike = rows
        .iter()
        .filter(|row| {
            let (calls, attempts) = was.get(word(row, "session_id")).cloned().unwrap_or_default();
            (number(row, "requests"), number(row, "attempts")) != (calls.len() as i64, attempts)
        })
        .map(|row| format!("{row} was {:?}", was.get(word(row, "session_id"))));
    wrong.extend(unlike);
    wrong
}

/// Those that no row, or more than one, tells of by its `column`.
fn absent<'a>(was: impl Iterator<Item = &'a str>, rows: &[Value], column: &str) -> Vec<String> {
    let mut told: HashMap<&str, usize> = HashMap::new();
    for row in rows {
        *told.entry(word(row, column)).or_default() += 1;
    }
    let told = |name: &str| told.get(name).copied().unwrap_or(0);
    was.filter(|name| told(name) != 1)
        .map(|name| format!("{name} is in {} rows", told(name)))
        .collect()
}

/// By region: requests, those that were left by what the view `abandonment` has, and those of `patience`.
fn waits(world: &World) -> Counts {
    let mut counts = sums(
        world,
        "SELECT region, sum(requests) AS requests, sum(abandoned) AS abandoned, \
         coalesce(sum(abandoned) FILTER (WHERE trigger = 'abort'), 0) AS abort, \
         coalesce(sum(abandoned) FILTER (WHERE trigger = 'navigate'), 0) AS navigate \
         FROM abandonment GROUP BY region",
        &["requests", "abandoned", "abort", "navigate"],
    );
    counts.extend(sums(
        world,
        "SELECT region, sum(finished) AS finished, sum(abandoned) AS stayed_no_longer, \
         sum(censored) AS censored FROM patience GROUP BY region",
        &["finished", "stayed_no_longer", "censored"],
    ));
    counts
}

fn waits_that_were(world: &World) -> Counts {
    by_region(world, |region| {
        let left = |trigger: &str| region["abandoned_by_trigger"][trigger].as_i64().unwrap_or(0);
        vec![
            ("requests", number(region, "requests")),
            ("abandoned", number(region, "abandoned")),
            ("abort", left("abort")),
            ("navigate", left("navigate")),
            ("finished", number(region, "ok") + number(region, "failed")),
            ("stayed_no_longer", number(region, "abandoned")),
            ("censored", number(region, "cancelled")),
        ]
    })
}

/// By region: what the view `refreshes` has of documents, and `exits` of those that were begun.
fn loads(world: &World) -> Counts {
    let mut counts = sums(
        world,
        "SELECT region, sum(page_loads) AS pages, sum(refreshes) AS reloads, \
         sum(repeats) AS repeats FROM refreshes GROUP BY region",
        &["pages", "reloads", "repeats"],
    );
    counts.extend(sums(
        world,
        "SELECT region, sum(begun) AS begun, sum(abandoned) AS unfinished FROM exits GROUP BY region",
        &["begun", "unfinished"],
    ));
    counts
}

fn loads_that_were(world: &World) -> Counts {
    by_region(world, |region| {
        vec![
            ("pages", number(region, "pages")),
            ("reloads", number(region, "reloads")),
            ("repeats", number(&region["retries"], "refresh")),
            ("begun", number(region, "pages")),
            // A document of this world is there at once.
            ("unfinished", 0),
        ]
    })
}

/// By hop that was sent to again: what the view `retry_policies` has of it.
fn policies(world: &World) -> Counts {
    const NAMES: [&str; 5] = ["calls_retried", "attempts_max", "retries", "hedges", "timeouts"];
    let rows = world.ethogram.sql(
        "SELECT caller, service, sum(calls_retried) AS calls_retried, \
         max(attempts_max) AS attempts_max, sum(retries) AS retries, sum(hedges) AS hedges, \
         sum(timeouts) AS timeouts, sum(unprovoked) AS unprovoked FROM retry_policies \
         WHERE retries > 0 GROUP BY caller, service",
    );
    let hop = |row: &Value| format!("{} > {}", word(row, "caller"), word(row, "service"));
    let mut counts = Counts::new();
    for row in &rows {
        // Nobody of this world sends again what has not failed.
        assert_eq!(number(row, "unprovoked"), 0, "{row}");
        counts.extend(NAMES.map(|name| (format!("{} {name}", hop(row)), number(row, name))));
    }
    counts
}

fn policies_that_were(world: &World) -> Counts {
    let hop_of = |caller: &str, service: &str| {
        let caller = if caller == "browser" { "web" } else { caller };
        format!("{caller} > {service}")
    };
    let mut counts = Counts::new();
    let hops = world.truth["hops"].as_array().expect("a list of hops");
    for hop in hops.iter().filter(|hop| number(&hop["counts"], "retries") > 0) {
        let name = hop_of(word(hop, "caller"), word(hop, "service"));
        for count in ["calls_retried", "attempts_max", "retries", "hedges", "timeouts"] {
            counts.entry(format!("{name} {count}")).or_default();
        }
    }
    for hop in hops {
        let name = hop_of(word(hop, "caller"), word(hop, "service"));
        for count in ["retries", "hedges", "timeouts"] {
            if let Some(sum) = counts.get_mut(&format!("{name} {count}")) {
                *sum += number(&hop["counts"], count);
            }
        }
    }
    for send in world.details("send").filter(|send| send["resend"] == false) {
        let name = hop_of(word(send, "caller"), word(send, "service"));
        let attempt = number(send, "attempt");
        if let Some(most) = counts.get_mut(&format!("{name} attempts_max")) {
            *most = attempt.max(*most);
        }
        if let Some(calls) = counts.get_mut(&format!("{name} calls_retried")) {
            *calls += i64::from(attempt == 2);
        }
    }
    counts
}

/// The columns `names` of a statement's rows, by their region.
fn sums(world: &World, sql: &str, names: &[&str]) -> Counts {
    let rows = world.ethogram.sql(sql);
    let of = |row: &Value| {
        let region = word(row, "region").to_owned();
        let counts = names.iter().map(|name| (format!("{region} {name}"), number(row, name)));
        counts.collect::<Vec<_>>()
    };
    rows.iter().flat_map(of).collect()
}

fn by_region(world: &World, counts: impl Fn(&Value) -> Vec<(&'static str, i64)>) -> Counts {
    let regions = world.truth["regions"].as_array().expect("a list of regions").iter();
    let of = |region: &Value| {
        let name = word(region, "region").to_owned();
        counts(region).into_iter().map(move |(count, n)| (format!("{name} {count}"), n))
    };
    regions.flat_map(of).collect()
}

fn unlike(was: &Counts, is: &Counts) -> Vec<String> {
    let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let differ = names.into_iter().filter(|name| was.get(*name) != is.get(*name));
    differ.map(|name| format!("{name}: {:?} was {:?}", is.get(name), was.get(name))).collect()
}
