//! The senders: what leaves the world goes to the collector.
//!
//! Not part of the world: nothing here changes what happens in it. Each service has one lane, as
//! its SDK has one exporter; all browsers share one with a few connections. Invariants: queues
//! are bounded and the oldest gives way, counted; a lane that is told to wait waits as a whole;
//! only an answer of success counts as acknowledged.

mod transport;

pub(crate) use transport::{beacon_request, export_request, understood};

use super::beacon::Body;
use super::random::Random;
use super::scenario::{Scenario, ServiceKind};
use super::services::Export;
use super::spans;
use super::wire::Attribute;
use super::world::Output;
use serde_json::{Value as Json, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use transport::Transport;

/// Bodies that wait to be sent; at the demo's rate more than half a minute of them.
const BODIES_MAX: usize = 4096;

/// Batches of one service that wait to be sent: OpenTelemetry's SDKs keep 2048 spans by default,
/// which are four full batches; batches here are mostly small.
const EXPORTS_MAX: usize = 64;

/// Connections of all browsers together.
const BEACON_WORKERS: usize = 8;

/// Tries of one body or batch; then it is given up, counted as refused.
pub(crate) const TRIES_MAX: u32 = 5;

/// The first pause after a refusal that names none, and the longest pause of all.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Streams of chance beyond those of the world.
const FIRST_STREAM: u64 = 1000;

/// Where the collector listens.
#[derive(Clone, Debug)]
pub(crate) struct Targets {
    pub(crate) beacon: String,
    pub(crate) otlp_grpc: String,
    pub(crate) otlp_http: String,
    pub(crate) write_key: String,
}

/// Something to send.
#[derive(Debug)]
pub(crate) enum Parcel {
    Body(Body),
    Export(Export),
}

impl Parcel {
    /// Spans that were not sent before.
    fn spans(&self) -> u64 {
        match self {
            Self::Body(body) if !body.again => body.spans,
            Self::Export(export) if !export.again => export.spans.len() as u64,
            _ => 0,
        }
    }

    /// Events that were not sent before.
    fn events(&self) -> u64 {
        match self {
            Self::Body(body) if !body.again => body.events,
            _ => 0,
        }
    }
}

/// What the collector said to one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Success; so many spans of it were rejected.
    Accepted { rejected: u64 },
    /// Not now; after this pause, if it named one.
    Later(Option<Duration>),
    /// Never.
    Refused,
}

/// All lanes.
pub(crate) struct Senders {
    beacon: Arc<Lane>,
    /// By service; databases have none.
    services: Vec<Option<(&'static str, Arc<Lane>)>>,
    tasks: JoinSet<()>,
}

impl Senders {
    /// Starts the lanes. Fails when an address is none.
    pub(crate) fn start(scenario: &Scenario, targets: &Targets, seed: u64) -> anyhow::Result<Self> {
        let mut tasks = JoinSet::new();
        let beacon = Lane::new(BODIES_MAX);
        let mut stream = FIRST_STREAM;
        let mut work = |lane: &Arc<Lane>, transport: Transport| {
            stream += 1;
            tasks.spawn(work(Arc::clone(lane), transport, Random::new(seed, stream)));
        };
        for _ in 0..BEACON_WORKERS {
            work(&beacon, Transport::beacon(targets)?);
        }
        let mut services = Vec::new();
        for service in &scenario.services {
            let ServiceKind::Http(kind) = service.kind else {
                services.push(None);
                continue;
            };
            let lane = Lane::new(EXPORTS_MAX);
            let resource: Vec<Attribute> = spans::resource(service);
            work(&lane, Transport::service(targets, kind, resource)?);
            services.push(Some((service.name, lane)));
        }
        Ok(Self { beacon, services, tasks })
    }

    /// Takes what has left the world.
    pub(crate) fn take(&mut self, output: Output) {
        for body in output.bodies {
            self.beacon.push(Parcel::Body(body));
        }
        for export in output.exports {
            if let Some((_, lane)) = &self.services[export.service] {
                lane.push(Parcel::Export(export));
            }
        }
    }

    /// Sends what is queued, for at most this long.
    pub(crate) async fn close(&mut self, at_most: Duration) {
        for lane in self.lanes() {
            lane.closed.store(true, Ordering::SeqCst);
            lane.ready.notify_waiters();
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(at_most, all).await.is_err() {
            self.tasks.abort_all();
        }
    }

    /// What became of everything, as JSON.
    pub(crate) fn delivery(&self) -> Json {
        let services: serde_json::Map<String, Json> = self
            .services
            .iter()
            .flatten()
            .map(|(name, lane)| ((*name).to_owned(), lane.counts.json()))
            .collect();
        json!({ "beacon": self.beacon.counts.json(), "services": services })
    }

    fn lanes(&self) -> impl Iterator<Item = &Arc<Lane>> {
        std::iter::once(&self.beacon).chain(self.services.iter().flatten().map(|(_, lane)| lane))
    }
}

/// What became of the parcels of one lane.
#[derive(Default)]
pub(crate) struct Counts {
    offered: AtomicU64,
    acknowledged: AtomicU64,
    spans_acknowledged: AtomicU64,
    events_acknowledged: AtomicU64,
    spans_rejected: AtomicU64,
    retries: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    /// One more parcel is to be sent.
    pub(crate) fn offer(&self) {
        add(&self.offered, 1);
    }

    /// A parcel was answered, and will not be sent again.
    pub(crate) fn end(&self, parcel: &Parcel, answer: Answer) {
        let Answer::Accepted { rejected } = answer else { return add(&self.refused, 1) };
        add(&self.acknowledged, 1);
        add(&self.spans_acknowledged, parcel.spans().saturating_sub(rejected));
        add(&self.events_acknowledged, parcel.events());
        add(&self.spans_rejected, rejected);
    }

    /// A parcel will be sent again.
    pub(crate) fn retry(&self) {
        add(&self.retries, 1);
    }

    /// All counts as JSON.
    pub(crate) fn json(&self) -> Json {
        let get = |count: &AtomicU64| count.load(Ordering::SeqCst);
        let ended = get(&self.acknowledged) + get(&self.refused) + get(&self.dropped);
        json!({
            "offered": get(&self.offered),
            "acknowledged": get(&self.acknowledged),
            "spans_acknowledged": get(&self.spans_acknowledged),
            "events_acknowledged": get(&self.events_acknowledged),
            "spans_rejected": get(&self.spans_rejected),
            "retries": get(&self.retries),
            "refused": get(&self.refused),
            "dropped": get(&self.dropped),
            "unsent": get(&self.offered).saturating_sub(ended),
        })
    }
}

struct Lane {
    queue: Mutex<VecDeque<Parcel>>,
    queue_max: usize,
    ready: Notify,
    paused_until: Mutex<Option<Instant>>,
    closed: AtomicBool,
    counts: Counts,
}

impl Lane {
    fn new(queue_max: usize) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(VecDeque::new()),
            queue_max,
            ready: Notify::new(),
            paused_until: Mutex::new(None),
            closed: AtomicBool::new(false),
            counts: Counts::default(),
        })
    }

    fn push(&self, parcel: Parcel) {
        self.counts.offer();
        let mut queue = self.queue.lock().expect("no holder of the lock panics");
        if queue.len() >= self.queue_max {
            queue.pop_front();
            add(&self.counts.dropped, 1);
        }
        queue.push_back(parcel);
        drop(queue);
        self.ready.notify_one();
    }

    /// The oldest parcel; `None` when the lane is closed and empty.
    async fn next(&self) -> Option<Parcel> {
        loop {
            let notified = self.ready.notified();
            tokio::pin!(notified);
            // Registered before looking, so that no notice is missed in between.
            notified.as_mut().enable();
            let parcel = self.queue.lock().expect("no holder of the lock panics").pop_front();
            if parcel.is_some() {
                return parcel;
            }
            if self.closed.load(Ordering::SeqCst) {
                return None;
            }
            notified.await;
        }
    }

    fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut paused = self.paused_until.lock().expect("no holder of the lock panics");
        *paused = (*paused).max(Some(until));
    }

    async fn pause_over(&self) {
        loop {
            let until = *self.paused_until.lock().expect("no holder of the lock panics");
            match until.filter(|until| *until > Instant::now()) {
                Some(until) => tokio::time::sleep_until(until).await,
                None => return,
            }
        }
    }
}

/// Sends a lane's parcels one after the other.
async fn work(lane: Arc<Lane>, mut transport: Transport, mut random: Random) {
    while let Some(parcel) = lane.next().await {
        let mut tries = 0;
        loop {
            lane.pause_over().await;
            tries += 1;
            match transport.send(&parcel).await {
                Answer::Later(named) if tries < TRIES_MAX => {
                    lane.counts.retry();
                    lane.pause(named.unwrap_or_else(|| pause(tries, &mut random)).min(PAUSE_MAX));
                }
                answer => {
                    lane.counts.end(&parcel, answer);
                    break;
                }
            }
        }
    }
}

/// Doubled with each try, with full jitter: lanes must not come back together.
fn pause(tries: u32, random: &mut Random) -> Duration {
    let longest = PAUSE_MIN * (1 << tries.min(10));
    longest.mul_f64(random.uniform()).max(PAUSE_MIN / 5)
}

fn add(count: &AtomicU64, by: u64) {
    count.fetch_add(by, Ordering::SeqCst);
}

#[cfg(test)]
mod tests;
