//! What one core of the collector accepts, how long an acknowledgement takes beside the disk's own
//! sync, and what remains of both under ten times the load.
//!
//!     cargo bench --bench load -- latency  [--seconds 30] [--binary FILE] [--directory DIR]
//!     cargo bench --bench load -- overload [--seconds 60] [--binary FILE] [--directory DIR]
//!
//! The collector runs alone on one core, this generator on another (`taskset`), on a machine that
//! should do nothing else. Arrivals are scheduled in advance and do not wait for answers, as long as
//! one of a thousand connections is idle; how late they are sent is told. The figures are for people,
//! who know the machine; `overload --hold` fails where a goal is missed.

#![allow(clippy::unwrap_used, reason = "a measurement that fails may end as it likes")]

#[path = "load/client.rs"]
mod client;

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use client::load;

/// Connections of the generator.
const CONNECTIONS: usize = 1_000;

/// Connections that measure what is sustainable: enough to keep one core busy and the disk's
/// commits full, few enough that nothing has to be refused.
const SUSTAINED_CONNECTIONS: usize = 32;

/// Small requests a second while the latency is measured.
const SMALL_PER_SECOND: f64 = 1_000.0;

/// Spans of a large request: what SDKs send at once.
const BATCH_SPANS: usize = 512;

/// How long the sustainable load is measured.
const PEAK: Duration = Duration::from_secs(10);

struct Options {
    mode: String,
    seconds: u64,
    binary: PathBuf,
    directory: PathBuf,
    hold: bool,
}

fn main() {
    let options = options();
    // This process and every thread of it on one core, the collector on the other.
    let own = std::process::id().to_string();
    run("taskset", &["--cpu-list", "--pid", "0", &own]);
    match options.mode.as_str() {
        "latency" => latency(&options),
        "overload" => overload(&options),
        other => panic!("there is no {other}: latency or overload"),
    }
}

fn options() -> Options {
    let mut options = Options {
        mode: String::from("latency"),
        seconds: 30,
        binary: PathBuf::from(env!("CARGO_BIN_EXE_ethogram")),
        directory: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
        hold: false,
    };
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => options.seconds = arguments.next().unwrap().parse().unwrap(),
            "--binary" => options.binary = arguments.next().unwrap().into(),
            "--directory" => options.directory = arguments.next().unwrap().into(),
            "--hold" => options.hold = true,
            _ => options.mode = argument,
        }
    }
    options
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

/// A collector on the second core, with a data directory of its own.
struct Collector {
    process: Child,
    directory: PathBuf,
    address: String,
}

impl Collector {
    fn start(options: &Options) -> Self {
        let directory = options.directory.join(format!("load-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&directory));
        std::fs::create_dir_all(&directory).unwrap();
        let ready = directory.join("ready.json");
        let process = Command::new("taskset")
            .args(["--cpu-list", "1"])
            .arg(&options.binary)
            .args(["collector", "--collector-limits-connections-per-address-max=4096"])
            .args(["--collector-log-budget-bytes=34359738368", "--log-level=warn"])
            .args(
                ["admin", "beacon", "otlp-grpc", "otlp-http"]
                    .map(|at| format!("--{at}-listen=127.0.0.1:0")),
            )
            .arg("--data-dir")
            .arg(directory.join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .spawn()
            .unwrap();
        let text = loop {
            if let Ok(text) = std::fs::read_to_string(&ready) {
                break text;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let ready: serde_json::Value = serde_json::from_str(&text).unwrap();
        let address = ready["otlp_http"].as_str().unwrap().to_string();
        Self { process, directory, address }
    }

    fn status(&self, field: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// A whole request, ready to be written.
fn request(spans: usize, seed: u64) -> Vec<u8> {
    let attribute = |key: &str, value: &str| KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.into())) }),
        ..KeyValue::default()
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let span = |number: usize| Span {
        trace_id: (u128::from(seed) << 64 | number as u128 | 1 << 127).to_be_bytes().to_vec(),
        span_id: (seed << 20 | number as u64 | 1 << 63).to_be_bytes().to_vec(),
        name: String::from("GET /products/{id}"),
        kind: 2,
        start_time_unix_nano: now.as_nanos() as u64 - 20_000_000,
        end_time_unix_nano: now.as_nanos() as u64,
        attributes: vec![
            attribute("http.request.method", "GET"),
            attribute("http.route", "/products/{id}"),
            attribute("url.path", "/products/42"),
            attribute("http.response.status_code", "200"),
            attribute("server.address", "shop.example"),
            attribute(
                "user_agent.original",
                "Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0.0.0 Safari/537.36",
            ),
        ],
        ..Span::default()
    };
    let scope_spans =
        vec![ScopeSpans { spans: (0..spans).map(span).collect(), ..ScopeSpans::default() }];
    let body = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    };
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&body.encode_to_vec()).unwrap();
    let (body, coding) = if spans == 1 {
        (body.encode_to_vec(), "identity")
    } else {
        (gzip.finish().unwrap(), "gzip")
    };
    let mut whole = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\n\
         Content-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    whole.extend(body);
    whole
}

fn quantile(values: &mut [u64], share: f64) -> f64 {
    values.sort_unstable();
    let place = ((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1));
    values.get(place).copied().unwrap_or(0) as f64 / 1000.0
}

/// Milliseconds of a write of 512 bytes and its sync, on the disk of the log.
fn raw_sync_us(directory: &Path, count: u64) -> Vec<u64> {
    let path = directory.join("raw-sync");
    let file = std::fs::File::create(&path).unwrap();
    // As the log does: the space is there before, and a commit changes no length.
    file.write_all_at(&vec![1; count as usize * 512], 0).unwrap();
    file.sync_all().unwrap();
    let times = (0..count).map(|number| {
        let began = Instant::now();
        file.write_all_at(&[2; 512], number * 512).unwrap();
        file.sync_data().unwrap();
        began.elapsed().as_micros() as u64
    });
    let times = times.collect();
    std::fs::remove_file(path).unwrap();
    times
}

fn latency(options: &Options) {
    let collector = Collector::start(options);
    let small: Arc<Vec<Vec<u8>>> = Arc::new((0..4096).map(|seed| request(1, seed)).collect());
    let mut raw = raw_sync_us(&options.directory, 2_000);
    let seconds = Duration::from_secs(options.seconds);
    let mut seen = load(&collector.address, &small, 64, Some(SMALL_PER_SECOND), seconds);
    raw.extend(raw_sync_us(&options.directory, 2_000));
    let raw_ms = [0.5, 0.99].map(|share| quantile(&mut raw, share));
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
        let requests: Arc<Vec<Vec<u8>>> =
            Arc::new((0..64).map(|seed| request(spans, seed)).collect());
        let seen = load(&collector.address, &requests, SUSTAINED_CONNECTIONS, None, PEAK);
        let per_second = seen.accepted_us.len() as f64 / PEAK.as_secs_f64();
        println!(
            "one core accepts {per_second:.0} requests/s ({name}), {:.0} spans/s",
            per_second * spans as f64
        );
    }
}

/// The goals of [`overload`], by what it prints.
const GOODPUT_MIN: f64 = 0.9;
const ACCEPTED_P99_MS_MAX: f64 = 250.0;
/// Bodies in flight (256 MiB), the log's queue (64 MiB), and as much as the collector has at rest.
const RESIDENT_MIB_MAX: u64 = 448;

fn overload(options: &Options) {
    let collector = Collector::start(options);
    let requests: Arc<Vec<Vec<u8>>> =
        Arc::new((0..64).map(|seed| request(BATCH_SPANS, seed)).collect());
    let mut peak = load(&collector.address, &requests, SUSTAINED_CONNECTIONS, None, PEAK);
    let sustained = peak.accepted_us.len() as f64 / PEAK.as_secs_f64();
    println!(
        "sustained: {sustained:.0} requests/s of {BATCH_SPANS} spans, p99 {:.0} ms, resident {} MiB",
        quantile(&mut peak.accepted_us, 0.99),
        collector.status("VmHWM")
    );
    let time = Duration::from_secs(options.seconds);
    let mut seen = load(&collector.address, &requests, CONNECTIONS, Some(10.0 * sustained), time);
    let offered = seen.late_us.len() as f64 / time.as_secs_f64();
    let goodput = seen.accepted_us.len() as f64 / time.as_secs_f64();
    let worst = (0..options.seconds)
        .map(|second| seen.accepted_at_s.iter().filter(|at| **at == second).count())
        .min()
        .unwrap_or(0);
    println!(
        "offered: {offered:.0} requests/s, {:.1}x; late by p50 {:.1} ms, p99 {:.1} ms",
        offered / sustained,
        quantile(&mut seen.late_us, 0.5),
        quantile(&mut seen.late_us, 0.99)
    );
    println!(
        "goodput: {goodput:.0} requests/s, {:.0} % of the peak, {worst} in the worst second; accepted p50 {:.0} ms, p99 {:.0} ms",
        100.0 * goodput / sustained,
        quantile(&mut seen.accepted_us, 0.5),
        quantile(&mut seen.accepted_us, 0.99)
    );
    let mean = seen.delays_s.iter().sum::<u64>() as f64 / seen.delays_s.len().max(1) as f64;
    let square = |delay: &u64| (*delay as f64 - mean).powi(2);
    let variance =
        seen.delays_s.iter().map(square).sum::<f64>() / seen.delays_s.len().max(1) as f64;
    println!(
        "refused: {} in p99 {:.0} ms, asked to wait {:?} to {:?} s, deviation {:.1} s; {} without a delay, {} broken; resident {} MiB at most",
        seen.delays_s.len(),
        quantile(&mut seen.refused_us, 0.99),
        seen.delays_s.iter().min(),
        seen.delays_s.iter().max(),
        variance.sqrt(),
        seen.wrong,
        seen.broken,
        collector.status("VmHWM")
    );
    let p99_ms = quantile(&mut seen.accepted_us, 0.99);
    let resident = collector.status("VmHWM");
    let is_met = goodput >= GOODPUT_MIN * sustained
        && p99_ms <= ACCEPTED_P99_MS_MAX
        && resident <= RESIDENT_MIB_MAX
        && seen.wrong == 0;
    drop(collector);
    assert!(is_met || !options.hold, "a goal is missed");
}
