//! What one core of the collector accepts, how long an acknowledgement takes beside the disk's own
//! sync, and what remains of both under ten times the load.
//!
//!     cargo bench --workspace --bench load -- latency  [--seconds 30] [--binary FILE] [--directory DIR]
//!     cargo bench --workspace --bench load -- overload [--seconds 60] [--binary FILE] [--directory DIR]
//!
//! The collector runs alone on one core, this generator on another (`taskset`), on a machine that
//! should do nothing else. Arrivals are scheduled in advance and do not wait for answers, as long as
//! one of a thousand connections is idle; how late they are sent is told. The figures are for people,
//! who know the machine; `overload --hold` fails where a goal is missed.

#![allow(clippy::unwrap_used, reason = "a measurement that fails may end as it likes")]

#[path = "load/bodies.rs"]
mod bodies;
#[path = "load/client.rs"]
mod client;
#[path = "load/grpc.rs"]
mod grpc;
#[path = "load/latency.rs"]
mod latency;
#[path = "load/overload.rs"]
mod overload;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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
        "latency" => latency::measure(&options),
        "overload" => overload::measure(&options),
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
    otlp_http: String,
    otlp_grpc: String,
    beacon: String,
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
        let address = |door: &str| ready[door].as_str().unwrap().to_string();
        let (otlp_http, otlp_grpc) = (address("otlp_http"), address("otlp_grpc"));
        Self { process, directory, otlp_http, otlp_grpc, beacon: address("beacon") }
    }

    /// A line of the kernel's account of it, in mebibytes.
    fn status_mib(&self, field: &str) -> u64 {
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

/// A quantile of times, in milliseconds.
fn quantile(values: &mut [u64], share: f64) -> f64 {
    values.sort_unstable();
    let place = ((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1));
    values.get(place).copied().unwrap_or(0) as f64 / 1000.0
}
