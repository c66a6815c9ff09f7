//! Which records are let in: removes the invalid ones and counts them exactly, by reason.
//!
//! A record is rejected only for a reason that is permanent (a client never sends a partial
//! success again), and one bad record never costs its neighbours. Sizes are bounded by [`bound`]
//! without rejecting anything.
//!
//! It is not authentication, quota or privacy; see the collector and [`super::scrub`].
//!
//! Invariants:
//! * `count` is exactly the number of records removed, the sum of `by_reason`.
//! * What is admitted is not altered, but for cuts that `shortened` counts and for ids that name
//!   nothing (a parent of zeros), which become absent.
//! * Admitting twice within the same sizes is admitting once.

mod bound;
mod points;
#[cfg(test)]
mod tests;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;

use self::bound::Bounds;
pub use self::bound::{
    ATTRIBUTES_MAX, DEPTH_MAX, EVENT_NAME_BYTES_MAX, KEY_BYTES_MAX, NAME_BYTES_MAX, PARTS_MAX,
    RECORD_BYTES_MAX, Sizes, TRACE_STATE_BYTES_MAX, VALUE_BYTES_MAX,
};
pub use self::points::BUCKETS_MAX;
use super::counts::Counts;
use super::names::{Known, Name};
use crate::schema::{SpanId, TraceId};

/// The reason of a log record that is not an event.
const NO_EVENT_NAME: &str = "no_event_name";

/// The reason of a record with a field that has not the type it should have, such as a time that is a
/// word. Only JSON can hold one.
const MALFORMED_FIELD: &str = "malformed_field";

/// The trace id that the reader of JSON gives to such a span or log record: no id has nine bytes.
pub(super) const MALFORMED: &[u8; 9] = b"malformed";

/// The flags that it gives to such a data point: the standard defines one bit of them.
pub(super) const MALFORMED_FLAGS: u32 = u32::MAX;

/// The name that it gives to such a metric: what stands for text that is none, and nothing else.
pub(super) const MALFORMED_METRIC: &str = "\u{fffd}";

/// What was not admitted of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// How many records (spans, log records, data points) were removed.
    pub count: u64,
    /// The same by reason.
    pub by_reason: Vec<(&'static str, u64)>,
    /// What was cut from records that were admitted, by kind of cut.
    pub shortened: Vec<(&'static str, u64)>,
    /// For the partial success: what and why, in English; empty where nothing happened.
    pub message: String,
}

/// Admits spans: both ids must be of the right length and not all zero.
pub fn traces(request: &mut ExportTraceServiceRequest, sizes: Sizes) -> Rejected {
    let mut tally = Tally::new(sizes);
    request.resource_spans.retain_mut(|resource| {
        tally.bounds().resource(&mut resource.resource);
        tally.bounds().text(&mut resource.schema_url, NAME_BYTES_MAX);
        resource.scope_spans.retain_mut(|scope| {
            tally.bounds().scope(&mut scope.scope);
            tally.bounds().text(&mut scope.schema_url, NAME_BYTES_MAX);
            scope.spans.retain_mut(|span| {
                tally.judge(span_fault(span)) && {
                    bound_span(span, &mut tally.bounds());
                    true
                }
            });
            !scope.spans.is_empty()
        });
        !resource.scope_spans.is_empty()
    });
    tally.rejected("spans")
}

/// Admits events: log records with an event name.
pub fn logs(request: &mut ExportLogsServiceRequest, sizes: Sizes) -> Rejected {
    let mut tally = Tally::new(sizes);
    request.resource_logs.retain_mut(|resource| {
        tally.bounds().resource(&mut resource.resource);
        tally.bounds().text(&mut resource.schema_url, NAME_BYTES_MAX);
        resource.scope_logs.retain_mut(|scope| {
            tally.bounds().scope(&mut scope.scope);
            tally.bounds().text(&mut scope.schema_url, NAME_BYTES_MAX);
            scope.log_records.retain_mut(|record| {
                tally.judge(record_fault(record)) && {
                    bound_record(record, &mut tally.bounds());
                    true
                }
            });
            !scope.log_records.is_empty()
        });
        !resource.scope_logs.is_empty()
    });
    tally.rejected("log records")
}

/// Admits data points: the metric must have a name, a histogram bounds that fit its buckets.
pub fn metrics(request: &mut ExportMetricsServiceRequest, sizes: Sizes) -> Rejected {
    let mut tally = Tally::new(sizes);
    request.resource_metrics.retain_mut(|resource| {
        tally.bounds().resource(&mut resource.resource);
        tally.bounds().text(&mut resource.schema_url, NAME_BYTES_MAX);
        resource.scope_metrics.retain_mut(|scope| {
            tally.bounds().scope(&mut scope.scope);
            tally.bounds().text(&mut scope.schema_url, NAME_BYTES_MAX);
            scope.metrics.retain_mut(|metric| points::judge(metric, &mut tally));
            !scope.metrics.is_empty()
        });
        !resource.scope_metrics.is_empty()
    });
    tally.rejected("data points")
}

/// Why a span cannot be a row.
pub(super) fn span_fault(span: &Span) -> Option<&'static str> {
    if span.trace_id == MALFORMED {
        Some(MALFORMED_FIELD)
    } else if TraceId::from_bytes(&span.trace_id).is_none() {
        Some("invalid_trace_id")
    } else if SpanId::from_bytes(&span.span_id).is_none() {
        Some("invalid_span_id")
    } else {
        None
    }
}

/// Why a log record cannot be a row. Invalid ids are no reason: the record then belongs to no span.
pub(super) fn record_fault(record: &LogRecord) -> Option<&'static str> {
    if record.trace_id == MALFORMED {
        return Some(MALFORMED_FIELD);
    }
    let named =
        !record.event_name.is_empty() || Known::of(&record.attributes).text(Name::Event).is_some();
    (!named).then_some(NO_EVENT_NAME)
}

/// What has been found in one request so far.
struct Tally {
    sizes: Sizes,
    admitted: u64,
    rejected: Counts,
    shortened: Counts,
}

impl Tally {
    fn new(sizes: Sizes) -> Self {
        Self { sizes, admitted: 0, rejected: Counts::default(), shortened: Counts::default() }
    }

    /// The limits of a new record.
    fn bounds(&mut self) -> Bounds<'_> {
        Bounds::new(self.sizes, &mut self.shortened)
    }

    /// Counts one record; true where it has no fault.
    fn judge(&mut self, fault: Option<&'static str>) -> bool {
        match fault {
            Some(reason) => self.rejected.add(reason, 1),
            None => self.admitted += 1,
        }
        fault.is_none()
    }

    /// How many records were judged.
    fn judged(&self) -> u64 {
        self.rejected.total() + self.admitted
    }

    fn rejected(self, records: &str) -> Rejected {
        let count = self.rejected.total();
        let mut message = Vec::new();
        if count > 0 {
            let sent = self.judged();
            let reasons = self.rejected.describe();
            message.push(format!("{count} of {sent} {records} rejected: {reasons}"));
            if reasons.contains(NO_EVENT_NAME) {
                message.push(String::from(
                    "a log record needs an event name; other logs are not kept",
                ));
            }
        }
        if self.shortened.total() > 0 {
            message.push(format!("shortened to fit: {}", self.shortened.describe()));
        }
        Rejected {
            count,
            by_reason: self.rejected.into_pairs(),
            shortened: self.shortened.into_pairs(),
            message: message.join("; "),
        }
    }
}

fn bound_span(span: &mut Span, bounds: &mut Bounds<'_>) {
    bounds.text(&mut span.name, NAME_BYTES_MAX);
    clear_invalid::<8>(&mut span.parent_span_id);
    bounds.trace_state(&mut span.trace_state);
    if let Some(status) = &mut span.status {
        bounds.long_text(&mut status.message);
    }
    bounds.attributes(&mut span.attributes);
    bounds.parts(&mut span.events);
    for event in &mut span.events {
        bounds.text(&mut event.name, NAME_BYTES_MAX);
        bounds.attributes(&mut event.attributes);
    }
    bounds.parts(&mut span.links);
    for link in &mut span.links {
        clear_invalid::<16>(&mut link.trace_id);
        clear_invalid::<8>(&mut link.span_id);
        bounds.trace_state(&mut link.trace_state);
        bounds.attributes(&mut link.attributes);
    }
}

fn bound_record(record: &mut LogRecord, bounds: &mut Bounds<'_>) {
    bounds.text(&mut record.event_name, EVENT_NAME_BYTES_MAX);
    bounds.text(&mut record.severity_text, NAME_BYTES_MAX);
    clear_invalid::<16>(&mut record.trace_id);
    clear_invalid::<8>(&mut record.span_id);
    bounds.value(&mut record.body);
    bounds.attributes(&mut record.attributes);
}

/// Makes an id that is none absent.
fn clear_invalid<const BYTES: usize>(id: &mut Vec<u8>) {
    if id.len() != BYTES || id.iter().all(|byte| *byte == 0) {
        id.clear();
    }
}
