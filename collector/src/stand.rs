//! What the tests of the doors stand on: a collector with a real log in a directory of its own,
//! a clock that stands still, and requests without sockets.

pub(crate) mod bomb;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use ethogram_timeline::clock::FixedClock;
use ethogram_timeline::log::{LogReader, LogWriter, Recovery};
use ethogram_timeline::record::Envelope;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::admit::{Collector, Pressure};
use crate::config::Config;
use crate::enrich::Geo;
use crate::listen::Peer;

/// The time at which every test happens.
pub(crate) const NOW_NS: i64 = 1_800_000_000_000_000_000;

/// A span with right ids, and a log record with an event name.
pub(crate) const SPAN: &str = r#"{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174",
    "name":"GET","kind":3,"startTimeUnixNano":"1","endTimeUnixNano":"2"}"#;
pub(crate) const EVENT: &str = r#"{"eventName":"browser.navigation","timeUnixNano":"1"}"#;

/// An OTLP/JSON trace request of `spans`.
pub(crate) fn traces(spans: &[&str]) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(","))
}

/// An OTLP/JSON logs request of `records`.
pub(crate) fn logs(records: &[&str]) -> String {
    format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{}]}}]}}]}}"#, records.join(","))
}

/// A collector without sockets.
pub(crate) struct Stand {
    pub(crate) collector: Arc<Collector>,
    pub(crate) recovery: Recovery,
    directory: tempfile::TempDir,
}

/// An answer, read whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

impl Answer {
    /// A header as text; empty where it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("headers of ours are text"))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }
}

impl Stand {
    /// A collector configured by `json`.
    pub(crate) fn new(json: &str) -> Self {
        let config: Config = serde_json::from_str(json).expect("a configuration");
        config.check().expect("a right configuration");
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let (log, recovery) = LogWriter::open(&path, config.log.clone()).expect("the log opens");
        let geo = Geo::open(&config.geo).expect("the databases open");
        let clock = Arc::new(FixedClock::new(NOW_NS));
        let collector = Arc::new(
            Collector::new(config, clock, log, geo, Pressure::default())
                .expect("a right configuration"),
        );
        Self { collector, recovery, directory }
    }

    /// What is in the log.
    pub(crate) fn records(&self) -> Vec<Envelope> {
        let path: PathBuf = self.directory.path().join("log");
        let mut reader = LogReader::open(&path, None).expect("the log can be read");
        let records =
            reader.read(self.collector.log.committed(), u64::MAX).expect("the log is whole");
        records
            .iter()
            .map(|record| Envelope::decode(&record.payload).expect("our record"))
            .collect()
    }
}

/// Sends a request from `peer` straight to the router.
pub(crate) async fn send(router: Router, peer: &str, mut request: Request<Body>) -> Answer {
    let peer: SocketAddr = peer.parse().expect("an address and port");
    request.extensions_mut().insert(Peer(peer));
    let response = router.oneshot(request).await.expect("a router always answers");
    let (parts, body) = response.into_parts();
    let collected = body.collect().await.expect("the body is in memory");
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Answer { status: parts.status, headers: parts.headers, body: collected.to_bytes(), trailers }
}
