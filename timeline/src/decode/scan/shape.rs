//! Which field of which message holds what: the shape of OTLP as far as its cost depends on it.
//!
//! It knows numbers of fields and sizes of structs, no meaning.
//!
//! Invariant: every field that can repeat, and every text, is in the table; a field that is not in
//! it costs nothing when it is decoded.

use opentelemetry_proto::tonic::common::v1::{AnyValue, EntityRef, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, ResourceMetrics,
    ScopeMetrics,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, span};

/// What a request holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
    /// Data points.
    Metrics,
}

/// A message, as far as its fields differ for the scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Request(Signal),
    ResourceGroup(Signal),
    ScopeGroup(Signal),
    Resource,
    Scope,
    EntityRef,
    KeyValue,
    Value,
    List,
    Map,
    Span,
    Event,
    Link,
    Status,
    LogRecord,
    Metric,
    /// Gauge, sum, or a histogram or summary: the message around data points.
    Points(Point),
    Point(Point),
    Exemplar,
    Buckets,
    Quantile,
}

/// A kind of data point: their fields have different numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    Number,
    Histogram,
    Exponential,
    Summary,
}

/// What counts one when it is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Resource(Signal),
    Scope(Signal),
    Span,
    LogRecord,
    Metric,
    Point,
    Attribute,
    Event,
    Link,
    /// Nothing that is counted; its size in bytes.
    Other(usize),
}

/// What a field with a length holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// One message, whose struct is part of its parent's or small.
    One(Shape),
    /// One of many messages.
    Many(Shape, Element),
    /// Text or bytes.
    Text,
    /// One of many texts.
    Texts,
    /// Numbers, this many bytes of memory for each byte of the wire.
    Packed(u64),
    /// A field nobody reads.
    Unknown,
}

impl Element {
    /// Bytes of memory: the struct, and half of it again for the spare room of growing vectors,
    /// which is between none and all of it.
    pub(super) fn bytes(self) -> u64 {
        let bytes = match self {
            Self::Resource(Signal::Traces) => size_of::<ResourceSpans>(),
            Self::Resource(Signal::Logs) => size_of::<ResourceLogs>(),
            Self::Resource(Signal::Metrics) => size_of::<ResourceMetrics>(),
            Self::Scope(Signal::Traces) => size_of::<ScopeSpans>(),
            Self::Scope(Signal::Logs) => size_of::<ScopeLogs>(),
            Self::Scope(Signal::Metrics) => size_of::<ScopeMetrics>(),
            Self::Span => size_of::<Span>(),
            Self::LogRecord => size_of::<LogRecord>(),
            Self::Metric => size_of::<Metric>(),
            // The largest of the four; JSON does not tell which one it is until later.
            Self::Point => {
                size_of::<ExponentialHistogramDataPoint>().max(size_of::<HistogramDataPoint>())
            }
            Self::Attribute => size_of::<KeyValue>(),
            Self::Event => size_of::<span::Event>(),
            Self::Link => size_of::<span::Link>(),
            Self::Other(bytes) => bytes,
        };
        (bytes + bytes / 2) as u64
    }
}

const VALUE: Element = Element::Other(size_of::<AnyValue>());
const TEXT: Element = Element::Other(size_of::<String>());
const EXEMPLAR: Element = Element::Other(size_of::<Exemplar>());
const ENTITY: Element = Element::Other(size_of::<EntityRef>());
const QUANTILE: Element = Element::Other(size_of::<ValueAtQuantile>());

impl Shape {
    /// What the field of this number holds, where it comes with a length.
    pub(super) fn field(self, number: u64) -> Field {
        const ATTRIBUTE: Field = Field::Many(Shape::KeyValue, Element::Attribute);
        match (self, number) {
            (Self::Request(signal), 1) => {
                Field::Many(Self::ResourceGroup(signal), Element::Resource(signal))
            }
            (Self::ResourceGroup(_), 1) => Field::One(Self::Resource),
            (Self::ResourceGroup(signal), 2) => {
                Field::Many(Self::ScopeGroup(signal), Element::Scope(signal))
            }
            (Self::ScopeGroup(_), 1) => Field::One(Self::Scope),
            (Self::ScopeGroup(Signal::Traces), 2) => Field::Many(Self::Span, Element::Span),
            (Self::ScopeGroup(Signal::Logs), 2) => Field::Many(Self::LogRecord, Element::LogRecord),
            (Self::ScopeGroup(Signal::Metrics), 2) => Field::Many(Self::Metric, Element::Metric),
            (Self::ResourceGroup(_) | Self::ScopeGroup(_), 3) => Field::Text,

            (Self::Resource, 1) | (Self::Scope, 3) => ATTRIBUTE,
            (Self::Resource, 3) => Field::Many(Self::EntityRef, ENTITY),
            (Self::Scope | Self::EntityRef, 1 | 2) => Field::Text,
            (Self::EntityRef, 3 | 4) => Field::Texts,

            (Self::KeyValue, 1) | (Self::Value, 1 | 7) => Field::Text,
            (Self::KeyValue, 2) => Field::One(Self::Value),
            (Self::Value, 5) => Field::One(Self::List),
            (Self::Value, 6) => Field::One(Self::Map),
            (Self::List, 1) => Field::Many(Self::Value, VALUE),
            (Self::Map, 1) => ATTRIBUTE,

            (Self::Span, 9) | (Self::Event, 3) | (Self::Link, 4) => ATTRIBUTE,
            (Self::Span, 11) => Field::Many(Self::Event, Element::Event),
            (Self::Span, 13) => Field::Many(Self::Link, Element::Link),
            (Self::Span, 15) => Field::One(Self::Status),
            (Self::Span, 1..=5) | (Self::Event | Self::Status, 2) | (Self::Link, 1..=3) => {
                Field::Text
            }

            (Self::LogRecord, 6) => ATTRIBUTE,
            (Self::LogRecord, 5) => Field::One(Self::Value),
            (Self::LogRecord, 3 | 9 | 10 | 12) => Field::Text,
            _ => self.metric_field(number),
        }
    }

    fn metric_field(self, number: u64) -> Field {
        const ATTRIBUTE: Field = Field::Many(Shape::KeyValue, Element::Attribute);
        const EXEMPLARS: Field = Field::Many(Shape::Exemplar, EXEMPLAR);
        match (self, number) {
            (Self::Metric, 1..=3) | (Self::Exemplar, 4 | 5) => Field::Text,
            (Self::Metric, 5 | 7) => Field::One(Self::Points(Point::Number)),
            (Self::Metric, 9) => Field::One(Self::Points(Point::Histogram)),
            (Self::Metric, 10) => Field::One(Self::Points(Point::Exponential)),
            (Self::Metric, 11) => Field::One(Self::Points(Point::Summary)),
            (Self::Metric, 12) | (Self::Exemplar, 7) => ATTRIBUTE,
            (Self::Points(point), 1) => Field::Many(Self::Point(point), Element::Point),
            (Self::Point(Point::Number | Point::Summary), 7)
            | (Self::Point(Point::Histogram), 9)
            | (Self::Point(Point::Exponential), 1) => ATTRIBUTE,
            (Self::Point(Point::Number), 5)
            | (Self::Point(Point::Histogram), 8)
            | (Self::Point(Point::Exponential), 11) => EXEMPLARS,
            // Eight bytes on the wire and in memory.
            (Self::Point(Point::Histogram), 6 | 7) => Field::Packed(1),
            (Self::Point(Point::Exponential), 8 | 9) => Field::One(Self::Buckets),
            // From one byte on the wire to eight in memory.
            (Self::Buckets, 2) => Field::Packed(8),
            (Self::Point(Point::Summary), 6) => Field::Many(Self::Quantile, QUANTILE),
            _ => Field::Unknown,
        }
    }
}

/// What the elements of a JSON array are, by the key it stands under.
pub(super) fn elements_of(key: &[u8]) -> Element {
    match key {
        b"resourceSpans" => Element::Resource(Signal::Traces),
        b"resourceLogs" => Element::Resource(Signal::Logs),
        b"resourceMetrics" => Element::Resource(Signal::Metrics),
        b"scopeSpans" => Element::Scope(Signal::Traces),
        b"scopeLogs" => Element::Scope(Signal::Logs),
        b"scopeMetrics" => Element::Scope(Signal::Metrics),
        b"spans" => Element::Span,
        b"logRecords" => Element::LogRecord,
        b"metrics" => Element::Metric,
        b"dataPoints" => Element::Point,
        b"attributes" | b"filteredAttributes" | b"metadata" => Element::Attribute,
        b"events" => Element::Event,
        b"links" => Element::Link,
        b"values" => Element::Other(size_of::<KeyValue>()),
        b"exemplars" => EXEMPLAR,
        b"entityRefs" => ENTITY,
        _ => TEXT,
    }
}

/// The cost of one of many texts, beside its bytes.
pub(super) fn text_bytes() -> u64 {
    TEXT.bytes()
}
