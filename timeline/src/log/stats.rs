//! What the writer counts. Not metrics: the collector gives them names and a place.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::error::AppendError;

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

/// Where the numbers of [`LogStats`] are counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) appended_records: AtomicU64,
    pub(super) appended_bytes: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) fsync_us_sum: AtomicU64,
    pub(super) fsync_us_max: AtomicU64,
    pub(super) removed_segments: AtomicU64,
    pub(super) refused_queue_full: AtomicU64,
    pub(super) refused_budget_exhausted: AtomicU64,
    pub(super) refused_disk_full: AtomicU64,
    pub(super) refused_too_large: AtomicU64,
    pub(super) refused_failed: AtomicU64,
}

impl Counters {
    /// What was counted so far; what is not a counter is left at its default.
    pub(super) fn read(&self) -> LogStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LogStats {
            appended_records: read(&self.appended_records),
            appended_bytes: read(&self.appended_bytes),
            commits: read(&self.commits),
            fsync_us_sum: read(&self.fsync_us_sum),
            fsync_us_max: read(&self.fsync_us_max),
            removed_segments: read(&self.removed_segments),
            refused_queue_full: read(&self.refused_queue_full),
            refused_budget_exhausted: read(&self.refused_budget_exhausted),
            refused_disk_full: read(&self.refused_disk_full),
            refused_too_large: read(&self.refused_too_large),
            refused_failed: read(&self.refused_failed),
            ..LogStats::default()
        }
    }

    /// Counts a refusal.
    pub(super) fn refused(&self, error: AppendError) {
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
