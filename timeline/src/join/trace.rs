//! One open trace: what has arrived of it, and what was last said about it.
//!
//! Invariants: a span is held once, whatever the number of its deliveries; what is said depends on
//! the set of what is held, so any order of arrival ends in the same rows.

mod merge;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::change::{Change, Delta, Placed, RowIds, replace};
use super::erase::{Whose, whose_event, whose_span};
use super::prints::fingerprint;
use super::weight;
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
    /// Boxed: a node of the map has room for eleven, and most traces have fewer spans.
    spans: BTreeMap<SpanKey, Box<Held<Span, SpanRow>>>,
    events: Vec<Held<Event, EventRow>>,
    requests: BTreeMap<TraceId, Placed<RequestRow>>,
    /// Log time of the latest arrival.
    pub(super) last_arrival: Time,
    /// True once all of its sends and requests so far were counted.
    pub(super) settled: bool,
    /// True once it is waited no longer for parents that its spans name and that are not here.
    pub(super) parents_final: bool,
    /// Who asked which host without a server's span to show for it.
    pub(super) in_vain: BTreeSet<(Label, Label)>,
    counted_sends: Counted<SpanKey>,
    counted_requests: Counted<TraceId>,
    /// True where it has come back from the shelf.
    pub(super) recalled: bool,
    /// True where the shelf does not hold it as it is.
    changed: bool,
    /// The print of the group that it lies on the shelf with.
    together: u64,
    /// True where it began anew because an older part of it could not be taken back yet.
    pub(super) apart: bool,
    /// Its nodes name more than one session.
    in_two_sessions: bool,
    counted_in_two_sessions: bool,
}

/// What an erasure has dropped of a trace.
#[derive(Default)]
pub(super) struct Erased {
    /// What had been said, and goes.
    pub(super) gone: Vec<Change>,
    pub(super) spans: usize,
    /// What it had weighed in the budget.
    pub(super) weight: usize,
}

/// What was counted. A fact that arrives later is counted then; one that takes the place of a
/// counted one, which no longer holds, is not: totals never fall, so it is paid for.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Counted<K: Ord> {
    standing: BTreeSet<K>,
    number: usize,
}

impl<K: Ord> Default for Counted<K> {
    fn default() -> Self {
        Self { standing: BTreeSet::new(), number: 0 }
    }
}

impl<K: Ord + Clone> Counted<K> {
    /// Takes the facts that hold now; returns those to be counted.
    fn count<'fact, R>(
        &mut self,
        standing: impl Iterator<Item = (&'fact K, &'fact Arc<R>)>,
    ) -> Vec<Arc<R>>
    where
        K: 'fact,
        R: 'fact,
    {
        let standing: BTreeMap<&K, &Arc<R>> = standing.collect();
        let more = standing.len().saturating_sub(self.number);
        let new = standing.iter().filter(|(key, _)| !self.standing.contains(**key));
        let counted = new.take(more).map(|(_, fact)| Arc::clone(fact)).collect();
        self.number = self.number.max(standing.len());
        self.standing = standing.into_keys().cloned().collect();
        counted
    }
}

/// What was derived of one trace.
pub(super) struct Own {
    /// One row for each span, in the order of [`Trace::spans`].
    pub(super) spans: Vec<SpanRow>,
    /// The requests that it began.
    pub(super) requests: Vec<RequestRow>,
    /// The one session it names.
    pub(super) only_session: Option<SessionId>,
    /// Who asked which host in vain.
    pub(super) in_vain: BTreeSet<(Label, Label)>,
    /// Whether it names more than one session.
    pub(super) in_two_sessions: bool,
}

impl Trace {
    /// Whether a span is here already.
    pub(super) fn holds(&self, span: &Span) -> bool {
        self.spans.contains_key(&(span.row.span_id, span.row.kind.clone()))
    }

    /// Whether a span that is here says another thing than this one of the same id. The first in the
    /// order of the log holds; a second delivery differs in when it was received alone.
    pub(super) fn conflicts_with(&self, span: &Span) -> bool {
        let of = |span: &Span| {
            let row = &span.row;
            fingerprint(&(
                (row.time_client, row.duration_us, row.parent_span_id, &row.name),
                (row.status_code, &row.error_type, &row.status, &row.session_id),
                &row.attributes.0,
            ))
        };
        let held = self.spans.get(&(span.row.span_id, span.row.kind.clone()));
        held.is_some_and(|held| of(&held.arrived) != of(span))
    }

    /// Takes a span in that is not here yet.
    pub(super) fn add_span(&mut self, span: Span) {
        (self.settled, self.changed) = (false, true);
        self.parents_final = false;
        let key = (span.row.span_id, span.row.kind.clone());
        self.spans.insert(key, Box::new(Held { arrived: span, said: None }));
    }

    /// Takes an event in. The caller has dropped duplicates.
    pub(super) fn add_event(&mut self, event: Event) {
        (self.settled, self.changed) = (false, true);
        self.events.push(Held { arrived: event, said: None });
    }

    /// Begins anew after the shelf: nothing has arrived yet, and what is here is as it lies there,
    /// together with the others of a group of this print.
    pub(super) fn wake(&mut self, together: u64) {
        self.last_arrival = Time::default();
        (self.recalled, self.changed, self.together) = (true, false, together);
    }

    /// Whether the shelf holds it as it is, in the same group. In another one it would bring back what
    /// has gone on without it.
    pub(super) fn is_as_shelved(&self, together: u64) -> bool {
        self.recalled && !self.changed && self.together == together
    }

    /// Whether it names more than one session and was not counted as such before.
    pub(super) fn is_first_seen_in_two_sessions(&mut self) -> bool {
        let first = self.in_two_sessions && !self.counted_in_two_sessions;
        self.counted_in_two_sessions |= first;
        first
    }

    /// The sessions that its events name: what their pages know decides about its requests.
    pub(super) fn sessions_of_events(&self) -> BTreeSet<SessionId> {
        self.events().filter_map(|event| event.row.session_id.clone()).collect()
    }

    /// Whether an event is here that came before the trace was let go. What came since is the
    /// caller's to know.
    pub(super) fn has_come_back_with(&self, event: &Event) -> bool {
        if is_known_to_its_page(&event.row) || !self.recalled {
            return false;
        }
        let print = event_print(&event.row);
        self.events().any(|held| event_print(&held.row) == print)
    }

    /// How many spans it holds.
    pub(super) fn span_count(&self) -> usize {
        self.spans.len()
    }

    /// What it weighs in the budget.
    pub(super) fn weight(&self) -> usize {
        self.spans().map(weight::of_span).sum::<usize>()
            + self.events().map(weight::of_event).sum::<usize>()
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
        (self.in_vain, self.in_two_sessions) = (own.in_vain, own.in_two_sessions);
        self.say_requests(own.requests, ids, &mut changes);
        self.changed |= !changes.is_empty();
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

    /// Drops what `covers` an application, session and user says.
    pub(super) fn erase(&mut self, covers: &dyn Fn(Whose<'_>) -> bool) -> Erased {
        let mut erased = Erased::default();
        self.spans.retain(|_, held| {
            let row = held.said.as_ref().map_or(&held.arrived.row, |(_, row)| row);
            let goes = covers(whose_span(row));
            if goes {
                erased.spans += 1;
                erased.weight += weight::of_span(&held.arrived);
                let old = held.said.take();
                erased
                    .gone
                    .extend(old.map(|old| Change::Span(Delta { old: Some(old), new: None })));
            }
            !goes
        });
        self.events.retain_mut(|held| {
            let row = held.said.as_ref().map_or(&held.arrived.row, |(_, row)| row);
            let goes = covers(whose_event(row));
            if goes {
                erased.weight += weight::of_event(&held.arrived);
                let old = held.said.take();
                let gone = old.map(|old| Change::Event(Delta { old: Some(old), new: None }));
                erased.gone.extend(gone);
            }
            !goes
        });
        erased
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

    /// Whether every request's outcome is one that no later event will change. What a server saw
    /// alone waits for spans, not for events.
    pub(super) fn is_final(&self) -> bool {
        let mut requests = self.requests.values();
        requests.all(|(_, request)| request.outcome_final || request.layer == "service")
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
        let said = self.spans.iter().filter_map(|(key, held)| Some((key, &held.said.as_ref()?.1)));
        let sends = self.counted_sends.count(said.filter(|(_, row)| row.is_send));
        let requests = self.requests.iter().map(|(id, (_, request))| (id, request));
        let requests = self.counted_requests.count(requests);
        let sends = sends.into_iter().map(Change::SettledSend);
        sends.chain(requests.into_iter().map(Change::SettledRequest)).collect()
    }
}

/// Whether its page's sequence tells a second delivery of it from the first.
fn is_known_to_its_page(row: &EventRow) -> bool {
    row.session_id.is_some() && row.page_id.is_some() && row.sequence.is_some()
}

/// The fingerprint of an event that has no identity of its own: what it says.
pub(super) fn event_print(row: &EventRow) -> u64 {
    fingerprint(&(
        (&row.app, &row.service, &row.event_name, row.time_client),
        (row.trace_id, row.span_id, &row.body),
        (&row.attributes.0, &row.resource.0),
    ))
}

/// A span's fingerprint: its identity, not its content.
pub(super) fn print(span: &Span) -> u64 {
    let row = &span.row;
    fingerprint(&(&row.app, row.trace_id, row.span_id, &row.kind))
}
