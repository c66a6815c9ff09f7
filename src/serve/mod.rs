//! Serving: one role in this process (`role`), or both as supervised children (`supervise`).
//!
//! Flow of a role: `lock` → `listen` → the role's crate → `probe` → `ready` → `stop`. Flow of the
//! supervisor: `child` (one process, kept alive with `backoff`) for each role → `ready` → `stop`.
//!
//! It knows no telemetry data and no SQL: it starts, watches and ends.
//!
//! Invariants:
//! * A child never outlives its supervisor, however that ended.
//! * A role that is started again serves on the addresses it had before.
//! * The two roles share nothing but the data directory.

mod backoff;
mod child;
mod listen;
mod lock;
mod machine;
mod probe;
mod ready;
mod role;
mod stop;
mod supervise;

pub(crate) use child::{EXIT_CONFIGURATION, EXIT_TAKEN, Refused};
pub(crate) use listen::ListenError;
pub(crate) use lock::InUse;
pub(crate) use probe::reachable;
pub(crate) use ready::Ready;
pub(crate) use role::{Role, run};
pub(crate) use stop::{Stop, Supervised};
pub(crate) use supervise::{Guest, Launch, supervise};

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::Config;

/// Time on top of the drain, for what comes after it: closing the log, a checkpoint.
const AFTER_DRAIN: Duration = Duration::from_secs(5);

/// How long a role may take to stop before it is ended: what it was told to grant its clients,
/// and a bit.
fn stop_patience(config: &Config) -> Duration {
    let drain_s = config.collector.limits.drain_s.max(config.query.http.drain_seconds);
    Duration::from_secs(drain_s).saturating_add(AFTER_DRAIN)
}

/// How long the supervisor waits for that. Longer than the role itself, whose own message says more
/// than a kill.
fn kill_patience(config: &Config) -> Duration {
    stop_patience(config).saturating_add(Duration::from_secs(1))
}

/// Locks of the processes that serve a data directory.
fn run_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("run")
}
