//! kill -9 of either role under load: nothing acknowledged is lost, nothing is counted twice.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::harness::otlp::{id, server_span};
use crate::harness::{Ethogram, Request, wait_for};

/// How often each role is killed while the load runs.
const KILLS: usize = 4;

/// Spans that must have been acknowledged between two kills, so that each kill meets load.
const BETWEEN_KILLS: u64 = 100;

#[test]
fn nothing_acknowledged_is_lost() {
    let ethogram = Ethogram::start(&["--query-follow-store-seal-s=1"]);
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let count = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..4_u64)
        .map(|sender| {
            let (acknowledged, count, stop) =
                (Arc::clone(&acknowledged), Arc::clone(&count), Arc::clone(&stop));
            let address = ethogram.at.otlp_http.clone();
            std::thread::spawn(move || {
                let mut number = sender * 1_000_000 + 1;
                while !stop.load(Ordering::Relaxed) {
                    let body = server_span("a", number).to_string();
                    let request = Request::post("/v1/traces")
                        .header("Content-Type", "application/json")
                        .body(body);
                    // Only what was acknowledged is promised; what was not is sent again, as a
                    // sender does, and must still be one row.
                    if request.try_send(&address).is_ok_and(|answer| answer.status == 200) {
                        acknowledged.lock().expect("no sender panics").insert(number);
                        count.fetch_add(1, Ordering::Relaxed);
                        number += 1;
                    } else {
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    for _ in 0..KILLS {
        for role in ["query", "collector"] {
            let seen = count.load(Ordering::Relaxed);
            wait_for("load", || {
                (count.load(Ordering::Relaxed) >= seen + BETWEEN_KILLS).then_some(())
            });
            ethogram.kill_role(role);
        }
    }
    let seen = count.load(Ordering::Relaxed);
    wait_for("load", || (count.load(Ordering::Relaxed) >= seen + BETWEEN_KILLS).then_some(()));
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().expect("no sender panics");
    }
    let acknowledged = acknowledged.lock().expect("no sender panics");
    let rows = wait_for("every acknowledged span", || {
        let rows =
            ethogram.try_sql("SELECT span_id, count(*) AS n FROM spans GROUP BY span_id").ok()?;
        (rows.len() >= acknowledged.len()).then_some(rows)
    });
    let known: BTreeSet<&str> = rows.iter().filter_map(|row| row["span_id"].as_str()).collect();
    let lost: Vec<_> =
        acknowledged.iter().filter(|number| !known.contains(id(**number, 16).as_str())).collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged spans are lost",
        lost.len(),
        acknowledged.len()
    );
    let doubled = rows.iter().filter(|row| row["n"] != 1).count();
    assert_eq!(doubled, 0, "spans that stand twice");
}
