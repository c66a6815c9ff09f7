//! How long an acknowledgement takes beside the disk's own sync, and what one core accepts.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bodies::{BATCH_SPANS, http};
use crate::client::{load, restlessly};
use crate::{Collector, Options, quantile};

/// Connections that measure what is sustainable: enough to keep one core busy and the disk's
/// commits full, few enough that nothing has to be refused.
const SUSTAINED_CONNECTIONS: usize = 32;

/// Connections of the small requests: more than are ever in flight at their rate.
const SMALL_CONNECTIONS: usize = 64;

/// Small requests a second while the latency is measured.
const SMALL_PER_SECOND: f64 = 1_000.0;

/// The time between two that are paced: as between two requests of [`SMALL_PER_SECOND`].
const PACE: Duration = Duration::from_millis(1);

/// How long the sustainable load is measured.
const PEAK: Duration = Duration::from_secs(10);

pub(crate) fn measure(options: &Options) {
    let collector = Collector::start(options);
    let small: Arc<Vec<Vec<u8>>> = Arc::new((0..4096).map(|seed| http(1, seed)).collect());
    let mut raw = raw_sync_us(&options.directory, 2_000, Duration::ZERO);
    // What is left of an acknowledgement without the log, and what a sync is after a millisecond's rest.
    let mut empty = empty_round_trip_us(&collector.otlp_http, 2_000);
    let mut paced = raw_sync_us(&options.directory, 2_000, PACE);
    let seconds = Duration::from_secs(options.seconds);
    let rate = Some(SMALL_PER_SECOND);
    let small = load(&collector.otlp_http, &small, SMALL_CONNECTIONS, rate, seconds);
    let mut seen = restlessly(small);
    raw.extend(raw_sync_us(&options.directory, 2_000, Duration::ZERO));
    paced.extend(raw_sync_us(&options.directory, 2_000, PACE));
    empty.extend(empty_round_trip_us(&collector.otlp_http, 2_000));
    let raw_ms = [0.5, 0.99].map(|share| quantile(&mut raw, share));
    for (what, times) in [
        ("raw write and fdatasync, one every millisecond", &mut paced),
        ("round trip that writes nothing, one every millisecond", &mut empty),
    ] {
        println!("{what}: p50 {:.2} ms, p99 {:.2} ms", quantile(times, 0.5), quantile(times, 0.99));
    }
    let own_ms = [0.5, 0.99].map(|share| quantile(&mut seen.accepted_us, share));
    println!("raw write and fdatasync: p50 {:.2} ms, p99 {:.2} ms", raw_ms[0], raw_ms[1]);
    println!(
        "acknowledgement at {:.0} small requests/s: p50 {:.2} ms ({:.1}x), p99 {:.2} ms ({:.1}x); {} refused, {} broken",
        seen.accepted_us.len() as f64 / seconds.as_secs_f64(),
        own_ms[0],
        own_ms[0] / raw_ms[0],
        own_ms[1],
        own_ms[1] / raw_ms[1],
        seen.delays_s.len(),
        seen.broken + seen.wrong
    );
    for (name, spans) in [("small", 1), ("of 512 spans", BATCH_SPANS)] {
        let requests: Arc<Vec<Vec<u8>>> = Arc::new((0..64).map(|seed| http(spans, seed)).collect());
        let seen =
            restlessly(load(&collector.otlp_http, &requests, SUSTAINED_CONNECTIONS, None, PEAK));
        let per_second = seen.accepted_us.len() as f64 / PEAK.as_secs_f64();
        println!(
            "one core accepts {per_second:.0} requests/s ({name}), {:.0} spans/s",
            per_second * spans as f64
        );
    }
}

/// Microseconds of a write of 512 bytes and its sync, on the disk of the log, with a rest before each.
fn raw_sync_us(directory: &Path, count: u64, rest: Duration) -> Vec<u64> {
    let path = directory.join("raw-sync");
    let file = std::fs::File::create(&path).unwrap();
    // As the log does: the space is there before, and a commit changes no length.
    file.write_all_at(&vec![1; count as usize * 512], 0).unwrap();
    file.sync_all().unwrap();
    let times = (0..count).map(|number| {
        std::thread::sleep(rest);
        let began = Instant::now();
        file.write_all_at(&[2; 512], number * 512).unwrap();
        file.sync_data().unwrap();
        began.elapsed().as_micros() as u64
    });
    let times = times.collect();
    std::fs::remove_file(path).unwrap();
    times
}

/// Microseconds of a request that the collector answers without its log, since the path is unknown.
fn empty_round_trip_us(address: &str, count: u64) -> Vec<u64> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answer = [0; 4096];
    let times = (0..count).map(|_| {
        std::thread::sleep(PACE);
        let began = Instant::now();
        stream.write_all(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        // The answer is one small piece.
        let length = stream.read(&mut answer).unwrap();
        assert!(
            answer[..length].starts_with(b"HTTP/1.1 404"),
            "what it answers to an unknown path"
        );
        began.elapsed().as_micros() as u64
    });
    times.collect()
}
