//! Traces that hold attempts of one request that our beacon has numbered.
//!
//! The beacon gives a request one trace, but where another SDK has named a trace for each attempt it
//! adopts that one, and says in each of them which request it was: the intent (the trace of the
//! intent's first attempt) and its repetition. Signals: what spans and sightings say. Condition: they
//! name one request, and not their own trace as its first. Result: traces that are derived together;
//! which attempt follows which is decided in [`super::across`] by number.
//!
//! Invariants:
//! * A trace belongs to one request, the least that is named in it, else to the one that it began
//!   itself, which needs no entry: of most pages nothing is held here.
//! * The partners are a function of the set of what was seen, up to the bound.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::TraceKey;
use super::tree::Origin;
use crate::schema::{Event, Label, Span, TraceId};

/// A request as the beacon names it: the first trace of the intent, and the how-manieth repetition.
pub(super) type Named = (TraceId, i32);

/// The request that a span says it is an attempt of.
pub(super) fn named_by_span(span: &Span) -> Option<Named> {
    let hints = &span.hints;
    let intent = hints.intent_id.filter(|_| hints.beacon_previous_attempts.is_some())?;
    (span.row.layer == "browser" && span.row.kind == "client").then_some((intent, hints.repeat))
}

/// The request whose attempt an event tells of.
pub(super) fn named_by_event(event: &Event) -> Option<Named> {
    let hints = &event.hints;
    let intent = hints.intent_id.filter(|_| hints.previous_attempts.is_some())?;
    Some((intent, hints.repeat))
}

/// The request that a node says it is an attempt of.
pub(super) fn named_by(origin: Origin<'_>) -> Option<Named> {
    match origin {
        Origin::Span(span) => named_by_span(span),
        Origin::Sighting(sighting) => named_by_event(&sighting.event),
    }
}

/// Which traces belong to one numbered request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Intents {
    /// Of the traces that did not begin their request.
    named_in: BTreeMap<TraceKey, Named>,
    traces_of: BTreeSet<(Label, Named, TraceId)>,
    changed: BTreeSet<TraceKey>,
}

impl Intents {
    /// Takes note of what is said in a trace; false where its request has `traces_max` already.
    pub(super) fn see(&mut self, trace: &TraceKey, named: Named, traces_max: usize) -> bool {
        let known = self.named_in.get(trace).copied();
        if named == (trace.0, 0) || known.is_some_and(|known| known <= named) {
            return true;
        }
        if self.traces_of(&trace.1, named).count() >= traces_max {
            return false;
        }
        let before = self.partners(trace);
        if let Some(known) = known {
            self.traces_of.remove(&(trace.1.clone(), known, trace.0));
        }
        self.named_in.insert(trace.clone(), named);
        self.traces_of.insert((trace.1.clone(), named, trace.0));
        let now = self.partners(trace);
        self.changed.extend(before.into_iter().chain(now));
        true
    }

    /// The traces of this one's request, where it has several.
    pub(super) fn partners(&self, trace: &TraceKey) -> Vec<TraceKey> {
        let named = self.named_in.get(trace).copied().unwrap_or((trace.0, 0));
        let mut partners: Vec<TraceKey> =
            self.traces_of(&trace.1, named).map(|id| (id, trace.1.clone())).collect();
        let first = (named.0, trace.1.clone());
        if !partners.is_empty() && named.1 == 0 && !self.named_in.contains_key(&first) {
            partners.push(first);
        }
        partners
    }

    /// Lets go of a trace.
    pub(super) fn forget(&mut self, trace: &TraceKey) {
        if let Some(named) = self.named_in.remove(trace) {
            self.traces_of.remove(&(trace.1.clone(), named, trace.0));
        }
    }

    /// The traces whose partners have changed since the last call.
    pub(super) fn take_changed(&mut self) -> BTreeSet<TraceKey> {
        std::mem::take(&mut self.changed)
    }

    fn traces_of(&self, app: &Label, named: Named) -> impl Iterator<Item = TraceId> {
        let place = |byte: u8| (app.clone(), named, TraceId([byte; 16]));
        self.traces_of.range(place(0)..=place(u8::MAX)).map(|(_, _, trace)| *trace)
    }
}
