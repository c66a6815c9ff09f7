//! The owner's end of the log: takes records from many threads and acknowledges them once they
//! are on disk. Not a reader, and not a policy: who may append what is decided before.
//!
//! One thread writes. It commits at once when it is idle; while an fdatasync runs records gather,
//! and the next commit takes what gathered, up to a limit. So no timer is needed, and a commit
//! grows with the load.
//!
//! Invariants:
//! * A callback gets `Ok` only after the fdatasync of all the record's bytes returned, and after
//!   the committed position was published.
//! * After a failed write or sync nothing is written any more and nobody gets `Ok`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use serde::Serialize;

use super::config::LogConfig;
use super::disk::{Disk, Lock};
use super::position::Position;
use super::queue::{Pending, Queue};
use super::recovery::{self, Recovery};

mod thread;

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process, or another writer of this one, owns the log.
    #[error("the log in {0} is in use by another process")]
    Owned(String),
    /// The configuration contradicts itself.
    #[error("log configuration: {0}")]
    Config(&'static str),
    /// A segment was written by another version; nothing was touched.
    #[error("segment {segment} has format version {version}, which this version cannot read")]
    Version {
        /// Number of the segment.
        segment: u64,
        /// Its format version.
        version: u32,
    },
    /// Segments of two logs are mixed in one directory; nothing was touched.
    #[error("segment {segment} belongs to another log than those before it")]
    OtherLog {
        /// Number of the first segment that does not belong.
        segment: u64,
    },
    /// There are segments, but no header of them can be read; nothing was touched.
    #[error("no segment's header can be read")]
    Unreadable,
    /// The operating system refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl LogError {
    pub(super) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

/// Why a record was not appended. In every case nothing of it will ever be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AppendError {
    /// Too much waits for the disk. The load's fault: retry later.
    #[error("too many bytes wait for the log")]
    QueueFull,
    /// The log is as large as it may be, because a follower has not passed its oldest segment.
    /// The follower's fault: retry once it has caught up.
    #[error("the log has reached its budget and its followers have not passed it")]
    BudgetExhausted,
    /// The disk has no room for a segment. The operator's fault: retry later, it resumes by itself.
    #[error("the disk is full")]
    DiskFull,
    /// The record is larger than `record_bytes_max`. The caller's fault: never retry.
    #[error("the record is too large for the log")]
    TooLarge,
    /// The log failed or was closed. Nobody's who calls: the process must end; a client may retry,
    /// and its record may turn out to be there already.
    #[error("the log has failed or is closed")]
    Failed,
}

/// What the writer did since it was opened; `segments`, `bytes`, `queue_bytes` are as of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogStats {
    /// Records acknowledged.
    pub appended_records: u64,
    /// Bytes of those records, without frames.
    pub appended_bytes: u64,
    /// Commits that succeeded.
    pub commits: u64,
    /// Microseconds in fdatasync, all together.
    pub fsync_us_sum: u64,
    /// Microseconds of the slowest fdatasync.
    pub fsync_us_max: u64,
    /// Record bytes waiting or being committed.
    pub queue_bytes: u64,
    /// Segments kept.
    pub segments: u64,
    /// Bytes of those segments, reserved space included.
    pub bytes: u64,
    /// Segments removed because all followers had passed them.
    pub removed_segments: u64,
    /// Records refused because the queue was full.
    pub refused_queue_full: u64,
    /// Records refused because the budget was exhausted.
    pub refused_budget_exhausted: u64,
    /// Records refused because the disk was full.
    pub refused_disk_full: u64,
    /// Records refused because they were too large.
    pub refused_too_large: u64,
    /// Records refused because the log had failed or was closed.
    pub refused_failed: u64,
    /// The log has failed; the process must end.
    pub failed: bool,
}

#[derive(Debug, Default)]
struct Counters {
    appended_records: AtomicU64,
    appended_bytes: AtomicU64,
    commits: AtomicU64,
    fsync_us_sum: AtomicU64,
    fsync_us_max: AtomicU64,
    removed_segments: AtomicU64,
    refused_queue_full: AtomicU64,
    refused_budget_exhausted: AtomicU64,
    refused_disk_full: AtomicU64,
    refused_too_large: AtomicU64,
    refused_failed: AtomicU64,
}

impl Counters {
    fn refused(&self, error: AppendError) {
        let counter = match error {
            AppendError::QueueFull => &self.refused_queue_full,
            AppendError::BudgetExhausted => &self.refused_budget_exhausted,
            AppendError::DiskFull => &self.refused_disk_full,
            AppendError::TooLarge => &self.refused_too_large,
            AppendError::Failed => &self.refused_failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the writer thread and everybody else share.
struct Shared {
    config: LogConfig,
    disk: Disk,
    queue: Queue,
    committed: Mutex<Position>,
    moved: Condvar,
    /// Bytes of each segment, those being created included.
    segments: Mutex<BTreeMap<u64, u64>>,
    failed: AtomicBool,
    counters: Counters,
}

impl Shared {
    fn refuse(&self, pending: Pending, error: AppendError) {
        self.counters.refused(error);
        tell(pending, Err(error));
    }
}

/// Calls back. A callback that panics harms its own request, not the log.
fn tell(pending: Pending, result: Result<Position, AppendError>) {
    let call = std::panic::AssertUnwindSafe(move || (pending.done)(result));
    if std::panic::catch_unwind(call).is_err() {
        tracing::error!("a callback of the log panicked");
    }
}

/// The writer of a log. Clones share it; the last one dropped closes it.
#[derive(Clone)]
pub struct LogWriter(Arc<Owner>);

struct Owner {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    lock: Mutex<Option<Lock>>,
}

impl LogWriter {
    /// Opens the log in `dir`, which is created if missing, and recovers it. Refuses when another
    /// owner has it. The identity of a new log is read from `/dev/urandom`, once.
    pub fn open(dir: &Path, config: LogConfig) -> Result<(Self, Recovery), LogError> {
        Self::open_on(Disk::new(dir), config)
    }

    pub(super) fn open_on(disk: Disk, config: LogConfig) -> Result<(Self, Recovery), LogError> {
        config.check().map_err(LogError::Config)?;
        disk.create_directory().map_err(LogError::io("creating the log's directory"))?;
        let lock = disk.lock().map_err(LogError::io("locking the log"))?;
        let lock = lock.ok_or_else(|| LogError::Owned(disk.path().display().to_string()))?;
        let recovered = recovery::recover(&disk)?;
        let report = recovered.report.clone();
        for damage in &report.damages {
            tracing::error!(%damage, "the log is damaged");
        }
        let segments = recovery::sizes(&disk).map_err(LogError::io("measuring segments"))?;
        let shared = Arc::new(Shared {
            queue: Queue::new(config.queue_bytes_max),
            committed: Mutex::new(report.end),
            moved: Condvar::new(),
            segments: Mutex::new(segments),
            failed: AtomicBool::new(false),
            counters: Counters::default(),
            config,
            disk,
        });
        let thread = thread::start(Arc::clone(&shared), &recovered)
            .map_err(LogError::io("starting the writer"))?;
        let owner = Owner { shared, thread: Mutex::new(Some(thread)), lock: Mutex::new(Some(lock)) };
        Ok((Self(Arc::new(owner)), report))
    }

    /// Appends a record. `done` is called exactly once: from the writer thread with the position
    /// behind the record once it is on disk, or with an error, then possibly at once and from the
    /// calling thread. It must be quick and must not wait: all later commits wait for it.
    pub fn append(
        &self,
        record: Vec<u8>,
        done: impl FnOnce(Result<Position, AppendError>) + Send + 'static,
    ) {
        let shared = &self.0.shared;
        let too_large = record.len() as u64 > shared.config.record_bytes_max;
        let pending = Pending { record, done: Box::new(done) };
        if shared.failed.load(Ordering::Acquire) {
            shared.refuse(pending, AppendError::Failed);
        } else if too_large {
            shared.refuse(pending, AppendError::TooLarge);
        } else if let Err((pending, error)) = shared.queue.push(pending) {
            shared.refuse(pending, error);
        }
    }

    /// Behind the last record that is on disk. Followers may read up to here.
    pub fn committed(&self) -> Position {
        *self.0.shared.committed.lock()
    }

    /// Waits until the committed position is another than `seen`, at most `timeout`.
    pub fn wait_committed(&self, seen: Position, timeout: Duration) -> Position {
        let mut committed = self.0.shared.committed.lock();
        if *committed == seen {
            self.0.shared.moved.wait_for(&mut committed, timeout);
        }
        *committed
    }

    /// Counters and sizes.
    pub fn stats(&self) -> LogStats {
        let shared = &self.0.shared;
        let counters = &shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let segments = shared.segments.lock();
        LogStats {
            appended_records: read(&counters.appended_records),
            appended_bytes: read(&counters.appended_bytes),
            commits: read(&counters.commits),
            fsync_us_sum: read(&counters.fsync_us_sum),
            fsync_us_max: read(&counters.fsync_us_max),
            queue_bytes: shared.queue.bytes(),
            segments: segments.len() as u64,
            bytes: segments.values().sum(),
            removed_segments: read(&counters.removed_segments),
            refused_queue_full: read(&counters.refused_queue_full),
            refused_budget_exhausted: read(&counters.refused_budget_exhausted),
            refused_disk_full: read(&counters.refused_disk_full),
            refused_too_large: read(&counters.refused_too_large),
            refused_failed: read(&counters.refused_failed),
            failed: shared.failed.load(Ordering::Acquire),
        }
    }

    /// Removes whole segments before the one in which `followers_passed` lies. The newest segment
    /// is always kept: it carries the log's identity and numbering on.
    pub fn truncate_before(&self, followers_passed: Position) {
        let shared = &self.0.shared;
        if followers_passed.log_id != self.committed().log_id {
            return;
        }
        let removable: Vec<u64> = {
            let segments = shared.segments.lock();
            let newest = segments.keys().next_back().copied().unwrap_or(0);
            let end = followers_passed.segment.min(newest).min(self.committed().segment);
            segments.range(..end).map(|(number, _)| *number).collect()
        };
        // Oldest first, so that a crash in between leaves no hole. Unlinking is slow; the lock is
        // not held meanwhile, and the writer never touches these segments.
        for number in removable {
            if let Err(error) = shared.disk.remove_segment(number) {
                tracing::warn!(segment = number, %error, "cannot remove a passed segment");
                return;
            }
            if shared.segments.lock().remove(&number).is_some() {
                shared.counters.removed_segments.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Commits what was appended, ends the writer and gives up ownership. Later appends fail.
    pub fn close(&self) {
        self.0.close();
    }

    /// Directory of the log.
    pub(super) fn disk(&self) -> &Disk {
        &self.0.shared.disk
    }
}

impl Owner {
    fn close(&self) {
        self.shared.queue.close();
        let Some(thread) = self.thread.lock().take() else { return };
        // The last clone may be dropped by a callback, on the writer's own thread.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the writer of the log panicked");
        }
        self.lock.lock().take();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.close();
    }
}
