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
    /// Fingerprints by which that is known, of spans and as many of the others; each of both costs about 50
    /// MB. A million is a thousand rows a second for the whole window. Beyond it the oldest go early,
    /// counted, and the reach is shorter, as the status says.
    pub fingerprints_max: usize,
    /// A trace without an arrival for this long is settled: counters count it, once. Shorter counts
    /// sooner, and misses spans that are merely slow to come.
    pub settle_s: u32,
    /// An abandonment is final when its page has been silent for this long, in seconds; until then
    /// a return from the back-forward cache may withdraw it.
    pub abandon_final_s: u32,
    /// Spans of traces taken back within one minute of log time, counted as for `spans_max`. Beyond it
    /// what comes late stands by itself, counted, until a later minute within the hour has room; 2,000 a
    /// second leaves most of a core to what is in time.
    pub recall_spans_per_minute: usize,
    /// Spans of a trace that can be taken back, counted as for `spans_max`. A larger one would have to be
    /// read whole for each late span; it is let go for good, counted.
    pub recall_trace_spans_max: usize,
    /// Traces that wait for room in the minute's budget, in about 15 MB: as many of four spans as the budget
    /// takes back in three minutes. What is refused beyond it is given up, counted.
    pub recalls_waiting_max: usize,
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
    /// Ends of sessions remembered that are not known otherwise, about 3 MB: an hour of a site that begins
    /// eighteen sessions a second, if every page were heard before the one that it follows. Beyond it the
    /// oldest is forgotten, counted; its session ends by silence.
    pub session_ends_max: usize,
    /// Pages kept of one session. A reload loop of a day does not reach it. Beyond it a page is no longer
    /// counted among its session's, which is counted, and its events are known for minutes only.
    pub session_pages_max: usize,
    /// Sends of one session, or of one call that a service makes outside of any request, among which attempts
    /// are looked for, and as many that only servers tell of: four a second over the window, which no user
    /// reaches. Beyond it an attempt is a request of its own,
    /// counted.
    pub session_candidates_max: usize,
    /// Clicks and page loads kept of one session: two a second over the minute within which a retry is
    /// inferred. Beyond it the earliest give way, counted where somebody may miss it.
    pub session_marks_max: usize,
    /// Ranges of sequence numbers kept of one page. A beacon counts without gaps and drops whole runs where
    /// it must, so a page has a few; one that counts backwards by twos would make a range of each record.
    /// Beyond it an event is known for minutes only, counted.
    pub page_ranges_max: usize,
    /// Traces kept that one page left while they were pending: more than a browser sends at once. Of more
    /// the smallest ids are kept, whichever came first, counted; the others learn how the next page was
    /// reached when they are looked at, and not once they were let go.
    pub page_left_traces_max: usize,
    /// Traces of one request whose attempts the beacon has numbered: twice what any retry library studied
    /// tries. Beyond it an attempt is a request of its own, counted.
    pub request_traces_max: usize,
    /// Tellings of one URL held within 160 ms, of each of two scripts that tell of the same fetches: ten
    /// thousand requests a second. Beyond it a telling is not linked, counted.
    pub tellings_max: usize,
    /// Hosts remembered with who answers behind them, and as many routes, about 1 MB: hosts times routes of
    /// a large application. Beyond it those that were seen longest ago are forgotten, counted.
    pub callee_places_max: usize,
    /// An erasure binds later arrivals for this long, in days: one more than rows are kept by
    /// default, so that nothing of the erased can come back from what a sender still held.
    pub erasure_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            window_s: 120,
            duplicate_window_s: 900,
            fingerprints_max: 1_000_000,
            recall_spans_per_minute: 120_000,
            recall_trace_spans_max: 10_000,
            recalls_waiting_max: 100_000,
            settle_s: 20,
            abandon_final_s: 300,
            spans_max: 250_000,
            session_idle_s: 30 * 60,
            session_age_s: 4 * 60 * 60,
            sessions_max: 200_000,
            session_ends_max: 65_536,
            session_pages_max: 4_096,
            session_candidates_max: 512,
            session_marks_max: 128,
            page_ranges_max: 64,
            page_left_traces_max: 256,
            request_traces_max: 32,
            tellings_max: 2_048,
            callee_places_max: 4_096,
            erasure_days: 31,
        }
    }
}

/// Minutes kept of a session beyond its age, for the request rate: a clock that jumps within the hour loses
/// nothing, and one that jumps further must not grow the map.
const MINUTES_BEYOND_AGE: usize = 60;

/// What one session and its pages may keep.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionLimits {
    /// Pages.
    pub(super) pages: usize,
    /// Minutes with requests.
    pub(super) minutes: usize,
    /// Ranges of sequence numbers of one page.
    pub(super) ranges: usize,
    /// Traces that one page left.
    pub(super) left_traces: usize,
}

impl Config {
    /// The limits of one session.
    pub(super) fn of_session(&self) -> SessionLimits {
        SessionLimits {
            pages: self.session_pages_max,
            minutes: self.session_age_s as usize / 60 + MINUTES_BEYOND_AGE,
            ranges: self.page_ranges_max,
            left_traces: self.page_left_traces_max,
        }
    }
}

/// Seconds as nanoseconds of log time.
pub(super) fn seconds_ns(seconds: u32) -> i64 {
    i64::from(seconds) * 1_000_000_000
}
