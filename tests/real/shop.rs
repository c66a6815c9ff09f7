//! A shop, its visitor in Chromium, and the question whether the timeline tells what happened.
//!
//! The story and its questions are `tests/browser/run.mjs`; here it meets the real binary, once as
//! it is and once each without the beacon, places, the join and the seal, which must fail: a test that
//! cannot fail proves nothing.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Ethogram, tree, wait_for};
use crate::program::{self, Ended};

/// The story takes half a minute, and each of its conditions waits for a minute at most.
const PATIENCE: Duration = Duration::from_secs(300);

/// MaxMind's own test database, in which the visitor's address is in Great Britain.
const PLACES: &str = "tests/data/maxmind-test/GeoIP2-City-Test.mmdb";

#[test]
fn the_timeline_tells_what_happened() {
    let ethogram = start();
    let summary = ethogram.directory.path().join("summary.json");
    let ended = play(&ethogram, &["--summary", &summary.display().to_string()]);
    assert!(ended.status.success(), "the story failed: {}", ended.everything());

    // The same questions once every row is sealed and nothing of this process's memory is left.
    let written = committed(&ethogram);
    wait_for("everything to be sealed", || {
        sealed_offset(&ethogram).filter(|sealed| *sealed >= written)
    });
    ethogram.kill_role("query");
    let mut questions = Command::new("node");
    let query = format!("http://{}", ethogram.at.query);
    questions.arg(tree("tests/browser/ask.mjs")).arg(query).arg(&summary);
    let ended = program::run(&mut questions, b"", PATIENCE);
    assert!(ended.status.success(), "sealed rows answer otherwise: {}", ended.everything());
}

#[test]
fn without_the_beacon_it_does_not() {
    fails(&start(), &["--no-beacon"], "no request carried a session");
}

#[test]
fn without_places_it_does_not() {
    let ethogram = Ethogram::start(&["--collector-geo-embedded=false"]);
    fails(&ethogram, &IMPATIENT, "in vain for the country of every request");
}

/// A join that lets everything go at once and takes nothing back joins what comes together, and
/// nothing else: a purchase's attempts, of one body, but not the shop's side of them.
#[test]
fn without_the_join_it_does_not() {
    let ethogram = Ethogram::start(&[
        "--query-follow-join-spans-max=0",
        "--query-follow-join-recall-spans-per-minute=0",
        &format!("--collector-geo-databases={}", tree(PLACES).display()),
    ]);
    fails(&ethogram, &IMPATIENT, "in vain for");
}

#[test]
fn without_the_seal_there_is_nothing_on_disk() {
    let ethogram = Ethogram::start(&[
        "--query-follow-store-seal-s=1000000",
        &format!("--collector-geo-databases={}", tree(PLACES).display()),
    ]);
    let ended = play(&ethogram, &[]);
    assert!(ended.status.success(), "the story failed: {}", ended.everything());
    assert!(committed(&ethogram) > 0 && sealed_offset(&ethogram).is_none());
}

/// What is missing will not come: a question that is going to be answered is so within a second.
const IMPATIENT: [&str; 2] = ["--patience-s", "15"];

/// The story fails, for this reason and no other, such as a browser that did not start.
fn fails(ethogram: &Ethogram, arguments: &[&str], reason: &str) {
    let ended = play(ethogram, arguments);
    assert!(!ended.status.success(), "nobody noticed: {}", ended.everything());
    assert!(ended.stderr.contains(reason), "{}", ended.everything());
}

fn start() -> Ethogram {
    // The shop passes the beacon's posts on, as a proxy that names the visitor's address; proxies on
    // the same machine are trusted by default.
    let places = format!("--collector-geo-databases={}", tree(PLACES).display());
    Ethogram::start(&[&places, "--query-follow-store-seal-s=1"])
}

fn play(ethogram: &Ethogram, arguments: &[&str]) -> Ended {
    let mut command = Command::new("node");
    command.arg(tree("tests/browser/run.mjs")).args(arguments);
    for (option, address) in [
        ("--collector-beacon", &ethogram.at.beacon),
        ("--otlp-http", &ethogram.at.otlp_http),
        ("--query", &ethogram.at.query),
    ] {
        command.args([option, address]);
    }
    program::run(&mut command, b"", PATIENCE)
}

/// How far the log is committed, as an offset of its one segment.
fn committed(ethogram: &Ethogram) -> u64 {
    let status = ethogram.get(&ethogram.at.admin, "/status").text();
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    status["committed"]["offset"].as_u64().expect("a position")
}

/// How far the tables on disk cover it.
fn sealed_offset(ethogram: &Ethogram) -> Option<u64> {
    let status = ethogram.get(&ethogram.at.query, "/status").text();
    let status: serde_json::Value = serde_json::from_str(&status).ok()?;
    status.pointer("/follower/state/sealed/offset")?.as_u64()
}
