//! What open rows weigh in the join's budget: a usual row one, a row with much text more.
//!
//! The budget is a number of rows, since that is what operators can reason about, and memory is what it
//! is for: a row may bring 64 KiB of attributes, and a hundred thousand of those are not a hundred
//! thousand usual rows.
//!
//! Invariant: what a row weighs depends on nothing but the row, so what was added when it came is what is
//! taken away when it goes.

use crate::schema::{Event, EventRow, Span, SpanRow};

/// Text that a row holds for its weight of one, and then for each further one, in bytes. Spans of common
/// instrumentations have some hundred bytes of attributes and less than a kibibyte of resource.
const TEXT_BYTES: usize = 2_048;

/// The weight of a span.
pub(super) fn of_span(span: &Span) -> usize {
    let SpanRow { attributes, resource, name, .. } = &span.row;
    of_text(attributes.bytes() + resource.bytes() + name.as_str().len())
}

/// The weight of an event.
pub(super) fn of_event(event: &Event) -> usize {
    let EventRow { attributes, resource, body, .. } = &event.row;
    of_text(attributes.bytes() + resource.bytes() + body.as_ref().map_or(0, |body| body.len()))
}

fn of_text(bytes: usize) -> usize {
    1 + bytes / TEXT_BYTES
}
