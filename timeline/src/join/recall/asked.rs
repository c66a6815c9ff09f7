//! What lies on the shelf and may belong together with a late row, though nobody has numbered either.
//!
//! Attempts in traces of their own are found by what they ask for, in whose name and when. So each trace
//! that is let go and holds a [candidate](super::super::candidate) is noted on the shelf under what it
//! asked for and the minutes that it asked in. Signals: a candidate that comes so long after it began that
//! those beside it may have been let go. Result: the traces noted around it are taken back, and are
//! linked with it by the same conditions as if they had never gone.
//!
//! Invariants:
//! * What is taken back is a function of the log, within the budget of [`super`], of which half is kept for
//!   the traces that rows name. What does not fit in is looked for again when nothing else waits.
//! * Of one thing asked for in one minute no more than [`NOTED_MAX`] traces are found again; of what is
//!   further away than a minute only what was linked with these.

use std::collections::BTreeMap;

use super::super::candidate::{Candidate, Domain};
use super::super::config::{Config, seconds_ns};
use super::super::links::INFERRED_GAP_NS_MAX;
use super::super::prints::fingerprint;
use super::super::trace::Trace;
use super::super::{Join, TraceKey};
use super::{MINUTE_NS, trace_print, unpack};
use crate::schema::{Event, Label, SessionId, Span, Time};

/// Traces noted for one thing asked for in one minute. More than a page asks for one URL, and little to
/// write anew with each of them. A part of what comes back, as the reach of the shelf is.
const NOTED_MAX: usize = 64;

/// Notes of one trace. Attempts in traces of their own have one or two; what asks for hundreds of things in
/// one trace has its attempts in it.
const NOTES_MAX: usize = 64;

/// Minutes that one send is noted in: what takes longer has no client that waits and asks again.
const MINUTES_MAX: i64 = 4;

/// The traces that asked for one thing in one minute. With their session, by which an erasure finds them.
type Note = (Option<SessionId>, Vec<TraceKey>);

/// What a candidate asks for, and in which minutes.
pub(in super::super) struct Ask {
    /// The print of what is asked for and in whose name.
    print: u64,
    session: Option<SessionId>,
    /// HTTP's count where only that says what follows what, else 0.
    count: i32,
    /// The counts of what it may follow or be followed by.
    beside: Vec<i32>,
    first_minute: i64,
    last_minute: i64,
}

impl Ask {
    /// What a span may belong together with that was let go, if it is late.
    pub(in super::super) fn of_late_span(now: Time, config: &Config, span: &Span) -> Option<Self> {
        is_late(now, config, span.row.time).then(|| Self::of_span(span)).flatten()
    }

    /// The same of an event that tells of an attempt.
    pub(in super::super) fn of_late_event(
        now: Time,
        config: &Config,
        event: &Event,
    ) -> Option<Self> {
        let began = event.row.time.plus_us(-event.hints.waited_us.unwrap_or(0));
        is_late(now, config, began).then(|| Self::of_event(event)).flatten()
    }

    fn of_span(span: &Span) -> Option<Self> {
        let told = Candidate::of(span).or_else(|| Candidate::of_served(span));
        told.map(|(domain, candidate)| Self::new(&span.row.app, &domain, &candidate))
    }

    fn of_event(event: &Event) -> Option<Self> {
        let told = Candidate::of_event(event);
        told.map(|(domain, candidate)| Self::new(&event.row.app, &domain, &candidate))
    }

    fn new(app: &Label, domain: &Domain, candidate: &Candidate) -> Self {
        let session = match domain {
            Domain::Session(session) => Some(session.clone()),
            Domain::IdempotencyKey(_) | Domain::Caller(..) => None,
        };
        let (count, beside) = match candidate.counted() {
            Some(count) => (count, vec![count.saturating_sub(1), count.saturating_add(1)]),
            None => (0, vec![0]),
        };
        // Of what is pending nobody knows the end.
        let ended = candidate.end_ns != i64::MAX;
        let end_ns = if ended { candidate.end_ns } else { candidate.start_ns };
        let first_minute = candidate.start_ns.div_euclid(MINUTE_NS);
        let last_minute = end_ns.div_euclid(MINUTE_NS);
        Self {
            print: fingerprint(&("asked", app, domain, candidate.asked())),
            session,
            count,
            beside,
            first_minute,
            last_minute: last_minute.clamp(first_minute, first_minute + MINUTES_MAX - 1),
        }
    }

    /// The prints that it is noted under.
    fn own(&self) -> impl Iterator<Item = u64> {
        let minutes = self.first_minute..=self.last_minute;
        minutes.map(|minute| self.print_in(minute, self.count))
    }

    /// The prints of what it may follow or be followed by: a minute apart at most, as retries are.
    fn around(&self) -> Vec<u64> {
        const { assert!(INFERRED_GAP_NS_MAX <= MINUTE_NS) };
        let minutes = self.first_minute - 1..=self.last_minute + 1;
        let prints = |minute| self.beside.iter().map(move |count| self.print_in(minute, *count));
        minutes.flat_map(prints).collect()
    }

    fn print_in(&self, minute: i64, count: i32) -> u64 {
        fingerprint(&("asked in", self.print, minute, count))
    }
}

/// Whether what it could follow may have been let go: that is kept for a while, and was a minute away at
/// most. A clock that is ahead of ours says nothing of that; one that is ahead by less than that while
/// passes for in time.
fn is_late(now: Time, config: &Config, began: Time) -> bool {
    let in_time_ns = (seconds_ns(config.window_s) - INFERRED_GAP_NS_MAX).max(0);
    !(0..in_time_ns).contains(&now.0.saturating_sub(began.0))
}

impl Join {
    /// Takes back what may belong together with something late of an open trace.
    pub(in super::super) fn recall_around(&mut self, key: &TraceKey, ask: &Ask) {
        let most = self.config.recalls_waiting_max;
        if !self.take_around(ask, self.config.recall_spans_per_minute / 2)
            && !self.recalls.around.wait(self.now, key, most)
        {
            self.count("attempt_not_sought", 1);
        }
    }

    /// Looks again for what may belong together with a trace, now that there is room; false where there was
    /// not enough.
    pub(in super::super) fn recall_around_again(&mut self, key: &TraceKey) -> bool {
        let asks = self.traces.get(key).map(asks_of).unwrap_or_default();
        asks.iter().all(|ask| self.take_around(ask, self.config.recall_spans_per_minute))
    }

    /// Takes back the traces noted around it; false where there was no room for all of them.
    fn take_around(&mut self, ask: &Ask, budget: usize) -> bool {
        for print in ask.around() {
            if !self.has_room(budget) {
                return false;
            }
            for key in self.noted(print).1 {
                if self.traces.contains_key(&key) || self.recalls.refused.awaits(&key) {
                    continue;
                }
                if !self.has_room(budget) {
                    return false;
                }
                if let Some(entry) = self.shelf.get(self.now, trace_print(&key)) {
                    self.take_back(&entry);
                }
            }
        }
        true
    }

    /// Notes what a trace that is let go has asked for.
    pub(super) fn note_asked(&mut self, key: &TraceKey, trace: &Trace) {
        let mut sessions: BTreeMap<u64, Option<SessionId>> = BTreeMap::new();
        for ask in asks_of(trace) {
            sessions.extend(ask.own().map(|print| (print, ask.session.clone())));
        }
        let mut is_noted = sessions.len() <= NOTES_MAX;
        for (print, session) in sessions.into_iter().take(NOTES_MAX) {
            let (_, mut noted) = self.noted(print);
            if noted.contains(key) {
                continue;
            }
            if noted.len() >= NOTED_MAX {
                is_noted = false;
                continue;
            }
            noted.push(key.clone());
            let note: Note = (session, noted);
            self.shelve(&[print], &note);
        }
        if !is_noted && !trace.recalled {
            self.count("attempt_not_noted", 1);
        }
    }

    /// What is noted there; nothing where an erasure has emptied it.
    fn noted(&mut self, print: u64) -> Note {
        self.shelf.get(self.now, print).and_then(|entry| unpack(&entry)).unwrap_or_default()
    }
}

fn asks_of(trace: &Trace) -> Vec<Ask> {
    let spans = trace.spans().filter_map(Ask::of_span);
    spans.chain(trace.events().filter_map(Ask::of_event)).collect()
}
