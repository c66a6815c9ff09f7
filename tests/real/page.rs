//! The page in Chromium, over the demo's world: the first look of whoever tries the program.
//!
//! What is looked for is in `tests/browser/page.mjs`; here it meets the real binary.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Ethogram, tree};
use crate::program;

/// The world needs some seconds to have something to show, and a look waits for a minute at most.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn the_page_shows_regions_hops_and_a_session() {
    let ethogram = Ethogram::start(&["demo"]);
    let pictures = ethogram.directory.path().join("pictures");
    let mut command = Command::new("node");
    command.arg(tree("tests/browser/page.mjs")).arg(format!("http://{}/", ethogram.at.query));
    command.arg(std::env::var_os("ETHOGRAM_TEST_PICTURES").unwrap_or(pictures.into()));
    let ended = program::run(&mut command, b"", PATIENCE);
    assert!(ended.status.success(), "{}", ended.everything());
}
