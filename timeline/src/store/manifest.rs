//! What the store consists of: one small JSON file that names everything else.
//!
//! The manifest is replaced whole, by rename. It names the parts, the checkpoint, and the position
//! of the log that both describe. The checkpoint holds what is too large for a file that people
//! read: the join, the rollups, and which rows of the parts no longer hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use super::directory::Directory;
use super::part::Part;
use super::{StoreError, Table};
use crate::log::Position;

/// The format that this program writes. A reader refuses a newer one and leaves it alone.
pub(super) const FORMAT: u32 = 2;

const MANIFEST: &str = "manifest.json";

/// What the store consists of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    /// Rises with every seal.
    pub(super) version: u64,
    /// The log up to here is in the parts and the checkpoint.
    pub(super) position: Option<Position>,
    /// Log time of that position.
    pub(super) complete_until_ns: i64,
    pub(super) checkpoint: Option<CheckpointEntry>,
    /// The next free place of each table.
    pub(super) next_places: BTreeMap<Table, u64>,
    pub(super) parts: Vec<PartEntry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CheckpointEntry {
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) crc32c: u32,
    /// What it holds, in the order it holds it.
    #[serde(default)]
    pub(super) sections: Vec<SectionEntry>,
}

/// A piece of the checkpoint that can be read, or be lost, by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SectionEntry {
    pub(super) name: String,
    /// Which form its bytes have.
    pub(super) form: u32,
    pub(super) bytes: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PartEntry {
    pub(super) table: Table,
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) rows: u64,
    pub(super) row_group_rows: Vec<u32>,
    pub(super) received_ns_min: i64,
    pub(super) received_ns_max: i64,
    /// The first place it covers, and how many.
    pub(super) first: u64,
    pub(super) places: u64,
}

impl Manifest {
    /// The manifest of `directory`, or an empty one.
    pub(super) fn read(directory: &Directory) -> Result<Self, StoreError> {
        let path = directory.path(MANIFEST);
        let Some(text) = directory.read(MANIFEST)? else {
            return Ok(Self {
                format: FORMAT,
                version: 0,
                position: None,
                complete_until_ns: 0,
                checkpoint: None,
                next_places: BTreeMap::new(),
                parts: Vec::new(),
            });
        };
        let manifest: Self = serde_json::from_slice(&text).map_err(|error| {
            StoreError::Corrupt(format!("{} is not a manifest: {error}", path.display()))
        })?;
        if manifest.format > FORMAT {
            return Err(StoreError::Corrupt(format!(
                "{} was written by a newer version (format {}, this one knows {FORMAT})",
                path.display(),
                manifest.format
            )));
        }
        // Places are added to each other from here on.
        if manifest.parts.iter().any(|part| part.first.checked_add(part.places).is_none()) {
            let what = "a part has places beyond every number";
            return Err(StoreError::Corrupt(format!("{}: {what}", path.display())));
        }
        Ok(manifest)
    }

    /// Replaces the manifest of `directory` by this one. All that it names must be durable, the
    /// names included. After a failure the old one or this one may stand.
    pub(super) fn write(&self, directory: &Directory) -> Result<(), StoreError> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| StoreError::Corrupt(format!("cannot write the manifest: {error}")))?;
        directory.write(MANIFEST, &[text])?;
        directory.sync()
    }

    /// Removes files of ours that it does not name: what a crash left behind.
    pub(super) fn remove_orphans(&self, directory: &Directory) -> Result<(), StoreError> {
        for name in directory.names()? {
            let ours = [".parquet", ".tmp", ".checkpoint"].iter().any(|end| name.ends_with(end));
            if ours && !self.names(&name) {
                directory.remove(&name);
            }
        }
        Ok(())
    }

    /// Whether it names a file.
    pub(super) fn names(&self, file: &str) -> bool {
        self.parts.iter().any(|part| part.file == file)
            || self.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.file == file)
    }
}

impl PartEntry {
    pub(super) fn new(file: String, first: u64, places: u64, part: &Part) -> Self {
        let table = Table::ALL.into_iter().find(|table| {
            file.strip_prefix(table.name()).is_some_and(|rest| rest.starts_with('-'))
        });
        Self {
            table: table.expect("a part's name begins with its table's"),
            file,
            bytes: part.bytes,
            rows: part.rows,
            row_group_rows: part.row_group_rows.clone(),
            received_ns_min: part.received_ns_min,
            received_ns_max: part.received_ns_max,
            first,
            places,
        }
    }

    /// The part it names; a missing or shortened file is an error now rather than in a query.
    pub(super) fn open(&self, directory: &Arc<Directory>) -> Result<Part, StoreError> {
        let bytes = directory.open(&self.file)?.bytes;
        if bytes != self.bytes {
            let (path, was) = (directory.path(&self.file), self.bytes);
            return Err(StoreError::Corrupt(format!(
                "{} has {bytes} bytes instead of {was}",
                path.display()
            )));
        }
        Ok(Part {
            path: directory.path(&self.file),
            file: self.file.clone(),
            directory: Arc::clone(directory),
            bytes,
            rows: self.rows,
            row_group_rows: self.row_group_rows.clone(),
            received_ns_min: self.received_ns_min,
            received_ns_max: self.received_ns_max,
            doomed: AtomicBool::new(false),
            unreadable: AtomicBool::new(false),
        })
    }
}
