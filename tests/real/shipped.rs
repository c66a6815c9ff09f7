//! The script as it is shipped: pinned by its hash, on a page under a strict policy.
//!
//! The page and its questions are `tests/browser/shipped.mjs`; the tag is the one that
//! `ethogram snippet` prints for the collector it meets here.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Ethogram, binary, tree};
use crate::program;

/// Three short visits, and questions that each wait for a minute at most.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn the_printed_tag_works_under_a_strict_policy() {
    let ethogram = Ethogram::start(&[]);
    let mut snippet = Command::new(binary());
    let origin = format!("http://{}", ethogram.at.beacon);
    snippet.current_dir(ethogram.directory.path()).args(["snippet", "--origin", &origin]);
    let printed = program::run(&mut snippet, b"", PATIENCE);
    assert!(printed.status.success(), "{}", printed.everything());
    let file = ethogram.directory.path().join("snippet.html");
    std::fs::write(&file, &printed.stdout).expect("a file in a directory of our own");

    let mut command = Command::new("node");
    command.arg(tree("tests/browser/shipped.mjs")).arg("--snippet").arg(&file);
    command.args(["--collector-beacon", &ethogram.at.beacon, "--query", &ethogram.at.query]);
    let ended = program::run(&mut command, b"", PATIENCE);
    assert!(ended.status.success(), "{}", ended.everything());
}
