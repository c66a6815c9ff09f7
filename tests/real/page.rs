//! The page in Chromium, over the demo's world: the first look of whoever tries the program, and whether
//! its figures are those that SQL answers.
//!
//! What is looked for is in `tests/browser/page.mjs` and `tests/browser/figures.mjs`; here it meets the
//! real binary.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::harness::{Ethogram, tree, wait_for};
use crate::program;

/// The world needs some seconds to have something to show, and a look waits for a minute at most.
const PATIENCE: Duration = Duration::from_secs(300);

/// What there must be to compare, and how many rows of it.
const COMPARED: [(&str, usize); 3] = [
    (
        "SELECT region FROM requests WHERE layer = 'browser' GROUP BY region \
         HAVING count(total_us) > 3",
        3,
    ),
    ("SELECT caller, service, route FROM amplification GROUP BY caller, service, route", 3),
    (
        "SELECT app, session_id FROM timeline WHERE session_id <> '' GROUP BY app, session_id \
         HAVING sum(CASE WHEN layer = 'user' THEN 1 ELSE 0 END) > 0 \
         AND sum(CASE WHEN layer = 'browser' THEN 1 ELSE 0 END) > 0 \
         AND sum(CASE WHEN layer = 'service' THEN 1 ELSE 0 END) > 0",
        3,
    ),
];

#[test]
fn the_page_shows_regions_hops_and_a_session() {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let ethogram = Ethogram::start(&["demo"]);
    let pictures = ethogram.directory.path().join("pictures");
    let mut command = look("tests/browser/page.mjs", &ethogram);
    command.arg(std::env::var_os("ETHOGRAM_TEST_PICTURES").unwrap_or(pictures.into()));
    command.arg(started.as_millis().to_string());
    let ended = program::run(&mut command, b"", PATIENCE);
    assert!(ended.status.success(), "{}", ended.everything());
    println!("{}", ended.stdout);
}

#[test]
fn the_page_s_figures_are_those_of_sql() {
    let mut ethogram = Ethogram::start(&["demo"]);
    wait_for("something of everything to compare", || {
        let count = |sql: &str| ethogram.try_sql(sql).map_or(0, |rows| rows.len());
        COMPARED.into_iter().all(|(sql, least)| count(sql) >= least).then_some(())
    });
    // The world ends and its data stay: only what does not grow can be compared exactly.
    ethogram.kill_and_restart_with(&[]);
    let mut command = look("tests/browser/figures.mjs", &ethogram);
    let ended = program::run(&mut command, b"", PATIENCE);
    assert!(ended.status.success(), "{}", ended.everything());
}

/// The look of that name, at the page of this program.
fn look(driver: &str, ethogram: &Ethogram) -> Command {
    let mut command = Command::new("node");
    command.arg(tree(driver)).arg(format!("http://{}/", ethogram.at.query));
    command
}
