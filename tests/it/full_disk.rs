//! Somebody else fills the disk while data comes in: new data is refused at every door with a spread
//! delay, everything else goes on, and when there is room again so does the rest, by itself.
//!
//! The disk is real, if small, and the program's own; a file of the test takes what room it has. What a
//! full disk does to single writes is shown on the simulated one, in `timeline`.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::load::{Door, Load, Met, check_once};
use crate::harness::{Ethogram, is_held, wait_for};

/// The disk. Its size matters little, since it is filled whatever it is: it holds a log of some segments,
/// some small files of rows and the 4 MiB that the store keeps for a full disk. It is less than the
/// oldest rows of which some stay (`retain_bytes_min`, 1 GiB), so none may make room for new ones.
const DISK_BYTES: u64 = 32 << 20;

/// Small, so that the open segment, whose room is reserved, is full after a second.
const SEGMENT: &str = "--collector-log-segment-bytes=65536";

/// Soon, so that seals meet the full disk; not so soon that nothing is unsealed when it fills.
const SEAL: &str = "--query-follow-store-seal-s=2";

/// A light load, over all doors: nothing but the disk gives a reason to refuse.
const DOORS: [(Door, u64); 4] =
    [(Door::Beacon, 2), (Door::HttpSpans, 2), (Door::HttpEvents, 2), (Door::Grpc, 2)];
const PER_SECOND: f64 = 100.0;

/// What each door says: an HTTP status, or gRPC's UNAVAILABLE.
const REFUSED_WITH: [(Door, i32); 4] =
    [(Door::Beacon, 503), (Door::HttpSpans, 503), (Door::HttpEvents, 503), (Door::Grpc, 14)];

/// Refusals of each door that are waited for: of four hundred delays, evenly drawn from 1 to 30 s, all
/// thirty but for a few are among them.
const REFUSALS: u64 = 100;

/// Bodies before the disk is full that no seal has seen yet, and after there is room again.
const UNSEALED: u64 = 50;
const AFTERWARDS: u64 = 200;

/// Within which time it takes data again, where times are held.
const RESUMED_MAX: Duration = Duration::from_secs(5);

/// A file that is none of the program's.
struct Filler {
    path: PathBuf,
    file: File,
}

impl Filler {
    fn new(path: PathBuf) -> Self {
        let file = File::create(&path).expect("the test may write to the disk");
        Self { path, file }
    }

    /// Takes all the room that there is now. What the program gives up afterwards is taken next time.
    fn fill(&mut self) {
        let piece = [0_u8; 64 << 10];
        for _ in 0..=DISK_BYTES / piece.len() as u64 {
            if let Err(error) = self.file.write_all(&piece) {
                assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
                return;
            }
        }
        panic!("{} is on a disk that is larger than the one for this test", self.path.display());
    }

    fn remove(self) {
        std::fs::remove_file(&self.path).expect("it can be removed");
    }
}

/// What the follower says of itself.
fn follower(ethogram: &Ethogram, name: &str) -> Option<Value> {
    let status = ethogram.get(&ethogram.at.query, "/status");
    let status: Value = serde_json::from_slice(&status.body).ok()?;
    status.pointer(&format!("/follower/state/{name}")).cloned()
}

fn seals(ethogram: &Ethogram) -> u64 {
    wait_for("the follower's status", || follower(ethogram, "seals")?.as_u64())
}

#[test]
fn a_full_disk_refuses_and_resumes_by_itself() {
    let ethogram = Ethogram::on_disk_of(DISK_BYTES, &[SEGMENT, SEAL]);
    let roles = ethogram.roles();
    let load = Load::start_paced(&ethogram.at, &DOORS, PER_SECOND);
    wait_for("rows to be sealed", || (seals(&ethogram) > 0).then_some(()));
    wait_until_acknowledged(&load, UNSEALED);

    let mut filler = Filler::new(ethogram.data("filler"));
    wait_until_refused(&load, &mut filler);
    wait_for("a seal to fail", || {
        filler.fill();
        (follower(&ethogram, "seal_failures")?.as_u64()? > 0).then_some(())
    });
    check_answers(&ethogram, &load);
    // It is full still: what answered had no room.
    wait_until_refused(&load, &mut filler);

    let sealed = seals(&ethogram);
    let began = Instant::now();
    filler.remove();
    wait_until_acknowledged(&load, 1);
    let took = began.elapsed();
    wait_until_acknowledged(&load, AFTERWARDS);
    wait_for("rows to be sealed again", || {
        let is_well = follower(&ethogram, "seal_error")?.is_null();
        (is_well && seals(&ethogram) > sealed).then_some(())
    });

    let met = Arc::clone(&load.met);
    check_once(&ethogram.at.query, &load.stop());
    check_refusals(&ethogram, &met);
    assert_eq!(follower(&ethogram, "files_let_go"), Some(Value::from(0)), "rows made room");
    let losses = ethogram.sql("SELECT * FROM losses");
    assert!(losses.is_empty(), "{losses:?}");
    assert_eq!(ethogram.roles(), roles, "a role ended");
    println!("data is taken {took:.1?} after there is room");
    assert!(!is_held() || took <= RESUMED_MAX, "data is taken only after {took:?}");
}

/// Waits until so many more bodies are acknowledged.
fn wait_until_acknowledged(load: &Load, more: u64) {
    let before = load.acknowledged();
    wait_for("data to be taken", || (load.acknowledged() >= before + more).then_some(()));
}

/// Waits until every door has refused so many more bodies, while the filler takes what becomes free:
/// segments that were passed before the disk was full are removed a little later.
fn wait_until_refused(load: &Load, filler: &mut Filler) {
    let before = load.refusals();
    wait_for("every door to refuse", || {
        filler.fill();
        let now = load.refusals();
        let more =
            |said: &(Door, i32)| now.get(said).unwrap_or(&0) - before.get(said).unwrap_or(&0);
        REFUSED_WITH.iter().all(|said| more(said) >= REFUSALS).then_some(())
    });
}

/// Both roles are healthy, and all that was acknowledged can be asked for.
fn check_answers(ethogram: &Ethogram, load: &Load) {
    for address in [&ethogram.at.admin, &ethogram.at.query] {
        for path in ["/healthz", "/readyz"] {
            let answer = ethogram.get(address, path);
            assert_eq!(answer.status, 200, "{path} at {address}: {}", answer.text());
        }
    }
    // Each body is a row at least.
    let bodies = load.acknowledged();
    let sql = "SELECT (SELECT count(*) FROM spans) + (SELECT count(*) FROM events) AS n";
    wait_for("what was acknowledged to be visible", || {
        (ethogram.try_sql(sql).ok()?[0]["n"].as_u64()? >= bodies).then_some(())
    });
}

/// The refusals were those of a full disk, asked for delays that are spread, and were counted.
fn check_refusals(ethogram: &Ethogram, met: &Met) {
    let delays = met.delays_s.lock().expect("nobody panics with it");
    assert!(delays.keys().all(|delay| (1..=30).contains(delay)), "{delays:?}");
    assert!(delays.len() >= 20, "no jitter: {delays:?}");
    let refusals = met.refusals.lock().expect("nobody panics with it");
    let said: Vec<(Door, i32)> = refusals.keys().copied().collect();
    assert_eq!(said, REFUSED_WITH);
    assert_eq!(met.broken.load(Ordering::Relaxed), 0, "connections broke");
    let metrics = ethogram.get(&ethogram.at.admin, "/metrics").text();
    let counted: Vec<&str> =
        metrics.lines().filter(|line| line.contains("collector_refused_total{")).collect();
    for (name, doors) in [
        ("beacon", [Door::Beacon].as_slice()),
        ("otlp_http", &[Door::HttpSpans, Door::HttpEvents]),
        ("otlp_grpc", &[Door::Grpc]),
    ] {
        let told = refusals.iter().filter(|((door, _), _)| doors.contains(door));
        let told: u64 = told.map(|(_, number)| number).sum();
        let sample = format!(
            r#"ethogram_collector_refused_total{{reason="disk_full",door="{name}"}} {told}"#
        );
        assert!(counted.contains(&sample.as_str()), "{sample} is wanted of {counted:#?}");
    }
}
