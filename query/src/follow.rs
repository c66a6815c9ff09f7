//! Following the log: the one thread that reads it, joins it and publishes what a query may see.
//!
//! Flow: wait for the committed position → read each byte once → decode → join → rollups and store
//! → publish one pointer. Every minute, or when it is large, the head is frozen here and written by
//! another thread; when it is durable, the position is acknowledged to the collector.
//!
//! It is not a reader of its own past: after a restart it goes on from the manifest's position with
//! the join's state, which is its normal path.
//!
//! Invariants:
//! * Never past the committed position; never a byte twice within a process.
//! * A reader sees one [`Published`], whole: all tables, rollups and status of one moment.
//! * Log time comes from records alone; the clock only paces how often is published.

mod erase;
mod seal;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use ethogram_timeline::clock::Clock;
use ethogram_timeline::log::link::LinkClient;
use ethogram_timeline::log::{LogReader, Position, ReadError, Record};
use ethogram_timeline::record::Envelope;
use ethogram_timeline::rollup::Rollup;
use ethogram_timeline::store::{Resume, Store, StoreError};
use ethogram_timeline::{decode, join, rollup, store};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::published::{FollowerStatus, LOSSES_MAX, Published, Shared};
use crate::suspects::Suspects;

/// What the collector knows this follower by.
const FOLLOWER: &str = "query";

/// How the log is followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Read at most this much of the log at once, in bytes: what a batch may add to memory, and what
    /// is joined between two looks at whether to seal or to stop. A record is always read whole, so
    /// one of `collector.log.record_bytes_max` may be more.
    pub read_bytes_max: u64,
    /// Publish at most this often, in milliseconds. A fifth of a second keeps "visible within one
    /// second" with room, and joins many commits into one snapshot.
    pub publish_ms: u64,
    /// The join's windows and limits.
    pub join: join::Config,
    /// How much the counters keep apart.
    pub rollup: rollup::Config,
    /// When rows are sealed.
    pub store: store::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            read_bytes_max: 1 << 20,
            publish_ms: 200,
            join: join::Config::default(),
            rollup: rollup::Config::default(),
            store: store::Config::default(),
        }
    }
}

/// Why following cannot begin or cannot go on.
#[derive(Debug, Error)]
pub enum FollowError {
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What earlier processes died of cannot be read.
    #[error("cannot read which records are suspect: {0}")]
    Suspects(std::io::Error),
    /// The system gave no thread.
    #[error("cannot start the follower: {0}")]
    Thread(std::io::Error),
}

/// The running follower.
pub struct Handle {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Asks it to stop and waits until it has. A seal that is being written is finished.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the follower had panicked");
        }
    }

    /// Whether it still runs; it ends by itself only when it panics or the store fails.
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

/// Opens `data_dir/store`, publishes what it holds, and follows `data_dir/log` from there.
pub fn start(
    config: &Config,
    data_dir: &Path,
    clock: Arc<dyn Clock>,
) -> Result<(Shared, Handle), FollowError> {
    let (store, resume) = Store::open(&data_dir.join("store"), config.store.clone())?;
    let suspects = Suspects::open(&data_dir.join("store")).map_err(FollowError::Suspects)?;
    let resume = resume.unwrap_or_default();
    let Resume { mut join, mut rollup, position, lost, unsearched } = resume;
    join.configure(config.join.clone());
    rollup.configure(config.rollup.clone());
    join.shelve_on(store.shelf());
    for state in lost {
        tracing::error!(state, "a part of the last seal's state cannot be read and begins anew");
        let at = position.map(|position| position.to_string()).unwrap_or_default();
        join.lose("state", at.clone(), at, format!("{state}: it begins anew from here"));
    }
    let mut follower = Follower {
        config: config.clone(),
        log: data_dir.join("log"),
        status: FollowerStatus { position, ..FollowerStatus::default() },
        reader: None,
        suspects,
        seals: seal::Seals::since(join.now().0, clock.now_ns()),
        erasing: erase::Erasing::of(unsearched),
        clock,
        goal: None,
        unpublished: false,
        published_ns: 0,
        published_bytes: 0,
        shared: None,
        join,
        rollup,
        store,
    };
    let shared = follower.publish();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::Builder::new()
        .name(String::from("follower"))
        .spawn(move || follower.run(&stopped))
        .map_err(FollowError::Thread)?;
    Ok((shared, Handle { stop, thread: Some(thread) }))
}

struct Follower {
    config: Config,
    log: PathBuf,
    clock: Arc<dyn Clock>,
    join: join::Join,
    rollup: Rollup,
    store: Store,
    status: FollowerStatus,
    reader: Option<LogReader>,
    suspects: Suspects,
    seals: seal::Seals,
    erasing: erase::Erasing,
    /// The first committed position that was seen.
    goal: Option<Position>,
    unpublished: bool,
    published_ns: i64,
    /// Bytes of records that were read by then.
    published_bytes: u64,
    shared: Option<Shared>,
}

impl Follower {
    fn run(mut self, stop: &AtomicBool) {
        let mut link = LinkClient::new(&self.log, FOLLOWER);
        if let Some(sealed) = self.store.sealed_position() {
            link.acknowledge(*sealed);
        }
        while !stop.load(Ordering::Acquire) {
            // While it cannot go on, only a further commit (or a second) is worth another try.
            let seen = if self.status.error.is_some() || self.is_full() {
                self.status.committed
            } else {
                self.status.position
            };
            self.status.committed = link.wait(seen, self.patience());
            if !self.is_full() {
                let outcome = self.read();
                self.note(outcome);
            }
            self.note_goal();
            self.finish_search();
            self.publish_when_due();
            self.begin_search();
            self.finish_seal(&mut link);
            self.begin_seal_when_due();
        }
        self.stop_sealing();
    }

    /// How long to wait for the next commit: not past the next publication.
    fn patience(&self) -> Duration {
        if self.is_full() || self.erasing.is_searching() {
            // Something is about to finish on another thread, and readers wait for it.
            Duration::from_millis(5)
        } else if self.unpublished || self.seals.is_running() {
            Duration::from_millis(self.config.publish_ms.clamp(1, 1_000))
        } else {
            Duration::from_secs(1)
        }
    }

    /// Reads what is committed, a bounded piece at a time, and joins it.
    fn read(&mut self) -> Result<(), ReadError> {
        let Some(committed) = self.status.committed else { return Ok(()) };
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => LogReader::open(&self.log, self.status.position)?,
        };
        let result = reader.read(committed, self.config.read_bytes_max);
        self.reader = Some(reader);
        for record in result? {
            self.status.records += 1;
            self.status.bytes += record.payload.len() as u64;
            let one_at_a_time = self.suspects.lie_ahead_of(self.status.position);
            if self.suspects.is_poison(record.position) {
                tracing::error!(position = %record.position, "set a record aside that killed this role");
                self.lose(
                    "poison",
                    record.position,
                    "it ended the process that took it three times",
                );
            } else {
                self.suspects.take(record.position);
                self.take(&record);
            }
            self.status.position = Some(record.position);
            self.unpublished = true;
            if one_at_a_time {
                self.publish();
            }
        }
        Ok(())
    }

    /// Lists what lies between the last record and `to` in `losses`.
    fn lose(&mut self, kind: &str, to: Position, detail: &str) {
        let from = self.status.position.map(|position| position.to_string()).unwrap_or_default();
        let to = to.to_string();
        if self.status.losses.len() < LOSSES_MAX {
            self.status.losses.push((String::from(kind), from.clone(), to.clone()));
        }
        self.join.lose(kind, from, to, String::from(detail));
        self.unpublished = true;
    }

    /// Caught up is what has read all that was committed when it began; a log that does not exist
    /// yet has nothing to catch up with.
    fn note_goal(&mut self) {
        self.goal = self.goal.or(self.status.committed);
        if !self.status.caught_up && self.status.position >= self.goal {
            self.status.caught_up = true;
            self.publish();
        }
    }

    /// What cannot be read is passed over and remembered; what cannot go on says why.
    fn note(&mut self, outcome: Result<(), ReadError>) {
        let error = match outcome {
            Ok(()) => None,
            Err(ReadError::Corrupt(damage)) => {
                tracing::error!(%damage, "the log was set aside and passed over");
                self.status.position = Some(damage.from);
                self.lose("damaged", damage.to, &damage.to_string());
                self.status.position = Some(damage.to);
                None
            }
            Err(error @ ReadError::Removed { .. }) => {
                tracing::error!(%error, "going on with the oldest record that is kept");
                if let (Some(position), ReadError::Removed { oldest, .. }) =
                    (self.status.position, &error)
                {
                    let oldest = Position { segment: *oldest, offset: 0, ..position };
                    self.lose("removed", oldest, &error.to_string());
                }
                (self.reader, self.status.position) = (None, None);
                None
            }
            Err(error) => {
                self.reader = None;
                Some(error.to_string())
            }
        };
        if let Some(error) =
            error.as_ref().filter(|error| self.status.error.as_ref() != Some(error))
        {
            tracing::error!(error, "cannot follow the log");
        }
        self.unpublished |= error != self.status.error;
        self.status.error = error;
    }

    fn take(&mut self, record: &Record) {
        let envelope = Envelope::decode(&record.payload).map_err(|error| error.to_string());
        let rows = envelope
            .and_then(|envelope| decode::rows(&envelope).map_err(|error| error.to_string()));
        match rows {
            Ok(rows) => {
                if rows.erasure.is_some() {
                    self.erasing.note(record.position);
                }
                self.join.push(rows);
            }
            Err(error) => {
                self.status.undecodable_records += 1;
                tracing::error!(%error, position = %record.position, "passed over a record");
                self.lose("undecodable", record.position, &error);
            }
        }
    }

    fn publish_when_due(&mut self) {
        let due_ns = self.published_ns + self.config.publish_ms as i64 * 1_000_000;
        let now_ns = self.clock.now_ns();
        // A clock that was set back must not stop publication. A backlog is published piece by
        // piece, so that the store knows how much it holds.
        let much = self.status.bytes - self.published_bytes >= self.config.read_bytes_max;
        if self.unpublished && (much || now_ns >= due_ns || now_ns < self.published_ns) {
            self.publish();
        }
    }

    /// Joins what was read and makes it visible, in one store of one pointer.
    fn publish(&mut self) -> Shared {
        self.say();
        let (open_traces, open_spans, open_sessions) = self.join.open();
        self.status.open_traces = open_traces;
        self.status.open_spans = open_spans;
        self.status.open_sessions = open_sessions;
        let (traces, reach_s, bytes) = self.join.recalled();
        (self.status.recalled_traces, self.status.recall_reach_s) = (traces, reach_s);
        self.status.recall_bytes = bytes;
        self.status.head_bytes = self.store.head_bytes();
        self.status.head_bytes_max = self.status.head_bytes_max.max(self.status.head_bytes);
        (self.status.duplicate_spans, self.status.duplicate_others) = self.join.reach();
        self.status.sealed_ns = self.store.sealed_ns();
        self.status.erasures_pending = self.erasing.pending();
        self.status.sealed = self.store.sealed_position().copied();
        let sealed = self.store.sealed().into_iter();
        self.status.sealed_tables =
            sealed.map(|(table, parts, rows)| (table.name(), parts, rows)).collect();
        let log_ns = self.join.now().0;
        let published = Arc::new(Published {
            snapshot: Arc::new(self.store.snapshot(self.join.complete_until().0)),
            rollup: Arc::new(self.rollup.view(log_ns)),
            follower: self.status.clone(),
        });
        self.suspects.survived();
        self.unpublished = false;
        self.published_ns = self.clock.now_ns();
        self.published_bytes = self.status.bytes;
        match &self.shared {
            Some(shared) => {
                shared.store(published);
                Arc::clone(shared)
            }
            None => Arc::clone(self.shared.insert(Arc::new(ArcSwap::new(published)))),
        }
    }

    /// Brings what the join has to say into the rollups and the store.
    fn say(&mut self) {
        self.lose_shelved();
        loop {
            let changes = self.join.emit();
            self.rollup.apply(&changes);
            self.rollup.set_dropped(self.join.counters());
            let erasures = erase::erasures(&changes);
            self.store.apply(changes);
            let sessions = self.erase(erasures);
            // An erased user's sessions are erased too, of which the join has more to say.
            if !self.join.bind(sessions) {
                return;
            }
        }
    }
}
