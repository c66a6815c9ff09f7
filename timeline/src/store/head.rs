//! The rows of one table: immutable batches, one open one, and the files before them.
//!
//! Places (row ids) run through the parts, then the frozen batches, then the open rows, without a
//! gap. A row that went before its batch was sealed is not written; its place stays taken, and the
//! part remembers which places are gone, so that a later row's line in the file is its place less
//! the places gone before it.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::checkpoint::Gone;
use super::directory::Directory;
use super::erase::{FoundRow, Received, Wanted};
use super::manifest::{Manifest, PartEntry};
use super::part::{self, Part};
use super::seal::{FrozenTable, MergeInput, NewPart};
use super::{Config, HeadBatch, PartView, Replaced, RowSet, StoreError, Table, TableView};
use crate::join::{Delta, RowId};
use crate::schema::Columns;

/// Open rows are frozen into a batch at this number: below it the batch is built anew for each
/// snapshot, above it DataFusion would split it (8,192 is its own batch size).
const OPEN_ROWS_MAX: usize = 8_192;

/// What an open row is taken to weigh, in bytes, until a whole batch of its table was measured: about
/// what the demo's spans weigh with their attributes.
const ROW_BYTES: usize = 600;

/// An immutable batch of the head.
#[derive(Clone, Debug)]
pub(super) struct FrozenBatch {
    first: u64,
    pub(super) batch: RecordBatch,
    deleted: Arc<RowSet>,
    /// The freeze that was the latest when a row of it was erased.
    erased_at: Option<u64>,
}

impl FrozenBatch {
    /// The rows that still hold.
    pub(super) fn kept(&self) -> Result<RecordBatch, arrow::error::ArrowError> {
        if self.deleted.is_empty() {
            return Ok(self.batch.clone());
        }
        part::filter(&self.batch, self.deleted.kept_mask(self.batch.num_rows()))
    }

    /// The places of its rows that went, counted from `first`.
    pub(super) fn deleted_places(&self, first: u64) -> impl Iterator<Item = u32> + '_ {
        let before = (self.first - first) as u32;
        self.deleted.iter().map(move |row| before + row)
    }

    fn view(&self) -> HeadBatch {
        let deleted = (!self.deleted.is_empty()).then(|| Arc::clone(&self.deleted));
        HeadBatch { batch: self.batch.clone(), deleted }
    }
}

/// A file of the table, the places it covers, and what went of it.
#[derive(Clone, Debug)]
struct Sealed {
    part: Arc<Part>,
    file: String,
    first: u64,
    places: u64,
    /// Places that were gone when it was written, counted from `first`.
    gone: Arc<RowSet>,
    /// Rows that went since, by their line in the file.
    deleted: Arc<RowSet>,
    /// Some of them were erased: the file is to be written anew without them. The number says
    /// which freeze was the latest then: what was frozen before cannot leave them out.
    erased_at: Option<u64>,
}

/// The rows of one table.
pub(super) struct Rows<R: Columns> {
    table: Table,
    parts: Vec<Sealed>,
    frozen: Vec<FrozenBatch>,
    frozen_bytes: usize,
    /// What an open row is taken to weigh, in bytes: as those of the last whole batch did. Small batches
    /// are no measure, for what a column takes however few its rows are weighs most in them.
    row_bytes: usize,
    open_first: u64,
    open: Vec<Arc<R>>,
    open_deleted: Arc<RowSet>,
    open_batch: Option<RecordBatch>,
    /// How often the head was frozen for a seal.
    freezes: u64,
}

impl<R: Columns> Rows<R> {
    pub(super) fn open(
        table: Table,
        directory: &Arc<Directory>,
        manifest: &Manifest,
        rows: &Gone,
    ) -> Result<Self, StoreError> {
        let mut parts = Vec::new();
        for entry in manifest.parts.iter().filter(|part| part.table == table) {
            let set = |sets: &[(String, RowSet)]| {
                let found = sets.iter().find(|(file, _)| *file == entry.file);
                Arc::new(found.map(|(_, set)| set.clone()).unwrap_or_default())
            };
            parts.push(Sealed {
                part: Arc::new(entry.open(directory)?),
                file: entry.file.clone(),
                first: entry.first,
                places: entry.places,
                gone: set(&rows.gone),
                deleted: set(&rows.deleted),
                // A seal was to write it anew and could not.
                erased_at: rows.anew.contains(&entry.file).then_some(0),
            });
        }
        let open_first = parts.last().map_or(0, |part| part.first + part.places);
        let next = manifest.next_places.get(&table).copied().unwrap_or(0).max(open_first);
        Ok(Self {
            table,
            parts,
            frozen: Vec::new(),
            frozen_bytes: 0,
            row_bytes: ROW_BYTES,
            open_first: next,
            open: Vec::new(),
            open_deleted: Arc::default(),
            open_batch: None,
            freezes: 0,
        })
    }

    pub(super) fn apply(&mut self, delta: Delta<R>) {
        if let Some((id, _)) = delta.old {
            self.delete(id);
        }
        if let Some((id, row)) = delta.new {
            debug_assert_eq!(
                id.0,
                self.open_first + self.open.len() as u64,
                "places run without a gap"
            );
            self.open.push(row);
            self.open_batch = None;
            if self.open.len() >= OPEN_ROWS_MAX {
                self.freeze_open();
            }
        }
    }

    fn delete(&mut self, RowId(id): RowId) {
        if id >= self.open_first {
            Arc::make_mut(&mut self.open_deleted).insert((id - self.open_first) as u32);
            return;
        }
        let after = self.frozen.partition_point(|batch| batch.first <= id);
        if after > 0 {
            let batch = &mut self.frozen[after - 1];
            Arc::make_mut(&mut batch.deleted).insert((id - batch.first) as u32);
            return;
        }
        self.delete_sealed(id);
    }

    /// A place that is gone already, or that no file covers, is left alone.
    fn delete_sealed(&mut self, id: u64) {
        let after = self.parts.partition_point(|part| part.first <= id);
        if let Some(part) =
            self.parts[..after].last_mut().filter(|part| id < part.first + part.places)
        {
            part.delete(id);
        }
    }

    /// Retracts the wanted rows of the head, and returns them.
    pub(super) fn erase(&mut self, wanted: &Wanted) -> Vec<FoundRow> {
        self.freeze_open();
        let mut found = Vec::new();
        for batch in &mut self.frozen {
            let rows = wanted.rows(&batch.batch);
            if !rows.is_empty() {
                Arc::make_mut(&mut batch.deleted).extend(rows.iter().map(|row| row.line));
                batch.erased_at = Some(self.freezes);
            }
            found.extend(rows);
        }
        found
    }

    /// Has what may hold earlier versions of rows received then written anew: files of that time, and
    /// batches, which may be on their way into one.
    pub(super) fn erase_versions(&mut self, received: &Received) {
        for part in self.parts.iter_mut().filter(|part| !part.deleted.is_empty()) {
            if received.is_any_in(part.part.received_ns_min, part.part.received_ns_max) {
                part.erased_at = Some(self.freezes);
            }
        }
        for batch in self.frozen.iter_mut().filter(|batch| !batch.deleted.is_empty()) {
            if !received.is_empty() {
                batch.erased_at = Some(self.freezes);
            }
        }
    }

    /// Retracts these lines of a file, which is to be written anew without them.
    pub(super) fn erase_lines(&mut self, part: &Arc<Part>, lines: &[u32]) {
        let own = self.parts.iter_mut().find(|own| Arc::ptr_eq(&own.part, part));
        debug_assert!(own.is_some(), "no seal is finished during a search");
        if let Some(own) = own {
            Arc::make_mut(&mut own.deleted).extend(lines.iter().copied());
            own.erased_at = Some(self.freezes);
        }
    }

    fn freeze_open(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let batch =
            self.open_batch.take().unwrap_or_else(|| R::batch(self.open.iter().map(Arc::as_ref)));
        let bytes = batch.get_array_memory_size();
        self.frozen_bytes += bytes;
        if self.open.len() >= OPEN_ROWS_MAX {
            self.row_bytes = bytes / self.open.len();
        }
        let (first, rows) = (self.open_first, self.open.len() as u64);
        self.frozen.push(FrozenBatch {
            first,
            batch,
            deleted: std::mem::take(&mut self.open_deleted),
            erased_at: None,
        });
        self.open.clear();
        self.open_first += rows;
    }

    pub(super) fn head_bytes(&self) -> usize {
        self.frozen_bytes + self.open.len() * self.row_bytes
    }

    pub(super) fn parts(&self) -> Vec<Arc<Part>> {
        self.parts.iter().map(|part| Arc::clone(&part.part)).collect()
    }

    pub(super) fn view(&mut self) -> TableView {
        let mut head: Vec<HeadBatch> = self.frozen.iter().map(FrozenBatch::view).collect();
        if !self.open.is_empty() {
            let batch = self
                .open_batch
                .get_or_insert_with(|| R::batch(self.open.iter().map(Arc::as_ref)))
                .clone();
            let deleted = (!self.open_deleted.is_empty()).then(|| Arc::clone(&self.open_deleted));
            head.push(HeadBatch { batch, deleted });
        }
        TableView { parts: self.parts.iter().map(Sealed::view).collect(), head }
    }

    /// The head as it is now, for writing, and which files are worth merging.
    /// The files in `expired` are left out and let go.
    pub(super) fn freeze(&mut self, config: &Config, expired: &[Arc<Part>]) -> FrozenTable {
        self.freeze_open();
        self.freezes += 1;
        let sets = |set: fn(&Sealed) -> &Arc<RowSet>| {
            let parts = self.parts.iter().filter(|part| !set(part).is_empty());
            parts.map(|part| (part.file.clone(), set(part).as_ref().clone())).collect()
        };
        FrozenTable {
            table: self.table,
            first: self.frozen.first().map_or(self.open_first, |batch| batch.first),
            next: self.open_first,
            batches: self.frozen.clone(),
            entries: self.parts.iter().map(Sealed::entry).collect(),
            merge: self.mergeable(config, expired),
            outdated: self
                .parts
                .iter()
                .filter(|part| part.is_empty() || is_one_of(&part.part, expired))
                .map(|part| Arc::clone(&part.part))
                .collect(),
            deleted: sets(|part| &part.deleted),
            gone: sets(|part| &part.gone),
            anew: self.parts.iter().filter_map(Sealed::anew).collect(),
        }
    }

    /// Files worth writing anew: the longest run of small ones at the end, where it is long enough,
    /// and each with erased rows. One that could not be read ends the run, as a large one does; where
    /// it holds erased rows it is tried again each time.
    fn mergeable(&self, config: &Config, expired: &[Arc<Part>]) -> Vec<Vec<MergeInput>> {
        let kept = |part: &Sealed| !is_one_of(&part.part, expired) && !part.is_empty();
        let small = self.parts.iter().rev().take_while(|part| {
            part.part.bytes < config.merge_bytes_max
                && !is_one_of(&part.part, expired)
                && !part.part.is_unreadable()
        });
        let mut run: Vec<&Sealed> = small.collect();
        run.reverse();
        if run.len() < config.merge_parts_min.max(2) {
            run.clear();
        }
        let in_run = |part: &Sealed| run.iter().any(|other| Arc::ptr_eq(&other.part, &part.part));
        let erased = self.parts.iter().filter(|part| part.erased_at.is_some());
        let erased = erased.filter(|part| kept(part) && !in_run(part));
        let alone = erased.map(|part| vec![part.merge_input()]);
        let together =
            (!run.is_empty()).then(|| run.iter().map(|part| part.merge_input()).collect());
        alone.chain(together).collect()
    }

    /// Puts new files in the place of the batches before `frozen_until` and of the files they
    /// replace. What went while they were being written goes there too.
    pub(super) fn install(&mut self, new: Vec<NewPart>, replaced: &Replaced, frozen_until: u64) {
        let mut went: Vec<u64> = Vec::new();
        // What was erased since the freeze stands in the new files still.
        let since = |erased_at: Option<u64>| erased_at == Some(self.freezes);
        let mut erased =
            self.frozen.iter().any(|batch| batch.first < frozen_until && since(batch.erased_at));
        for part in replaced {
            if let Some(at) = self.parts.iter().position(|own| Arc::ptr_eq(&own.part, part)) {
                part.doom();
                let old = self.parts.remove(at);
                erased |= since(old.erased_at);
                went.extend(old.deleted_ids());
            }
        }
        for batch in self.frozen.iter().filter(|batch| batch.first < frozen_until) {
            went.extend(batch.deleted.iter().map(|row| batch.first + u64::from(row)));
        }
        let erased_at = erased.then_some(self.freezes);
        for part in new {
            let at = self.parts.partition_point(|own| own.first < part.first);
            self.parts.insert(at, Sealed { erased_at, ..Sealed::new(part) });
        }
        self.frozen.retain(|batch| batch.first >= frozen_until);
        self.frozen_bytes =
            self.frozen.iter().map(|batch| batch.batch.get_array_memory_size()).sum();
        for id in went {
            self.delete_sealed(id);
        }
    }
}

fn is_one_of(part: &Arc<Part>, parts: &[Arc<Part>]) -> bool {
    parts.iter().any(|other| Arc::ptr_eq(part, other))
}

impl Sealed {
    fn merge_input(&self) -> MergeInput {
        MergeInput {
            part: Arc::clone(&self.part),
            first: self.first,
            places: self.places,
            gone: Arc::clone(&self.gone),
            deleted: Arc::clone(&self.deleted),
        }
    }

    fn new(NewPart { part, file, first, places, gone, .. }: NewPart) -> Self {
        let (gone, deleted) = (Arc::new(gone), Arc::default());
        Self { part, file, first, places, gone, deleted, erased_at: None }
    }

    fn delete(&mut self, id: u64) {
        let place = (id - self.first) as u32;
        if !self.gone.contains(place) {
            let line = place - self.gone.rank(place);
            Arc::make_mut(&mut self.deleted).insert(line);
        }
    }

    fn anew(&self) -> Option<String> {
        self.erased_at.map(|_| self.file.clone())
    }

    fn is_empty(&self) -> bool {
        u64::from(self.deleted.len()) >= self.part.rows
    }

    fn view(&self) -> PartView {
        let deleted = (!self.deleted.is_empty()).then(|| Arc::clone(&self.deleted));
        PartView { part: Arc::clone(&self.part), deleted }
    }

    fn entry(&self) -> (Arc<Part>, PartEntry) {
        let entry = PartEntry::new(self.file.clone(), self.first, self.places, &self.part);
        (Arc::clone(&self.part), entry)
    }

    /// The ids of the rows that went since the file was written.
    fn deleted_ids(&self) -> impl Iterator<Item = u64> + '_ {
        let kept = (0..self.places as u32).filter(|place| !self.gone.contains(*place));
        kept.zip(0_u32..)
            .filter(|(_, line)| self.deleted.contains(*line))
            .map(|(place, _)| self.first + u64::from(place))
    }
}
