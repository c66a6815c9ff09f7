//! A simulated world that has been, in a log, and the program over it.
//!
//! The world runs as fast as the machine can, with the receive times it would have had; no test
//! waits for it to happen.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Ethogram, binary, wait_for};

/// What happened, and who says what about it.
pub(crate) struct World {
    pub(crate) ethogram: Ethogram,
    pub(crate) truth: Value,
    details: Vec<Value>,
}

/// The seeds of the worlds: one, unless the environment names others, such as `1,2,3`.
pub(crate) fn seeds() -> Vec<u64> {
    let named = std::env::var("ETHOGRAM_TEST_WORLDS").unwrap_or_else(|_| String::from("3"));
    named.split(',').map(|seed| seed.trim().parse().expect("seeds are numbers")).collect()
}

impl World {
    /// Lets `scenario` happen with these options, starts both roles over its log, and waits until
    /// every row of it is visible and everything that was committed has been read.
    pub(crate) fn new(scenario: &str, seed: u64, options: &[&str], arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the data");
        let data = to_log(&directory);
        let options: Vec<&str> = options.iter().copied().chain([data.as_str()]).collect();
        let (truth, details) = simulate(directory.path(), scenario, seed, &options);
        Self::over(directory, truth, details, arguments)
    }

    /// The same without its details, which of a long world would fill the memory.
    pub(crate) fn without_details(
        scenario: &str,
        seed: u64,
        options: &[&str],
        arguments: &[&str],
    ) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the data");
        let data = to_log(&directory);
        let options: Vec<&str> = options.iter().copied().chain([data.as_str()]).collect();
        let truth = happen(directory.path(), scenario, seed, &options);
        Self::over(directory, truth, Vec::new(), arguments)
    }

    fn over(directory: TempDir, truth: Value, details: Vec<Value>, arguments: &[&str]) -> Self {
        let ethogram = Ethogram::over(directory, arguments);
        let world = Self { ethogram, truth, details };
        world.wait_until_read();
        world
    }

    /// The same in real time, over sockets.
    pub(crate) fn live(scenario: &str, seed: u64, options: &[&str]) -> Self {
        let ethogram = Ethogram::start(&[]);
        let at = [
            format!("--beacon=http://{}", ethogram.at.beacon),
            format!("--otlp-grpc=http://{}", ethogram.at.otlp_grpc),
            format!("--otlp-http=http://{}", ethogram.at.otlp_http),
        ];
        let options: Vec<&str> =
            options.iter().copied().chain(at.iter().map(String::as_str)).collect();
        let (truth, details) = simulate(ethogram.directory.path(), scenario, seed, &options);
        let world = Self { ethogram, truth, details };
        world.wait_until_read();
        world
    }

    /// Waits until everything is visible, as after a restart.
    pub(crate) fn wait_until_read(&self) {
        let query = &self.ethogram.at.query;
        wait_for("the follower to catch up", || {
            let status: Value =
                serde_json::from_slice(&self.ethogram.get(query, "/status").body).ok()?;
            (status.pointer("/follower/state/caught_up")? == true).then_some(())
        });
        let emitted = |what: &str| self.truth["emitted"][what].as_i64().expect("a count");
        let delivered = |lane: &Value| lane["spans_acknowledged"].as_i64().expect("a count");
        let services = self.truth["delivery"]["services"].as_object().expect("lanes").values();
        let spans = emitted("browser_spans") + services.map(delivered).sum::<i64>();
        self.ethogram.wait_for_value("SELECT count(*) FROM spans", spans);
        let events = emitted("browser_events");
        self.ethogram.wait_for_value("SELECT count(*) FROM events", events);
    }

    /// The details of one kind: `send`, `request` or `session`.
    pub(crate) fn details(&self, what: &str) -> impl Iterator<Item = &Value> {
        self.details.iter().filter(move |detail| detail["what"] == what)
    }

    /// The sum of a count over all regions.
    pub(crate) fn total(&self, count: &str) -> i64 {
        let regions = self.truth["regions"].as_array().expect("a list of regions").iter();
        regions.map(|region| region[count].as_i64().expect("a count")).sum()
    }
}

/// A word of an object.
pub(crate) fn word<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_else(|| panic!("{key} of {object}"))
}

/// A whole number of an object.
pub(crate) fn number(object: &Value, key: &str) -> i64 {
    object[key].as_i64().unwrap_or_else(|| panic!("{key} of {object}"))
}

/// The option that puts a world into the log of the data in this directory.
fn to_log(directory: &TempDir) -> String {
    format!("--to-log={}", directory.path().join("data").display())
}

/// Lets a world happen; the truth of it, and its details.
fn simulate(directory: &Path, scenario: &str, seed: u64, options: &[&str]) -> (Value, Vec<Value>) {
    let details = directory.join("details.jsonl");
    let option = format!("--details-file={}", details.display());
    let options: Vec<&str> = options.iter().copied().chain([option.as_str()]).collect();
    let truth = happen(directory, scenario, seed, &options);
    let lines = std::fs::read_to_string(details).expect("the details were written");
    let details = lines.lines().map(|line| serde_json::from_str(line).expect("a line of JSON"));
    (truth, details.collect())
}

/// Lets a world happen; the truth of it.
fn happen(directory: &Path, scenario: &str, seed: u64, options: &[&str]) -> Value {
    let truth = directory.join("truth.json");
    let output = Command::new(binary())
        .args(["simulate", scenario, "--seed", &seed.to_string()])
        .args(options)
        .arg("--truth-file")
        .arg(&truth)
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(truth).expect("the truth was written");
    let truth: Value = serde_json::from_str(&text).expect("the truth is JSON");
    assert_eq!(truth["drained"], true, "the world did not come to rest");
    let lanes = truth["delivery"]["services"].as_object().expect("lanes by service").values();
    for lane in lanes.chain([&truth["delivery"]["beacon"]]) {
        for fate in ["dropped", "refused", "unsent", "spans_rejected"] {
            assert_eq!(lane[fate], 0, "{}", truth["delivery"]);
        }
    }
    truth
}
