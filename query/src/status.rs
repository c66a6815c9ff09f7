//! `/status`: how the query role is, for people and for the tests; and whether it is ready.
//!
//! It is not `/metrics`: names here may change, those there may not.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ethogram_timeline::log::Position;
use ethogram_timeline::store::{Snapshot, Table};
use serde_json::{Map, Value, json};

use crate::format::rfc3339;
use crate::http::Surface;
use crate::published::FollowerStatus;

/// Answers with everything known.
pub(crate) async fn get(State(surface): State<Arc<Surface>>) -> Json<Value> {
    let published = surface.published();
    let now_ns = surface.clock.now_ns();
    let snapshot = &published.snapshot;
    Json(json!({
        "role": "query",
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": seconds(now_ns - surface.started_ns),
        "ready": surface.unready().is_none(),
        "complete_until": complete_until(snapshot),
        "follower": {
            "alive": surface.follower_alive(),
            "lag_seconds": lag_seconds(snapshot, now_ns),
            "lag_bytes": lag_bytes(&published.follower),
            "state": &published.follower,
        },
        "log_time": {
            "oldest_sealed": oldest(snapshot).map(rfc3339),
            "sealed_until": (published.follower.sealed_ns != 0)
                .then(|| rfc3339(published.follower.sealed_ns)),
            "duplicates_known_since": rfc3339(duplicates_since_ns(&published.follower, snapshot)),
        },
        "snapshot": { "version": snapshot.version, "tables": tables(snapshot) },
        "statements": {
            "running": surface.engine.running(),
            "memory_bytes": surface.engine.memory_bytes(),
            "memory_bytes_max": surface.engine.limits().memory_bytes,
        },
    }))
}

/// How far the answers reach; null before the first record.
fn complete_until(snapshot: &Snapshot) -> Value {
    match snapshot.complete_until_ns {
        0 => Value::Null,
        ns => Value::String(rfc3339(ns)),
    }
}

/// From when on second deliveries of spans are found, in nanoseconds since the epoch: by what is
/// remembered of them, or by taking their traces back.
fn duplicates_since_ns(follower: &FollowerStatus, snapshot: &Snapshot) -> i64 {
    let recalled = snapshot.complete_until_ns - follower.recall_reach_s * 1_000_000_000;
    follower.duplicate_spans.since_ns.min(recalled).max(0)
}

/// The earliest receive time of a sealed row.
fn oldest(snapshot: &Snapshot) -> Option<i64> {
    let tables = Table::ALL.into_iter().map(|table| snapshot.table(table));
    tables.flat_map(|view| &view.parts).map(|view| view.part.received_ns_min).min()
}

/// Seconds between now and what the answers reach. The collector ticks every second, so an idle
/// system lags by a second or two; before the first record there is nothing to lag behind.
pub(crate) fn lag_seconds(snapshot: &Snapshot, now_ns: i64) -> f64 {
    match snapshot.complete_until_ns {
        0 => 0.0,
        ns => seconds(now_ns - ns),
    }
}

/// Bytes that are committed and not yet read. `None` where they cannot be told: across segments
/// only the log knows their sizes, and the lag in seconds says more.
pub(crate) fn lag_bytes(follower: &FollowerStatus) -> Option<u64> {
    let committed: &Position = follower.committed.as_ref()?;
    let read: &Position = follower.position.as_ref()?;
    (committed.log_id == read.log_id && committed.segment == read.segment)
        .then(|| committed.offset.saturating_sub(read.offset))
}

fn tables(snapshot: &Snapshot) -> Value {
    let described = Table::ALL.into_iter().map(|table| {
        let view = snapshot.table(table);
        let parts = view.parts.iter().map(|view| &view.part);
        let part_rows: u64 = parts.clone().map(|part| part.rows).sum();
        let part_bytes: u64 = parts.map(|part| part.bytes).sum();
        let deleted_of_parts = view.parts.iter().filter_map(|view| view.deleted.as_ref());
        let deleted: u64 = deleted_of_parts.map(|deleted| u64::from(deleted.len())).sum();
        let head_rows: usize = view
            .head
            .iter()
            .map(|head| {
                let deleted = head.deleted.as_ref().map_or(0, |deleted| deleted.len() as usize);
                head.batch.num_rows().saturating_sub(deleted)
            })
            .sum();
        let value = json!({
            "parts": view.parts.len(),
            "part_rows": part_rows - deleted.min(part_rows),
            "part_bytes": part_bytes,
            "head_rows": head_rows,
        });
        (String::from(table.name()), value)
    });
    Value::Object(described.collect::<Map<_, _>>())
}

fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}
