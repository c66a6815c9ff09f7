//! Why the log refuses: at opening, and for a record. Reading has its own reasons (`reader`).

use std::io;

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
