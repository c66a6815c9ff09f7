//! Everything of one moment, behind one pointer.
//!
//! The follower publishes it, everyone else reads it. A reader that has loaded the pointer sees one
//! moment for as long as it holds it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ethogram_timeline::join::Reach;
use ethogram_timeline::log::Position;
use ethogram_timeline::rollup::RollupView;
use ethogram_timeline::store::Snapshot;
use serde::Serialize;

/// Losses that the status lists. One is a finding, a hundred are a broken disk, and a longer list
/// would say no more.
pub(crate) const LOSSES_MAX: usize = 100;

/// How far the follower is, and what it holds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FollowerStatus {
    /// Just after the last record that is in the snapshot.
    pub position: Option<Position>,
    /// The newest committed position known.
    pub committed: Option<Position>,
    /// Whether everything that was committed when this process began has been read. Until then
    /// counters are those of the last seal, and would seem to fall.
    pub caught_up: bool,
    /// What the last seal covers.
    pub sealed: Option<Position>,
    /// Records read since this process began.
    pub records: u64,
    /// Bytes of records read since this process began.
    pub bytes: u64,
    /// Records that could not be decoded; each was passed over and counted.
    pub undecodable_records: u64,
    /// Ranges of the log that were passed over since this process began: kind, from, to. At most
    /// [`LOSSES_MAX`], the oldest; the table `losses` has all, and those of earlier processes.
    pub losses: Vec<(String, String, String)>,
    /// Seals completed since this process began.
    pub seals: u64,
    /// Seals that failed since this process began; each was or will be tried again.
    pub seal_failures: u64,
    /// Why the last seal failed, while none has succeeded since.
    pub seal_error: Option<String>,
    /// Files of the oldest rows that were let go because the disk was full.
    pub files_let_go: u64,
    /// Erasures carried out in files since this process began.
    pub erasures: u64,
    /// Erasures whose rows in files are still being looked for.
    pub erasures_pending: usize,
    /// Searches for erased rows that failed; each is tried again.
    pub erasure_failures: u64,
    /// The longest search for erased rows, in microseconds.
    pub erasure_search_us_max: u64,
    /// Open traces, and spans and sessions held for joining.
    pub open_traces: usize,
    /// Spans held for joining.
    pub open_spans: usize,
    /// Sessions held for joining.
    pub open_sessions: usize,
    /// Traces that a late row took back, since the log began.
    pub recalled_traces: u64,
    /// How far back a trace can be taken, in seconds of log time: up to there late rows are joined
    /// and second deliveries of spans found, whatever their distance.
    pub recall_reach_s: i64,
    /// Bytes kept on disk for that.
    pub recall_bytes: u64,
    /// How far back second deliveries of spans are known without taking their traces back.
    pub duplicate_spans: Reach,
    /// The same of what has no identity of its own: events without a sequence, and data points.
    pub duplicate_others: Reach,
    /// Log time of the last seal, in nanoseconds since the epoch; zero before the first.
    pub sealed_ns: i64,
    /// About how many bytes of rows the head holds.
    pub head_bytes: usize,
    /// The most that it held since this process began.
    pub head_bytes_max: usize,
    /// Parts and rows at rest, by table.
    pub sealed_tables: Vec<(&'static str, usize, u64)>,
    /// Why it does not go on just now, if so.
    pub error: Option<String>,
}

/// Everything of one moment.
#[derive(Clone, Debug)]
pub struct Published {
    /// The rows of every table.
    pub snapshot: Arc<Snapshot>,
    /// The counts.
    pub rollup: Arc<RollupView>,
    /// How far the follower was.
    pub follower: FollowerStatus,
}

/// Where the newest [`Published`] is found.
pub type Shared = Arc<ArcSwap<Published>>;
