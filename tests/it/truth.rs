//! What the product says of a world against what really happened in it.
//!
//! The simulated callers count in their own loops, and nothing of the join is known to them. Both
//! sides are compared hop by hop and region by region; a failure lists every place that deviates.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Ethogram, binary};

/// Once every row is visible, what is derived from them is right within this time, or wrong.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often the two sides are compared until then.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Counts by what they count, of one place.
type Counts = BTreeMap<&'static str, i64>;

/// Counts by place: a hop, or a region.
type Places = BTreeMap<String, Counts>;

const OF_HOPS: [&str; 3] = ["sends", "first_attempts", "logical_calls"];
const OF_REGIONS: [&str; 7] =
    ["requests", "intents", "attempts", "ok", "failed", "abandoned", "cancelled"];

const HOPS: &str = "SELECT concat(caller, ' > ', service, ' ', route) AS place, sum(sends) AS sends, \
    sum(first_attempts) AS first_attempts, sum(logical_calls) AS logical_calls \
    FROM amplification GROUP BY caller, service, route";

const REGIONS: &str = "SELECT region AS place, count(*) AS requests, \
    count(DISTINCT intent_id) AS intents, sum(attempts) AS attempts, \
    count(*) FILTER (WHERE outcome = 'ok') AS ok, \
    count(*) FILTER (WHERE outcome = 'failed') AS failed, \
    count(*) FILTER (WHERE outcome = 'abandoned') AS abandoned, \
    count(*) FILTER (WHERE outcome = 'cancelled') AS cancelled \
    FROM requests WHERE layer = 'browser' GROUP BY region";

/// Factors that are not each other's product, which no rounding explains.
const FACTORS: &str = "SELECT * FROM amplification WHERE abs(local * inherited - amplification) > 1e-9 \
    OR local < 1 OR inherited < 1 OR local IS NULL OR inherited IS NULL";

#[test]
fn annotated_hops_are_within_one_percent() {
    compare(&["--annotate", "all"], 0.01);
}

#[test]
fn doubled_shuffled_and_unannotated_hops_are_within_five_percent() {
    compare(&["--annotate", "none", "--duplicate", "0.3", "--reorder"], 0.05);
}

/// Lets a retry storm happen with these troubles, and compares: hops within `tolerance`, users
/// within five percent.
fn compare(trouble: &[&str], tolerance: f64) {
    let ethogram = Ethogram::start(&["--query-follow-join-settle-s=2"]);
    let truth = simulate(&ethogram, trouble);
    wait_until_visible(&ethogram, &truth);
    let (hops, regions) = (true_hops(&truth), true_regions(&truth));
    assert!(hops.len() > 20 && regions.len() == 8, "the world is too small: {hops:?} {regions:?}");
    let sends: i64 = hops.values().map(|counts| counts["sends"]).sum();
    let calls: i64 = hops.values().map(|counts| counts["logical_calls"]).sum();
    assert!(sends * 100 > calls * 115, "no storm: {sends} sends of {calls} calls");
    let began = Instant::now();
    loop {
        let mut wrong = deviations(&hops, &asked(&ethogram, HOPS, &OF_HOPS), tolerance);
        wrong.extend(deviations(&regions, &asked(&ethogram, REGIONS, &OF_REGIONS), 0.05));
        let factors = ethogram.sql(FACTORS);
        wrong.extend(factors.iter().map(|row| format!("factors do not multiply: {row}")));
        if wrong.is_empty() {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{trouble:?}\n{}", wrong.join("\n"));
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Runs the world to its end and gives its truth. Everything has been acknowledged then.
fn simulate(ethogram: &Ethogram, trouble: &[&str]) -> Value {
    let path = ethogram.directory.path().join("truth.json");
    let output = Command::new(binary())
        .args(["simulate", "retry-storm", "--duration", "12s", "--seed", "7"])
        .args(trouble)
        .arg("--truth-file")
        .arg(&path)
        .arg(format!("--beacon=http://{}", ethogram.at.beacon))
        .arg(format!("--otlp-grpc=http://{}", ethogram.at.otlp_grpc))
        .arg(format!("--otlp-http=http://{}", ethogram.at.otlp_http))
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(path).expect("the truth was written");
    let truth: Value = serde_json::from_str(&text).expect("the truth is JSON");
    assert_eq!(truth["drained"], true, "the world did not come to rest");
    let lanes = truth["delivery"]["services"].as_object().expect("lanes by service").values();
    for lane in lanes.chain([&truth["delivery"]["beacon"]]) {
        for fate in ["dropped", "refused", "unsent", "spans_rejected"] {
            assert_eq!(lane[fate], 0, "{}", truth["delivery"]);
        }
    }
    let doubled = truth["duplicates"].as_i64().expect("a count");
    assert_eq!(doubled > 0, trouble.contains(&"--duplicate"), "{doubled} duplicates");
    truth
}

/// Every span and event that was acknowledged is there, and none twice.
fn wait_until_visible(ethogram: &Ethogram, truth: &Value) {
    let emitted = |what: &str| truth["emitted"][what].as_i64().expect("a count");
    let spans = emitted("browser_spans") + emitted("service_spans");
    ethogram.wait_for_value("SELECT count(*) FROM spans", spans);
    ethogram.wait_for_value("SELECT count(*) FROM events", emitted("browser_events"));
}

fn true_hops(truth: &Value) -> Places {
    let hop = |hop: &Value| {
        let word = |key: &str| hop[key].as_str().expect("a word").to_owned();
        let caller = if hop["caller"] == "browser" { "web".to_owned() } else { word("caller") };
        let (service, route) = match word("kind").as_str() {
            "http" => (word("service"), word("route")),
            // A database is known by its drivers' spans alone: its system and name, and the query.
            system => (
                format!("{system}/{}", word("service")),
                format!("{} {}", word("method"), word("route")),
            ),
        };
        (format!("{caller} > {service} {route}"), counts(&hop["counts"], &OF_HOPS))
    };
    truth["hops"].as_array().expect("a list of hops").iter().map(hop).collect()
}

fn true_regions(truth: &Value) -> Places {
    let regions = truth["regions"].as_array().expect("a list of regions").iter();
    let name = |region: &Value| region["region"].as_str().expect("a name").to_owned();
    regions.map(|region| (name(region), counts(region, &OF_REGIONS))).collect()
}

fn asked(ethogram: &Ethogram, sql: &str, names: &[&'static str]) -> Places {
    let place = |row: &Value| row["place"].as_str().expect("a place").to_owned();
    ethogram.sql(sql).iter().map(|row| (place(row), counts(row, names))).collect()
}

fn counts(object: &Value, names: &[&'static str]) -> Counts {
    let count = |name: &str| object[name].as_i64().unwrap_or_else(|| panic!("{name} of {object}"));
    names.iter().map(|name| (*name, count(name))).collect()
}

/// Every count that is further from the truth than the share `tolerance`, and every place that only
/// one side knows.
fn deviations(truth: &Places, answer: &Places, tolerance: f64) -> Vec<String> {
    let mut wrong = Vec::new();
    for (place, counts) in truth {
        let Some(found) = answer.get(place) else {
            wrong.push(format!("{place}: missing, has {counts:?}"));
            continue;
        };
        for (name, expected) in counts {
            let off = (found[name] - expected).abs() as f64;
            if off > tolerance * *expected as f64 {
                wrong.push(format!("{place}: {} {name} instead of {expected}", found[name]));
            }
        }
    }
    let invented = answer.iter().filter(|(place, _)| !truth.contains_key(*place));
    wrong.extend(invented.map(|(place, counts)| format!("{place}: does not exist, {counts:?}")));
    wrong
}
