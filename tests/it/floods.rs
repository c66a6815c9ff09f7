//! HTTP/2 as those write it who want harm: each connection ends by itself, costs little, and others
//! are served meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::frames::{
    ACK, CONTINUATION, Connection, END_HEADERS, END_STREAM, HEADERS, PING, RESET, SETTINGS, frame,
    head,
};
use crate::harness::{Ethogram, Request};
use crate::served::{self, posts};
use crate::watch::Watch;

/// Streams or frames of a flood.
const FLOOD: u32 = 100_000;

/// What one connection may add to the peak of memory.
const GROWN_BYTES_MAX: u64 = 32 << 20;

/// HTTP/2's ENHANCE_YOUR_CALM and CANCEL.
const CALM: u32 = 11;
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// Writes until everything is written or the other end has had enough; how much was taken.
async fn pour(
    connection: &mut Connection,
    mut next: impl FnMut(&mut Connection) -> Vec<u8>,
) -> u32 {
    for poured in 0..FLOOD {
        let bytes = next(connection);
        let wait = Duration::from_secs(5);
        let written = tokio::time::timeout(wait, connection.stream.write_all(&bytes)).await;
        if !matches!(written, Ok(Ok(()))) {
            return poured;
        }
    }
    FLOOD
}

/// Streams begun and reset at once, as fast as they can be written.
async fn rapid_reset(connection: &mut Connection) -> u32 {
    pour(connection, |connection| {
        let number = connection.number();
        let mut bytes = frame(HEADERS, END_HEADERS, number, &head("/v1/traces"));
        bytes.extend(frame(RESET, 0, number, &CANCEL));
        bytes
    })
    .await
}

/// Each stream is reset only after the server has begun to serve it: a ping between says so.
async fn patient_reset(connection: &mut Connection) -> u32 {
    for poured in 0..FLOOD {
        let number = connection.number();
        let begin = frame(HEADERS, END_HEADERS, number, &head("/v1/traces"));
        for bytes in [begin, frame(RESET, 0, number, &CANCEL)] {
            let bytes = [bytes, frame(PING, 0, 0, &[0; 8])].concat();
            if connection.stream.write_all(&bytes).await.is_err() {
                return poured;
            }
            loop {
                match connection.receive().await {
                    Some((PING, flags, _)) if flags & ACK != 0 => break,
                    Some(_) => {}
                    None => return poured,
                }
            }
        }
    }
    FLOOD
}

/// A head that never ends.
async fn continuation(connection: &mut Connection) -> u32 {
    let number = connection.number();
    let begin = frame(HEADERS, END_STREAM, number, &head("/ethogram.js"));
    connection.stream.write_all(&begin).await.expect("it is read");
    pour(connection, |_| frame(CONTINUATION, 0, number, &[])).await
}

/// Questions whose answers nobody reads.
async fn pings(connection: &mut Connection) -> u32 {
    pour(connection, |_| frame(PING, 0, 0, &[1; 8])).await
}

async fn settings(connection: &mut Connection) -> u32 {
    pour(connection, |_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])).await
}

/// Answers that may not be sent: the window of every stream is zero.
async fn closed_window(connection: &mut Connection) -> u32 {
    for _ in 0..100 {
        let number = connection.number();
        let ask = frame(HEADERS, END_HEADERS | END_STREAM, number, &head("/ethogram.js"));
        connection.stream.write_all(&ask).await.expect("it is read");
    }
    100
}

async fn flood(name: &str, address: &str) -> (u32, Option<u32>) {
    let no_window = [(4, 0)];
    let settings_of_ours: &[(u16, u32)] = if name == "closed window" { &no_window } else { &[] };
    let mut connection = Connection::open(address, settings_of_ours).await;
    let poured = match name {
        "rapid reset" => rapid_reset(&mut connection).await,
        "patient reset" => patient_reset(&mut connection).await,
        "continuation" => continuation(&mut connection).await,
        "pings" => pings(&mut connection).await,
        "settings" => settings(&mut connection).await,
        _ => closed_window(&mut connection).await,
    };
    (poured, connection.until_its_end().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_end_and_cost_little() {
    let ethogram =
        Ethogram::start(&["--collector-limits-first-request-s=3", "--collector-limits-idle-s=3"]);
    // What floods, at which door, and whether the protocol's own limits must have stopped it at once.
    for (name, at_once) in [
        ("rapid reset", true),
        ("patient reset", true),
        ("continuation", true),
        ("pings", false),
        ("settings", false),
        ("closed window", false),
    ] {
        let door = match name {
            "rapid reset" | "patient reset" => &ethogram.at.otlp_http,
            _ => &ethogram.at.beacon,
        };
        let watch = Watch::role(&ethogram, "collector");
        let address = door.clone();
        let flooding = tokio::spawn(async move { flood(name, &address).await });
        let mut served = 0;
        while !flooding.is_finished() {
            assert_eq!(
                Request::get("/ethogram.js").send(&ethogram.at.beacon).status,
                200,
                "{name}"
            );
            served += 1;
        }
        let (poured, said) = flooding.await.expect("no panic");
        let (grown, used) = (watch.grown_bytes(), watch.used_ms());
        eprintln!(
            "{name}: {poured} taken, GOAWAY {said:?}, {} KiB more resident, {used} ms of CPU with \
             {served} others served",
            grown >> 10
        );
        assert!(grown <= GROWN_BYTES_MAX, "{name}: {grown} bytes more");
        assert!(!at_once || poured < FLOOD, "{name}: all of it was taken");
        assert!(name != "rapid reset" || matches!(said, None | Some(CALM)), "{said:?}");
        assert_eq!(Request::get("/ethogram.js").send(&ethogram.at.beacon).status, 200, "{name}");
    }
    let metrics = ethogram.get(&ethogram.at.admin, "/metrics").text();
    for (reason, door) in [("broken_off", "otlp_http"), ("idle", "beacon")] {
        let sample = format!(
            "ethogram_collector_connections_ended_total{{reason=\"{reason}\",door=\"{door}\"}} 1\n"
        );
        assert!(metrics.contains(&sample), "{sample}{metrics}");
    }
}

/// How often the attacker comes again: one core could otherwise do nothing but attack, and what others
/// feel would be the want of a core.
const ATTACK_EVERY: Duration = Duration::from_millis(20);

/// Attacks and posts beside them, at least: a hundredth is told from some hundred.
const ATTACKS_MIN: u32 = 10;
const POSTS_MIN: u64 = 500;

/// Others are served beside an attacker who comes again whenever it was thrown out.
#[tokio::test(flavor = "multi_thread")]
async fn others_do_not_feel_a_rapid_reset() {
    let ethogram =
        Ethogram::start(&["--collector-limits-first-request-s=3", "--collector-limits-idle-s=3"]);
    let address = ethogram.at.otlp_http.clone();
    let quiet = posts(&address, 1, |number| number <= POSTS_MIN);
    let (is_over, attacks) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
    let (over, attacked, door) = (Arc::clone(&is_over), Arc::clone(&attacks), address.clone());
    let attacking = tokio::spawn(async move {
        let mut turn = tokio::time::interval(ATTACK_EVERY);
        while !over.load(Ordering::Relaxed) {
            turn.tick().await;
            let mut connection = Connection::open(&door, &[]).await;
            assert!(rapid_reset(&mut connection).await < FLOOD, "all of it was taken");
            let said = connection.until_its_end().await;
            assert!(matches!(said, None | Some(CALM)), "{said:?}");
            attacked.fetch_add(1, Ordering::Relaxed);
        }
    });
    let first = 10_000;
    let beside = posts(&address, first, |number| {
        let more = number < first + POSTS_MIN || attacks.load(Ordering::Relaxed) < ATTACKS_MIN;
        more && !attacking.is_finished()
    });
    is_over.store(true, Ordering::Relaxed);
    attacking.await.expect("no panic");
    served::hold("rapid reset", &quiet, &beside);
}
