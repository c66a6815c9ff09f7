//! What a body would become, told from its bytes before any struct is built.
//!
//! An empty span is two bytes of protobuf and 264 bytes of struct, and 64 MiB of such spans deflate to
//! 65 KiB: a limit on bodies bounds nothing. So a body is scanned while it is inflated, and refused
//! at the first record too many. The scan takes pieces of any size and remembers a few hundred bytes.
//!
//! It is not validation: what passes may still be no OTLP, and says so when it is decoded.
//!
//! Invariants:
//! * No input panics or recurses; memory does not depend on the input.
//! * For what decodes, no count is below that of the decoded structs, and each is equal where no field
//!   that can stand only once is repeated.

mod session;
mod shape;
#[cfg(test)]
mod tests;
mod text;
mod wire;

use thiserror::Error;

pub use session::sessions;
pub use shape::Signal;

/// How deep values may stand in each other: what the collector reads and what is read again from
/// the log (prost reads 100 messages, and each list costs up to three) has room for 32.
pub const VALUE_DEPTH_MAX: usize = 32;

/// How deep JSON may nest: what `serde_json` reads. Deeper JSON would be refused or skipped there,
/// by where it stands; here it is refused everywhere.
pub const JSON_DEPTH_MAX: usize = 127;

/// What a body may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Records (spans, log records or data points); as many resources, scopes and metrics.
    pub records_max: u64,
    /// Estimated bytes of the decoded structs.
    pub decoded_bytes_max: u64,
}

/// What a body holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Groups of one resource.
    pub resources: u64,
    /// Groups of one instrumentation scope.
    pub scopes: u64,
    /// Spans, log records and data points.
    pub records: u64,
    /// Metrics, each with any number of data points.
    pub metrics: u64,
    /// Key-value pairs, wherever they stand.
    pub attributes: u64,
    /// Events of spans.
    pub events: u64,
    /// Links of spans.
    pub links: u64,
    /// Estimated bytes of the decoded structs: their sizes, the spare room of growing vectors, text.
    pub decoded_bytes: u64,
}

/// Why a body is refused before it is decoded. Always the sender's fault, never worth a retry.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScanError {
    /// Not protobuf.
    #[error("not valid protobuf: {0}")]
    Malformed(&'static str),
    /// More records, or groups of them, than one body may hold.
    #[error("the body holds more than {max} {what}; send smaller batches")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// Values or JSON nest too deep.
    #[error("the body nests deeper than {max} levels")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// The structs would be too large.
    #[error("the body would need more than {max} bytes when decoded; send smaller batches")]
    TooCostly {
        /// The limit.
        max: u64,
    },
}

/// Scans a body that comes in pieces.
#[derive(Debug)]
pub struct Scanner(Form);

#[derive(Debug)]
enum Form {
    Wire(wire::Wire),
    Text(text::Text),
}

impl Scanner {
    /// A scanner of the protobuf form of `signal`.
    pub fn protobuf(signal: Signal, limits: Limits) -> Self {
        Self(Form::Wire(wire::Wire::new(signal, limits)))
    }

    /// A scanner of the JSON form of any signal.
    pub fn json(limits: Limits) -> Self {
        Self(Form::Text(text::Text::new(limits)))
    }

    /// Takes the next piece.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), ScanError> {
        match &mut self.0 {
            Form::Wire(wire) => wire.feed(piece),
            Form::Text(text) => text.feed(piece),
        }
    }

    /// Ends the body.
    pub fn finish(self) -> Result<Counts, ScanError> {
        match self.0 {
            Form::Wire(wire) => wire.finish(),
            Form::Text(text) => Ok(text.finish()),
        }
    }
}

/// Scans a whole protobuf `ExportTraceServiceRequest`.
pub fn traces(body: &[u8], limits: &Limits) -> Result<Counts, ScanError> {
    whole(Scanner::protobuf(Signal::Traces, *limits), body)
}

/// Scans a whole protobuf `ExportLogsServiceRequest`.
pub fn logs(body: &[u8], limits: &Limits) -> Result<Counts, ScanError> {
    whole(Scanner::protobuf(Signal::Logs, *limits), body)
}

/// Scans a whole protobuf `ExportMetricsServiceRequest`.
pub fn metrics(body: &[u8], limits: &Limits) -> Result<Counts, ScanError> {
    whole(Scanner::protobuf(Signal::Metrics, *limits), body)
}

fn whole(mut scanner: Scanner, body: &[u8]) -> Result<Counts, ScanError> {
    scanner.feed(body)?;
    scanner.finish()
}

/// The running count of a scan.
#[derive(Debug)]
struct Tally {
    limits: Limits,
    counts: Counts,
}

impl Tally {
    fn new(limits: Limits) -> Self {
        Self { limits, counts: Counts::default() }
    }

    /// Counts one element of a repeated field.
    fn element(&mut self, element: shape::Element) -> Result<(), ScanError> {
        use shape::Element;
        let counts = &mut self.counts;
        let (count, what) = match element {
            Element::Resource(_) => (&mut counts.resources, "resources"),
            Element::Scope(_) => (&mut counts.scopes, "scopes"),
            Element::Span | Element::LogRecord | Element::Point => (&mut counts.records, "records"),
            Element::Metric => (&mut counts.metrics, "metrics"),
            Element::Attribute => (&mut counts.attributes, ""),
            Element::Event => (&mut counts.events, ""),
            Element::Link => (&mut counts.links, ""),
            Element::Other(_) => return self.cost(element.bytes()),
        };
        *count += 1;
        if !what.is_empty() && *count > self.limits.records_max {
            return Err(ScanError::TooMany { what, max: self.limits.records_max });
        }
        self.cost(element.bytes())
    }

    /// Adds bytes to the estimate.
    fn cost(&mut self, bytes: u64) -> Result<(), ScanError> {
        self.counts.decoded_bytes = self.counts.decoded_bytes.saturating_add(bytes);
        if self.counts.decoded_bytes > self.limits.decoded_bytes_max {
            return Err(ScanError::TooCostly { max: self.limits.decoded_bytes_max });
        }
        Ok(())
    }
}
