//! A shop, its visitor in Chromium, and the question whether the timeline tells what happened.
//!
//! The story and its questions are `tests/browser/run.mjs`; here it meets the real binary, once as
//! it is and once without the beacon, which must fail: a test that cannot fail proves nothing.

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
    let ended = play(&start(), &["--no-beacon"]);
    assert!(
        !ended.status.success(),
        "nobody noticed that there was no beacon: {}",
        ended.everything()
    );
    // For this reason and no other, such as a browser that did not start.
    assert!(ended.stderr.contains("no request carried a session"), "{}", ended.everything());
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
