//! Attempts that only events tell of: pending, abandoned, or taken back.
//!
//! A browser's attempt has a span when it ends. Until then, and for ever where the page was left,
//! it is known by `behavior.pending`, `behavior.abandon` and `behavior.abandon_withdrawn`.
//!
//! Invariant: a sighting is a function of the set of its events; the page's own sequence decides
//! which came last, never the order of arrival.

use std::collections::BTreeMap;

use crate::schema::{Event, SpanId, TraceId};

/// Everything events say of one attempt.
pub(super) struct Sighting {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    /// The latest event that describes it.
    pub(super) event: Event,
    /// True where the latest word is that it was abandoned.
    pub(super) abandoned: bool,
    /// The longest wait that any event told of, in microseconds.
    pub(super) waited_us: i64,
}

impl Sighting {
    /// When it was sent, on the browser's clock: the event's time less the wait it tells of.
    pub(super) fn start_ns(&self) -> i64 {
        let waited_us = self.event.hints.waited_us.unwrap_or(0);
        self.event.row.time_client.plus_us(-waited_us).0
    }

    /// How long the user had waited for the whole request, in microseconds.
    pub(super) fn total_waited_us(&self) -> i64 {
        self.event.hints.total_waited_us.unwrap_or(0).max(self.waited_us)
    }
}

/// The sightings of some traces from their events, by attempt.
pub(super) fn sightings<'trace>(
    events: impl Iterator<Item = &'trace Event>,
) -> BTreeMap<(TraceId, SpanId), Sighting> {
    let mut of_span: BTreeMap<(TraceId, SpanId), Vec<&Event>> = BTreeMap::new();
    for event in events.filter(|event| is_sighting(event)) {
        if let Some(attempt) = event.row.trace_id.zip(event.row.span_id) {
            of_span.entry(attempt).or_default().push(event);
        }
    }
    of_span
        .into_iter()
        .filter_map(|((trace_id, span_id), mut events)| {
            events.sort_by_key(|event| (event.row.sequence, event.row.time_client));
            let last_word =
                events.iter().rev().find(|event| event.row.event_name != "behavior.pending");
            let describing = events
                .iter()
                .rev()
                .find(|event| event.row.event_name != "behavior.abandon_withdrawn")?;
            let abandoned =
                last_word.is_some_and(|event| event.row.event_name == "behavior.abandon");
            let waited_us = events.iter().filter_map(|event| event.hints.waited_us).max();
            Some((
                (trace_id, span_id),
                Sighting {
                    trace_id,
                    span_id,
                    event: (*describing).clone(),
                    abandoned,
                    waited_us: waited_us.unwrap_or(0),
                },
            ))
        })
        .collect()
}

/// Whether an event tells of one attempt.
pub(super) fn is_sighting(event: &Event) -> bool {
    let page_only = event.hints.abandon_target.as_ref().is_some_and(|target| *target == "page");
    !page_only
        && event.row.trace_id.is_some()
        && matches!(
            event.row.event_name.as_str(),
            "behavior.pending" | "behavior.abandon" | "behavior.abandon_withdrawn"
        )
}
