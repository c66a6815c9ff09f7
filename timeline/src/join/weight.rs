//! What open rows weigh in the join's budget: a usual row one, a row with many or long attributes more.
//!
//! The budget is a number of rows, since that is what operators can reason about, and memory is what it
//! is for: a row may bring 64 KiB of attributes, or a thousand of them without a text, and a hundred
//! thousand of those are not a hundred thousand usual rows.
//!
//! Invariant: what a row weighs depends on nothing but the row, so what was added when it came is what is
//! taken away when it goes.

use crate::schema::{Attributes, Event, EventRow, Span, SpanRow};

/// What a row holds in attributes for its weight of one, and then for each further one, in bytes. Spans of
/// common instrumentations have twenty attributes and a resource of a dozen, with some hundred bytes of
/// text each.
const HELD_BYTES: usize = 3_072;

/// What an attribute costs beside its text, in bytes: two pointers with their lengths, and what an
/// allocator spends on two texts of a few letters.
const PAIR_BYTES: usize = 48;

/// The weight of a span.
pub(super) fn of_span(span: &Span) -> usize {
    let SpanRow { attributes, resource, name, .. } = &span.row;
    of_bytes(held(attributes) + held(resource) + name.as_str().len())
}

/// The weight of an event.
pub(super) fn of_event(event: &Event) -> usize {
    let EventRow { attributes, resource, body, .. } = &event.row;
    of_bytes(held(attributes) + held(resource) + body.as_ref().map_or(0, String::len))
}

/// A resource is held once for all rows of one body; it counts for each, since a body may have one row.
fn held(attributes: &Attributes) -> usize {
    attributes.bytes() + attributes.0.len() * PAIR_BYTES
}

fn of_bytes(bytes: usize) -> usize {
    1 + bytes / HELD_BYTES
}

#[cfg(test)]
impl super::Join {
    /// Fails where what was added and taken away is not what is there.
    pub(super) fn assert_weight(&self) {
        let there: usize = self.traces.values().map(super::Trace::weight).sum();
        assert_eq!(self.weight, there);
        let spans: usize = self.traces.values().map(super::Trace::span_count).sum();
        assert_eq!(self.span_count, spans);
    }
}
