//! One log, one answer: recent rows, sealed rows, and rows after a crash and a replay are equal,
//! and so are counters and histograms.

use serde_json::Value;

use crate::harness::{Request, tree, wait_for};
use crate::world::World;

/// Keeps everything in memory.
const RECENT: [&str; 2] = ["--query-follow-store-seal-s=1000000", "--query-follow-publish-ms=50"];

/// Seals with every second of log time, and reads little at a time, so that a kill meets work.
const SEALED: [&str; 3] = [
    "--query-follow-store-seal-s=1",
    "--query-follow-publish-ms=1",
    "--query-follow-read-bytes-max=20000",
];

/// Every row and every column; what the views make of them; and whole histograms.
const QUESTIONS: [&str; 18] = [
    "SELECT * FROM spans",
    "SELECT * FROM events",
    "SELECT * FROM requests",
    "SELECT * FROM sessions",
    "SELECT * FROM metrics",
    "SELECT * FROM timeline",
    "SELECT * FROM amplification",
    "SELECT * FROM abandonment",
    "SELECT * FROM exits",
    "SELECT * FROM patience",
    "SELECT * FROM refreshes",
    "SELECT * FROM session_bursts",
    "SELECT * FROM page_records",
    "SELECT * FROM retry_policies",
    "SELECT * FROM coverage",
    "SELECT region, hdr(total_us) AS h FROM requests GROUP BY region",
    "SELECT region, hdr_censored(waited_us, outcome IN ('ok', 'failed')) AS h FROM requests GROUP BY region",
    "SELECT callee, route, hdr(duration_us) AS h FROM spans WHERE is_send GROUP BY callee, route",
];

/// The answers, each sorted, since rows have no order; and the counters that speak of what happened,
/// not of the process that says so.
fn answers(world: &World) -> Vec<Vec<String>> {
    let rows = |question: &&str| {
        let mut rows: Vec<String> =
            world.ethogram.sql(question).iter().map(Value::to_string).collect();
        rows.sort_unstable();
        rows
    };
    let mut all: Vec<Vec<String>> = QUESTIONS.iter().map(rows).collect();
    let counted = [
        "ethogram_sends_total",
        "ethogram_first_attempts_total",
        "ethogram_logical_calls_total",
        "ethogram_hedges_total",
        "ethogram_refreshes_total",
        "ethogram_requests_total",
        "ethogram_request_duration_seconds",
    ];
    let text = wait_for("counters", || {
        let answer = world.ethogram.get(&world.ethogram.at.query, "/metrics");
        (answer.status == 200).then(|| answer.text())
    });
    let lines = text.lines().filter(|line| counted.iter().any(|name| line.starts_with(name)));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort_unstable();
    assert!(lines.len() > 10, "{text}");
    all.push(lines);
    all
}

fn same(expected: &[Vec<String>], found: &[Vec<String>], when: &str) {
    let names = QUESTIONS.iter().copied().chain(["/metrics"]);
    for ((name, expected), found) in names.zip(expected).zip(found) {
        // The worlds are too short for many calm minutes.
        let may_be_empty = name == "SELECT * FROM session_bursts";
        assert!(!expected.is_empty() || may_be_empty, "{name} answers nothing");
        let differs = expected.iter().zip(found).find(|(expected, found)| expected != found);
        if let Some((expected, found)) = differs {
            panic!("{when}: {name}\n{expected}\n{found}");
        }
        assert_eq!(expected.len(), found.len(), "{when}: {name}");
    }
}

fn wait_until_sealed(world: &World) {
    wait_for("every row to be sealed", || {
        let answer = world.ethogram.get(&world.ethogram.at.query, "/status");
        let status: Value = serde_json::from_slice(&answer.body).ok()?;
        let tables = status.pointer("/follower/state/sealed_tables")?.as_array()?.clone();
        let rows = |name: &str| {
            tables.iter().find(|table| table[0] == name).and_then(|table| table[2].as_i64())
        };
        let spans = world.truth["emitted"]["browser_spans"].as_i64()?
            + world.truth["emitted"]["service_spans"].as_i64()?;
        (rows("spans")? >= spans && rows("requests")? >= world.total("requests")).then_some(())
    });
}

#[test]
fn recent_sealed_and_replayed_rows_are_equal() {
    check(
        "retry-storm",
        &["--duration", "12s", "--rate", "0.7", "--duplicate", "0.2", "--reorder"],
    );
}

/// With everything that a world can do besides.
#[test]
fn so_are_those_of_tabs_proxies_hedges_and_expired_tokens() {
    let habits = "tabs,proxies,hedges,challenges";
    check(
        "region-outage",
        &["--duration", "12s", "--rate", "0.5", "--delay", "2s", "--with", habits],
    );
}

/// Where one session in a hundred is told, and the others are summaries.
#[test]
fn so_are_those_of_one_session_in_a_hundred() {
    check(
        "bad-deploy",
        &["--duration", "40s", "--rate", "2", "--sample-ratio", "0.01", "--reorder"],
    );
}

/// What no world sends: data points, of each kind one.
fn send_metrics(world: &World) {
    let body = std::fs::read(tree("tests/data/otlp-examples/metrics.json"));
    let request = Request::post("/v1/metrics").header("Content-Type", "application/json");
    let request = request.body(body.expect("a file of the tree"));
    assert_eq!(request.send(&world.ethogram.at.otlp_http).status, 200);
    world.ethogram.wait_for_value("SELECT count(*) FROM metrics", 4);
}

fn check(scenario: &str, options: &[&str]) {
    let mut world = World::new(scenario, 3, options, &RECENT);
    send_metrics(&world);
    let expected = answers(&world);
    // Nothing was sealed, so the log is read from its beginning once more, and now in parts; each
    // life but the last ends while it reads or seals.
    world.ethogram.kill_and_restart_with(&SEALED);
    for _ in 0..4 {
        world.ethogram.kill_and_restart();
    }
    world.wait_until_read();
    same(&expected, &answers(&world), "after kills and a replay");
    wait_until_sealed(&world);
    same(&expected, &answers(&world), "sealed");
    world.ethogram.kill_and_restart();
    world.wait_until_read();
    same(&expected, &answers(&world), "sealed, after another start");
}
