//! Letting go and taking back: what is silent goes to the shelf whole, and comes back whole when a
//! row arrives that belongs to it.
//!
//! A group of linked traces is one entry, found under the print of each of its traces; a session is
//! one under its own. What comes back holds everything that arrived, what was said of it and what
//! was counted, so that the next derivation says the difference and nothing else: a late span is
//! joined, a late duplicate is known, and no counter counts twice.
//!
//! Invariants:
//! * A recall happens when the row arrives, or, beyond the budget, when log time has given it room
//!   ([`super::refused`]), so what is joined is a function of the log.
//! * The newest entry of a trace holds everything of it: what began anew beside an older entry is
//!   joined with it, or is not laid away.

mod asked;

pub(super) use asked::Ask;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::prints::fingerprint;
use super::refused::Refused;
use super::session::Session;
use super::sighting::is_sighting;
use super::trace::Trace;
use super::{Change, Join, SessionKey, TraceKey};

/// Nanoseconds in a minute: what the budget is for.
pub(super) const MINUTE_NS: i64 = 60_000_000_000;

/// What has been taken back within a minute of log time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Recalls {
    minute: i64,
    spans: usize,
    /// Traces since the log began.
    pub(super) traces: u64,
    /// What did not fit in.
    pub(super) refused: Refused,
    /// The open traces beside which there may be others that did not.
    pub(super) around: Refused,
}

impl Recalls {
    /// Whether something is to be taken back for a trace when there is room.
    pub(super) fn await_for(&self, key: &TraceKey) -> bool {
        self.refused.awaits(key) || self.around.awaits(key)
    }
}

/// What became of looking for a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    /// It is open.
    Open,
    /// A new one is to be begun.
    Unknown,
    /// It lies on the shelf and cannot be taken back yet: one is to be begun apart from it.
    Refused,
}

fn trace_print(key: &TraceKey) -> u64 {
    fingerprint(&("trace", key))
}

fn session_print(key: &SessionKey) -> u64 {
    fingerprint(&("session", key))
}

/// What tells a group of traces from another one.
fn together(group: &[(TraceKey, Trace)]) -> u64 {
    fingerprint(&group.iter().map(|(key, _)| key).collect::<Vec<_>>())
}

/// What an entry holds; `None` where it is of another form.
fn unpack<T: DeserializeOwned>(entry: &[u8]) -> Option<T> {
    let (form, value) = postcard::take_from_bytes::<u32>(entry).ok()?;
    (form == Join::FORM).then(|| postcard::from_bytes(value).ok()).flatten()
}

impl Join {
    /// Makes sure that a trace is open if it can be: it is held, or it is taken back.
    pub(super) fn recall_trace(&mut self, key: &TraceKey) -> Sought {
        if self.traces.contains_key(key) {
            return Sought::Open;
        }
        let Some(entry) = self.shelf.get(self.now, trace_print(key)) else {
            return Sought::Unknown;
        };
        if !self.may_recall() {
            self.count("recall_refused", 1);
            if !self.recalls.refused.wait(self.now, key, self.config.recalls_waiting_max) {
                self.count("recall_given_up", 1);
            }
            return Sought::Refused;
        }
        self.take_back(&entry);
        if self.traces.contains_key(key) { Sought::Open } else { Sought::Unknown }
    }

    /// Takes a trace back that was refused before, where it still lies there.
    pub(super) fn recall_again(&mut self, key: &TraceKey) {
        if let Some(entry) = self.shelf.get(self.now, trace_print(key)) {
            self.take_back(&entry);
        }
        // Whatever there was of it is joined or lost.
        if let Some(trace) = self.traces.get_mut(key) {
            trace.apart = false;
        }
    }

    fn take_back(&mut self, entry: &[u8]) {
        let Some(group) = unpack::<Vec<(TraceKey, Trace)>>(entry) else {
            self.count("recall_undecodable", 1);
            return;
        };
        if group.is_empty() {
            // It had grown too large to be laid away.
            return;
        }
        self.recalls.spans += group.iter().map(|(_, trace)| trace.weight()).sum::<usize>();
        self.recalls.traces += 1;
        let together = together(&group);
        for (member, mut trace) in group {
            trace.wake(together);
            self.put_back(member, trace);
        }
    }

    fn put_back(&mut self, key: TraceKey, mut trace: Trace) {
        self.recalls.refused.forget(&key);
        if let Some(open) = self.traces.get_mut(&key) {
            if open.recalled {
                // It was taken back from here or from a newer entry.
                return;
            }
            open.apart = false;
        }
        // What was erased since is gone from the store already, and is not said again.
        trace.erase(&|(app, session, user)| self.is_erased(app, session, user));
        if trace.is_empty() {
            return;
        }
        for span in trace.spans() {
            self.links.see(span, &self.config);
        }
        if let Some(later) = self.traces.remove(&key) {
            self.join_with_later(&mut trace, later);
        }
        for event in trace.events().filter(|event| is_sighting(event)) {
            self.links.see_event(event, &self.config);
        }
        self.span_count += trace.span_count();
        self.weight += trace.weight();
        self.traces.insert(key.clone(), trace);
        self.touch(key);
    }

    /// What began anew while a trace lay on the shelf is a part of it, and what both hold goes once.
    fn join_with_later(&mut self, trace: &mut Trace, later: Trace) {
        self.span_count -= later.span_count();
        self.weight -= later.weight();
        let spans = trace.span_count() + later.span_count();
        let events = trace.events().count() + later.events().count();
        let gone = trace.take_in(later);
        let doubled = [
            ("duplicate_span", spans - trace.span_count()),
            ("duplicate_event", events - trace.events().count()),
        ];
        for (reason, number) in doubled.into_iter().filter(|(_, number)| *number > 0) {
            self.count(reason, number as u64);
        }
        for change in &gone {
            if let Change::Request(request) = change {
                self.count_in_session(request.old.as_ref(), -1);
            }
        }
        self.pending.extend(gone);
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
        let spans: usize = group.iter().map(|(_, trace)| trace.weight()).sum();
        let together = together(&group);
        if group.iter().all(|(_, trace)| trace.is_as_shelved(together)) {
            return;
        }
        let prints: Vec<u64> = group.iter().map(|(key, _)| trace_print(key)).collect();
        if spans <= self.config.recall_trace_spans_max {
            self.shelve(&prints, &group);
            for (key, trace) in &group {
                self.note_asked(key, trace);
            }
            return;
        }
        self.count("too_large_to_recall", 1);
        if group.iter().any(|(_, trace)| trace.recalled) {
            // What lies there of it was said differently since: nobody may find that.
            self.shelve(&prints, &Vec::<(TraceKey, Trace)>::new());
        }
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

    /// Whether the budget of this minute has room.
    pub(super) fn may_recall(&mut self) -> bool {
        self.has_room(self.config.recall_spans_per_minute)
    }

    /// Whether less than `budget` has been taken back in this minute.
    fn has_room(&mut self, budget: usize) -> bool {
        let minute = self.now.0.div_euclid(MINUTE_NS);
        if self.recalls.minute != minute {
            (self.recalls.minute, self.recalls.spans) = (minute, 0);
        }
        self.recalls.spans < budget
    }

    /// Traces taken back since the log began; how far back a trace can be taken, in seconds of log
    /// time; and the bytes that lie ready for it.
    pub fn recalled(&self) -> (u64, i64, u64) {
        let oldest = self.shelf.oldest().unwrap_or(self.now);
        let reach_s = self.now.0.saturating_sub(oldest.0) / 1_000_000_000;
        (self.recalls.traces, reach_s, self.shelf.bytes())
    }
}
