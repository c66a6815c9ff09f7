//! The join: rows in, timelines out.
//!
//! Client rows often arrive after the server's, some never, some twice. So the join holds each
//! open trace as a *set* of what has arrived, derives the trace anew when it changes, and says only
//! the difference. That makes it free of order and idempotent by construction: any arrival order
//! and any number of deliveries end in the same rows.
//!
//! Traces that hold attempts of one logical request are linked and derived as one group.
//!
//! Signals: spans and events by trace; events by page and sequence. Start: an empty join, or the
//! state of a checkpoint. A trace settles [`Config::settle_s`] after its last arrival (counters
//! count it, once) and is laid on the [`Shelf`]; what comes later takes it back and is joined, at
//! once or within an hour. Where that cannot be, it is a timeline by itself and is counted as late.
//!
//! It is not a store: rows it has let go live in [`crate::store`], and the shelf is the store's. It
//! has no clock: `now` is log time, the receive time of records and ticks, so replay is pure.
//!
//! Invariants:
//! * Every row ends in exactly one timeline or in one drop counter with a reason.
//! * Equal logs give equal rows and totals, however much is read between two calls of [`Join::emit`];
//!   read by the same steps, equal changes, row numbers included.

mod across;
mod around;
mod arrive;
mod callees;
mod calls;
mod candidate;
mod change;
mod checkpoint;
mod config;
mod derive;
mod ended;
mod erase;
mod groups;
mod held;
mod identity;
mod idle;
mod intents;
mod left;
mod links;
mod marks;
mod page;
mod prints;
mod proxied;
mod recall;
mod recent;
mod refused;
mod repeats;
mod request;
mod resends;
mod sends;
mod session;
mod settle;
mod shelf;
mod sighting;
mod trace;
mod tree;
mod twin_links;
mod twins;
mod waste;
mod weight;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use change::{Change, Delta, Placed, RowId, RowIds};
pub use config::Config;
#[cfg(test)]
pub(crate) use prints::fingerprint as print;
pub use recent::Reach;
pub use shelf::{MemoryShelf, Shelf};

use crate::decode::Rows;
use crate::schema::{
    Erasure, Event, Label, LossRow, MetricRow, RequestRow, SessionId, Span, Time, TraceId,
};
use around::Around;
use callees::Callees;
use change::place;
use config::seconds_ns;
use derive::Moment;
use ended::EndedAhead;
use idle::Kept;
use links::Links;
use prints::fingerprint;
use recall::Recalls;
use recent::Recent;
use session::Session;
use shelf::Lent;
use trace::{Own, Trace};

type TraceKey = (TraceId, Label);
type SessionKey = (SessionId, Label);

/// Everything open, and what is still to be said.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Join {
    config: Config,
    now: Time,
    complete_until: Time,
    ids: RowIds,
    traces: BTreeMap<TraceKey, Trace>,
    /// Which of them are derived together.
    links: Links,
    /// Who answers behind which host.
    callees: Callees,
    sessions: BTreeMap<SessionKey, Kept>,
    /// Sessions that have ended and are not known otherwise.
    ended_ahead: EndedAhead,
    /// Traces by the log time at which they are to be looked at again.
    due: BTreeSet<(Time, TraceKey)>,
    /// Sessions by the log time at which they may have ended.
    session_due: BTreeSet<(Time, SessionKey)>,
    dirty_traces: BTreeSet<TraceKey>,
    dirty_sessions: BTreeSet<SessionKey>,
    ready: Ready,
    recent: Recent,
    /// Spans and traces that were let go: a span that comes twice is known for longer than its
    /// trace is open.
    released: Recent,
    counters: BTreeMap<String, u64>,
    erased: BTreeMap<Erasure, Time>,
    span_count: usize,
    /// What open traces weigh in the budget; counted anew from a checkpoint.
    #[serde(skip)]
    weight: usize,
    /// Found out by the passing of log time or by a recall, to be said by the next [`Join::emit`]. A
    /// checkpoint is taken right after one, so it is always empty there.
    #[serde(skip)]
    pending: Vec<Change>,
    recalls: Recalls,
    #[serde(skip)]
    shelf: Lent,
}

/// Rows that need no trace, ready to be said.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Ready {
    events: Vec<Event>,
    metrics: Vec<MetricRow>,
    losses: Vec<LossRow>,
}

impl Join {
    /// A join with nothing in it.
    pub fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// Gives it the place where it lays what it lets go of.
    pub fn shelve_on(&mut self, shelf: Box<dyn Shelf>) {
        self.shelf = Lent::new(shelf);
    }

    /// Applies the configuration of this start to a state that an earlier one wrote.
    pub fn configure(&mut self, config: Config) {
        self.config = config;
    }

    /// Log time: the latest receive time of a record or a tick.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Log time up to which everything acknowledged has been taken in: the latest tick's.
    pub fn complete_until(&self) -> Time {
        self.complete_until
    }

    /// Rows dropped or set apart so far, by reason.
    pub fn counters(&self) -> &BTreeMap<String, u64> {
        &self.counters
    }

    /// How far back second deliveries are known: of spans, and of rows without an identity.
    pub fn reach(&self) -> (Reach, Reach) {
        let since = self.now.0.saturating_sub(seconds_ns(self.config.duplicate_window_s));
        let (since, most) = (Time(since), self.config.fingerprints_max);
        (self.released.reach(since, most), self.recent.reach(since, most))
    }

    /// How much is open: traces, spans, sessions.
    pub fn open(&self) -> (usize, usize, usize) {
        (self.traces.len(), self.span_count, self.sessions.len())
    }

    /// Takes the rows of one record in. What is due by its receive time is settled before, so that
    /// what is settled with or without a row depends on the log alone, not on when it is read.
    pub fn push(&mut self, rows: Rows) {
        self.advance(Time(rows.received_ns));
        if rows.is_tick {
            self.complete_until = self.complete_until.max(Time(rows.received_ns));
        }
        if let Some(erasure) = rows.erasure {
            self.erase(erasure);
        }
        for (reason, number) in rows.dropped {
            self.count(reason, number);
        }
        for span in rows.spans {
            self.push_span(span);
        }
        for event in rows.events {
            self.push_event(event);
        }
        for metric in rows.metrics {
            let print = fingerprint(&(
                &metric.name,
                &metric.service,
                metric.time,
                &metric.attributes.0,
                &metric.resource.0,
            ));
            if self.is_recently_new(print) {
                self.ready.metrics.push(metric);
            } else {
                self.count("duplicate_metric", 1);
            }
        }
    }

    /// Takes note of what the log promised and does not hold, or what was set aside.
    pub fn lose(&mut self, kind: &str, log_from: String, log_to: String, detail: String) {
        self.count(kind, 1);
        let (time, kind) = (self.now, Label::new(kind));
        let row = LossRow { time, time_received: time, kind, log_from, log_to, detail };
        self.ready.losses.push(row);
    }

    /// Says everything that has changed since the last call.
    pub fn emit(&mut self) -> Vec<Change> {
        let mut changes = std::mem::take(&mut self.pending);
        changes.extend(self.say_ready());
        self.say_dirty_traces(&mut changes);
        self.say_sessions(&mut changes);
        changes
    }

    fn session(&mut self, key: SessionKey, time: Time) -> &mut Session {
        self.dirty_sessions.insert(key.clone());
        if !self.recall_session(&key) {
            let mut session = Session::new(key.1.clone(), key.0.clone(), time);
            session.ended = self.ended_ahead.knows(&key);
            self.open_session(key.clone(), session);
        }
        let kept = self.sessions.get_mut(&key).expect("it was recalled or opened above");
        if matches!(kept, Kept::Asleep(_)) {
            self.session_due.insert((settle::sleep_time(self.now), key));
        }
        kept.wake()
    }

    fn open_session(&mut self, key: SessionKey, session: Session) {
        self.session_due.insert((settle::sleep_time(self.now), key.clone()));
        self.sessions.insert(key, Kept::Awake(Box::new(session)));
    }

    fn touch(&mut self, key: TraceKey) {
        let due = Time(self.now.0 + seconds_ns(self.config.settle_s));
        if let Some(trace) = self.traces.get_mut(&key) {
            if trace.last_arrival == Time::default() {
                self.due.insert((due, key.clone()));
            }
            trace.last_arrival = self.now;
        }
        self.dirty_traces.insert(key);
    }

    fn count(&mut self, reason: &str, number: u64) {
        match self.counters.get_mut(reason) {
            Some(counter) => *counter += number,
            None => {
                self.counters.insert(String::from(reason), number);
            }
        }
    }

    fn say_ready(&mut self) -> Vec<Change> {
        let Ready { events, metrics, losses } = std::mem::take(&mut self.ready);
        let events = events.into_iter().map(|event| {
            let new = Some(place(&mut self.ids.events, event.row));
            Change::Event(Delta { old: None, new })
        });
        let mut changes: Vec<Change> = events.collect();
        changes.extend(metrics.into_iter().map(|metric| {
            let new = Some(place(&mut self.ids.metrics, metric));
            Change::Metric(Delta { old: None, new })
        }));
        changes.extend(losses.into_iter().map(|loss| {
            let new = Some(place(&mut self.ids.losses, loss));
            Change::Loss(Delta { old: None, new })
        }));
        changes
    }

    /// Says every trace of which something has changed, with all that are linked to it.
    fn say_dirty_traces(&mut self, changes: &mut Vec<Change>) {
        self.dirty_traces.extend(self.links.relink());
        let mut said: BTreeSet<TraceKey> = BTreeSet::new();
        for key in std::mem::take(&mut self.dirty_traces) {
            if !said.contains(&key) {
                let members = self.links.members(&key);
                self.say_traces(&members, changes);
                said.extend(members);
            }
        }
    }

    /// Says what changed in linked traces; returns what they tell of their sessions' clocks.
    fn say_traces(
        &mut self,
        members: &[TraceKey],
        changes: &mut Vec<Change>,
    ) -> Vec<(SessionId, i64, i64)> {
        let Some((_, app)) = members.first() else { return Vec::new() };
        let named = members.iter().filter_map(|key| self.traces.get(key));
        let named: BTreeSet<_> = named.flat_map(Trace::sessions_of_events).collect();
        for session in named {
            // What its pages know decides about the requests.
            self.recall_session(&(session, app.clone()));
        }
        let (sessions, callees, links) = (&self.sessions, &self.callees, &self.links);
        let outside = Around { sessions, callees, links, app };
        let held = || members.iter().filter_map(|key| self.traces.get(key));
        let moment = Moment {
            abandon_final_before: Time(self.now.0 - seconds_ns(self.config.abandon_final_s)),
            parents_final: held().all(|trace| trace.parents_final),
        };
        let spans: Vec<&Span> = held().flat_map(Trace::spans).collect();
        let events: Vec<&Event> = held().flat_map(Trace::events).collect();
        let mut derived = derive::derive(&spans, &events, &outside, moment);
        let mut requests: BTreeMap<TraceId, Vec<RequestRow>> = BTreeMap::new();
        for request in derived.requests {
            requests.entry(request.trace_id).or_default().push(request);
        }
        let (mut rows, mut only_sessions) = (derived.spans.into_iter(), derived.only_sessions);
        for key in members {
            let Some(trace) = self.traces.get_mut(key) else { continue };
            let own = Own {
                spans: rows.by_ref().take(trace.span_count()).collect(),
                requests: requests.remove(&key.0).unwrap_or_default(),
                only_session: only_sessions.remove(&key.0),
                in_vain: derived.in_vain.remove(&key.0).unwrap_or_default(),
                in_two_sessions: derived.in_two_sessions.contains(&key.0),
            };
            self.callees.find(key, derived.found.remove(&key.0).unwrap_or_default());
            let said = trace.say(own, &mut self.ids);
            if trace.settled && !said.is_empty() {
                *self.counters.entry(String::from("changed_after_settling")).or_default() += 1;
            }
            for change in &said {
                if let Change::Request(Delta { old, new }) = change {
                    self.count_in_session(old.as_ref(), -1);
                    self.count_in_session(new.as_ref(), 1);
                }
            }
            changes.extend(said);
        }
        derived.clock_bounds
    }

    /// A bound is taken from settled traces only: an earlier look may have paired a callee with a
    /// caller that a later arrival replaces, and a bound cannot be taken back.
    fn bound_clocks(&mut self, app: &Label, bounds: Vec<(SessionId, i64, i64)>) {
        for (session, low, high) in bounds {
            let key = (session, app.clone());
            if self.recall_session(&key)
                && let Some(session) = self.sessions.get_mut(&key)
            {
                session.wake().bound_clock(Some(low), Some(high));
                self.dirty_sessions.insert(key);
            }
        }
    }

    fn count_in_session(&mut self, request: Option<&Placed<RequestRow>>, sign: i64) {
        let Some((_, request)) = request else { return };
        let Some(id) = request.session_id.clone() else { return };
        let limits = self.config.of_session();
        self.session((id, request.app.clone()), request.time).count_request(request, sign, limits);
    }

    fn say_session(&mut self, key: &SessionKey, changes: &mut Vec<Change>) {
        let Some(session) = self.sessions.get_mut(key).map(Kept::wake) else { return };
        let row = session.row();
        let said = change::replace(&mut session.said, row, &mut self.ids.sessions);
        changes.extend(said.map(Change::Session));
    }

    fn say_sessions(&mut self, changes: &mut Vec<Change>) {
        for key in std::mem::take(&mut self.dirty_sessions) {
            self.say_session(&key, changes);
        }
    }
}
