//! Rows at rest: recent ones as Arrow in memory, older ones as Parquet, both under one snapshot.
//!
//! Flow: [`crate::join::Change`]s → [`Store::apply`] → head → (every 64 MiB of rows or 60 s of log)
//! [`Store::begin_seal`] → [`Sealing::write`] → [`Store::finish_seal`] → parts.
//!
//! A row has a place in its table's order of arrival ([`crate::join::RowId`]). The head and the
//! parts of a table cover ranges of places without gap or overlap, so the file and the line of any
//! row follow from its place, and a row that went is a bit in a set beside an immutable batch.
//!
//! It is not an index and knows no SQL: what a query reads is a [`Snapshot`], which pins the parts
//! and the head of every table at one moment. Readers clone `Arc`s and hold no lock.
//!
//! Invariants:
//! * A row is in the head or in one part, never in both or neither, in every snapshot.
//! * A file is named by the manifest only after it and its directory entry are on disk; it is
//!   removed only when neither the manifest nor any snapshot names it.
//! * The manifest, the checkpoint it names and the parts it names describe one position of the log.

mod checkpoint;
mod directory;
mod erase;
mod head;
mod manifest;
mod part;
mod retention;
mod room;
mod rowset;
mod seal;
mod shelf;
mod snapshot;
mod table;

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use erase::{Found, Search};
pub use part::Part;
pub use rowset::RowSet;
use seal::Leftovers;
pub use seal::{Sealed, Sealing};
pub use snapshot::{HeadBatch, PartView, Snapshot, TableView};
pub use table::Table;

use crate::disk::{Lock, RealStorage, Storage};
use crate::join::{Change, Join, Shelf};
use crate::log::Position;
use crate::rollup::Rollup;
use crate::schema::{Erasure, EventRow, LossRow, MetricRow, RequestRow, SessionRow, SpanRow};
use checkpoint::{Checkpoint, Gone, State};
use directory::Directory;
use head::Rows;
use manifest::Manifest;
#[cfg(test)]
pub(crate) use shelf::Mark;
pub(crate) use shelf::{FileShelf, Limits};

/// When rows leave memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The head is sealed when it holds this much, in bytes. Larger parts are read faster and
    /// sealed more rarely; the head and one copy of it while it is written are in memory.
    pub seal_bytes: usize,
    /// The head is sealed after this much log time, in seconds, however little it holds: a restart
    /// follows the log from the last seal.
    pub seal_s: u32,
    /// Parts of a table below this size are merged, in bytes, so that a query opens few files.
    pub merge_bytes_max: u64,
    /// How many such neighbours are left alone. Merging more rarely writes less and opens more.
    pub merge_parts_min: usize,
    /// Sealed rows are kept this long after they were received, in days: a month is what the field
    /// compares releases over.
    pub retain_days: u32,
    /// Sealed rows of all tables may take this much, in bytes; the oldest go first. A full disk must
    /// not be the fate of a default install.
    pub retain_bytes: u64,
    /// Where the disk is full, the oldest rows go to make room for new ones, but so much of them
    /// stays, in bytes: when even that does not fit, it is something else that fills the disk.
    pub retain_bytes_min: u64,
    /// A trace or session can be taken back for this long after it was let go, in seconds, so that
    /// what comes late is joined: a day, and an hour for what was a while open.
    pub recall_s: u32,
    /// What is kept for that may take this much, in bytes; the oldest goes first. A span takes
    /// about 120 bytes, so this is a day of 400 spans a second.
    pub recall_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seal_bytes: 64 << 20,
            seal_s: 60,
            merge_bytes_max: 32 << 20,
            merge_parts_min: 8,
            retain_days: 30,
            retain_bytes: 20 << 30,
            retain_bytes_min: 1 << 30,
            recall_s: 25 * 60 * 60,
            recall_bytes: 4 << 30,
        }
    }
}

/// Why the store cannot go on. All are the machine's or the operator's fault, none the sender's.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process owns the directory. Stop it, or choose another data directory.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// The disk refused. Worth a retry only when the disk has been seen to.
    #[error("{context}: {source}")]
    Io {
        /// What was being done to which file.
        context: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A Parquet file cannot be written or read.
    #[error("{context}: {source}")]
    Parquet {
        /// What was being done to which file.
        context: String,
        /// What the library said.
        source: parquet::errors::ParquetError,
    },
    /// The manifest or the checkpoint is not what this program writes.
    #[error("{0}")]
    Corrupt(String),
}

pub(crate) fn io(context: impl Into<String>) -> impl FnOnce(std::io::Error) -> StoreError {
    let context = context.into();
    move |source| StoreError::Io { context, source }
}

/// What a restart goes on from.
#[derive(Default)]
pub struct Resume {
    /// The join as of `position`.
    pub join: Join,
    /// The rollups as of `position`.
    pub rollup: Rollup,
    /// Everything before it is in the store; none where the log is to be read from its start.
    pub position: Option<Position>,
    /// What of the state could not be read, by its name, and begins anew.
    pub lost: Vec<&'static str>,
    /// Erasures whose files were not all searched by then.
    pub unsearched: Vec<Erasure>,
}

/// The rows of every table, and the directory they are sealed to.
pub struct Store {
    config: Config,
    directory: Arc<Directory>,
    _lock: Lock,
    manifest: Manifest,
    /// The version of the last seal begun: each attempt has its own.
    sealing_version: u64,
    leftovers: Leftovers,
    spans: Rows<SpanRow>,
    events: Rows<EventRow>,
    metrics: Rows<MetricRow>,
    requests: Rows<RequestRow>,
    sessions: Rows<SessionRow>,
    losses: Rows<LossRow>,
    shelf: FileShelf,
    unsearched: erase::Unsearched,
    version: u64,
}

impl Store {
    /// Opens the store in `directory` (made where it is missing), removes what no manifest names,
    /// and returns what the last seal left to go on from.
    pub fn open(directory: &Path, config: Config) -> Result<(Self, Option<Resume>), StoreError> {
        Self::open_on(Arc::new(RealStorage::new()), directory, config)
    }

    /// As [`Self::open`], on a machine that may be a simulated one.
    pub(crate) fn open_on(
        storage: Arc<dyn Storage>,
        directory: &Path,
        config: Config,
    ) -> Result<(Self, Option<Resume>), StoreError> {
        let limits = Limits::new(config.recall_s, config.recall_bytes);
        Self::open_with(storage, directory, config, limits)
    }

    /// As [`Self::open_on`], with a shelf of these limits.
    fn open_with(
        storage: Arc<dyn Storage>,
        directory: &Path,
        config: Config,
        limits: Limits,
    ) -> Result<(Self, Option<Resume>), StoreError> {
        let directory = &Arc::new(Directory::create(storage, directory)?);
        let lock = directory.lock()?;
        let manifest = Manifest::read(directory)?;
        let checkpoint = manifest.read_checkpoint(directory)?;
        manifest.remove_orphans(directory)?;
        let (known, state) = (checkpoint.is_some(), checkpoint.unwrap_or_default());
        let State { rows, shelf, rollup, mut join, unsearched, lost } = state;
        let shelf = FileShelf::open(directory, limits, shelf)?;
        join.shelve_on(Box::new(shelf.clone()));
        let mut store = Self {
            config,
            directory: Arc::clone(directory),
            _lock: lock,
            sealing_version: manifest.version,
            leftovers: Leftovers::default(),
            spans: Rows::open(Table::Spans, directory, &manifest, &rows)?,
            events: Rows::open(Table::Events, directory, &manifest, &rows)?,
            metrics: Rows::open(Table::Metrics, directory, &manifest, &rows)?,
            requests: Rows::open(Table::Requests, directory, &manifest, &rows)?,
            sessions: Rows::open(Table::Sessions, directory, &manifest, &rows)?,
            losses: Rows::open(Table::Losses, directory, &manifest, &rows)?,
            manifest,
            shelf,
            unsearched: erase::Unsearched::of(&unsearched),
            version: 0,
        };
        room::keep_ballast(directory);
        store.version = store.manifest.version;
        let position = store.manifest.position;
        let resume = known.then_some(Resume { join, rollup, position, lost, unsearched });
        Ok((store, resume))
    }

    /// Takes changes in: rows that came are appended, rows that went are marked.
    pub fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Span(delta) => self.spans.apply(delta),
                Change::Event(delta) => self.events.apply(delta),
                Change::Metric(delta) => self.metrics.apply(delta),
                Change::Request(delta) => self.requests.apply(delta),
                Change::Session(delta) => self.sessions.apply(delta),
                Change::Loss(delta) => self.losses.apply(delta),
                Change::SettledSend(_) | Change::SettledRequest(_) | Change::Erase(_) => {}
            }
        }
    }

    /// Everything as of now, for readers. `complete_until_ns` is the log time up to which every
    /// acknowledged record is in it.
    pub fn snapshot(&mut self, complete_until_ns: i64) -> Snapshot {
        self.version += 1;
        let tables = [
            self.spans.view(),
            self.events.view(),
            self.metrics.view(),
            self.requests.view(),
            self.sessions.view(),
            self.losses.view(),
        ];
        Snapshot::new(self.version, complete_until_ns, tables)
    }

    /// About how many bytes of rows the head holds.
    pub fn head_bytes(&self) -> usize {
        self.spans.head_bytes()
            + self.events.head_bytes()
            + self.metrics.head_bytes()
            + self.requests.head_bytes()
            + self.sessions.head_bytes()
            + self.losses.head_bytes()
    }

    /// Log time of the last seal, in nanoseconds; zero before the first.
    pub fn sealed_ns(&self) -> i64 {
        self.manifest.complete_until_ns
    }

    /// The position that the last seal covers.
    pub fn sealed_position(&self) -> Option<&Position> {
        self.manifest.position.as_ref()
    }

    /// Where a join lays what it lets go of. That of [`Resume`] does so already.
    pub fn shelf(&self) -> Box<dyn Shelf> {
        Box::new(self.shelf.clone())
    }

    /// What of the shelf was lost since the last call, in words, to be listed in `losses`.
    pub fn take_shelf_losses(&mut self) -> Vec<String> {
        self.shelf.take_losses()
    }

    /// The configuration it was opened with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Freezes the head as of `position`. The caller writes it, on any thread, and hands the
    /// result to [`Store::finish_seal`]; rows go on coming meanwhile.
    pub fn begin_seal(
        &mut self,
        join: &Join,
        rollup: &Rollup,
        position: Position,
    ) -> Result<Sealing, StoreError> {
        self.sealing_version += 1;
        let expired = retention::expired(&self.config, self.parts(), join.now());
        let tables = vec![
            self.spans.freeze(&self.config, &expired),
            self.events.freeze(&self.config, &expired),
            self.metrics.freeze(&self.config, &expired),
            self.requests.freeze(&self.config, &expired),
            self.sessions.freeze(&self.config, &expired),
            self.losses.freeze(&self.config, &expired),
        ];
        let (mark, files) = self.shelf.mark();
        let rows = Gone {
            deleted: tables.iter().flat_map(|table| table.deleted.clone()).collect(),
            gone: tables.iter().flat_map(|table| table.gone.clone()).collect(),
            anew: tables.iter().flat_map(|table| table.anew.clone()).collect(),
        };
        Ok(Sealing {
            directory: Arc::clone(&self.directory),
            leftovers: Arc::clone(&self.leftovers),
            written: Vec::new(),
            version: self.sealing_version,
            position,
            complete_until_ns: join.now().0,
            checkpoint: Checkpoint::new(rows, &mark, rollup, join, &self.unsearched.files)?,
            shelf: files,
            tables,
        })
    }

    /// Puts the written parts in the place of the frozen head. The old checkpoint, and parts that
    /// were merged or have no row left, are removed once nobody reads them.
    pub fn finish_seal(&mut self, sealed: Sealed) {
        let Sealed { manifest, mut parts, replaced, shelf } = sealed;
        self.shelf.finish(&shelf);
        let mut of = |table: Table| -> (Vec<seal::NewPart>, u64) {
            let (own, others) = parts.drain(..).partition(|part| part.table == table);
            parts = others;
            (own, manifest.next_places.get(&table).copied().unwrap_or(0))
        };
        let (new, until) = of(Table::Spans);
        self.spans.install(new, &replaced, until);
        let (new, until) = of(Table::Events);
        self.events.install(new, &replaced, until);
        let (new, until) = of(Table::Metrics);
        self.metrics.install(new, &replaced, until);
        let (new, until) = of(Table::Requests);
        self.requests.install(new, &replaced, until);
        let (new, until) = of(Table::Sessions);
        self.sessions.install(new, &replaced, until);
        let (new, until) = of(Table::Losses);
        self.losses.install(new, &replaced, until);
        if let Some(old) = self.manifest.checkpoint.as_ref() {
            self.directory.remove(&old.file);
        }
        self.directory.remove_again();
        for file in std::mem::take(&mut *self.leftovers.lock()) {
            if !manifest.names(&file) {
                self.directory.remove(&file);
            }
        }
        self.manifest = manifest;
        room::keep_ballast(&self.directory);
    }

    fn parts(&self) -> Vec<Arc<Part>> {
        let of = |parts: Vec<Arc<Part>>| parts.into_iter();
        of(self.spans.parts())
            .chain(of(self.events.parts()))
            .chain(of(self.metrics.parts()))
            .chain(of(self.requests.parts()))
            .chain(of(self.sessions.parts()))
            .chain(of(self.losses.parts()))
            .collect()
    }

    /// How many parts and how many rows in them each table has.
    pub fn sealed(&self) -> Vec<(Table, usize, u64)> {
        Table::ALL
            .into_iter()
            .map(|table| {
                let parts = self.manifest.parts.iter().filter(|part| part.table == table);
                (table, parts.clone().count(), parts.map(|part| part.rows).sum())
            })
            .collect()
    }
}

/// The parts that a new one takes the place of, by file name.
pub(crate) type Replaced = Vec<Arc<Part>>;
