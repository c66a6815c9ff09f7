//! What one record of the log holds.
//!
//! An [`Envelope`] carries everything that is not a function of the bytes (receive time, key,
//! place, trust) beside the scrubbed OTLP bytes, so that replay is pure: the same log gives the
//! same rows on any machine at any time.
//!
//! It is not the frame: checksums, chaining and splitting belong to [`crate::log`].

use prost::Message;
use thiserror::Error;

/// Payloads below this size are stored as they are: zstd's own framing and the dictionary-less
/// start make it larger or no smaller on a few hundred bytes, measured on beacon bodies.
const COMPRESS_BYTES_MIN: usize = 1024;

/// zstd level 1: the log is written once and read once, so the processor counts, not the ratio.
const COMPRESS_LEVEL: i32 = 1;

/// A record may not inflate beyond this. The collector admits bodies of 64 MiB at most; the
/// envelope and the three signals of one record stay below twice that, whatever the file says.
const INFLATED_BYTES_MAX: usize = 128 << 20;

/// The largest request body that may become a record, in bytes: what it is stored as, with names and
/// places added, is always within what a record may inflate to, so none is acknowledged that cannot be
/// read again. It is also what OTLP recommends.
pub const BODY_BYTES_MAX: usize = INFLATED_BYTES_MAX / 2;

/// Where a record came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A browser, through the beacon path.
    Beacon,
    /// A service, through OTLP.
    Otlp,
    /// The collector itself, once a second.
    Tick,
    /// An operator, who asked for somebody's rows to be erased.
    Erasure,
}

/// One record: who sent it, when and from where, and the OTLP bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The collector's clock at receipt, nanoseconds since the Unix epoch.
    pub received_ns: i64,
    /// Where the record came from.
    pub source: Source,
    /// The application, from the write key or the service token.
    pub app: String,
    /// The service of browser rows, from the write key; empty for OTLP.
    pub service: String,
    /// The id of the key, never the key.
    pub key_id: String,
    /// True where the sender was authenticated.
    pub verified: bool,
    /// ISO 3166-1 alpha-2, or `unknown`.
    pub country: String,
    /// ISO 3166-2 with its country prefix, or `unknown`.
    pub subdivision: String,
    /// The operator's region, by default the country, or `unknown`.
    pub region: String,
    /// Which database (and of which day) or header said so; empty when none did.
    pub geo_source: String,
    /// A protobuf `ExportTraceServiceRequest`, or nothing.
    pub traces: Vec<u8>,
    /// A protobuf `ExportLogsServiceRequest`, or nothing.
    pub logs: Vec<u8>,
    /// A protobuf `ExportMetricsServiceRequest`, or nothing.
    pub metrics: Vec<u8>,
    /// The collector's own counters, in ticks only.
    pub counters: Vec<(String, u64)>,
    /// The session to erase, in erasures only; empty for none.
    pub erase_session: String,
    /// The user to erase, in erasures only; empty for none.
    pub erase_user: String,
}

/// A record that cannot be read. The writer's fault or the disk's; never worth a retry.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The bytes are not a record.
    #[error("the record does not decode: {0}")]
    Decode(#[from] prost::DecodeError),
    /// The compressed part does not inflate, or inflates beyond its limit.
    #[error("the record does not inflate: {0}")]
    Inflate(std::io::Error),
    /// A newer program wrote a source this one does not know.
    #[error("the record has the unknown source {0}")]
    UnknownSource(i32),
}

impl Envelope {
    /// An envelope of `source` at `received_ns` with every other field empty or `unknown`.
    pub fn new(source: Source, received_ns: i64) -> Self {
        let unknown = || String::from("unknown");
        Self {
            received_ns,
            source,
            app: String::from("default"),
            service: String::new(),
            key_id: String::new(),
            verified: false,
            country: unknown(),
            subdivision: unknown(),
            region: unknown(),
            geo_source: String::new(),
            traces: Vec::new(),
            logs: Vec::new(),
            metrics: Vec::new(),
            counters: Vec::new(),
            erase_session: String::new(),
            erase_user: String::new(),
        }
    }

    /// The record's bytes for the log.
    pub fn encode(&self) -> Vec<u8> {
        let body = Body {
            traces: self.traces.clone(),
            logs: self.logs.clone(),
            metrics: self.metrics.clone(),
        }
        .encode_to_vec();
        let deflated = (body.len() >= COMPRESS_BYTES_MIN)
            .then(|| zstd::bulk::compress(&body, COMPRESS_LEVEL).ok())
            .flatten()
            .filter(|deflated| deflated.len() < body.len());
        let inflated_bytes = if deflated.is_some() { body.len() as u64 } else { 0 };
        Wire {
            received_ns: self.received_ns,
            source: source_number(self.source),
            app: self.app.clone(),
            service: self.service.clone(),
            key_id: self.key_id.clone(),
            verified: self.verified,
            country: self.country.clone(),
            subdivision: self.subdivision.clone(),
            region: self.region.clone(),
            geo_source: self.geo_source.clone(),
            inflated_bytes,
            body: deflated.unwrap_or(body),
            counters: self
                .counters
                .iter()
                .map(|(name, value)| Counter { name: name.clone(), value: *value })
                .collect(),
            erase_session: self.erase_session.clone(),
            erase_user: self.erase_user.clone(),
        }
        .encode_to_vec()
    }

    /// The envelope that [`Envelope::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let wire = Wire::decode(bytes)?;
        let body = if wire.inflated_bytes == 0 {
            Body::decode(wire.body.as_slice())?
        } else {
            let capacity =
                usize::try_from(wire.inflated_bytes).unwrap_or(usize::MAX).min(INFLATED_BYTES_MAX);
            let inflated =
                zstd::bulk::decompress(&wire.body, capacity).map_err(RecordError::Inflate)?;
            Body::decode(inflated.as_slice())?
        };
        Ok(Self {
            received_ns: wire.received_ns,
            source: source_of(wire.source)?,
            app: wire.app,
            service: wire.service,
            key_id: wire.key_id,
            verified: wire.verified,
            country: wire.country,
            subdivision: wire.subdivision,
            region: wire.region,
            geo_source: wire.geo_source,
            traces: body.traces,
            logs: body.logs,
            metrics: body.metrics,
            counters: wire
                .counters
                .into_iter()
                .map(|counter| (counter.name, counter.value))
                .collect(),
            erase_session: wire.erase_session,
            erase_user: wire.erase_user,
        })
    }
}

fn source_number(source: Source) -> i32 {
    match source {
        Source::Beacon => 1,
        Source::Otlp => 2,
        Source::Tick => 3,
        Source::Erasure => 4,
    }
}

fn source_of(number: i32) -> Result<Source, RecordError> {
    match number {
        1 => Ok(Source::Beacon),
        2 => Ok(Source::Otlp),
        3 => Ok(Source::Tick),
        4 => Ok(Source::Erasure),
        other => Err(RecordError::UnknownSource(other)),
    }
}

/// The record on disk. Tags are never reused; readers ignore tags they do not know.
#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(sfixed64, tag = "1")]
    received_ns: i64,
    #[prost(int32, tag = "2")]
    source: i32,
    #[prost(string, tag = "3")]
    app: String,
    #[prost(string, tag = "4")]
    service: String,
    #[prost(string, tag = "5")]
    key_id: String,
    #[prost(bool, tag = "6")]
    verified: bool,
    #[prost(string, tag = "7")]
    country: String,
    #[prost(string, tag = "8")]
    subdivision: String,
    #[prost(string, tag = "9")]
    region: String,
    #[prost(string, tag = "10")]
    geo_source: String,
    /// Zero where `body` is not compressed.
    #[prost(uint64, tag = "11")]
    inflated_bytes: u64,
    #[prost(bytes = "vec", tag = "12")]
    body: Vec<u8>,
    #[prost(message, repeated, tag = "13")]
    counters: Vec<Counter>,
    #[prost(string, tag = "14")]
    erase_session: String,
    #[prost(string, tag = "15")]
    erase_user: String,
}

#[derive(Clone, PartialEq, Message)]
struct Body {
    #[prost(bytes = "vec", tag = "1")]
    traces: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    logs: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    metrics: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Counter {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    value: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_small_and_large() {
        for size in [0_usize, 10, 5_000, 300_000] {
            let mut envelope = Envelope::new(Source::Beacon, 1_700_000_000_000_000_000);
            envelope.region = String::from("GB");
            envelope.traces = vec![7; size];
            envelope.counters = vec![(String::from("requests"), 3)];
            let bytes = envelope.encode();
            assert!(bytes.len() < size + 200);
            assert_eq!(Envelope::decode(&bytes).expect("decodes"), envelope);
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(matches!(Envelope::decode(&[0xff, 0xff]), Err(RecordError::Decode(_))));
        let bytes = Wire { source: 9, ..Wire::default() }.encode_to_vec();
        assert!(matches!(Envelope::decode(&bytes), Err(RecordError::UnknownSource(9))));
    }
}
