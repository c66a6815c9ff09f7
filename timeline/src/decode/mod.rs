//! OTLP → rows. The only place that knows OTLP's names.
//!
//! Flow of the collector: [`scan`] (how much it would be) → [`json`] (or protobuf) → [`admit`] (what
//! is invalid goes, by reason) → [`scrub`] (what is personal goes) → the log. Flow of the query role:
//! the log → [`rows`].
//!
//! It is not the join: the derived columns of a row (attempts, callers, sessions found through a
//! trace) are left empty here.
//!
//! Invariants:
//! * Rows are a pure function of the envelope: no clock, no state, no order of arrival.
//! * No input panics; a record that is no row is counted in [`Rows::dropped`] with its reason.
//! * Each row is bounded in size, whatever wrote the log.

pub mod admit;
mod counts;
mod events;
mod hints;
mod histogram;
pub mod json;
mod metrics;
mod names;
mod route;
pub mod scan;
pub mod scrub;
mod sender;
mod spans;
#[cfg(test)]
mod tests;
mod value;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use thiserror::Error;

use self::admit::Sizes;
use self::counts::Counts;
use self::sender::Labels;
use crate::record::{Envelope, Source};
use crate::schema::{Erasure, Event, Label, MetricRow, SessionId, Span, Subject};

/// What one record of the log holds, as rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Spans, in the order of the record.
    pub spans: Vec<Span>,
    /// Events, in the order of the record.
    pub events: Vec<Event>,
    /// Data points, in the order of the record.
    pub metrics: Vec<MetricRow>,
    /// What became no row, by reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// The collector's own counters, of a tick.
    pub counters: Vec<(String, u64)>,
    /// True for a tick: everything received before it stands before it in the log.
    pub is_tick: bool,
    /// Whose rows somebody asked to be erased.
    pub erasure: Option<Erasure>,
    /// When the collector received the record, nanoseconds since the Unix epoch.
    pub received_ns: i64,
}

/// A record whose bytes are not what the collector writes: corruption, or a newer version. Never
/// worth a retry.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// The spans do not decode.
    #[error("the record's spans do not decode: {0}")]
    Traces(#[source] prost::DecodeError),
    /// The events do not decode.
    #[error("the record's log records do not decode: {0}")]
    Logs(#[source] prost::DecodeError),
    /// The data points do not decode.
    #[error("the record's metrics do not decode: {0}")]
    Metrics(#[source] prost::DecodeError),
}

/// The rows of a record. Admission is applied again, so that the limits hold and everything that
/// is no row is counted, whatever the writer did.
pub fn rows(envelope: &Envelope) -> Result<Rows, DecodeError> {
    let mut traces = ExportTraceServiceRequest::decode(envelope.traces.as_slice())
        .map_err(DecodeError::Traces)?;
    let mut logs =
        ExportLogsServiceRequest::decode(envelope.logs.as_slice()).map_err(DecodeError::Logs)?;
    let mut metrics = ExportMetricsServiceRequest::decode(envelope.metrics.as_slice())
        .map_err(DecodeError::Metrics)?;
    let mut dropped = Counts::default();
    // Whatever its writer let in: equal logs give equal rows.
    let sizes = Sizes::default();
    let rejected = [
        admit::traces(&mut traces, sizes),
        admit::logs(&mut logs, sizes),
        admit::metrics(&mut metrics, sizes),
    ];
    for (reason, count) in rejected.into_iter().flat_map(|rejected| rejected.by_reason) {
        dropped.add(reason, count);
    }
    let labels = Labels::default();
    Ok(Rows {
        spans: spans::rows(&traces, envelope, &labels),
        events: events::rows(&logs, envelope, &labels),
        metrics: metrics::rows(&metrics, envelope, &labels, &mut dropped),
        dropped: dropped.into_pairs(),
        counters: envelope.counters.clone(),
        is_tick: envelope.source == Source::Tick,
        erasure: erasure(envelope),
        received_ns: envelope.received_ns,
    })
}

fn erasure(envelope: &Envelope) -> Option<Erasure> {
    if envelope.source != Source::Erasure {
        return None;
    }
    let session = SessionId::new(&envelope.erase_session).map(Subject::Session);
    let user = Some(&envelope.erase_user).filter(|user| !user.is_empty());
    let subject = session.or_else(|| Some(Subject::User(user?.clone())))?;
    Some(Erasure { app: Label::new(&envelope.app), subject })
}
