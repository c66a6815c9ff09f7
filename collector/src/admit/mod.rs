//! The one path behind all doors.
//!
//! Flow: a door authenticates (`sender`), reads within bounds (`read`, `budget`, `quota`) and
//! hands over a [`Delivery`]; [`handle`] inflates and scans, decodes, removes what is invalid,
//! scrubs, wraps the rest in an envelope (`payload`), appends it to the log and waits for the disk. What
//! goes wrong is a [`Refusal`], which each door says in its protocol.
//!
//! It is not a queue: nothing is remembered here between a request and its answer. Bodies in
//! flight are bounded by the budget, records on their way to disk by the log's own queue.
//!
//! Invariants:
//! * `handle` returns success only after the log said that the record is on disk.
//! * What is accepted and what is rejected add up to what came in.
//! * The receive time is taken once, when the body is complete.

mod budget;
mod decoders;
mod in_flight;
mod payload;
mod pressure;
mod quota;
mod read;
mod refusal;
mod sender;

pub(crate) use budget::{Budget, Reservation};
use decoders::Decoders;
pub(crate) use in_flight::InFlight;
pub(crate) use payload::{Admitted, Kind, Payload};
pub use pressure::Pressure;
pub(crate) use quota::Quota;
pub(crate) use read::{Coding, Pace, discard, read};
#[cfg(test)]
pub(crate) use refusal::retry_info_s;
pub(crate) use refusal::{Jitter, Reason, Refusal};
pub(crate) use sender::Sender;

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use bytes::Bytes;
use ethogram_timeline::clock::{Clock, LogClock};
use ethogram_timeline::decode::scan::Limits;
use ethogram_timeline::log::{AppendError, LogWriter, Position};
use ethogram_timeline::record::{Envelope, Source};
use tokio::sync::{Notify, oneshot};

use crate::config::Config;
use crate::counters::{Counters, Door};
use crate::enrich::{Geo, Proxies};
use crate::serve::CollectorError;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    /// The media type of requests and answers in this encoding.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// What every door shares.
pub(crate) struct Collector {
    pub(crate) config: Config,
    /// Log time.
    pub(crate) clock: LogClock,
    pub(crate) log: LogWriter,
    pub(crate) geo: Geo,
    pub(crate) proxies: Proxies,
    pub(crate) counters: Arc<Counters>,
    pub(crate) budget: Budget,
    pub(crate) in_flight: InFlight,
    pub(crate) quota: Quota,
    pub(crate) jitter: Jitter,
    decoders: Decoders,
    /// Told when the log said that it failed, so that the role ends at once.
    pub(crate) log_failed: Arc<Notify>,
}

impl Collector {
    pub(crate) fn new(
        mut config: Config,
        clock: Arc<dyn Clock>,
        log: LogWriter,
        geo: Geo,
        pressure: Pressure,
    ) -> Result<Self, CollectorError> {
        config.seal();
        Ok(Self {
            proxies: Proxies::new(&config.proxy)?,
            budget: Budget::new(config.limits.in_flight_bytes_max),
            in_flight: InFlight::default(),
            quota: Quota::new(&config.beacon, &config.otlp),
            counters: Arc::default(),
            jitter: Jitter::new(),
            decoders: Decoders::start(
                available_parallelism().map_or(1, NonZero::get),
                Duration::from_millis(config.limits.decode_wait_ms),
                pressure,
            )
            .map_err(CollectorError::Threads)?,
            log_failed: Arc::new(Notify::new()),
            config,
            clock: LogClock::new(clock),
            log,
            geo,
        })
    }

    /// Appends a record and waits until it is on disk.
    pub(crate) async fn commit(&self, record: Vec<u8>) -> Result<(), Refusal> {
        let (done, answer) = oneshot::channel();
        // Where the sender has gone meanwhile, nobody waits for the answer, and that is fine.
        self.log.append(record, move |result| {
            done.send(result).ok();
        });
        self.confirmed(answer).await
    }

    /// As [`Self::commit`], and the log's segment ends behind the record, so that it can go with
    /// all that stands before it.
    pub(crate) async fn commit_last(&self, record: Vec<u8>) -> Result<(), Refusal> {
        let (done, answer) = oneshot::channel();
        self.log.append_last(record, move |result| {
            done.send(result).ok();
        });
        self.confirmed(answer).await
    }

    async fn confirmed(
        &self,
        answer: oneshot::Receiver<Result<Position, AppendError>>,
    ) -> Result<(), Refusal> {
        let limit = Duration::from_secs(self.config.limits.commit_s);
        let result = match tokio::time::timeout(limit, answer).await {
            Ok(Ok(result)) => result.map(|_| ()).map_err(Refusal::from),
            Ok(Err(_)) => Err(Refusal::new(Reason::LogFailed, "the log has closed")),
            Err(_) => {
                let message = format!("the disk has not confirmed within {} s", limit.as_secs());
                Err(Refusal::new(Reason::CommitTimeout, message))
            }
        };
        if result.as_ref().is_err_and(|refusal| refusal.reason == Reason::LogFailed) {
            self.log_failed.notify_one();
        }
        result
    }
}

/// A body that a door has authenticated and read.
pub(crate) struct Delivery {
    pub(crate) door: Door,
    pub(crate) sender: Sender,
    pub(crate) encoding: Encoding,
    pub(crate) coding: Coding,
    /// The body as it was on the wire.
    pub(crate) wire: Bytes,
    pub(crate) inflated_bytes_max: usize,
    /// Whether no quota holds: a service of ours, or a client on this machine.
    pub(crate) is_exempt: bool,
    /// The budget's share that the body holds until it is answered.
    pub(crate) held: Reservation,
}

impl Delivery {
    /// Whether decoding would hold up other requests of this thread for milliseconds.
    fn is_heavy(&self) -> bool {
        let bytes = match self.coding {
            Coding::Identity => self.wire.len(),
            Coding::Gzip | Coding::Zstd => self.wire.len().saturating_mul(DEFLATED_WEIGHT),
        };
        bytes > INLINE_BYTES_MAX
    }
}

/// Decoding and scrubbing runs at some 100 MB/s: 32 KiB are about 0.3 ms, which is what a request
/// may take of a shared thread without a turn, since what takes no turn cannot be refused one.
/// Handing over costs about 20 us.
const INLINE_BYTES_MAX: usize = 32 << 10;

/// Telemetry deflates ten to twenty times.
const DEFLATED_WEIGHT: usize = 16;

/// Takes a body in: answers success, with what was rejected of it, once the rest is on disk.
pub(crate) async fn handle<P: Payload>(
    collector: &Arc<Collector>,
    delivery: Delivery,
) -> Result<Vec<Admitted>, Refusal> {
    collector.counters.body(delivery.wire.len());
    let received_ns = collector.clock.now_ns();
    let _on_its_way = collector.in_flight.enter(received_ns);
    let is_heavy = delivery.is_heavy();
    let shared = Arc::clone(collector);
    let work = move || prepare::<P>(&shared, delivery, received_ns);
    let prepared = if is_heavy { collector.decoders.run(work).await } else { guarded(work) }?;
    if let Some(record) = prepared.record {
        collector.commit(record).await?;
    }
    drop(prepared.held);
    for admitted in &prepared.admitted {
        collector.counters.accept(admitted.kind, admitted.kept);
        for (reason, count) in &admitted.rejected.by_reason {
            collector.counters.reject(admitted.kind, reason, *count);
        }
        for (what, count) in &admitted.rejected.shortened {
            collector.counters.shorten(admitted.kind, what, *count);
        }
    }
    Ok(prepared.admitted)
}

struct Prepared {
    /// The record for the log; `None` where nothing is left to keep.
    record: Option<Vec<u8>>,
    admitted: Vec<Admitted>,
    held: Reservation,
}

/// All that needs a processor and no waiting.
fn prepare<P: Payload>(
    collector: &Collector,
    delivery: Delivery,
    received_ns: i64,
) -> Result<Prepared, Refusal> {
    let Delivery { door, sender, encoding, coding, wire, inflated_bytes_max, is_exempt, mut held } =
        delivery;
    let limits = &collector.config.limits;
    let limits =
        Limits { records_max: limits.records_max, decoded_bytes_max: limits.decoded_bytes_max };
    let scanner = P::scanner(encoding, limits);
    let bytes = coding.inflate(wire, inflated_bytes_max, scanner, &mut held)?;
    let mut payload = P::decode(&bytes, encoding)
        .map_err(|message| Refusal::new(Reason::Undecodable, message))?;
    drop(bytes);
    let admitted = payload.admit(collector.config.records);
    if admitted.iter().all(|admitted| admitted.kept == 0) {
        return Ok(Prepared { record: None, admitted, held });
    }
    if !is_exempt {
        let now_ns = collector.clock.wall_ns();
        for (session, records) in payload.sessions() {
            collector.quota.take_records(sender.key_id(), &session, records, now_ns)?;
        }
    }
    let source = if door == Door::Beacon { Source::Beacon } else { Source::Otlp };
    let mut envelope = Envelope::new(source, received_ns);
    sender.sign(&mut envelope);
    if let Some(source) = payload.scrub(&collector.geo, &collector.config.otlp.query_parameters) {
        envelope.geo_source = String::from(&*source);
    }
    payload.store(&mut envelope);
    Ok(Prepared { record: Some(envelope.encode()), admitted, held })
}

/// Runs `work`; a panic in it is a refusal of this one request. Nothing that `work` shares with
/// other requests is left half-changed: it only reads the collector, and the reservation gives
/// back its bytes when it is dropped.
fn guarded<T>(work: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked()))
}

fn panicked() -> Refusal {
    tracing::error!("a request could not be handled because of a defect; its sender was told so");
    Refusal::new(Reason::Panic, "a defect in the collector; the same bytes would meet it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_refusal_of_one_request() {
        let refusal = guarded(|| -> Result<(), Refusal> { panic!("a defect") });
        assert_eq!(refusal.expect_err("no result").reason, Reason::Panic);
        assert!(matches!(guarded(|| Ok(1)), Ok(1)));
    }
}
