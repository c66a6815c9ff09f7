//! The owner's end of the log: takes records from many threads and acknowledges them once they
//! are on disk. Not a reader, and not a policy: who may append what is decided before.
//!
//! One thread writes. It commits at once when it is idle, or where its processor is busy after who
//! woke it; while an fdatasync runs records gather, and the next commit takes what gathered, up to a
//! limit. So no timer is needed, and a commit grows with the load.
//!
//! Invariants:
//! * A callback gets `Ok` only after the fdatasync of all the record's bytes returned, and after
//!   the committed position was published.
//! * After a failed write or sync nothing is written any more and nobody gets `Ok`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::config::LogConfig;
use super::disk::{Disk, Lock};
use super::error::{AppendError, LogError};
use super::position::Position;
use super::queue::{Pending, Queue};
use super::recovery::{self, Recovery};
use super::stats::{Counters, LogStats};

pub(super) mod commit;
mod thread;

use commit::Writer;

/// What the writer thread and everybody else share.
pub(super) struct Shared {
    config: LogConfig,
    disk: Disk,
    queue: Queue,
    committed: Mutex<Position>,
    moved: Condvar,
    /// Bytes of each segment, those being created included.
    segments: Mutex<BTreeMap<u64, u64>>,
    failed: AtomicBool,
    /// The latest segment could not be begun, and that was said.
    lacks_segment: AtomicBool,
    counters: Counters,
}

impl Shared {
    /// Appends a record; see [`LogWriter::append`].
    pub(super) fn append(&self, pending: Pending) {
        let too_large = pending.record.len() as u64 > self.config.record_bytes_max;
        if self.failed.load(Ordering::Acquire) {
            self.refuse(pending, AppendError::Failed);
        } else if too_large {
            self.refuse(pending, AppendError::TooLarge);
        } else if let Err((pending, error)) = self.queue.push(pending) {
            self.refuse(pending, error);
        }
    }

    /// Ends the log for good: everything that waits or comes is refused.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
        for pending in self.queue.fail() {
            self.refuse(pending, AppendError::Failed);
        }
    }

    /// Commits what was appended, then ends the writer: later appends fail.
    pub(super) fn close(&self) {
        self.queue.close();
    }

    #[cfg(test)]
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(super) fn has_waiting(&self) -> bool {
        self.queue.has_waiting()
    }

    pub(super) fn committed(&self) -> Position {
        *self.committed.lock()
    }

    /// Removes whole segments; see [`LogWriter::truncate_before`].
    pub(super) fn truncate_before(&self, followers_passed: Position) {
        if followers_passed.log_id != self.committed().log_id {
            return;
        }
        let removable: Vec<u64> = {
            let segments = self.segments.lock();
            let newest = segments.keys().next_back().copied().unwrap_or(0);
            let end = followers_passed.segment.min(newest).min(self.committed().segment);
            segments.range(..end).map(|(number, _)| *number).collect()
        };
        // Oldest first, so that a crash in between leaves no hole. Unlinking is slow; the lock is
        // not held meanwhile, and the writer never touches these segments.
        for number in removable {
            if let Err(error) = self.disk.remove_segment(number) {
                tracing::warn!(segment = number, %error, "cannot remove a passed segment");
                return;
            }
            if self.segments.lock().remove(&number).is_some() {
                self.counters.removed_segments.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

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

/// A log that was opened, without the thread that will write it.
pub(super) struct Opened {
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Writer,
    pub(super) report: Recovery,
    pub(super) lock: Lock,
}

impl Opened {
    /// Takes the ownership of the log, and recovers it.
    pub(super) fn new(disk: Disk, config: LogConfig) -> Result<Self, LogError> {
        config.check().map_err(LogError::Config)?;
        disk.create_directory().map_err(LogError::io("creating the log's directory"))?;
        let lock = disk.lock().map_err(LogError::io("locking the log"))?;
        let lock = lock.ok_or_else(|| LogError::Owned(disk.path().display().to_string()))?;
        let recovered = recovery::recover(&disk, config.aside_max)?;
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
            lacks_segment: AtomicBool::new(false),
            counters: Counters::default(),
            config,
            disk,
        });
        let writer = Writer::begin(Arc::clone(&shared), &recovered)
            .map_err(LogError::io("starting the writer"))?;
        Ok(Self { shared, writer, report, lock })
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

    /// As [`Self::open`], on a disk that may be a simulated one.
    pub(super) fn open_on(disk: Disk, config: LogConfig) -> Result<(Self, Recovery), LogError> {
        let Opened { shared, writer, report, lock } = Opened::new(disk, config)?;
        let thread = thread::start(Arc::clone(&shared), writer)
            .map_err(LogError::io("starting the writer"))?;
        let owner =
            Owner { shared, thread: Mutex::new(Some(thread)), lock: Mutex::new(Some(lock)) };
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
        self.0.shared.append(Pending { record, ends_segment: false, done: Box::new(done) });
    }

    /// As [`Self::append`], and the commit that holds the record is the last of its segment: once
    /// followers have passed it, nothing up to it is kept. Records of one commit share the end.
    pub fn append_last(
        &self,
        record: Vec<u8>,
        done: impl FnOnce(Result<Position, AppendError>) + Send + 'static,
    ) {
        self.0.shared.append(Pending { record, ends_segment: true, done: Box::new(done) });
    }

    /// Behind the last record that is on disk. Followers may read up to here.
    pub fn committed(&self) -> Position {
        self.0.shared.committed()
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
        let segments = shared.segments.lock();
        LogStats {
            queue_bytes: shared.queue.bytes(),
            segments: segments.len() as u64,
            bytes: segments.values().sum(),
            failed: shared.failed.load(Ordering::Acquire),
            ..shared.counters.read()
        }
    }

    /// Removes whole segments before the one in which `followers_passed` lies. The newest segment
    /// is always kept: it carries the log's identity and numbering on.
    pub fn truncate_before(&self, followers_passed: Position) {
        self.0.shared.truncate_before(followers_passed);
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
        self.shared.close();
        let Some(thread) = self.thread.lock().take() else {
            return;
        };
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
