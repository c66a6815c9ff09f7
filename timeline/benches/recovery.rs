//! How long a log of 256 MiB takes to open after a crash, and to be read from its start.
//!
//! `cargo bench --workspace --bench recovery`; with `-- --hold` it fails where a log opens later than
//! it may. The files are those of a process that was killed: copied while the writer has them open,
//! the newest segment with its reserved space behind the last frame. "Without committed" is the worst
//! case, when the file that says how far the log is committed is lost too and every segment is
//! scanned.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ethogram_timeline::log::{LogConfig, LogReader, LogWriter};

/// The amount that the goal is stated for.
const LOG_BYTES: usize = 256 << 20;

/// Small requests, which cost recovery most: a frame each.
const RECORD_BYTES: usize = 4 << 10;

/// Appends that are on their way at once: what a busy collector has.
const IN_FLIGHT: usize = 512;

/// The goal for opening it, in either case, in seconds: who restarts is refused for as long.
const OPEN_S_MAX: f64 = 5.0;

fn main() {
    let is_held = std::env::args().any(|argument| argument == "--hold");
    let directory = tempfile::tempdir().expect("a directory");
    let (live, crashed) = (directory.path().join("live"), directory.path().join("crashed"));
    let writer = write(&live);
    copy(&live, &crashed);
    let committed = writer.committed();
    writer.close();
    drop(writer);

    let with_committed = open(&crashed);
    let began = Instant::now();
    let mut reader = LogReader::open(&crashed, None).expect("readable");
    let mut records = 0;
    loop {
        let some = reader.read(committed, 4 << 20).expect("readable");
        records += some.len();
        if some.is_empty() {
            break;
        }
    }
    let read = began.elapsed();
    assert_eq!(records, LOG_BYTES / RECORD_BYTES);

    std::fs::remove_dir_all(&crashed).expect("removable");
    copy(&live, &crashed);
    std::fs::remove_file(crashed.join("committed")).expect("removable");
    let without_committed = open(&crashed);
    let seconds = Duration::as_secs_f64;
    println!("seconds per {} MiB of log, in records of {RECORD_BYTES} bytes", LOG_BYTES >> 20);
    println!("  opened after a crash          {:.3}", seconds(&with_committed));
    println!("  the same without committed    {:.3}", seconds(&without_committed));
    println!("  read from its start           {:.3}", seconds(&read));
    let slowest = seconds(&with_committed.max(without_committed));
    assert!(!is_held || slowest <= OPEN_S_MAX, "a log opened after {slowest:.1} s");
}

fn write(log: &Path) -> LogWriter {
    let (writer, _) = LogWriter::open(log, LogConfig::default()).expect("it opens");
    let (send, receive) = mpsc::channel();
    let record: Vec<u8> = (0..RECORD_BYTES).map(|at| (at * 31 % 251) as u8).collect();
    for number in 0..LOG_BYTES / RECORD_BYTES {
        if number >= IN_FLIGHT {
            receive.recv().expect("each is answered");
        }
        let send = send.clone();
        writer.append(record.clone(), move |result| {
            result.expect("each is written");
            send.send(()).expect("somebody waits");
        });
    }
    for _ in 0..IN_FLIGHT {
        receive.recv().expect("each is answered");
    }
    writer
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("it can be made");
    for entry in std::fs::read_dir(from).expect("listable") {
        let path = entry.expect("listable").path();
        let name = path.file_name().expect("a file has a name");
        if name != "lock" {
            std::fs::copy(&path, to.join(name)).expect("it can be copied");
        }
    }
}

fn open(log: &Path) -> Duration {
    let began = Instant::now();
    let (writer, recovery) = LogWriter::open(log, LogConfig::default()).expect("it opens");
    let took = began.elapsed();
    assert!(recovery.damages.is_empty(), "{recovery:?}");
    writer.close();
    took
}
