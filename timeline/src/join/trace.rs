//! One open trace: what has arrived of it, and what was last said about it.
//!
//! Invariants: a span is held once, whatever the number of its deliveries; what is said depends on
//! the set of what is held, so any order of arrival ends in the same rows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::change::{Change, Delta, Placed, RowIds, replace};
use super::derive::{Derived, Pages, derive};
use super::erase::{Whose, whose_event, whose_span};
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
    /// True once its sends and requests were counted.
    pub(super) settled: bool,
}

/// What changed when a trace was looked at anew.
pub(super) struct Said {
    pub(super) changes: Vec<Change>,
    pub(super) clock_bounds: Vec<(SessionId, i64, i64)>,
}

impl Trace {
    /// Takes a span in; false where it is here already.
    pub(super) fn add_span(&mut self, span: Span) -> bool {
        let key = (span.row.span_id, span.row.kind.clone());
        match self.spans.entry(key) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(Held { arrived: span, said: None });
                true
            }
        }
    }

    /// Takes an event in. The caller has dropped duplicates.
    pub(super) fn add_event(&mut self, event: Event) {
        self.events.push(Held { arrived: event, said: None });
    }

    /// How many spans it holds.
    pub(super) fn span_count(&self) -> usize {
        self.spans.len()
    }

    /// Derives the trace anew and says what changed.
    pub(super) fn say(
        &mut self,
        trace_id: TraceId,
        pages: &dyn Pages,
        abandon_final_before: Time,
        ids: &mut RowIds,
    ) -> Said {
        let spans: Vec<&Span> = self.spans.values().map(|held| &held.arrived).collect();
        let events: Vec<&Event> = self.events.iter().map(|held| &held.arrived).collect();
        let derived = derive(trace_id, &spans, &events, pages, abandon_final_before);
        let mut changes = Vec::new();
        self.say_spans(&derived, ids, &mut changes);
        self.say_events(&derived, ids, &mut changes);
        self.say_requests(derived.requests, ids, &mut changes);
        Said { changes, clock_bounds: derived.clock_bounds }
    }

    fn say_spans(&mut self, derived: &Derived, ids: &mut RowIds, changes: &mut Vec<Change>) {
        for (held, row) in self.spans.values_mut().zip(&derived.spans) {
            changes.extend(replace(&mut held.said, row.clone(), &mut ids.spans).map(Change::Span));
        }
    }

    fn say_events(&mut self, derived: &Derived, ids: &mut RowIds, changes: &mut Vec<Change>) {
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

    /// Everything that counters may count, once; remembers that they did.
    pub(super) fn settle(&mut self) -> Vec<Change> {
        self.settled = true;
        let sends = self.spans.values().filter_map(|held| held.said.as_ref());
        let sends = sends
            .filter(|(_, row)| row.is_send)
            .map(|(_, row)| Change::SettledSend(Arc::clone(row)));
        let requests =
            self.requests.values().map(|(_, request)| Change::SettledRequest(Arc::clone(request)));
        sends.chain(requests).collect()
    }
}
