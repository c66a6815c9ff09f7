//! A real Prometheus scrapes both roles every second and is asked what alerts would ask.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Ethogram, Request, tree, wait_for};
use crate::program;

/// Counters take settled facts only, by default after 20 s; the test need not wait for that.
const SETTLE: &str = "--query-follow-join-settle-s=2";

/// `promtool` reads one file.
const PROMTOOL_PATIENCE: Duration = Duration::from_secs(30);

/// What must become true, as questions that have an answer exactly then.
const QUESTIONS: &[(&str, &str)] = &[
    ("both roles to be up", "count(up == 1) == 2"),
    ("settled sends", "sum(ethogram_sends_total) > 0"),
    ("settled calls", "sum(ethogram_logical_calls_total) > 0"),
    ("requests that went well", "sum(ethogram_requests_total{outcome=\"ok\"}) > 0"),
    ("reloads", "sum(ethogram_refreshes_total) > 0"),
    ("amplification of a hop", "count(ethogram_amplification_ratio >= 1) > 0"),
    ("the histogram of durations", "count(ethogram_request_duration_seconds_bucket) > 0"),
    (
        "a percentile from it",
        "histogram_quantile(0.99, sum by (le) (ethogram_request_duration_seconds_bucket)) > 0",
    ),
    ("fresh answers", "abs(time() - ethogram_complete_until_seconds) < 10"),
    (
        "the request that was refused",
        "ethogram_collector_refused_total{reason=\"undecodable\",door=\"otlp_http\"} == 1",
    ),
];

#[test]
fn prometheus_reads_both_roles() {
    let ethogram = Ethogram::start(&["demo", SETTLE]);
    let bad =
        Request::post("/v1/traces").header("Content-Type", "application/json").body("{not json");
    assert_eq!(bad.send(&ethogram.at.otlp_http).status, 400);
    let prometheus =
        Prometheus::start(&[("query", &ethogram.at.query), ("collector", &ethogram.at.admin)]);
    for (what, question) in QUESTIONS {
        wait_for(what, || prometheus.is_true(question).then_some(()));
    }
    assert_eq!(prometheus.faults(), Vec::<String>::new());
    // `up` is 0 after any scrape that failed, for a syntax error as for a slow answer.
    let always = "count(min_over_time(up[1h]) == 1) == 2";
    assert!(prometheus.is_true(always), "a scrape has failed: {:?}", prometheus.ask("up[1h]"));
    check_metrics(&ethogram.get(&ethogram.at.query, "/metrics").body);
    check_metrics(&ethogram.get(&ethogram.at.admin, "/metrics").body);
}

#[test]
fn the_alert_rules_are_rules() {
    let folder = std::fs::read_dir(tree("dashboards/prometheus")).expect("the folder of rules");
    let mut files: Vec<_> = folder.map(|entry| entry.expect("a readable entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "yml"));
    assert!(!files.is_empty(), "there are no rules");
    let ended = program::run(
        Command::new("promtool").args(["check", "rules"]).args(&files),
        b"",
        PROMTOOL_PATIENCE,
    );
    assert!(ended.status.success(), "{}", ended.everything());
}

/// `promtool` also finds fault with names, units and missing help.
fn check_metrics(text: &[u8]) {
    let ended =
        program::run(Command::new("promtool").args(["check", "metrics"]), text, PROMTOOL_PATIENCE);
    let text = String::from_utf8_lossy(text);
    assert!(ended.status.success(), "{}\n--- metrics\n{text}", ended.everything());
}

/// A running Prometheus with its data in a directory of its own; both end with it.
struct Prometheus {
    directory: tempfile::TempDir,
    address: String,
    process: Child,
}

impl Prometheus {
    /// Starts it on a free port with one job for each name and address.
    fn start(targets: &[(&str, &String)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the data");
        let jobs = targets.iter().map(|(name, address)| {
            format!("  - job_name: {name}\n    static_configs: [{{ targets: ['{address}'] }}]\n")
        });
        let config = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\nscrape_configs:\n{}",
            jobs.collect::<String>()
        );
        let config_file = directory.path().join("prometheus.yml");
        std::fs::write(&config_file, config).expect("the directory takes it");
        let log = std::fs::File::create(directory.path().join("log")).expect("a file for the log");
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config_file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus: {error}; tests/run installs it"));
        let mut prometheus = Self { directory, address: String::new(), process };
        prometheus.address = wait_for("Prometheus to listen", || prometheus.listening());
        prometheus
    }

    /// The address it says it is listening on.
    fn listening(&mut self) -> Option<String> {
        if let Some(status) = self.process.try_wait().expect("it can be asked") {
            panic!("Prometheus ended with {status}");
        }
        let log = self.log();
        // The last line may be half written.
        let whole = &log[..log.rfind('\n')?];
        let line = whole.lines().find(|line| line.contains("msg=\"Listening on\""))?;
        line.split("address=").nth(1).map(|address| String::from(address.trim()))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn get(&self, path: &str) -> Value {
        let answer = Request::get(path).try_send(&self.address);
        let body = answer.map(|answer| answer.body).unwrap_or_default();
        serde_json::from_slice(&body).unwrap_or_default()
    }

    /// The answer to a question in PromQL.
    fn ask(&self, question: &str) -> Value {
        self.get(&format!("/api/v1/query?query={}", percent_encoded(question)))
    }

    /// Whether a comparison leaves anything.
    fn is_true(&self, question: &str) -> bool {
        let answer = self.ask(question);
        assert_ne!(answer["status"], "error", "{question}: {answer}");
        answer["data"]["result"].as_array().is_some_and(|result| !result.is_empty())
    }

    /// What went wrong with the last scrape of each target.
    fn faults(&self) -> Vec<String> {
        let answer = self.get("/api/v1/targets?state=active");
        let targets = answer["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
        assert_eq!(targets.len(), 2, "{answer}");
        let wrong =
            targets.iter().filter(|target| target["health"] != "up" || target["lastError"] != "");
        wrong.map(|target| format!("{}: {}", target["scrapeUrl"], target["lastError"])).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let targets = self.get("/api/v1/targets?state=active");
            eprintln!("Prometheus says:\n{}\nof its targets:\n{targets:#}", self.log());
        }
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
