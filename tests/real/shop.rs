//! A shop, its visitor in Chromium, and the question whether the timeline tells what happened.
//!
//! The story and its questions are `tests/browser/run.mjs`; here it meets the real binary, once as
//! it is and once without the beacon, which must fail: a test that cannot fail proves nothing.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Ethogram, tree};
use crate::program::{self, Ended};

/// The story takes half a minute, and each of its conditions waits for a minute at most.
const PATIENCE: Duration = Duration::from_secs(300);

/// MaxMind's own test database, in which the visitor's address is in Great Britain.
const PLACES: &str = "tests/data/maxmind-test/GeoIP2-City-Test.mmdb";

#[test]
fn the_timeline_tells_what_happened() {
    let ended = play(&[]);
    assert!(ended.status.success(), "the story failed: {}", ended.everything());
}

#[test]
fn without_the_beacon_it_does_not() {
    let ended = play(&["--no-beacon"]);
    assert!(
        !ended.status.success(),
        "nobody noticed that there was no beacon: {}",
        ended.everything()
    );
    // For this reason and no other, such as a browser that did not start.
    assert!(ended.stderr.contains("no request carried a session"), "{}", ended.everything());
}

fn play(arguments: &[&str]) -> Ended {
    let places = format!("--collector-geo-databases={}", tree(PLACES).display());
    // The shop passes the beacon's posts on, as a proxy that names the visitor's address; proxies on
    // the same machine are trusted by default.
    let ethogram = Ethogram::start(&[&places]);
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
