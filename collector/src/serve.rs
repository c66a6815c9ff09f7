//! The role put together: log, listeners, tick, and the order in which they end.
//!
//! Invariants:
//! * The log is opened before the first connection is accepted, and closed after the last one
//!   has been answered.
//! * A log that has failed ends the role with an error, so that the process exits non-zero and is
//!   started anew: after a failed write nothing the page cache shows can be trusted.
//! * Each second one tick goes through the log: log time moves on although nobody sends.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use ethogram_timeline::clock::Clock;
use ethogram_timeline::log::link::LinkServer;
use ethogram_timeline::log::{AppendError, LogError, LogWriter, Position, Recovery};
use ethogram_timeline::record::{Envelope, Source};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::admin::{Admin, Phase};
use crate::admit::{Collector, Pressure};
use crate::beacon::script::{Edition, kept};
use crate::config::{Binds, Config, ConfigError};
use crate::counters::Door;
use crate::enrich::{Geo, GeoError};
use crate::listen::{Tls, TlsError, listen};
use crate::{admin, beacon, grpc, http};

/// The bound sockets the role serves. Binding is the root's, which knows the flags to name when a
/// port is in use.
#[derive(Debug)]
pub struct Listeners {
    /// Health, status and metrics; loopback.
    pub admin: TcpListener,
    /// Browsers.
    pub beacon: TcpListener,
    /// OTLP over gRPC.
    pub otlp_grpc: TcpListener,
    /// OTLP over HTTP.
    pub otlp_http: TcpListener,
}

/// Why the role cannot start or has to end.
#[derive(Debug, Error)]
pub enum CollectorError {
    /// The configuration is wrong: the operator's to mend.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A database of places does not open: the operator's to mend.
    #[error(transparent)]
    Geo(#[from] GeoError),
    /// A door's certificate cannot be used: the operator's to mend.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The log does not open: another process has it, or the disk is at fault.
    #[error("the log in {path} does not open: {source}", path = .path.display())]
    Log {
        /// The log's directory.
        path: PathBuf,
        /// What is wrong with it.
        source: LogError,
    },
    /// The socket on which followers wait for the committed position cannot be made.
    #[error("the link to the query role in {path}: {source}", path = .path.display())]
    Link {
        /// The log's directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The system has no threads left to decode on.
    #[error("the threads that decode cannot be started: {0}")]
    Threads(std::io::Error),
    /// A listener has no address: its socket is gone.
    #[error("a listener has no address: {0}")]
    Listener(std::io::Error),
    /// The log could not write or sync. Nothing acknowledged is lost; a restart recovers.
    #[error("the log has failed; a restart recovers every acknowledged record")]
    LogFailed,
}

/// A listener and what is spoken on it.
type Socket = (TcpListener, Option<Tls>);

/// The listeners with their certificates, which are read before the log is opened: whoever mistypes a
/// path should not have to wait for a recovery.
struct Doors {
    admin: Socket,
    beacon: Socket,
    otlp_grpc: Socket,
    otlp_http: Socket,
}

impl Doors {
    fn new(config: &Config, listeners: Listeners) -> Result<Self, TlsError> {
        let socket = |door: Door, listener: TcpListener| Ok((listener, Tls::open(config, door)?));
        Ok(Self {
            admin: socket(Door::Admin, listeners.admin)?,
            beacon: socket(Door::Beacon, listeners.beacon)?,
            otlp_grpc: socket(Door::Grpc, listeners.otlp_grpc)?,
            otlp_http: socket(Door::Http, listeners.otlp_http)?,
        })
    }
}

/// Serves the collector role until `shutdown` completes or the log fails. The log is
/// `data_dir/log`; `data_dir/scripts` has what pages of earlier versions load. What has been begun
/// by then is answered, for at most `limits.drain_s` seconds.
/// `pressure` is told of what is refused for want of processors, so that its runtime can let requests
/// gather.
pub async fn serve(
    config: Config,
    data_dir: PathBuf,
    listeners: Listeners,
    clock: Arc<dyn Clock>,
    pressure: Pressure,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), CollectorError> {
    config.check()?;
    config.check_binds(&binds(&listeners)?)?;
    let geo = Geo::open(&config.geo)?;
    let doors = Doors::new(&config, listeners)?;
    let path = data_dir.join("log");
    let written_ns = last_written_ns(&path);
    let (log, recovery) = open_log(&config, path.clone()).await?;
    // Behind the log, whose lock tells that no other process is in this directory.
    let scripts = kept::keep(&data_dir.join("scripts"), config.beacon.scripts_kept_max);
    let link = LinkServer::start(&path, log.clone())
        .map_err(|source| CollectorError::Link { path, source })?;
    let collector = Arc::new(Collector::new(config, clock, log.clone(), geo, pressure)?);
    collector.clock.not_before(written_ns);
    let (phase, phases) = watch::channel(Phase::Serving);

    let admin = Admin::new(&collector, recovery, phases);
    let outcome = run(&collector, doors, scripts, admin, &phase, shutdown).await;
    // Closing waits for the writer's thread, which may be in a sync.
    let closed = tokio::task::spawn_blocking(move || {
        log.close();
        drop(link);
    });
    if closed.await.is_err() {
        return Err(CollectorError::LogFailed);
    }
    outcome
}

/// When an earlier process last committed, by the clock of that time; zero where it is not known.
fn last_written_ns(log: &Path) -> i64 {
    let written = std::fs::metadata(log.join("committed")).and_then(|file| file.modified());
    let since = written.ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(0))
}

async fn open_log(config: &Config, path: PathBuf) -> Result<(LogWriter, Recovery), CollectorError> {
    let log_config = config.log.clone();
    let directory = path.clone();
    // Recovery reads the last segment, and more where it finds damage.
    let opened = tokio::task::spawn_blocking(move || LogWriter::open(&directory, log_config)).await;
    let (log, recovery) = opened
        .unwrap_or(Err(LogError::Unreadable))
        .map_err(|source| CollectorError::Log { path, source })?;
    tracing::info!(?recovery, "the log is open");
    Ok((log, recovery))
}

async fn run(
    collector: &Arc<Collector>,
    sockets: Doors,
    scripts: Vec<Edition>,
    admin: Admin,
    phase: &watch::Sender<Phase>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), CollectorError> {
    let (stop_doors, stop) = watch::channel(false);
    let (stop_admin, stopped_admin) = watch::channel(false);
    let mut doors = JoinSet::new();
    let mut open = |door: Door, (listener, tls): Socket, router: Router| {
        doors.spawn(listen(door, listener, tls, router, Arc::clone(collector), stop.clone()));
    };
    open(Door::Beacon, sockets.beacon, beacon::router(collector, scripts));
    open(Door::Grpc, sockets.otlp_grpc, grpc::router(collector));
    open(Door::Http, sockets.otlp_http, http::router(collector));
    let mut last = JoinSet::new();
    let router = admin::router(Arc::new(admin));
    let (listener, tls) = sockets.admin;
    last.spawn(listen(Door::Admin, listener, tls, router, Arc::clone(collector), stopped_admin));

    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        () = collector.log_failed.notified() => Err(CollectorError::LogFailed),
        () = tick(collector) => Err(CollectorError::LogFailed),
    };

    // Behind a log that has failed nothing more can be promised, and a restart recovers it: what
    // was begun gets its refusal, and nobody else has to wait.
    let drain = if outcome.is_err() {
        FAILED_DRAIN
    } else {
        Duration::from_secs(collector.config.limits.drain_s)
    };
    phase.send_replace(Phase::Draining);
    stop_doors.send_replace(true);
    finish(&mut doors, drain).await;
    // The admin's door goes last, so that an operator can watch the others.
    stop_admin.send_replace(true);
    finish(&mut last, ADMIN_DRAIN).await;
    if collector.log.stats().failed { Err(CollectorError::LogFailed) } else { outcome }
}

/// Enough for refusals to leave.
const FAILED_DRAIN: Duration = Duration::from_millis(500);

/// Nothing is promised on the admin's door, so a moment is enough.
const ADMIN_DRAIN: Duration = Duration::from_millis(500);

/// Waits until all listeners have ended; those that have not in time are cut.
async fn finish(listeners: &mut JoinSet<()>, limit: Duration) {
    let all = async { while listeners.join_next().await.is_some() {} };
    if tokio::time::timeout(limit, all).await.is_err() {
        tracing::warn!(
            seconds = limit.as_secs_f64(),
            "some connections did not end in time and are closed"
        );
    }
    listeners.shutdown().await;
}

/// A segment ends after so many ticks, however little it holds: what was refused a row (later
/// arrivals of an erased session, most of all) must leave the log of a quiet site too.
const SEGMENT_TICKS: u32 = 3_600;

/// Appends one tick a second; ends when the log has failed.
async fn tick(collector: &Arc<Collector>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    // A machine that slept does not need the seconds it missed.
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1_u32.. {
        if collector.log.stats().failed {
            return;
        }
        second.tick().await;
        let (record, done) = tick_record(collector);
        if number.is_multiple_of(SEGMENT_TICKS) {
            collector.log.append_last(record, done);
        } else {
            collector.log.append(record, done);
        }
    }
}

/// Appends a tick, without waiting for the disk.
pub(crate) fn append_tick(collector: &Collector) {
    let (record, done) = tick_record(collector);
    collector.log.append(record, done);
}

/// A tick, and what is to be done when it is on disk or is not.
fn tick_record(
    collector: &Collector,
) -> (Vec<u8>, impl FnOnce(Result<Position, AppendError>) + Send + use<>) {
    // A tick promises that everything received before it stands before it in the log.
    let now_ns = collector.clock.now_ns();
    let complete_ns = collector.in_flight.complete_until_ns(now_ns);
    let mut envelope = Envelope::new(Source::Tick, complete_ns);
    envelope.counters = collector.counters.read().flat();
    // Not the collector itself: it holds the log, whose thread runs this.
    let (counters, log_failed) =
        (Arc::clone(&collector.counters), Arc::clone(&collector.log_failed));
    let done = move |result: Result<Position, AppendError>| {
        if let Err(error) = result {
            counters.refuse_tick();
            if error == AppendError::Failed {
                log_failed.notify_one();
            }
        }
    };
    (envelope.encode(), done)
}

fn binds(listeners: &Listeners) -> Result<Binds, CollectorError> {
    let address = |listener: &TcpListener| -> Result<SocketAddr, CollectorError> {
        listener.local_addr().map_err(CollectorError::Listener)
    };
    Ok(Binds {
        beacon: address(&listeners.beacon)?,
        otlp_grpc: address(&listeners.otlp_grpc)?,
        otlp_http: address(&listeners.otlp_http)?,
    })
}

#[cfg(test)]
mod tests;
