//! What a body holds: one OTLP signal, or a beacon's traces and logs together.
//!
//! The trait is the only difference between the signals; everything around it is written once.
//! It does not know what the records mean: validity and personal data are the business of
//! `timeline::decode`.

use std::borrow::Cow;
use std::sync::Arc;

use ethogram_timeline::decode::admit::{self, Rejected, Sizes};
use ethogram_timeline::decode::json::{self, BeaconBody};
use ethogram_timeline::decode::scan::{Limits, Scanner, Signal, sessions};
use ethogram_timeline::decode::scrub::{self, Policy, Trust};
use ethogram_timeline::record::Envelope;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;

use super::Encoding;
use crate::enrich::Geo;

/// A kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Traces,
    Logs,
    Metrics,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Traces, Self::Logs, Self::Metrics];

    /// The label in counters.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }

    /// The field of a partial success in OTLP/JSON.
    pub(crate) fn rejected_field(self) -> &'static str {
        match self {
            Self::Traces => "rejectedSpans",
            Self::Logs => "rejectedLogRecords",
            Self::Metrics => "rejectedDataPoints",
        }
    }
}

/// How many records of one kind stay, and which do not.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) kind: Kind,
    pub(crate) kept: u64,
    pub(crate) rejected: Rejected,
}

/// A decoded body.
pub(crate) trait Payload: Sized + Send + 'static {
    /// What tells how much the body would be, before it is read.
    fn scanner(encoding: Encoding, limits: Limits) -> Scanner;

    /// Reads the body, or says what is wrong with it.
    fn decode(bytes: &[u8], encoding: Encoding) -> Result<Self, String>;

    /// Removes the records that can never be accepted, and cuts the others to these sizes.
    fn admit(&mut self, sizes: Sizes) -> Vec<Admitted>;

    /// The sessions that a page states, and how many records of each; services state none.
    fn sessions(&self) -> impl Iterator<Item = (Cow<'_, str>, u64)> {
        std::iter::empty()
    }

    /// Removes personal data; addresses become places, and of queries the parameters `kept` stay. Returns which source of places was asked
    /// with success.
    fn scrub(&mut self, geo: &Geo, kept: &[String]) -> Option<Arc<str>>;

    /// Puts the records into the envelope.
    fn store(self, envelope: &mut Envelope);
}

impl Payload for ExportTraceServiceRequest {
    fn scanner(encoding: Encoding, limits: Limits) -> Scanner {
        scanner(encoding, Signal::Traces, limits)
    }

    fn decode(bytes: &[u8], encoding: Encoding) -> Result<Self, String> {
        decode(bytes, encoding, json::traces)
    }

    fn admit(&mut self, sizes: Sizes) -> Vec<Admitted> {
        let rejected = admit::traces(self, sizes);
        vec![Admitted { kind: Kind::Traces, kept: spans(self), rejected }]
    }

    fn scrub(&mut self, geo: &Geo, kept: &[String]) -> Option<Arc<str>> {
        let mut source = None;
        let policy = Policy { trust: Trust::Service, query_parameters: kept };
        scrub::traces(self, policy, &mut |address| place(geo, address, &mut source));
        source
    }

    fn store(self, envelope: &mut Envelope) {
        envelope.traces = self.encode_to_vec();
    }
}

impl Payload for ExportLogsServiceRequest {
    fn scanner(encoding: Encoding, limits: Limits) -> Scanner {
        scanner(encoding, Signal::Logs, limits)
    }

    fn decode(bytes: &[u8], encoding: Encoding) -> Result<Self, String> {
        decode(bytes, encoding, json::logs)
    }

    fn admit(&mut self, sizes: Sizes) -> Vec<Admitted> {
        let rejected = admit::logs(self, sizes);
        vec![Admitted { kind: Kind::Logs, kept: log_records(self), rejected }]
    }

    fn scrub(&mut self, geo: &Geo, _: &[String]) -> Option<Arc<str>> {
        let mut source = None;
        scrub::logs(self, Trust::Service, &mut |address| place(geo, address, &mut source));
        source
    }

    fn store(self, envelope: &mut Envelope) {
        envelope.logs = self.encode_to_vec();
    }
}

impl Payload for ExportMetricsServiceRequest {
    fn scanner(encoding: Encoding, limits: Limits) -> Scanner {
        scanner(encoding, Signal::Metrics, limits)
    }

    fn decode(bytes: &[u8], encoding: Encoding) -> Result<Self, String> {
        decode(bytes, encoding, json::metrics)
    }

    fn admit(&mut self, sizes: Sizes) -> Vec<Admitted> {
        let rejected = admit::metrics(self, sizes);
        vec![Admitted { kind: Kind::Metrics, kept: data_points(self), rejected }]
    }

    /// Metrics speak of pools and queues, so they have no place; addresses in them are cut all
    /// the same.
    fn scrub(&mut self, _: &Geo, _: &[String]) -> Option<Arc<str>> {
        scrub::metrics(self, Trust::Service);
        None
    }

    fn store(self, envelope: &mut Envelope) {
        envelope.metrics = self.encode_to_vec();
    }
}

impl Payload for BeaconBody {
    fn scanner(_: Encoding, limits: Limits) -> Scanner {
        Scanner::json(limits)
    }

    fn decode(bytes: &[u8], _: Encoding) -> Result<Self, String> {
        json::beacon(bytes).map_err(|error| error.to_string())
    }

    fn admit(&mut self, sizes: Sizes) -> Vec<Admitted> {
        let mut admitted = self.traces.admit(sizes);
        admitted.extend(self.logs.admit(sizes));
        admitted
    }

    fn sessions(&self) -> impl Iterator<Item = (Cow<'_, str>, u64)> {
        sessions(self)
    }

    /// A browser may state no address, so none is looked up; its place is the envelope's.
    fn scrub(&mut self, _: &Geo, _: &[String]) -> Option<Arc<str>> {
        scrub::traces(&mut self.traces, Trust::Browser, &mut |_| None);
        scrub::logs(&mut self.logs, Trust::Browser, &mut |_| None);
        None
    }

    fn store(self, envelope: &mut Envelope) {
        if spans(&self.traces) > 0 {
            self.traces.store(envelope);
        }
        if log_records(&self.logs) > 0 {
            self.logs.store(envelope);
        }
    }
}

fn scanner(encoding: Encoding, signal: Signal, limits: Limits) -> Scanner {
    match encoding {
        Encoding::Protobuf => Scanner::protobuf(signal, limits),
        Encoding::Json => Scanner::json(limits),
    }
}

fn decode<M: Message + Default, E: ToString>(
    bytes: &[u8],
    encoding: Encoding,
    from_json: impl Fn(&[u8]) -> Result<M, E>,
) -> Result<M, String> {
    match encoding {
        Encoding::Protobuf => M::decode(bytes).map_err(|error| error.to_string()),
        Encoding::Json => from_json(bytes).map_err(|error| error.to_string()),
    }
}

fn place(geo: &Geo, address: &str, source: &mut Option<Arc<str>>) -> Option<scrub::Place> {
    let place = geo.lookup_text(address)?;
    *source = Some(place.source);
    Some(scrub::Place {
        country: place.country,
        subdivision: place.subdivision,
        region: place.region,
    })
}

fn spans(request: &ExportTraceServiceRequest) -> u64 {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len() as u64).sum()
}

fn log_records(request: &ExportLogsServiceRequest) -> u64 {
    let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
    scopes.map(|scope| scope.log_records.len() as u64).sum()
}

fn data_points(request: &ExportMetricsServiceRequest) -> u64 {
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    let points = |data: &Data| match data {
        Data::Gauge(gauge) => gauge.data_points.len(),
        Data::Sum(sum) => sum.data_points.len(),
        Data::Histogram(histogram) => histogram.data_points.len(),
        Data::ExponentialHistogram(histogram) => histogram.data_points.len(),
        Data::Summary(summary) => summary.data_points.len(),
    };
    let metrics = scopes.flat_map(|scope| &scope.metrics);
    metrics.filter_map(|metric| metric.data.as_ref()).map(|data| points(data) as u64).sum()
}
