//! One open trace: what has arrived of it, and what was last said about it.
//!
//! Invariants: a span is held once, whatever the number of its deliveries; what is said depends on
//! the set of what is held, so any order of arrival ends in the same rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::change::{Change, Delta, Placed, RowIds, replace};
use super::erase::{Whose, whose_event, whose_span};
use super::recent::fingerprint;
use crate::schema::{
    Event, EventRow, Label, RequestRow, SessionId, Span, SpanId, SpanRow, Time, TraceId,
};

/// A span's identity within its trace. The kind is part of it: a caller and its callee may share
/// one span id.
pub(super) type SpanKey = (SpanId, Label);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Held<T, R> {
    arrived: T,
    said: Option<Placed<R>>,
}

/// One open trace.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Trace {
    spans: BTreeMap<SpanKey, Held<Span, SpanRow>>,
    events: Vec<Held<Event, EventRow>>,
    requests: BTreeMap<TraceId, Placed<RequestRow>>,
    /// Log time of the latest arrival.
    pub(super) last_arrival: Time,
    /// True once all of its sends and requests so far were counted.
    pub(super) settled: bool,
    /// What was counted: what arrives later is counted then, and nothing twice.
    counted_sends: BTreeSet<SpanKey>,
    counted_requests: BTreeSet<TraceId>,
}

/// What was derived of one trace.
pub(super) struct Own {
    /// One row for each span, in the order of [`Trace::spans`].
    pub(super) spans: Vec<SpanRow>,
    /// The requests that it began.
    pub(super) requests: Vec<RequestRow>,
    /// The one session it names.
    pub(super) only_session: Option<SessionId>,
}

impl Trace {
    /// Whether a span is here already.
    pub(super) fn holds(&self, span: &Span) -> bool {
        self.spans.contains_key(&(span.row.span_id, span.row.kind.clone()))
    }

    /// Takes a span in that is not here yet.
    pub(super) fn add_span(&mut self, span: Span) {
        self.settled = false;
        let key = (span.row.span_id, span.row.kind.clone());
        self.spans.insert(key, Held { arrived: span, said: None });
    }

    /// Takes an event in. The caller has dropped duplicates.
    pub(super) fn add_event(&mut self, event: Event) {
        self.settled = false;
        self.events.push(Held { arrived: event, said: None });
    }

    /// How many spans it holds.
    pub(super) fn span_count(&self) -> usize {
        self.spans.len()
    }

    /// What has arrived of it.
    pub(super) fn spans(&self) -> impl Iterator<Item = &Span> {
        self.spans.values().map(|held| &held.arrived)
    }

    /// The events that have arrived of it.
    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().map(|held| &held.arrived)
    }

    /// Takes what was derived of it, and says what changed.
    pub(super) fn say(&mut self, own: Own, ids: &mut RowIds) -> Vec<Change> {
        let mut changes = Vec::new();
        self.say_events(&own, ids, &mut changes);
        for (held, row) in self.spans.values_mut().zip(own.spans) {
            changes.extend(replace(&mut held.said, row, &mut ids.spans).map(Change::Span));
        }
        self.say_requests(own.requests, ids, &mut changes);
        changes
    }

    fn say_events(&mut self, derived: &Own, ids: &mut RowIds, changes: &mut Vec<Change>) {
        // The first of the spans that share an id answers for it.
        let mut session_of: BTreeMap<SpanId, Option<&SessionId>> = BTreeMap::new();
        if self.events.iter().any(|held| held.arrived.row.session_id.is_none()) {
            for span in &derived.spans {
                session_of.entry(span.span_id).or_insert(span.session_id.as_ref());
            }
        }
        for held in &mut self.events {
            let mut row = held.arrived.row.clone();
            if row.session_id.is_none() {
                let own = row.span_id.and_then(|span| session_of.get(&span).copied().flatten());
                row.session_id = own.or(derived.only_session.as_ref()).cloned();
            }
            changes.extend(replace(&mut held.said, row, &mut ids.events).map(Change::Event));
        }
    }

    fn say_requests(&mut self, rows: Vec<RequestRow>, ids: &mut RowIds, changes: &mut Vec<Change>) {
        let mut before = std::mem::take(&mut self.requests);
        for row in rows {
            let id = row.request_id;
            let mut said = before.remove(&id);
            changes.extend(replace(&mut said, row, &mut ids.requests).map(Change::Request));
            if let Some(said) = said {
                self.requests.insert(id, said);
            }
        }
        let gone = before.into_values().map(|old| Delta { old: Some(old), new: None });
        changes.extend(gone.map(Change::Request));
    }

    /// Drops what `covers` an application, session and user says; returns that it went.
    pub(super) fn erase(&mut self, covers: &dyn Fn(Whose<'_>) -> bool) -> Vec<Change> {
        let mut gone = Vec::new();
        self.spans.retain(|_, held| {
            let row = held.said.as_ref().map_or(&held.arrived.row, |(_, row)| row);
            let goes = covers(whose_span(row));
            if let Some(old) = held.said.take_if(|_| goes) {
                gone.push(Change::Span(Delta { old: Some(old), new: None }));
            }
            !goes
        });
        self.events.retain_mut(|held| {
            let row = held.said.as_ref().map_or(&held.arrived.row, |(_, row)| row);
            let goes = covers(whose_event(row));
            if let Some(old) = held.said.take_if(|_| goes) {
                gone.push(Change::Event(Delta { old: Some(old), new: None }));
            }
            !goes
        });
        gone
    }

    /// Whether nothing is left of it.
    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty() && self.events.is_empty()
    }

    /// Takes its requests back.
    pub(super) fn take_requests(&mut self) -> Vec<Change> {
        let requests = std::mem::take(&mut self.requests).into_values();
        requests.map(|old| Change::Request(Delta { old: Some(old), new: None })).collect()
    }

    /// Whether every request's outcome is one that no later event will change.
    pub(super) fn is_final(&self) -> bool {
        self.requests.values().all(|(_, request)| request.outcome_final)
    }

    /// Whether a span names a parent that is not here: the caller's side may still come, and with
    /// it the knowledge of whose request this was.
    pub(super) fn waits_for_parent(&self) -> bool {
        let ids: BTreeSet<SpanId> = self
            .spans
            .keys()
            .map(|(id, _)| *id)
            .chain(self.events.iter().filter_map(|held| held.arrived.row.span_id))
            .collect();
        self.spans().any(|span| span.row.parent_span_id.is_some_and(|id| !ids.contains(&id)))
    }

    /// What tells a second delivery of its spans from a first.
    pub(super) fn prints(&self) -> impl Iterator<Item = u64> {
        self.spans().map(print)
    }

    /// Everything that counters may count and have not; remembers that they did.
    pub(super) fn settle(&mut self) -> Vec<Change> {
        self.settled = true;
        let mut changes = Vec::new();
        for (key, held) in &self.spans {
            if let Some((_, row)) = held.said.as_ref().filter(|(_, row)| row.is_send)
                && self.counted_sends.insert(key.clone())
            {
                changes.push(Change::SettledSend(Arc::clone(row)));
            }
        }
        for (id, (_, request)) in &self.requests {
            if self.counted_requests.insert(*id) {
                changes.push(Change::SettledRequest(Arc::clone(request)));
            }
        }
        changes
    }
}

/// A span's fingerprint: its identity, not its content.
pub(super) fn print(span: &Span) -> u64 {
    let row = &span.row;
    fingerprint(&(&row.app, row.trace_id, row.span_id, &row.kind))
}
