//! The limits and windows of the join.

use serde::{Deserialize, Serialize};

/// How long the join waits, and how much it keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A trace that waits for a parent, may hold attempts of another trace's request, or has come
    /// back before is kept this long after its last arrival, in seconds: a beacon flushes every 5 s
    /// and retries for a minute. Any other is let go when it settles. What comes later takes its
    /// trace back from the store, so a longer window costs memory and saves reads.
    pub window_s: u32,
    /// A span that comes again is known without taking its trace back for this long after it was let
    /// go, in seconds: the longest that exporters of the field retry for, with room. So are events
    /// without a sequence and data points. About 32 bytes each.
    pub duplicate_window_s: u32,
    /// A trace without an arrival for this long is settled: counters count it, once. Shorter counts
    /// sooner, and misses spans that are merely slow to come.
    pub settle_s: u32,
    /// An abandonment is final when its page has been silent for this long, in seconds; until then
    /// a return from the back-forward cache may withdraw it.
    pub abandon_final_s: u32,
    /// Spans of traces taken back within one minute of log time, counted as for `spans_max`. Beyond it what comes late stands by
    /// itself, counted, until a later minute within the hour has room; 2,000 a second leaves most of a
    /// core to what is in time.
    pub recall_spans_per_minute: usize,
    /// Spans of a trace that can be taken back, counted as for `spans_max`. A larger one would have to be read whole for each
    /// late span; it is let go for good, counted.
    pub recall_trace_spans_max: usize,
    /// Spans, and events without a place elsewhere, kept in open traces; one with much text counts again for
    /// each 3 KiB of attributes. Beyond it the longest-silent traces are settled early, counted.
    pub spans_max: usize,
    /// A session ends after this long without a row, in seconds: the 30 minutes of the field.
    pub session_idle_s: u32,
    /// A session ends this long after its start, in seconds: the 4 hours of the field.
    pub session_age_s: u32,
    /// Sessions kept open. Beyond it the longest-silent are closed early, counted. An idle one takes less
    /// than a kibibyte, so a million fit in a gibibyte; but each is written with every checkpoint.
    pub sessions_max: usize,
    /// An erasure binds later arrivals for this long, in days: one more than rows are kept by
    /// default, so that nothing of the erased can come back from what a sender still held.
    pub erasure_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            window_s: 120,
            duplicate_window_s: 900,
            recall_spans_per_minute: 120_000,
            recall_trace_spans_max: 10_000,
            settle_s: 20,
            abandon_final_s: 300,
            spans_max: 250_000,
            session_idle_s: 30 * 60,
            session_age_s: 4 * 60 * 60,
            sessions_max: 200_000,
            erasure_days: 31,
        }
    }
}

/// Seconds as nanoseconds of log time.
pub(super) fn seconds_ns(seconds: u32) -> i64 {
    i64::from(seconds) * 1_000_000_000
}
