//! From memory to disk: what is written, in which order, so that a crash at any point is harmless.
//!
//! Order: each part (write, fsync, rename), the checkpoint (the same), the directory (fsync), then
//! the manifest (write, fsync, rename, fsync of the directory). Until the manifest is renamed the
//! old one stands with everything it names; afterwards the new one does. What neither names is
//! removed at the next start.

use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use arrow::record_batch::RecordBatch;
use parking_lot::Mutex;

use super::checkpoint::Checkpoint;
use super::directory::Directory;
use super::head::FrozenBatch;
use super::manifest::{Manifest, PartEntry};
use super::part::{self, Part};
use super::{Replaced, RowSet, StoreError, Table, io, manifest, shelf};
use crate::log::Position;

/// The head at one position, ready to be written by any thread.
pub struct Sealing {
    pub(super) directory: Arc<Directory>,
    pub(super) leftovers: Leftovers,
    pub(super) version: u64,
    pub(super) position: Position,
    pub(super) complete_until_ns: i64,
    pub(super) checkpoint: Checkpoint,
    pub(super) shelf: shelf::Files,
    pub(super) tables: Vec<FrozenTable>,
    /// Files written so far.
    pub(super) written: Vec<String>,
}

/// Files of attempts that failed so late that a manifest may name them.
pub(super) type Leftovers = Arc<Mutex<Vec<String>>>;

/// What was written, ready to take the head's place.
pub struct Sealed {
    pub(super) manifest: Manifest,
    pub(super) parts: Vec<NewPart>,
    pub(super) replaced: Replaced,
    pub(super) shelf: shelf::Files,
}

/// One table's head at that position.
pub(super) struct FrozenTable {
    pub(super) table: Table,
    pub(super) first: u64,
    pub(super) next: u64,
    pub(super) batches: Vec<FrozenBatch>,
    pub(super) entries: Vec<(Arc<Part>, PartEntry)>,
    pub(super) merge: Vec<Vec<MergeInput>>,
    /// Files with no row left, and those past their retention.
    pub(super) outdated: Vec<Arc<Part>>,
    pub(super) deleted: Vec<(String, RowSet)>,
    pub(super) gone: Vec<(String, RowSet)>,
    /// Files of which something was erased. Those of them that are there still are written anew next time.
    pub(super) anew: Vec<String>,
}

/// A small file that is to become part of a larger one.
pub(super) struct MergeInput {
    pub(super) part: Arc<Part>,
    pub(super) first: u64,
    pub(super) places: u64,
    pub(super) gone: Arc<RowSet>,
    pub(super) deleted: Arc<RowSet>,
}

/// A written file and the places it covers.
pub(super) struct NewPart {
    pub(super) table: Table,
    pub(super) part: Arc<Part>,
    pub(super) file: String,
    pub(super) first: u64,
    pub(super) places: u64,
    pub(super) gone: RowSet,
}

impl Sealing {
    /// Writes everything and makes it durable. Nothing that exists is changed; a failure leaves
    /// the store as it was, and may be tried again with a new [`super::Store::begin_seal`].
    pub fn write(mut self) -> Result<Sealed, StoreError> {
        let prepared = self.prepare();
        // A name that was given but is not durable may come back after a power cut, and must then
        // not be one that a manifest means otherwise: no two attempts share a version.
        let sealed = match prepared.and_then(|sealed| self.directory.sync().map(|()| sealed)) {
            Ok(sealed) => sealed,
            Err(error) => {
                for file in &self.written {
                    self.directory.remove(file);
                }
                return Err(error);
            }
        };
        match sealed.manifest.write(&self.directory) {
            Ok(()) => Ok(sealed),
            Err(error) => {
                // The new manifest may stand, now or after a power cut: what it names must stay
                // until another one is known to stand.
                self.leftovers.lock().append(&mut self.written);
                Err(error)
            }
        }
    }

    /// Writes everything that the new manifest is to name.
    fn prepare(&mut self) -> Result<Sealed, StoreError> {
        let mut entries: Vec<PartEntry> = Vec::new();
        let mut parts: Vec<NewPart> = Vec::new();
        let mut replaced: Replaced = Vec::new();
        let tables = std::mem::take(&mut self.tables);
        for table in &tables {
            let mut merged = Vec::new();
            let mut outdated: Replaced = table.outdated.clone();
            for inputs in &table.merge {
                // A file that cannot be read stays as it is: no seal would ever end otherwise.
                let Some(new) = self.merge(table.table, inputs)? else { continue };
                outdated.extend(inputs.iter().map(|input| Arc::clone(&input.part)));
                // Known at once: where the next one fails this one has to go too.
                self.written.extend(new.iter().map(|part| part.file.clone()));
                merged.extend(new);
            }
            let written = self.write_head(table)?;
            self.written.extend(written.iter().map(|part| part.file.clone()));
            let kept = table
                .entries
                .iter()
                .filter(|(part, _)| !outdated.iter().any(|outdated| Arc::ptr_eq(outdated, part)));
            entries.extend(kept.map(|(_, entry)| entry.clone()));
            for part in merged.into_iter().chain(written) {
                entries.push(PartEntry::new(
                    part.file.clone(),
                    part.first,
                    part.places,
                    &part.part,
                ));
                if !part.gone.is_empty() {
                    self.checkpoint.rows.gone.push((part.file.clone(), part.gone.clone()));
                }
                parts.push(part);
            }
            replaced.extend(outdated);
        }
        entries.sort_by_key(|entry| (entry.table, entry.first));
        let named = |file: &str| entries.iter().any(|entry| entry.file == file);
        self.checkpoint.rows.deleted.retain(|(file, _)| named(file));
        self.checkpoint.rows.gone.retain(|(file, _)| named(file));
        self.shelf.sync().map_err(io("cannot sync the shelf"))?;
        let checkpoint = self.checkpoint.write(&self.directory, self.version)?;
        self.written.push(checkpoint.file.clone());
        let manifest = Manifest {
            format: manifest::FORMAT,
            version: self.version,
            position: Some(self.position),
            complete_until_ns: self.complete_until_ns,
            checkpoint: Some(checkpoint),
            next_places: tables.iter().map(|table| (table.table, table.next)).collect(),
            parts: entries,
        };
        Ok(Sealed { manifest, parts, replaced, shelf: std::mem::take(&mut self.shelf) })
    }

    fn file(&self, table: Table, first: u64) -> String {
        format!("{}-{first:014}-{:08}.parquet", table.name(), self.version)
    }

    /// The head's rows that still hold, as one file; none where no row is left.
    fn write_head(&self, table: &FrozenTable) -> Result<Option<NewPart>, StoreError> {
        let file = self.file(table.table, table.first);
        let Some(part) = part::write(&self.directory, &file, table.table, &table.batches)? else {
            return Ok(None);
        };
        let gone =
            table.batches.iter().flat_map(|batch| batch.deleted_places(table.first)).collect();
        Ok(Some(NewPart {
            table: table.table,
            part: Arc::new(part),
            file,
            first: table.first,
            places: table.next - table.first,
            gone,
        }))
    }

    /// The rows of these neighbours that still hold, as one file at most: no file where no row is left.
    /// `None` where one of them cannot be read, which is then remembered.
    fn merge(
        &self,
        table: Table,
        inputs: &[MergeInput],
    ) -> Result<Option<Vec<NewPart>>, StoreError> {
        let (Some(head), Some(tail)) = (inputs.first(), inputs.last()) else { return Ok(None) };
        let (first, end) = (head.first, tail.first + tail.places);
        if inputs.iter().all(|input| u64::from(input.deleted.len()) >= input.part.rows) {
            return Ok(Some(Vec::new()));
        }
        // The new name differs from the first input's by its version.
        let file = self.file(table, first);
        let batches = inputs.iter().flat_map(|input| {
            let (batches, failed) = match input.kept() {
                Ok(batches) => (Some(batches), None),
                Err(error) => (None, Some(Err(error))),
            };
            let all = failed.into_iter().chain(batches.into_iter().flatten());
            all.inspect(|batch| input.part.note_read(batch.as_ref().err()))
        });
        let part = match part::write_batches(&self.directory, &file, table, batches) {
            Ok(part) => part,
            Err(error) if inputs.iter().any(|input| input.part.is_unreadable()) => {
                tracing::error!(%error, "a file cannot be read to be written anew, and stays");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        Ok(Some(vec![NewPart {
            table,
            part: Arc::new(part),
            file,
            first,
            places: end - first,
            gone: gone_places(inputs, first, end),
        }]))
    }
}

impl MergeInput {
    /// Its rows that still hold, a batch at a time: a file may be many times larger in memory.
    fn kept(
        &self,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, StoreError>> + '_, StoreError> {
        let mut line = 0;
        Ok(self.part.read()?.map(move |batch| {
            let batch = batch?;
            let rows = batch.num_rows();
            let keep = BooleanBuffer::collect_bool(rows, |row| {
                !self.deleted.contains((line + row) as u32)
            });
            line += rows;
            part::filter(&batch, keep).map_err(|error| {
                StoreError::Corrupt(format!("cannot filter {}: {error}", self.part.path.display()))
            })
        }))
    }
}

/// The places between `first` and `end` that no row of the merged file stands for.
fn gone_places(inputs: &[MergeInput], first: u64, end: u64) -> RowSet {
    let mut gone: RowSet = (0..(end - first) as u32).collect();
    for input in inputs {
        let kept = (0..input.places as u32).filter(|place| !input.gone.contains(*place));
        for (line, place) in (0_u32..).zip(kept) {
            if !input.deleted.contains(line) {
                gone.remove((input.first - first) as u32 + place);
            }
        }
    }
    gone
}
