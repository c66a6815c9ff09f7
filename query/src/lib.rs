//! What can be asked: SQL over the timelines, one session's timeline, metrics, and the page.
//!
//! Flow: [`follow`] reads the log and publishes one [`published::Published`] after the other; a
//! question takes the newest, and everything it reads is of that moment. `sql` and `timeline` are
//! the questions over HTTP, [`engine`] runs them within a budget, `guard` says what a statement
//! may be, `session` builds the tables, views and functions it sees, `tables` scans sealed parts
//! and recent rows, [`functions`] are the tails, `format` the answers on the wire.
//!
//! It is not an ingester: it never writes the log, and when it dies nothing that was acknowledged
//! is lost, delayed or refused.
//!
//! Invariants:
//! * Only this crate knows DataFusion, and nothing in it knows OTLP's names but `views.sql`, which
//!   reads attributes as any user would.
//! * A statement sees one snapshot for all its tables.
//! * A statement reads, and reads only tables of the timeline; its time, memory and answer are
//!   bounded.

pub mod config;
pub mod engine;
pub mod error;
pub mod follow;
mod format;
pub mod functions;
mod guard;
mod http;
mod listen;
mod metrics;
mod page;
mod parts;
mod predicate;
pub mod published;
mod session;
mod sql;
mod status;
mod suspects;
mod tables;
mod timeline;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ethogram_timeline::clock::Clock;
use tokio::net::TcpListener;

pub use config::Config;
pub use error::QueryError;

use self::http::Surface;
use engine::Engine;

/// How often is looked whether the follower still runs. A dead one is replaced with its process,
/// and the answers are a second old at most anyway.
const FOLLOWER_CHECK: Duration = Duration::from_secs(1);

/// The sockets the query role serves on, bound by the caller.
#[derive(Debug)]
pub struct Listeners {
    /// The page, SQL, metrics and health.
    pub query: TcpListener,
}

/// Follows `data_dir/log`, owns `data_dir/store`, and answers until `shutdown`.
///
/// Returns once open requests have ended and a seal under way is durable. An error means that
/// following could not begin, or ended by itself, or that a statement does not stop: the role must be
/// started again. It ends in order even then, so no record is taken to have killed it.
pub async fn serve(
    config: Config,
    data_dir: PathBuf,
    listeners: Listeners,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), QueryError> {
    let surface = open(&config, data_dir, clock).await?;
    let router = self::http::router(Arc::clone(&surface));
    let watched = Arc::clone(&surface);
    let mut cause = Ok(());
    let end = async {
        tokio::select! {
            () = shutdown => {}
            () = follower_ended(&watched) => cause = Err(QueryError::FollowerEnded),
            () = watched.engine.wedged() => cause = Err(QueryError::Wedged),
        }
    };
    listen::serve(listeners.query, router, &config.http, end).await;
    if let Some(follower) = surface.take_follower() {
        // Stopping waits for a thread, which no asynchronous task may do.
        tokio::task::spawn_blocking(|| follower.stop())
            .await
            .map_err(|error| QueryError::Store(error.into()))?;
    }
    cause
}

/// Opens the store, starts following and sets the engine up, off the asynchronous threads: a
/// large store takes seconds to open.
async fn open(
    config: &Config,
    data_dir: PathBuf,
    clock: Arc<dyn Clock>,
) -> Result<Arc<Surface>, QueryError> {
    let config = config.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let following = follow::start(&config.follow, &data_dir, Arc::clone(&clock))?;
        let engine = Engine::open(&config.sql, &data_dir.join("store"))?;
        Ok(Arc::new(Surface::new(config, engine, following, clock)))
    });
    opened.await.map_err(|error| QueryError::Store(error.into()))?
}

async fn follower_ended(surface: &Surface) {
    while surface.follower_alive() {
        tokio::time::sleep(FOLLOWER_CHECK).await;
    }
}
