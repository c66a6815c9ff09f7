//! A shop, its visitor in Chromium, and the question whether the timeline tells what happened.
//!
//! The story and its questions are `tests/browser/run.mjs`; here it meets the real binary, once as
//! it is and once each without the beacon, places, the join and the seal, which must fail: a test that
//! cannot fail proves nothing.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Ethogram, tree};
use crate::program::{self, Ended};
use crate::python;

/// The story takes half a minute, and each of its conditions waits for a minute at most.
const PATIENCE: Duration = Duration::from_secs(300);

/// MaxMind's own test database, in which the visitor's address is in Great Britain.
const PLACES: &str = "tests/data/maxmind-test/GeoIP2-City-Test.mmdb";

#[test]
fn the_timeline_tells_what_happened() {
    let ethogram = start();
    let summary = ethogram.directory.path().join("summary.json");
    let ended = play(&ethogram, &["--sealed", "--summary", &summary.display().to_string()]);
    assert!(ended.status.success(), "the story failed: {}", ended.everything());
    any_backend_reads_the_same(&ethogram);

    // The same questions once every row is sealed and nothing of this process's memory is left.
    ethogram.kill_role("query");
    let mut questions = Command::new("node");
    let query = format!("http://{}", ethogram.at.query);
    questions.arg(tree("tests/browser/ask.mjs")).arg(query).arg(&summary);
    let ended = program::run(&mut questions, b"", PATIENCE);
    assert!(ended.status.success(), "sealed rows answer otherwise: {}", ended.everything());
}

/// What the beacon posts is OTLP to others too: by the protocol's own schema it has the events and spans
/// that stand in our tables.
fn any_backend_reads_the_same(ethogram: &Ethogram) {
    let bodies = std::fs::read(bodies(ethogram)).expect("the shop has kept the beacon's bodies");
    let ended = program::run(&mut python::script("tests/python/read.py"), &bodies, PATIENCE);
    assert!(ended.status.success(), "it is no OTLP: {}", ended.everything());
    let read: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let counts = |of: &str| read[of].as_object().expect("counts by name").clone();
    let sum = |of: &str| counts(of).values().filter_map(Value::as_u64).sum::<u64>();
    assert_eq!(read["ids"], sum("spans"), "{read}");
    for (name, count) in counts("events") {
        let sql = format!(
            "SELECT count(*) FROM events WHERE event_name = '{name}' AND page_id IS NOT NULL"
        );
        ethogram.wait_for_value(&sql, count);
    }
    let spans = "SELECT count(*) FROM spans WHERE layer = 'browser'";
    ethogram.wait_for_value(spans, sum("spans"));
    assert!(sum("events") > 5 && sum("spans") > 20, "{read}");
}

/// Where the shop keeps what the beacon posts.
fn bodies(ethogram: &Ethogram) -> PathBuf {
    ethogram.directory.path().join("bodies.jsonl")
}

#[test]
fn without_the_beacon_it_does_not() {
    let [patience, seconds] = IMPATIENT;
    let ended = play(&start(), &["--no-beacon", patience, seconds]);
    let missing = ["the session of the page's requests", "what visitors did"];
    assert_eq!(in_vain(&ended), missing, "{}", ended.everything());
}

#[test]
fn without_places_it_does_not() {
    let ethogram = Ethogram::start(&["--collector-geo-embedded=false"]);
    let ended = play(&ethogram, &IMPATIENT);
    assert_eq!(in_vain(&ended), ["the place of every request"], "{}", ended.everything());
}

/// A join that lets everything go before the next record and takes nothing back joins what comes
/// together, and nothing else. How much of a purchase that is depends on when the beacon sent, but
/// browsers and shops never send together.
#[test]
fn without_the_join_it_does_not() {
    let ethogram = Ethogram::start(&[
        "--query-follow-join-spans-max=0",
        "--query-follow-join-recall-spans-per-minute=0",
        &places(),
    ]);
    let ended = play(&ethogram, &IMPATIENT);
    let joined = "the server's side of the browser's requests";
    assert!(in_vain(&ended).contains(&joined), "{}", ended.everything());
}

#[test]
fn without_the_seal_there_is_nothing_on_disk() {
    let ethogram = Ethogram::start(&["--query-follow-store-seal-s=1000000", &places()]);
    let [patience, seconds] = IMPATIENT;
    let ended = play(&ethogram, &["--sealed", patience, seconds]);
    assert_eq!(in_vain(&ended), ["all rows on disk"], "{}", ended.everything());
}

/// What is missing will not come: a question that is going to be answered is so within a second.
const IMPATIENT: [&str; 2] = ["--patience-s", "15"];

/// The questions that nobody answered, by their names in `ask.mjs`: the story failed for these reasons and
/// no other, such as a browser that did not start.
fn in_vain(ended: &Ended) -> Vec<&str> {
    assert!(!ended.status.success(), "nobody noticed: {}", ended.everything());
    ended.stderr.lines().filter_map(|line| line.strip_prefix("asked in vain: ")).collect()
}

fn places() -> String {
    format!("--collector-geo-databases={}", tree(PLACES).display())
}

fn start() -> Ethogram {
    // The shop passes the beacon's posts on, as a proxy that names the visitor's address; proxies on
    // the same machine are trusted by default.
    Ethogram::start(&[&places(), "--query-follow-store-seal-s=1"])
}

fn play(ethogram: &Ethogram, arguments: &[&str]) -> Ended {
    let mut command = Command::new("node");
    command.arg(tree("tests/browser/run.mjs")).args(arguments).env("BODIES", bodies(ethogram));
    for (option, address) in [
        ("--collector-beacon", &ethogram.at.beacon),
        ("--otlp-http", &ethogram.at.otlp_http),
        ("--query", &ethogram.at.query),
    ] {
        command.args([option, address]);
    }
    program::run(&mut command, b"", PATIENCE)
}
