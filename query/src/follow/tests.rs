//! The follower on a real log and a real store: a backlog in bounded memory, and seals that fail.
//!
//! Records that are no envelopes become one row of `losses` each: all that is needed of a row here.

use std::path::Path;
use std::time::{Duration, Instant};

use ethogram_timeline::clock::FixedClock;
use ethogram_timeline::log::{LogConfig, LogWriter};
use ethogram_timeline::store::Table;

use super::*;

/// A wait's end, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the store takes an open row to weigh, in bytes.
const ROW_BYTES: usize = 600;

/// A head is sealed at a hundred rows.
const SEAL_BYTES: usize = 100 * ROW_BYTES;

/// One read takes that many records, of 64 bytes each.
const READ_RECORDS: usize = 50;

fn config() -> Config {
    let store = store::Config { seal_bytes: SEAL_BYTES, ..store::Config::default() };
    let read_bytes_max = 64 * READ_RECORDS as u64;
    Config { read_bytes_max, publish_ms: 1, store, ..Config::default() }
}

/// Appends that many records; returns the log, which stays open.
fn backlog(directory: &Path, records: usize) -> LogWriter {
    let log = LogWriter::open(&directory.join("log"), LogConfig::default()).expect("it opens").0;
    let (send, receive) = std::sync::mpsc::channel();
    for _ in 0..records {
        let send = send.clone();
        log.append(vec![0xff; 64], move |result| send.send(result).expect("somebody waits"));
    }
    for _ in 0..records {
        receive.recv().expect("each is answered").expect("each is written");
    }
    log
}

fn rows(published: &Published) -> u64 {
    let view = published.snapshot.table(Table::Losses);
    let sealed: u64 = view.parts.iter().map(|part| part.part.rows).sum();
    sealed + view.head.iter().map(|head| head.batch.num_rows() as u64).sum::<u64>()
}

/// Waits until a condition holds of what is published, moving the clock on.
fn wait(clock: &FixedClock, shared: &Shared, what: &str, is_so: impl Fn(&Published) -> bool) {
    let began = Instant::now();
    while !is_so(&shared.load()) {
        assert!(began.elapsed() < PATIENCE, "in vain for {what}: {:?}", shared.load().follower);
        clock.advance(10_000_000);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_backlog_is_followed_in_bounded_memory() {
    const RECORDS: usize = 4_000;
    let directory = tempfile::tempdir().expect("a directory");
    let log = backlog(directory.path(), RECORDS);
    let clock = Arc::new(FixedClock::new(1));
    let shared_clock: Arc<dyn Clock> = Arc::<FixedClock>::clone(&clock);
    let (shared, follower) = start(&config(), directory.path(), shared_clock).expect("it follows");
    wait(&clock, &shared, "everything to be read", |published| published.follower.caught_up);
    let published = shared.load_full();
    let status = &published.follower;
    println!(
        "{RECORDS} rows of {ROW_BYTES} bytes, sealed at {SEAL_BYTES}: {} seals, at most {} bytes",
        status.seals, status.head_bytes_max
    );
    assert_eq!(rows(&published), RECORDS as u64);
    assert!(status.seals > 3, "{status:?}");
    // Two heads, the read that filled the second, and what batches weigh more than their rows.
    let bound = 2 * SEAL_BYTES + READ_RECORDS * ROW_BYTES;
    assert!(status.head_bytes_max <= 2 * bound, "{status:?}");
    assert!(2 * bound < RECORDS * ROW_BYTES / 4, "the bound would not notice");
    follower.stop();
    log.close();
}

#[test]
fn a_seal_that_fails_is_tried_again_and_loses_nothing() {
    const RECORDS: usize = 2_000;
    let directory = tempfile::tempdir().expect("a directory");
    let store = directory.path().join("store");
    std::fs::create_dir_all(&store).expect("it can be made");
    let clock = Arc::new(FixedClock::new(1));
    let shared_clock: Arc<dyn Clock> = Arc::<FixedClock>::clone(&clock);
    let (shared, follower) = start(&config(), directory.path(), shared_clock).expect("it follows");
    // Where the first two checkpoints are to be written, something is in the way.
    let in_the_way = ["00000001.tmp", "00000002.tmp"].map(|name| store.join(name));
    for path in &in_the_way {
        std::fs::create_dir(path).expect("it can be made");
    }
    let log = backlog(directory.path(), RECORDS);
    wait(&clock, &shared, "a seal to fail", |published| published.follower.seal_failures > 0);
    let published = shared.load_full();
    assert!(published.follower.seal_error.is_some());
    assert!(rows(&published) > 0, "what was read is answered meanwhile");
    wait(&clock, &shared, "seals to succeed", |published| {
        rows(published) == RECORDS as u64 && published.follower.seals > 0
    });
    wait(&clock, &shared, "the error to be gone", |published| {
        published.follower.seal_error.is_none()
    });
    let published = shared.load_full();
    assert_eq!(published.follower.seal_failures, 2, "{:?}", published.follower);
    assert!(published.follower.head_bytes_max < RECORDS * ROW_BYTES / 2, "reading did not pause");
    follower.stop();
    let (shared, follower) = start(&config(), directory.path(), clock).expect("it follows again");
    let clock = FixedClock::new(1);
    wait(&clock, &shared, "the same rows", |published| rows(published) == RECORDS as u64);
    follower.stop();
    log.close();
}

#[test]
fn a_lost_file_of_the_shelf_is_listed_once() {
    const RECORDS: usize = 300;
    let directory = tempfile::tempdir().expect("a directory");
    let log = backlog(directory.path(), RECORDS);
    let clock = Arc::new(FixedClock::new(1));
    let begin = || {
        let clock: Arc<dyn Clock> = Arc::<FixedClock>::clone(&clock);
        start(&config(), directory.path(), clock).expect("it follows")
    };
    let (shared, follower) = begin();
    wait(&clock, &shared, "a seal", |published| published.follower.sealed.is_some());
    follower.stop();
    // An entry that fills a chunk, and a seal that names its file.
    let path = directory.path().join("store");
    let (mut store, resume) = Store::open(&path, config().store).expect("it opens");
    let resume = resume.expect("it was sealed");
    store.shelf().put(ethogram_timeline::schema::Time(1), &[7], &[1; 200 << 10]);
    let position = resume.position.expect("a seal has a position");
    let sealing = store.begin_seal(&resume.join, &resume.rollup, position).expect("it is packed");
    let sealed = sealing.write().expect("it is written");
    store.finish_seal(sealed);
    drop(store);
    std::fs::remove_file(path.join("00000000.shelf")).expect("removable");
    for _ in 0..2 {
        let (shared, follower) = begin();
        wait(&clock, &shared, "the loss", |published| rows(published) == RECORDS as u64 + 1);
        follower.stop();
    }
    log.close();
}
