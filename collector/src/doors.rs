//! The doors without sockets: requests that a caller in the same process hands over.
//!
//! Everything behind a door is what it is in a running role: authentication, quotas, bounds,
//! admission, scrubbing, places, the envelope, the log. Only the network is missing, and time is
//! the caller's: a recorded or simulated day can be taken in as fast as the disk allows, with the
//! receive times it would have had.
//!
//! It is not the role: nothing listens, no follower is told of the committed position, and ticks
//! come when the caller says so. Invariant: the log has one owner, as ever; where a collector runs
//! on the same directory, this does not open.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use ethogram_timeline::clock::Clock;
use ethogram_timeline::log::LogWriter;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::ServiceExt;

use crate::admit::{Collector, Pressure};
use crate::config::Config;
use crate::enrich::Geo;
use crate::listen::Peer;
use crate::serve::{CollectorError, append_tick};
use crate::{beacon, http as otlp};

/// The doors of one log.
pub struct Doors {
    collector: Arc<Collector>,
    beacon: Router,
    otlp_http: Router,
}

impl Doors {
    /// Opens `data_dir/log`, which is made if it is missing, behind doors that take `clock` for
    /// the time.
    pub fn open(
        config: Config,
        data_dir: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CollectorError> {
        config.check()?;
        let geo = Geo::open(&config.geo)?;
        let path = data_dir.join("log");
        let (log, _) = LogWriter::open(&path, config.log.clone())
            .map_err(|source| CollectorError::Log { path, source })?;
        let collector = Arc::new(Collector::new(config, clock, log, geo, Pressure::default())?);
        let (beacon, otlp_http) =
            (beacon::router(&collector, Vec::new()), otlp::router(&collector));
        Ok(Self { collector, beacon, otlp_http })
    }

    /// What the browsers' door answers. The request is received when the answer is first polled,
    /// and answered when it is on disk.
    pub fn beacon(
        &self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = Response<Bytes>> + Send + use<> {
        answer(self.beacon.clone(), request)
    }

    /// What the door of OTLP over HTTP answers, as above.
    pub fn otlp_http(
        &self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = Response<Bytes>> + Send + use<> {
        answer(self.otlp_http.clone(), request)
    }

    /// Appends a tick: log time moves on although nobody sends. A role does so every second.
    pub fn tick(&self) {
        append_tick(&self.collector);
    }

    /// Waits until everything appended is on disk, and gives the log up. Waits for a thread, so
    /// no asynchronous task may call it.
    pub fn close(self) -> Result<(), CollectorError> {
        self.collector.log.close();
        if self.collector.log.stats().failed { Err(CollectorError::LogFailed) } else { Ok(()) }
    }
}

/// The request comes from this machine, which is trusted to name the client it forwards for.
async fn answer(router: Router, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
    let response = router.oneshot(request).await.unwrap_or_else(|never| match never {});
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Response::from_parts(parts, body)
}

#[cfg(test)]
mod tests {
    use ethogram_timeline::clock::FixedClock;
    use ethogram_timeline::log::LogReader;
    use ethogram_timeline::record::{Envelope, Source};
    use http::StatusCode;

    use super::*;
    use crate::stand::{EVENT, NOW_NS, SPAN, logs, traces};

    fn post(path: &str, kind: &str, body: String) -> Request<Full<Bytes>> {
        Request::post(path)
            .header("content-type", kind)
            .header("x-forwarded-for", "79.192.0.1")
            .body(Full::new(Bytes::from(body)))
            .expect("a request")
    }

    #[tokio::test]
    async fn records_are_those_of_the_role_at_the_times_of_the_caller() {
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(FixedClock::new(NOW_NS));
        let doors =
            Doors::open(Config::default(), directory.path(), Arc::<FixedClock>::clone(&clock))
                .expect("the log opens");
        let answer = doors.otlp_http(post("/v1/traces", "application/json", traces(&[SPAN])));
        assert_eq!(answer.await.status(), StatusCode::OK);
        clock.set(NOW_NS + 5);
        let answer = doors.beacon(post("/v1/ethogram?key=local", "text/plain", logs(&[EVENT])));
        assert_eq!(answer.await.status(), StatusCode::NO_CONTENT);
        let answer = doors.beacon(post("/v1/ethogram?key=wrong", "text/plain", logs(&[EVENT])));
        assert_eq!(answer.await.status(), StatusCode::UNAUTHORIZED);
        clock.set(NOW_NS + 7);
        doors.tick();
        tokio::task::spawn_blocking(|| doors.close())
            .await
            .expect("no panic")
            .expect("the log has not failed");

        let path = directory.path().join("log");
        let (log, _) = LogWriter::open(&path, Config::default().log).expect("it was given up");
        let mut reader = LogReader::open(&path, None).expect("the log can be read");
        let records = reader.read(log.committed(), u64::MAX).expect("the log is whole");
        let records: Vec<Envelope> = records
            .iter()
            .map(|record| Envelope::decode(&record.payload).expect("our record"))
            .collect();
        let times: Vec<_> =
            records.iter().map(|record| (record.source, record.received_ns - NOW_NS)).collect();
        assert_eq!(times, [(Source::Otlp, 0), (Source::Beacon, 5), (Source::Tick, 7)]);
        assert_eq!((&*records[0].app, &*records[1].country), ("default", "DE"));
        assert!(records[2].counters.iter().any(|(_, count)| *count > 0));
    }
}
