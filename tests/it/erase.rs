//! Erasure: durable at the reply, gone from SQL, gone from every file, binding for what arrives
//! later and after a restart.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::otlp::{beacon_request, server_span};
use crate::harness::{Ethogram, Request, is_held, wait_for};

/// How long after the reply an erased session may still be seen.
const VISIBLE_MAX: Duration = Duration::from_secs(1);

fn post(ethogram: &Ethogram, session: &str, number: u64) {
    let body = beacon_request(session, number, number).to_string();
    let request = Request::post("/v1/ethogram?key=local").header("Content-Type", "text/plain");
    assert_eq!(request.body(body).send(&ethogram.at.beacon).status, 204);
}

fn rows_of(ethogram: &Ethogram, session: &str) -> Option<u64> {
    let sql = format!(
        "SELECT (SELECT count(*) FROM spans WHERE session_id = '{session}') \
         + (SELECT count(*) FROM requests WHERE session_id = '{session}') \
         + (SELECT count(*) FROM sessions WHERE session_id = '{session}') AS n"
    );
    ethogram.try_sql(&sql).ok()?.first()?["n"].as_u64()
}

#[test]
fn a_session_is_erased_everywhere_and_stays_so() {
    let mut ethogram = Ethogram::start(&["--query-follow-store-seal-s=1"]);
    for number in 0..10 {
        post(&ethogram, "keep", 100 + number);
        post(&ethogram, "gone", 200 + number);
    }
    wait_for("both sessions", || {
        (rows_of(&ethogram, "gone")? == 21 && rows_of(&ethogram, "keep")? == 21).then_some(())
    });
    wait_for("some of it to be sealed", || {
        let status = ethogram.get(&ethogram.at.query, "/status").text();
        let status: serde_json::Value = serde_json::from_str(&status).ok()?;
        (status.pointer("/follower/state/seals")?.as_u64()? > 1).then_some(())
    });
    let answer = Request::new("DELETE", "/api/v1/sessions/gone").send(&ethogram.at.admin);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let said: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(said["erased"], json!({ "app": "default", "session_id": "gone" }));

    let is_gone = |ethogram: &Ethogram| {
        wait_for("the session to be gone", || (rows_of(ethogram, "gone")? == 0).then_some(()));
        wait_for("the other to be there", || (rows_of(ethogram, "keep")? >= 21).then_some(()));
    };
    is_gone(&ethogram);
    post(&ethogram, "gone", 300);
    post(&ethogram, "keep", 300);
    wait_for("a later arrival", || (rows_of(&ethogram, "keep")? == 23).then_some(()));
    is_gone(&ethogram);
    ethogram.kill_and_restart();
    wait_for("the query role to answer", || rows_of(&ethogram, "keep").filter(|n| *n == 23));
    is_gone(&ethogram);
}

/// What begins everything that zstd wrote: parts of records, pages of tables, checkpoints.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A block that holds nothing.
const NOTHING: [u8; 4096] = [0; 4096];

/// Whether `bytes` hold `text`, as they are or within anything compressed that begins in them.
fn holds(bytes: &[u8], text: &[u8]) -> bool {
    // A log's segment is mostly reserved space.
    let mut bytes = bytes;
    while bytes.ends_with(&NOTHING) {
        bytes = &bytes[..bytes.len() - NOTHING.len()];
    }
    let has = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    has(bytes)
        || (0..bytes.len().saturating_sub(4)).any(|at| {
            bytes[at..].starts_with(&ZSTD_MAGIC)
                && zstd::stream::read::Decoder::new(&bytes[at..]).is_ok_and(|decoder| {
                    let mut inflated = Vec::new();
                    // What follows the frame is no frame; what came before it is there all the same.
                    drop(decoder.single_frame().take(64 << 20).read_to_end(&mut inflated));
                    has(&inflated)
                })
        })
}

/// The files below a directory that hold a text.
fn files_with(directory: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if std::fs::read(&path).is_ok_and(|bytes| holds(&bytes, text.as_bytes())) {
            found.push(path);
        }
    }
    found
}

/// A service's span of a session, with a note that stands nowhere else.
fn post_note(ethogram: &Ethogram, session: &str, number: u64) {
    post_with(ethogram, number, &[("session.id", session), ("shop.note", &note(session))]);
}

fn post_with(ethogram: &Ethogram, number: u64, pairs: &[(&str, &str)]) {
    let mut body = server_span("shop", number);
    let attributes = body.pointer_mut("/resourceSpans/0/scopeSpans/0/spans/0/attributes");
    let attributes = attributes.and_then(|value| value.as_array_mut()).expect("attributes");
    for (key, value) in pairs {
        attributes.push(json!({ "key": key, "value": { "stringValue": value } }));
    }
    let request = Request::post("/v1/traces").header("Content-Type", "application/json");
    assert_eq!(request.body(body.to_string()).send(&ethogram.at.otlp_http).status, 200);
}

fn note(session: &str) -> String {
    format!("note-of-{session}-7d1f0c")
}

fn dropped(ethogram: &Ethogram) -> u64 {
    let page = ethogram.get(&ethogram.at.query, "/metrics").text();
    let line =
        page.lines().find(|line| line.contains("rows_dropped_total{reason=\"erased_span\"}"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn erased_bytes_leave_the_disk() {
    let mut ethogram = Ethogram::start(&["--query-follow-store-seal-s=1"]);
    let sessions = ["first", "second", "keep"];
    for (index, session) in (0..).zip(sessions) {
        for number in 0..20 {
            post_note(&ethogram, session, 1_000 * (index + 1) + number);
            post(&ethogram, session, 10_000 * (index + 1) + number);
        }
    }
    let data = ethogram.directory.path().join("data");
    for session in sessions {
        // The log, the tables and the join's state: what is asserted below could fail.
        for ending in ["log", "parquet", "checkpoint"] {
            wait_for(ending, || {
                let files = files_with(&data, &note(session));
                files
                    .iter()
                    .any(|file| file.extension().is_some_and(|end| end == ending))
                    .then_some(())
            });
        }
    }
    let erase = |ethogram: &Ethogram, session: &str| {
        let path = format!("/api/v1/sessions/{session}");
        assert_eq!(Request::new("DELETE", &path).send(&ethogram.at.admin).status, 200);
    };
    let is_gone = |session: &str| {
        wait_for("every byte of the session to be gone", || {
            files_with(&data, &note(session)).is_empty().then_some(())
        });
    };
    erase(&ethogram, "first");
    let erased = Instant::now();
    wait_for("no row", || (rows_of(&ethogram, "first")? == 0).then_some(()));
    let visible = erased.elapsed();
    is_gone("first");
    println!("invisible after {visible:.1?}, off the disk after {:.1?}", erased.elapsed());
    assert!(!is_held() || visible <= VISIBLE_MAX, "still seen after {visible:?}");
    // The reply is the promise, whatever happens behind it.
    erase(&ethogram, "second");
    ethogram.kill_and_restart();
    is_gone("second");
    for session in ["first", "second"] {
        wait_for("no row", || (rows_of(&ethogram, session)? == 0).then_some(()));
    }
    assert!(!files_with(&data, &note("keep")).is_empty());
    assert!(rows_of(&ethogram, "keep").is_some_and(|rows| rows > 0));

    for round in 1..=2 {
        let before = dropped(&ethogram);
        post_note(&ethogram, "first", 90_000 + round);
        wait_for("a later arrival to be counted", || (dropped(&ethogram) > before).then_some(()));
        assert_eq!(rows_of(&ethogram, "first"), Some(0));
        ethogram.kill_and_restart();
        wait_for("the query role to have caught up", || {
            (ethogram.get(&ethogram.at.query, "/readyz").status == 200).then_some(())
        });
    }
    assert_eq!(rows_of(&ethogram, "first"), Some(0));
}

#[test]
fn a_user_goes_with_every_session() {
    let ethogram = Ethogram::start(&["--query-follow-store-seal-s=1"]);
    // Of each session only one row names its user.
    for (session, user, first) in [("a", "ann", 100), ("b", "ann", 200), ("c", "bob", 300)] {
        let named = [("session.id", session), ("user.id", user), ("shop.note", &note(session))];
        post_with(&ethogram, first, &named);
        (1..10).for_each(|number| post_note(&ethogram, session, first + number));
    }
    let rows = "SELECT count(*) AS n FROM spans WHERE session_id IS NOT NULL";
    ethogram.wait_for_value(rows, 30);
    wait_for("some of it to be sealed", || {
        let status = ethogram.get(&ethogram.at.query, "/status").text();
        let status: serde_json::Value = serde_json::from_str(&status).ok()?;
        status["log_time"]["sealed_until"].as_str()?;
        (status.pointer("/snapshot/tables/spans/part_rows")?.as_u64()? > 0).then_some(())
    });
    let answer = Request::new("DELETE", "/api/v1/users/ann").send(&ethogram.at.admin);
    assert_eq!(answer.status, 200, "{}", answer.text());
    ethogram.wait_for_value(rows, 10);
    let data = ethogram.directory.path().join("data");
    for session in ["a", "b"] {
        wait_for("no row", || (rows_of(&ethogram, session)? == 0).then_some(()));
        wait_for("no byte", || files_with(&data, &note(session)).is_empty().then_some(()));
    }
    assert!(!files_with(&data, &note("c")).is_empty());
    // A later row of such a session does not name the user.
    let before = dropped(&ethogram);
    post_note(&ethogram, "b", 400);
    wait_for("a later arrival to be counted", || (dropped(&ethogram) > before).then_some(()));
    ethogram.wait_for_value(rows, 10);
}
