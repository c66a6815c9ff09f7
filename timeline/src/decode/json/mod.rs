//! OTLP/JSON → the protobuf structs, as leniently as ProtoJSON is.
//!
//! Legal variants are all accepted: `null` is absent everywhere, 64-bit integers come as strings,
//! numbers or floats without a fraction, doubles as numbers or strings, ids as hexadecimal of
//! either case, other bytes as any base64, unknown keys are skipped. Text that is not Unicode (a
//! lone surrogate in a page's title) becomes U+FFFD rather than the loss of a request.
//!
//! A value of a wrong *type* (a name where the standard wants the number of an enum, a time that is a
//! word, an object in place of an array) is the sender's error and costs its record, which is marked
//! for [`super::admit`] to count; of an attribute it costs the value, which becomes U+FFFD. What should
//! hold records and does not, and so hides how many it stands for, counts as one. Only a body that is no
//! object or not JSON is refused.
//!
//! It is not validation: an id of a wrong length passes and is refused by [`super::admit`], record
//! by record.
//!
//! Invariants:
//! * No input panics, and none costs memory beyond a fixed multiple of its own size.
//! * What is read nests at most [`DEPTH_READ_MAX`] deep, so that it can be written to the log as
//!   protobuf and read again.

mod fields;
mod metric_fields;
mod overlong;
mod read;
mod scalar;
mod structure;
#[cfg(test)]
mod tests;
mod unicode;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use thiserror::Error;

pub(super) use read::DEPTH_READ_MAX;

/// What one post of the beacon holds: spans and events of one page in one body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BeaconBody {
    /// The finished attempts.
    pub traces: ExportTraceServiceRequest,
    /// Everything else.
    pub logs: ExportLogsServiceRequest,
}

/// A body that is not OTLP/JSON. Always the sender's fault; the same bytes fail again, so it is
/// never worth a retry (HTTP 400).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{message}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub struct JsonError {
    /// Where, such as `resourceSpans[0].scopeSpans[0].spans[2]`; empty for the whole body.
    pub path: String,
    /// What is wrong, with line and column.
    pub message: String,
}

/// Reads the body of `/v1/traces`.
pub fn traces(body: &[u8]) -> Result<ExportTraceServiceRequest, JsonError> {
    read::document(body)
}

/// Reads the body of `/v1/logs`.
pub fn logs(body: &[u8]) -> Result<ExportLogsServiceRequest, JsonError> {
    read::document(body)
}

/// Reads the body of `/v1/metrics`.
pub fn metrics(body: &[u8]) -> Result<ExportMetricsServiceRequest, JsonError> {
    read::document(body)
}

/// Reads the body of a beacon: `resourceSpans` and `resourceLogs` side by side.
pub fn beacon(body: &[u8]) -> Result<BeaconBody, JsonError> {
    read::document(body)
}
