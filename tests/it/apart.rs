//! The query role is away: the collector goes on until the log's budget, refuses beyond it, and
//! takes data again by itself when the query role has caught up.

use std::path::Path;

use crate::harness::load::{Door, Load, check_once};
use crate::harness::{Addresses, Request, Role, ask, wait_for};

/// A log of a megabyte: full after seconds.
const BUDGET_BYTES: u64 = 1 << 20;
const SEGMENT_BYTES: u64 = 64 << 10;

/// Bodies that must be acknowledged once the query role is back: more than the log holds, so that
/// its segments must have been removed.
const AFTERWARDS: u64 = 4_000;

/// Refusals that are looked at for jitter: of so many evenly drawn from 1 to 30 s, all thirty
/// delays but for a few are among them.
const REFUSALS: u64 = 400;

fn log_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory.join("data/log")).expect("the log is there");
    let segments =
        entries.flatten().filter(|entry| entry.path().extension().is_some_and(|end| end == "log"));
    // A segment may be removed between the two calls.
    segments.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

#[test]
fn a_query_role_that_is_away_costs_nothing_until_the_budget() {
    let directory = tempfile::tempdir().expect("a directory");
    let budget = format!("--collector-log-budget-bytes={BUDGET_BYTES}");
    let segment = format!("--collector-log-segment-bytes={SEGMENT_BYTES}");
    let collector = Role::start(
        "collector",
        directory.path(),
        &[
            &budget,
            &segment,
            "--collector-log-record-bytes-max=65536",
            "--collector-otlp-body-bytes-max=60000",
        ],
    );
    let at = Addresses {
        admin: collector.at("admin"),
        beacon: collector.at("beacon"),
        otlp_grpc: collector.at("otlp_grpc"),
        otlp_http: collector.at("otlp_http"),
        query: String::new(),
    };
    let doors = [Door::Beacon, Door::HttpSpans, Door::HttpEvents, Door::HttpMetrics, Door::Grpc];
    let doors = doors.map(|door| (door, 4));
    // Who watches the collector needs nobody else.
    for (path, says) in [
        ("/healthz", "ok"),
        ("/readyz", "ready"),
        ("/status", "\"committed\""),
        ("/metrics", "ethogram_collector_"),
    ] {
        let answer = Request::get(path).send(&at.admin);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.text().contains(says), "{path}: {}", answer.text());
    }
    let load = Load::start(&at, &doors);
    wait_for("the log to be full", || {
        (load.delays_s().values().sum::<u64>() >= REFUSALS).then_some(())
    });
    let (until_full, full_bytes) = (load.acknowledged(), log_bytes(directory.path()));
    assert!(full_bytes <= BUDGET_BYTES, "{full_bytes} bytes of log");
    assert!(full_bytes + 2 * SEGMENT_BYTES > BUDGET_BYTES, "refused at {full_bytes} bytes");
    let delays = load.delays_s();
    assert!(delays.keys().all(|delay| (1..=30).contains(delay)), "{delays:?}");
    assert!(delays.len() >= 20, "no jitter: {delays:?}");

    let query = Role::start("query", directory.path(), &["--query-follow-store-seal-s=1"]);
    wait_for("data to be taken again", || {
        (load.acknowledged() >= until_full + AFTERWARDS).then_some(())
    });
    assert!(log_bytes(directory.path()) <= BUDGET_BYTES);
    check_once(&query.at("query"), &load.stop());
    let losses = ask(&query.at("query"), "SELECT * FROM losses").expect("an answer");
    assert!(losses.is_empty(), "{losses:?}");
    println!(
        "{until_full} bodies until the log was full, {} refusals",
        delays.values().sum::<u64>()
    );
}
