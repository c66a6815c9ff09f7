//! Counts and factors by hop and by region, of the truth and of the answers, and how far they are
//! apart.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::Ethogram;
use crate::world::{number, word};

/// Numbers by what they are, of one place.
type Numbers = BTreeMap<&'static str, f64>;

/// Numbers by place: a hop, or a region.
pub(crate) type Places = BTreeMap<String, Numbers>;

const OF_HOPS: [&str; 3] = ["sends", "first_attempts", "logical_calls"];
const OF_REGIONS: [&str; 7] =
    ["requests", "intents", "attempts", "ok", "failed", "abandoned", "cancelled"];

/// The name under which browsers know the gateway. A send that never arrived has no other.
const PUBLIC_NAME: &str = "shop.example";

const HOPS: &str = "SELECT caller, service, route, sum(sends) AS sends, \
    sum(first_attempts) AS first_attempts, sum(logical_calls) AS logical_calls \
    FROM amplification GROUP BY caller, service, route";

const REGIONS: &str = "SELECT region, count(*) AS requests, \
    count(DISTINCT intent_id) AS intents, sum(attempts) AS attempts, \
    count(*) FILTER (WHERE outcome = 'ok') AS ok, \
    count(*) FILTER (WHERE outcome = 'failed') AS failed, \
    count(*) FILTER (WHERE outcome = 'abandoned') AS abandoned, \
    count(*) FILTER (WHERE outcome = 'cancelled') AS cancelled \
    FROM requests WHERE layer = 'browser' GROUP BY region";

/// Factors that are not each other's product, which no rounding explains. Where a minute holds only
/// later attempts of calls that began in the minute before, there is nothing to divide by.
const FACTORS: &str = "SELECT * FROM amplification WHERE abs(local * inherited - amplification) > 1e-9 \
    OR local < 1 OR inherited < 1 OR (amplification IS NULL) <> (logical_calls = 0)";

/// The hops as they were.
pub(crate) fn true_hops(truth: &Value) -> Places {
    let mut hops = Places::new();
    for hop in truth["hops"].as_array().expect("a list of hops") {
        let caller = if word(hop, "caller") == "browser" { "web" } else { word(hop, "caller") };
        let place = match word(hop, "kind") {
            "http" => format!("{caller} > {} {}", word(hop, "service"), word(hop, "route")),
            // A database is known by its drivers' spans alone: its system and name, and the query.
            system => {
                let (database, operation) = (word(hop, "service"), word(hop, "method"));
                format!("{caller} > {system}/{database} {operation} {}", word(hop, "route"))
            }
        };
        add(&mut hops, place, &hop["counts"], &OF_HOPS);
    }
    with_factors(hops)
}

/// The hops as they are answered. A caller that nobody has seen is a browser here: nobody else
/// calls the gateway.
pub(crate) fn answered_hops(ethogram: &Ethogram) -> Places {
    let mut hops = Places::new();
    for row in ethogram.sql(HOPS) {
        let caller = if word(&row, "caller") == "unknown" { "web" } else { word(&row, "caller") };
        let service = word(&row, "service");
        let service = if service == PUBLIC_NAME { "gateway" } else { service };
        let place = format!("{caller} > {service} {}", word(&row, "route"));
        add(&mut hops, place, &row, &OF_HOPS);
    }
    with_factors(hops)
}

/// The users by region as they were.
pub(crate) fn true_regions(truth: &Value) -> Places {
    regions(truth["regions"].as_array().expect("a list of regions"))
}

/// The users by region as they are answered.
pub(crate) fn answered_regions(ethogram: &Ethogram) -> Places {
    regions(&ethogram.sql(REGIONS))
}

/// Rows of the view in which the local and the inherited factor do not make the amplification.
pub(crate) fn contradictions(ethogram: &Ethogram) -> Vec<String> {
    let rows = ethogram.sql(FACTORS);
    rows.iter().map(|row| format!("factors do not multiply: {row}")).collect()
}

/// Every number of `names` that is further from the truth than the share `tolerance`, and every place
/// that only one side knows.
pub(crate) fn deviations(
    truth: &Places,
    answer: &Places,
    names: &[&str],
    tolerance: f64,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (place, numbers) in truth {
        let Some(found) = answer.get(place) else {
            wrong.push(format!("{place}: missing, has {numbers:?}"));
            continue;
        };
        for (name, expected) in numbers.iter().filter(|(name, _)| names.contains(*name)) {
            let off = (found[name] - expected).abs();
            if off > tolerance * expected + f64::EPSILON {
                wrong.push(format!("{place}: {name} is {} instead of {expected}", found[name]));
            }
        }
    }
    let invented = answer.iter().filter(|(place, _)| !truth.contains_key(*place));
    wrong.extend(invented.map(|(place, numbers)| format!("{place}: does not exist, {numbers:?}")));
    wrong
}

/// Everything that hops are compared by.
pub(crate) const HOP_NUMBERS: [&str; 6] =
    ["sends", "first_attempts", "logical_calls", "local", "inherited", "amplification"];

/// Everything that regions are compared by; `user` is requests by intent.
pub(crate) const REGION_NUMBERS: [&str; 8] =
    ["requests", "intents", "attempts", "ok", "failed", "abandoned", "cancelled", "user"];

fn regions(rows: &[Value]) -> Places {
    let mut regions = Places::new();
    for row in rows {
        add(&mut regions, word(row, "region").to_owned(), row, &OF_REGIONS);
    }
    for numbers in regions.values_mut() {
        let user = numbers["requests"] / numbers["intents"];
        numbers.insert("user", user);
    }
    regions
}

fn add(places: &mut Places, place: String, row: &Value, names: &[&'static str]) {
    let numbers = places.entry(place).or_default();
    for name in names {
        *numbers.entry(name).or_default() += number(row, name) as f64;
    }
}

/// The same with the factors that the counts make.
pub(crate) fn with_factors(mut places: Places) -> Places {
    for numbers in places.values_mut() {
        let of = |name: &str, by: &str| numbers[name] / numbers[by];
        let factors = [
            ("local", of("sends", "first_attempts")),
            ("inherited", of("first_attempts", "logical_calls")),
            ("amplification", of("sends", "logical_calls")),
        ];
        numbers.extend(factors);
    }
    places
}
