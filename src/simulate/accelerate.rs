//! The world at the speed of the machine: what it sends goes into a log, with the receive times
//! it would have had, ticks included.
//!
//! Not a second collector: every body passes the collector's own doors, only without sockets, under
//! a clock that is the world's. Invariants: the log ends before the clock on the wall, so that a
//! collector may go on with it; what is received within one second is on disk before its tick.

use super::random::Random;
use super::scenario::{Scenario, Service, ServiceKind, Transport};
use super::send::{self, Answer, Counts, Parcel};
use super::trouble::Way;
use super::wire::Attribute;
use super::world::{Output, World};
use super::{DRAIN_MAX, Notes, Options, Told, engine::SECOND_NS, nanoseconds, spans};
use crate::clock::SystemClock;
use anyhow::{Context as _, bail};
use bytes::Bytes;
use ethogram_collector::{Config, Doors, Secret};
use ethogram_timeline::clock::{Clock, FixedClock};
use http::{Response, Uri};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// After the end the log is silent for this long, ticks aside: abandonments are final after five
/// minutes by default, and traces settled long before.
const SILENCE: Duration = Duration::from_secs(600);

/// Bodies that wait for the disk at once, so that they share a sync and do not fill the memory.
const OPEN_MAX: usize = 64;

/// Nobody waits for an answer here, so a busy disk may take its time.
const COMMIT_S: u64 = 120;

/// How long a sender waits that was told to and not for how long.
const PAUSE_NS: u64 = SECOND_NS;

/// Runs the world to its end, or until `shutdown`, into `directory/log`.
pub(super) async fn run(
    options: &Options,
    scenario: &Scenario,
    directory: &Path,
    mut shutdown: Pin<&mut (impl Future<Output = ()> + Send)>,
) -> anyhow::Result<Told> {
    let Some(duration) = options.duration else { bail!("--to-log needs a --duration") };
    if directory.join("log").exists() {
        // Its last record may be later than the world's first, and log time never goes back.
        bail!("{} has a log already; a world needs one of its own", directory.display());
    }
    let late = options.trouble.late_max();
    let epoch_ns = SystemClock.now_ns()
        - nanoseconds(duration + DRAIN_MAX + late + SILENCE + Duration::from_secs(60)) as i64;
    let mut world = World::new(scenario.clone(), options.seed, epoch_ns);
    let mut notes = Notes::open(options.details_file.as_deref(), &mut world)?;
    let mut way = Way::new(options.trouble.clone(), options.seed);
    let mut recorder = Recorder::open(options, scenario, directory, epoch_ns)?;
    let (mut at_ns, mut tick_ns, mut closing, mut ended_ns) = (0, SECOND_NS, false, None);
    let duration_ns = nanoseconds(duration);
    loop {
        let of_world = world.next_at_ns().filter(|_| ended_ns.is_none());
        let next = [of_world, way.next_due_ns(), recorder.next_due_ns(), Some(tick_ns)];
        let next = next.into_iter().flatten().min().unwrap_or(tick_ns);
        at_ns = next.max(at_ns);
        if !closing && at_ns >= duration_ns {
            at_ns = duration_ns;
            world.advance(at_ns);
            world.close();
            closing = true;
        }
        if ended_ns.is_none() {
            world.advance(at_ns);
            if closing && (world.drained() || at_ns > duration_ns + nanoseconds(DRAIN_MAX)) {
                world.flush();
                ended_ns = Some(at_ns);
            }
            way.enter(world.take_output(), at_ns);
        }
        recorder.take(way.arrived(at_ns), at_ns).await;
        if at_ns >= tick_ns {
            recorder.tick(at_ns).await;
            tick_ns += SECOND_NS;
            notes.write(&mut world)?;
            if stopped(&mut shutdown).await {
                break;
            }
        }
        let arrived = way.next_due_ns().is_none() && recorder.is_idle();
        let quiet_ns = ended_ns.map(|ended| ended + nanoseconds(late + SILENCE));
        if arrived && quiet_ns.is_some_and(|quiet| at_ns >= quiet) {
            break;
        }
    }
    notes.write(&mut world)?;
    notes.close()?;
    let drained = world.drained();
    let (delivery, duplicates) = (recorder.delivery(), way.duplicates());
    recorder.close().await?;
    let counted = world.truth().json(scenario);
    Ok(Told { epoch_ns, drained, duplicates, delivery, counted })
}

async fn stopped(shutdown: &mut Pin<&mut (impl Future<Output = ()> + Send)>) -> bool {
    std::future::poll_fn(|context| Poll::Ready(shutdown.as_mut().poll(context).is_ready())).await
}

/// An answer that waits for the disk.
type Answering = Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>;

/// A parcel that was handed over so many times.
struct Sent {
    parcel: Parcel,
    tries: u32,
}

/// What a service sends by.
struct Exporter {
    service: &'static str,
    resource: Vec<Attribute>,
    /// Whether it writes JSON.
    json: bool,
    counts: Counts,
}

impl Exporter {
    fn of(service: &Service) -> Option<Self> {
        let ServiceKind::Http(transport) = service.kind else { return None };
        Some(Self {
            service: service.name,
            resource: spans::resource(service),
            json: transport == Transport::HttpJsonGzip,
            counts: Counts::default(),
        })
    }
}

/// All senders at once.
struct Recorder {
    doors: Doors,
    clock: Arc<FixedClock>,
    epoch_ns: i64,
    beacon: Uri,
    traces: Uri,
    /// By service; databases have none.
    exporters: Vec<Option<Exporter>>,
    beacons: Counts,
    open: Vec<(Sent, Answering)>,
    /// What was told to come later, by when and in which order.
    again: BTreeMap<(u64, u64), Sent>,
    told: u64,
    random: Random,
}

impl Recorder {
    fn open(
        options: &Options,
        scenario: &Scenario,
        directory: &Path,
        epoch_ns: i64,
    ) -> anyhow::Result<Self> {
        let mut config = Config::default();
        config.limits.commit_s = COMMIT_S;
        for key in &mut config.keys {
            key.key = Secret::from(options.write_key.as_str());
        }
        let beacon = format!("{}?key={}", config.beacon.path, options.write_key);
        let clock = Arc::new(FixedClock::new(epoch_ns));
        let doors = Doors::open(config, directory, Arc::<FixedClock>::clone(&clock))?;
        Ok(Self {
            doors,
            clock,
            epoch_ns,
            beacon: beacon.parse().context("the write key does not fit into an address")?,
            traces: Uri::from_static("/v1/traces"),
            exporters: scenario.services.iter().map(Exporter::of).collect(),
            beacons: Counts::default(),
            open: Vec::new(),
            again: BTreeMap::new(),
            told: 0,
            random: Random::new(options.seed, RETRY_STREAM),
        })
    }

    /// When something comes again that was told to.
    fn next_due_ns(&self) -> Option<u64> {
        self.again.first_key_value().map(|((due_ns, _), _)| *due_ns)
    }

    fn is_idle(&self) -> bool {
        self.open.is_empty() && self.again.is_empty()
    }

    /// Hands over what arrives at `at_ns`.
    async fn take(&mut self, output: Output, at_ns: u64) {
        let bodies = output.bodies.into_iter().map(Parcel::Body);
        let parcels: Vec<Parcel> =
            bodies.chain(output.exports.into_iter().map(Parcel::Export)).collect();
        for parcel in parcels {
            if let Some(counts) = self.counts(&parcel) {
                counts.offer();
                self.hand_over(Sent { parcel, tries: 0 }, at_ns).await;
            }
        }
        while let Some(first) = self.again.first_entry().filter(|first| first.key().0 <= at_ns) {
            let sent = first.remove();
            self.hand_over(sent, at_ns).await;
        }
    }

    async fn hand_over(&mut self, mut sent: Sent, at_ns: u64) {
        if self.open.len() >= OPEN_MAX {
            self.settle(at_ns).await;
        }
        sent.tries += 1;
        self.clock.set(self.epoch_ns + at_ns as i64);
        let Some(mut answer) = self.answering(&sent.parcel) else { return };
        // The first poll receives it, at this time; then it waits for the disk with the others.
        let polled = std::future::poll_fn(|context| Poll::Ready(answer.as_mut().poll(context)));
        match polled.await {
            Poll::Ready(response) => self.answered(sent, &response, at_ns),
            Poll::Pending => self.open.push((sent, answer)),
        }
    }

    fn answering(&self, parcel: &Parcel) -> Option<Answering> {
        // Our own addresses and headers make a request.
        const SOUND: &str = "the address was parsed and the headers are ours";
        match parcel {
            Parcel::Body(body) => {
                let request = send::beacon_request(&self.beacon, body).expect(SOUND);
                Some(Box::pin(self.doors.beacon(request)))
            }
            Parcel::Export(export) => {
                let Exporter { resource, json, .. } = self.exporters[export.service].as_ref()?;
                let request =
                    send::export_request(&self.traces, *json, resource, export).expect(SOUND);
                Some(Box::pin(self.doors.otlp_http(request)))
            }
        }
    }

    /// Waits for everything that was handed over.
    async fn settle(&mut self, at_ns: u64) {
        for (sent, answer) in std::mem::take(&mut self.open) {
            let response = answer.await;
            self.answered(sent, &response, at_ns);
        }
    }

    fn answered(&mut self, sent: Sent, response: &Response<Bytes>, at_ns: u64) {
        let json = match &sent.parcel {
            Parcel::Export(export) => {
                self.exporters[export.service].as_ref().is_some_and(|exporter| exporter.json)
            }
            Parcel::Body(_) => false,
        };
        let answer = send::understood(response.status(), response.headers(), response.body(), json);
        let Some(counts) = self.counts(&sent.parcel) else { return };
        match answer {
            Answer::Later(named) if sent.tries < send::TRIES_MAX => {
                counts.retry();
                let pause_ns = named.map_or(PAUSE_NS, nanoseconds);
                let jitter_ns = (self.random.uniform() * PAUSE_NS as f64) as u64;
                self.told += 1;
                let due_ns = at_ns.saturating_add(pause_ns + jitter_ns);
                self.again.insert((due_ns, self.told), sent);
            }
            answer => counts.end(&sent.parcel, answer),
        }
    }

    /// A second is over: what it brought is on disk, and then its tick.
    async fn tick(&mut self, at_ns: u64) {
        self.settle(at_ns).await;
        self.clock.set(self.epoch_ns + at_ns as i64);
        self.doors.tick();
    }

    fn counts(&self, parcel: &Parcel) -> Option<&Counts> {
        match parcel {
            Parcel::Body(_) => Some(&self.beacons),
            Parcel::Export(export) => {
                self.exporters[export.service].as_ref().map(|exporter| &exporter.counts)
            }
        }
    }

    fn delivery(&self) -> Json {
        let exporters = self.exporters.iter().flatten();
        let services: serde_json::Map<String, Json> = exporters
            .map(|exporter| (exporter.service.to_owned(), exporter.counts.json()))
            .collect();
        json!({ "beacon": self.beacons.json(), "services": services })
    }

    async fn close(mut self) -> anyhow::Result<()> {
        self.settle(u64::MAX).await;
        // The log's thread may be in a sync.
        Ok(tokio::task::spawn_blocking(|| self.doors.close()).await??)
    }
}

/// A stream of chance beyond those of the world, the senders and the troubles.
const RETRY_STREAM: u64 = 3000;
