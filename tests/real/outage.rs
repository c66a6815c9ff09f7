//! A hundred beacons and a collector that is away for ten minutes.
//!
//! The pages, their clocks and the questions are `tests/browser/outage.mjs`; here they meet the
//! real binary.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Ethogram, tree};
use crate::program;

/// Some twenty thousand requests through one browser, on a busy machine of two cores.
const PATIENCE: Duration = Duration::from_secs(900);

#[test]
fn an_outage_of_the_collector_makes_no_storm_and_loses_nothing() {
    let ethogram = Ethogram::start(&[]);
    let mut command = Command::new("node");
    command.arg(tree("tests/browser/outage.mjs"));
    command.args(["--collector-beacon", &ethogram.at.beacon, "--query", &ethogram.at.query]);
    let ended = program::run(&mut command, b"", PATIENCE);
    assert!(ended.status.success(), "{}", ended.everything());
}
