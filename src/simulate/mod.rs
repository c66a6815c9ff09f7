//! A simulated world: users, browsers and services, in real time against a running collector, or as
//! fast as the machine can into a log.
//!
//! What it is: a discrete-event model, driven by a seed, whose users and services send what real
//! ones would (bodies of the beacon, OTLP over gRPC and HTTP), together with the truth of what
//! happened, counted by those who did it. Overload is a consequence: queues fill, callers time
//! out and repeat, users lose patience, and that changes the load.
//!
//! What it is not: a load generator (it never sends faster than its world moves), a mock of the
//! product (it shares no code with what reads its output), or a second way into anything: every body
//! passes the collector's doors. Invariants: the truth depends on scenario, seed, rate and duration
//! alone, never on how the collector answers; senders keep bounded queues, honour Retry-After and
//! count what they drop.

mod accelerate;
mod beacon;
mod browser;
mod conditions;
mod counterfactual;
mod engine;
mod logical;
mod random;
mod scenario;
mod send;
mod services;
mod spans;
mod trouble;
mod truth;
mod users;
mod wire;
mod with;
mod world;

pub(crate) use counterfactual::Without;
pub(crate) use scenario::SCENARIOS;
pub(crate) use trouble::Trouble;
pub(crate) use with::With;

use crate::clock::SystemClock;
use anyhow::{Context as _, bail};
use ethogram_timeline::clock::Clock;
use scenario::Scenario;
use send::{Senders, Targets};
use serde_json::{Value as Json, json};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;
use tokio::time::Instant;
use trouble::Way;
use world::World;

/// The world moves in steps of at least this: finer ones cost wake-ups and show nowhere, since
/// times inside the world are exact.
const STEP_MIN: Duration = Duration::from_millis(20);

/// The world moves at least this often, so that a shutdown or an end is noticed.
const STEP_MAX: Duration = Duration::from_millis(200);

/// After the end users finish what they wait for: three attempts of eight seconds and the
/// back-offs fit in. What is still open then stays pending in the truth.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// A machine that slept this long is not caught up with; the world slept too.
const LAG_MAX: Duration = Duration::from_secs(5);

/// How long senders may take for what is queued at a regular end, and when interrupted.
const DELIVERY_MAX: Duration = Duration::from_secs(20);
const DELIVERY_INTERRUPTED_MAX: Duration = Duration::from_secs(2);

/// What to simulate and where to send it.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// A name from [`SCENARIOS`].
    pub(crate) scenario: String,
    /// The same seed gives the same truth.
    pub(crate) seed: u64,
    /// The collector's door for beacons, `http://host:port`.
    pub(crate) beacon: String,
    /// Its door for OTLP over gRPC, `http://host:port`.
    pub(crate) otlp_grpc: String,
    /// Its door for OTLP over HTTP, `http://host:port`.
    pub(crate) otlp_http: String,
    /// The write key of the beacons.
    pub(crate) write_key: String,
    /// Sessions per second as a multiple of the scenario's; the services grow with it.
    pub(crate) rate: f64,
    /// When nobody comes any more; `None`: never.
    pub(crate) duration: Option<Duration>,
    /// Instead of to a collector: as fast as the machine can into the log of this data directory.
    pub(crate) to_log: Option<PathBuf>,
    /// Where the truth is written at the end, as JSON.
    pub(crate) truth_file: Option<PathBuf>,
    /// Where every send, request and session is written, as a line of JSON each.
    pub(crate) details_file: Option<PathBuf>,
    /// What the world has beside what its scenario has.
    pub(crate) with: Vec<With>,
    /// What the world is to do without.
    pub(crate) without: Vec<Without>,
    /// What goes wrong on the way to the collector.
    pub(crate) trouble: Trouble,
}

/// What is told of a world that has ended.
struct Told {
    /// The beginning of the world in nanoseconds since the Unix epoch.
    epoch_ns: i64,
    /// Whether it came to rest by itself.
    drained: bool,
    duplicates: u64,
    delivery: Json,
    /// Everything counted.
    counted: Json,
}

/// Runs the world until its duration is over and everybody has gone, or until `shutdown`. The
/// truth is written in both cases; `drained` says which it was. A collector that cannot be
/// reached is no error: its users would not stop either.
pub(crate) async fn run(
    options: Options,
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let scenario = chosen(&options)?;
    tokio::pin!(shutdown);
    let told = match &options.to_log {
        Some(directory) => {
            Box::pin(accelerate::run(&options, &scenario, directory, shutdown)).await?
        }
        None => Box::pin(run_live(&options, &scenario, shutdown)).await?,
    };
    let mut truth = json!({
        "scenario": scenario.name,
        "seed": options.seed,
        "rate": options.rate,
        "duration_ms": options.duration.map(|duration| duration.as_millis() as u64),
        "epoch_unix_ns": told.epoch_ns,
        "drained": told.drained,
        "duplicates": told.duplicates,
        "delivery": told.delivery,
    });
    if let (Json::Object(truth), Json::Object(counted)) = (&mut truth, told.counted) {
        truth.extend(counted);
    }
    match &options.truth_file {
        Some(path) => write(path, &truth),
        None => Ok(()),
    }
}

/// Runs it over sockets, with the clock on the wall.
async fn run_live(
    options: &Options,
    scenario: &Scenario,
    mut shutdown: Pin<&mut (impl Future<Output = ()> + Send)>,
) -> anyhow::Result<Told> {
    let epoch_ns = SystemClock.now_ns();
    let targets = Targets {
        beacon: options.beacon.clone(),
        otlp_grpc: options.otlp_grpc.clone(),
        otlp_http: options.otlp_http.clone(),
        write_key: options.write_key.clone(),
    };
    let mut senders = Senders::start(scenario, &targets, options.seed)?;
    let mut world = World::new(scenario.clone(), options.seed, epoch_ns);
    let mut notes = Notes::open(options.details_file.as_deref(), &mut world)?;
    let mut way = Way::new(options.trouble.clone(), options.seed);
    let life = (&mut world, &mut way, &mut senders, &mut notes);
    let (drained, reached) = live(life, options.duration, &mut shutdown).await?;
    world.flush();
    way.enter(world.take_output(), nanoseconds(reached));
    let delivered = arrive(&mut way, &mut senders, reached, &mut shutdown).await;
    senders.close(if drained && delivered { DELIVERY_MAX } else { DELIVERY_INTERRUPTED_MAX }).await;
    notes.write(&mut world)?;
    notes.close()?;
    let (delivery, counted) = (senders.delivery(), world.truth().json(scenario));
    Ok(Told { epoch_ns, drained, duplicates: way.duplicates(), delivery, counted })
}

/// The file of the details, if one was asked for.
struct Notes(Option<BufWriter<File>>);

impl Notes {
    fn open(path: Option<&Path>, world: &mut World) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self(None)) };
        let file = File::create(path)
            .with_context(|| format!("cannot write details to {}", path.display()))?;
        world.keep_details();
        Ok(Self(Some(BufWriter::new(file))))
    }

    /// Writes what the world has kept since.
    fn write(&mut self, world: &mut World) -> anyhow::Result<()> {
        let Some(file) = &mut self.0 else { return Ok(()) };
        for line in world.take_details() {
            writeln!(file, "{line}").context("cannot write details")?;
        }
        Ok(())
    }

    fn close(self) -> anyhow::Result<()> {
        self.0.map_or(Ok(()), |mut file| file.flush()).context("cannot write details")
    }
}

fn chosen(options: &Options) -> anyhow::Result<Scenario> {
    if !options.rate.is_finite() || options.rate <= 0.0 {
        bail!("the rate must be a positive number, not {}", options.rate);
    }
    let Some(scenario) = Scenario::find(&options.scenario) else {
        let names: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
        bail!("no scenario is called {:?}; there are {}", options.scenario, names.join(", "));
    };
    let mut scenario = scenario.scaled(options.rate);
    options.with.iter().for_each(|with| with.change(&mut scenario));
    options.trouble.instrument(&mut scenario);
    options.without.iter().for_each(|without| without.change(&mut scenario));
    Ok(scenario)
}

/// Moves the world with the clock on the wall. True when it came to rest by itself, and when that
/// was, after its beginning.
async fn live(
    (world, way, senders, notes): (&mut World, &mut Way, &mut Senders, &mut Notes),
    duration: Option<Duration>,
    shutdown: &mut (impl Future<Output = ()> + Unpin),
) -> anyhow::Result<(bool, Duration)> {
    let mut started = Instant::now();
    let (mut reached, mut closing) = (Duration::ZERO, false);
    loop {
        let lag = started.elapsed().saturating_sub(reached);
        if lag > LAG_MAX {
            started += lag;
            world.stood_still(nanoseconds(lag));
        }
        reached = started.elapsed().max(reached);
        if let Some(duration) = duration.filter(|duration| !closing && reached >= *duration) {
            world.advance(nanoseconds(duration));
            world.close();
            closing = true;
        }
        world.advance(nanoseconds(reached));
        way.enter(world.take_output(), nanoseconds(reached));
        senders.take(way.arrived(nanoseconds(reached)));
        notes.write(world)?;
        if closing && world.drained() {
            return Ok((true, reached));
        }
        if duration.is_some_and(|duration| reached > duration + DRAIN_MAX) {
            return Ok((false, reached));
        }
        let next = world.next_at_ns().map_or(STEP_MAX, Duration::from_nanos);
        let step = next.saturating_sub(reached).clamp(STEP_MIN, STEP_MAX);
        tokio::select! {
            () = tokio::time::sleep(step) => {}
            () = &mut *shutdown => return Ok((false, reached)),
        }
    }
}

/// Waits for what is still on its way at the end of the world. False when it was not waited for:
/// then everything arrives at once.
async fn arrive(
    way: &mut Way,
    senders: &mut Senders,
    ended: Duration,
    shutdown: &mut (impl Future<Output = ()> + Unpin),
) -> bool {
    let began = Instant::now();
    while way.next_due_ns().is_some() {
        let reached = ended + began.elapsed();
        senders.take(way.arrived(nanoseconds(reached)));
        tokio::select! {
            () = tokio::time::sleep(STEP_MIN) => {}
            () = &mut *shutdown => {
                senders.take(way.arrived(u64::MAX));
                return false;
            }
        }
    }
    true
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn write(path: &Path, truth: &Json) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(truth)?;
    std::fs::write(path, text)
        .with_context(|| format!("cannot write the truth to {}", path.display()))
}
