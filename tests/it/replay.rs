//! A log that is read from its start: whatever its length, each role holds what its limits allow.
//!
//! The limits are small, so that a short log meets each of them. In the long form the rows of the log are
//! a dozen times what the query role may hold, and anything that grew with them would show. What a limit
//! allows is reckoned as ARCHITECTURE.md does.

use serde_json::Value;

use crate::harness::{Ethogram, is_held, memory_bytes};
use crate::world::World;

/// How long the world goes on, in seconds: some thousand spans, and in the long form two million.
const WORLD_S: u64 = 30;
const LONG_WORLD_S: u64 = 9_000;

/// The least that is read in the long form.
const LONG_LOG_BYTES_MIN: u64 = 256 << 20;

/// Log that is read at once: a sixteenth of a short world's.
const READ_BYTES: u64 = 64 << 10;

/// Rows that are sealed together: a short world's fill several heads. A long world's are larger, since
/// each costs some dozen syncs.
const SEAL_BYTES: u64 = 1 << 20;
const LONG_SEAL_BYTES: u64 = 8 << 20;

/// Files are merged up to this size: a larger one would be written again and again for so small seals.
const MERGE_BYTES_MAX: u64 = 1 << 20;

/// What may be open: less than half of what is within the twenty seconds until traces settle, and of
/// the sessions there are.
const SPANS_MAX: u64 = 2_000;
const SESSIONS_MAX: u64 = 100;

/// Second deliveries are known for a minute, in less than a MiB, as long as a short world is.
const DUPLICATE_WINDOW_S: u64 = 60;

/// Heads in memory at most: one that is filled, one that waits for it, and one as it is written.
const HEADS: u64 = 3;

/// What a byte of the log, where rows are compressed, is in memory as rows.
const ROW_BYTES_OF_LOG_BYTE: u64 = 24;

/// An open span of usual size, its share of a checkpoint included, and an open session.
const OPEN_SPAN_BYTES: u64 = 3_300;
const OPEN_SESSION_BYTES: u64 = 1_024;

/// What a role holds whatever these limits are. The query role's is the writing of Parquet above all:
/// each of some fifty columns may have a dictionary and a page of a MiB each, read and written.
const QUERY_BYTES: u64 = 256 << 20;
const COLLECTOR_BYTES: u64 = 64 << 20;

fn seal_bytes() -> u64 {
    if is_held() { LONG_SEAL_BYTES } else { SEAL_BYTES }
}

fn query_bytes_max() -> u64 {
    QUERY_BYTES
        + HEADS * seal_bytes()
        + READ_BYTES * ROW_BYTES_OF_LOG_BYTE
        + SPANS_MAX * OPEN_SPAN_BYTES
        + SESSIONS_MAX * OPEN_SESSION_BYTES
}

/// The most that a role has held, without the pages of the program's file: those are the system's.
fn most_bytes(ethogram: &Ethogram, role: &str) -> u64 {
    let process = ethogram.role(role).expect("it runs");
    let of = |field| memory_bytes(process, field).expect("the kernel says");
    of("VmHWM").saturating_sub(of("RssFile"))
}

/// What went beyond a limit, by its name in the counters.
fn dropped(ethogram: &Ethogram, reason: &str) -> u64 {
    let sample = format!(r#"ethogram_follower_rows_dropped_total{{reason="{reason}"}} "#);
    let metrics = ethogram.get(&ethogram.at.query, "/metrics").text();
    let count = metrics.lines().find_map(|line| line.strip_prefix(&sample)?.parse().ok());
    count.unwrap_or(0)
}

#[test]
fn a_log_of_any_length_is_read_within_the_budget_of_each_role() {
    let duration = if is_held() { LONG_WORLD_S } else { WORLD_S };
    let limits = [
        format!("--query-follow-read-bytes-max={READ_BYTES}"),
        format!("--query-follow-store-seal-bytes={}", seal_bytes()),
        format!("--query-follow-store-merge-bytes-max={MERGE_BYTES_MAX}"),
        format!("--query-follow-join-spans-max={SPANS_MAX}"),
        format!("--query-follow-join-sessions-max={SESSIONS_MAX}"),
        format!("--query-follow-join-duplicate-window-s={DUPLICATE_WINDOW_S}"),
    ];
    let limits = limits.each_ref().map(String::as_str);
    let world = World::without_details("steady", 1, &[&format!("--duration={duration}s")], &limits);
    let ethogram = &world.ethogram;

    let status: Value =
        serde_json::from_slice(&ethogram.get(&ethogram.at.query, "/status").body).expect("JSON");
    let state = |name: &str| status["follower"]["state"][name].as_u64().expect("a count");
    println!("{} MiB of log, {} seals", state("bytes") >> 20, state("seals"));
    for (role, bytes_max) in [("collector", COLLECTOR_BYTES), ("query", query_bytes_max())] {
        let most = most_bytes(ethogram, role);
        println!("{role}: {} MiB of {}", most >> 20, bytes_max >> 20);
        assert!(most <= bytes_max, "the {role} held {most} bytes of {bytes_max}");
    }
    // There was more of everything than its limit.
    assert!(!is_held() || state("bytes") >= LONG_LOG_BYTES_MIN, "a log of {}", state("bytes"));
    let head = state("head_bytes_max");
    let head_max = 2 * seal_bytes() + READ_BYTES * ROW_BYTES_OF_LOG_BYTE;
    assert!(head <= head_max, "a head of {head} bytes of {head_max}");
    assert!(state("seals") > HEADS, "{} seals", state("seals"));
    for reason in ["settled_early", "session_closed_early"] {
        assert!(dropped(ethogram, reason) > 0, "none was {reason}");
    }
}
