//! The beacon beside OpenTelemetry's browser SDK on one page, in both load orders.
//!
//! The page and its questions are `tests/browser/together.mjs`; here they meet the real binary.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Ethogram, tree};
use crate::program;

/// Two visits of a few seconds, and questions that each wait for a minute at most.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn two_scripts_on_one_page_make_one_attempt_of_a_fetch() {
    let ethogram = Ethogram::start(&[]);
    let mut command = Command::new("node");
    command.arg(tree("tests/browser/together.mjs"));
    for (option, address) in [
        ("--collector-beacon", &ethogram.at.beacon),
        ("--otlp-http", &ethogram.at.otlp_http),
        ("--query", &ethogram.at.query),
    ] {
        command.args([option, address]);
    }
    let ended = program::run(&mut command, b"", PATIENCE);
    assert!(ended.status.success(), "{}", ended.everything());
}
