//! Letting go and taking back: what is silent goes to the shelf whole, and comes back whole when a
//! row arrives that belongs to it.
//!
//! A group of linked traces is one entry, found under the print of each of its traces; a session is
//! one under its own. What comes back holds everything that arrived, what was said of it and what
//! was counted, so that the next derivation says the difference and nothing else: a late span is
//! joined, a late duplicate is known, and no counter counts twice.
//!
//! Invariant: a recall happens when the row arrives, so what is joined is a function of the log.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::prints::fingerprint;
use super::session::Session;
use super::trace::Trace;
use super::{Join, SessionKey, TraceKey};

/// Nanoseconds in a minute.
const MINUTE_NS: i64 = 60_000_000_000;

/// What has been taken back within a minute of log time.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Recalls {
    minute: i64,
    spans: usize,
    /// Traces since the log began.
    pub(super) traces: u64,
}

fn trace_print(key: &TraceKey) -> u64 {
    fingerprint(&("trace", key))
}

fn session_print(key: &SessionKey) -> u64 {
    fingerprint(&("session", key))
}

/// What an entry holds; `None` where it is of another form.
fn unpack<T: DeserializeOwned>(entry: &[u8]) -> Option<T> {
    let (form, value) = postcard::take_from_bytes::<u32>(entry).ok()?;
    (form == Join::FORM).then(|| postcard::from_bytes(value).ok()).flatten()
}

impl Join {
    /// Makes sure that a trace is open if it can be: it is held, or it is taken back. False where a
    /// new one is to be begun.
    pub(super) fn recall_trace(&mut self, key: &TraceKey) -> bool {
        if self.traces.contains_key(key) {
            return true;
        }
        let Some(entry) = self.shelf.get(self.now, trace_print(key)) else { return false };
        if !self.may_recall() {
            self.count("recall_refused", 1);
            return false;
        }
        let Some(group) = unpack::<Vec<(TraceKey, Trace)>>(&entry) else {
            self.count("recall_undecodable", 1);
            return false;
        };
        self.recalls.spans += group.iter().map(|(_, trace)| trace.span_count()).sum::<usize>();
        // One of them may have begun anew while recalls were refused: it stays by itself.
        if group.iter().any(|(member, _)| self.traces.contains_key(member)) {
            self.count("recall_refused", 1);
            return false;
        }
        self.recalls.traces += 1;
        for (member, trace) in group {
            self.put_back(member, trace);
        }
        self.traces.contains_key(key)
    }

    fn put_back(&mut self, key: TraceKey, mut trace: Trace) {
        trace.wake();
        // What was erased since is gone from the store already, and is not said again.
        trace.erase(&|(app, session, user)| self.is_erased(app, session, user));
        if trace.is_empty() {
            return;
        }
        for span in trace.spans() {
            self.links.see(span);
        }
        self.span_count += trace.span_count();
        self.traces.insert(key.clone(), trace);
        self.touch(key);
    }

    /// Makes sure that a session is open if it is known at all.
    pub(super) fn recall_session(&mut self, key: &SessionKey) -> bool {
        if self.sessions.contains_key(key) {
            return true;
        }
        let Some(entry) = self.shelf.get(self.now, session_print(key)) else { return false };
        let Some(mut session) = unpack::<Session>(&entry) else {
            self.count("recall_undecodable", 1);
            return false;
        };
        if self.is_erased(&key.1, Some(&key.0), session.user()) {
            return false;
        }
        session.closed = false;
        self.open_session(key.clone(), session);
        true
    }

    /// Lays a group of traces away. One that is too large to be taken back is only let go.
    pub(super) fn shelve_traces(&mut self, group: Vec<(TraceKey, Trace)>) {
        let spans: usize = group.iter().map(|(_, trace)| trace.span_count()).sum();
        if group.iter().all(|(_, trace)| trace.is_as_shelved()) {
            return;
        }
        if spans > self.config.recall_trace_spans_max {
            self.count("too_large_to_recall", 1);
            return;
        }
        let prints: Vec<u64> = group.iter().map(|(key, _)| trace_print(key)).collect();
        self.shelve(&prints, &group);
    }

    /// Lays a session away.
    pub(super) fn shelve_session(&mut self, key: &SessionKey, session: &Session) {
        self.shelve(&[session_print(key)], session);
    }

    /// An entry opens with the form of the join, since it may be read by a later program.
    fn shelve(&mut self, prints: &[u64], value: &impl Serialize) {
        match postcard::to_allocvec(&(Self::FORM, value)) {
            Ok(entry) => self.shelf.put(self.now, prints, &entry),
            Err(_) => self.count("recall_undecodable", 1),
        }
    }

    fn may_recall(&mut self) -> bool {
        let minute = self.now.0.div_euclid(MINUTE_NS);
        if self.recalls.minute != minute {
            (self.recalls.minute, self.recalls.spans) = (minute, 0);
        }
        self.recalls.spans < self.config.recall_spans_per_minute
    }

    /// Traces taken back since the log began; how far back a trace can be taken, in seconds of log
    /// time; and the bytes that lie ready for it.
    pub fn recalled(&self) -> (u64, i64, u64) {
        let oldest = self.shelf.oldest().unwrap_or(self.now);
        let reach_s = self.now.0.saturating_sub(oldest.0) / 1_000_000_000;
        (self.recalls.traces, reach_s, self.shelf.bytes())
    }
}
