//! What the store consists of: one small JSON file that names everything else.
//!
//! The manifest is replaced whole, by rename. It names the parts, the checkpoint, and the position
//! of the log that both describe. The checkpoint holds what is too large for a file that people
//! read: the join, the rollups, and which rows of the parts no longer hold.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::part::Part;
use super::{RowSet, StoreError, Table, io};
use crate::join::Join;
use crate::log::Position;
use crate::rollup::Rollup;

/// The format that this program writes. A reader refuses a newer one and leaves it alone.
pub(super) const FORMAT: u32 = 1;

const MANIFEST: &str = "manifest.json";
const LOCK: &str = "LOCK";

/// zstd level 1, as for the log: written every minute, read at a restart.
const CHECKPOINT_LEVEL: i32 = 1;

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

/// The state that goes with the parts.
#[derive(Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub(super) join: Join,
    pub(super) rollup: Rollup,
    /// For each part, the lines that went since it was written.
    pub(super) deleted: Vec<(String, RowSet)>,
    /// For each part, the places that were gone when it was written.
    pub(super) gone: Vec<(String, RowSet)>,
}

/// Takes the directory for this process.
pub(super) fn lock(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io(format!("cannot open {}", path.display())))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| StoreError::InUse(directory.to_path_buf()))?;
    Ok(file)
}

/// Removes a file that nothing names any more. A failure is not worth stopping for: the next start
/// removes what is left.
pub(super) fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove a file that is no longer needed");
    }
}

impl Manifest {
    /// The manifest of `directory`, or an empty one.
    pub(super) fn read(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(MANIFEST);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self {
                    format: FORMAT,
                    version: 0,
                    position: None,
                    complete_until_ns: 0,
                    checkpoint: None,
                    next_places: BTreeMap::new(),
                    parts: Vec::new(),
                });
            }
            Err(error) => return Err(io(format!("cannot read {}", path.display()))(error)),
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
        Ok(manifest)
    }

    /// Replaces the manifest of `directory` by this one. What it names must be durable already but
    /// for the directory's entries, which are made durable first.
    pub(super) fn write(&self, directory: &Path) -> Result<(), StoreError> {
        sync_directory(directory)?;
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| StoreError::Corrupt(format!("cannot write the manifest: {error}")))?;
        write_durably(&directory.join(MANIFEST), &text)?;
        sync_directory(directory)
    }

    /// The checkpoint it names.
    pub(super) fn read_checkpoint(
        &self,
        directory: &Path,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let Some(entry) = &self.checkpoint else { return Ok(None) };
        let path = directory.join(&entry.file);
        let corrupt = |what: String| StoreError::Corrupt(format!("{}: {what}", path.display()));
        let bytes = std::fs::read(&path).map_err(io(format!("cannot read {}", path.display())))?;
        if bytes.len() as u64 != entry.bytes || crc32c::crc32c(&bytes) != entry.crc32c {
            return Err(corrupt(String::from("the checksum does not match the manifest's")));
        }
        let state = zstd::stream::decode_all(bytes.as_slice())
            .map_err(|error| corrupt(error.to_string()))?;
        postcard::from_bytes(&state).map(Some).map_err(|error| corrupt(error.to_string()))
    }

    /// Removes files of ours that it does not name: what a crash left behind.
    pub(super) fn remove_orphans(&self, directory: &Path) -> Result<(), StoreError> {
        let entries = std::fs::read_dir(directory)
            .map_err(io(format!("cannot list {}", directory.display())))?;
        for entry in entries {
            let entry = entry.map_err(io(format!("cannot list {}", directory.display())))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let ours = [".parquet", ".tmp", ".checkpoint"].iter().any(|end| name.ends_with(end));
            let named = self.parts.iter().any(|part| part.file == name)
                || self.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.file == name);
            if ours && !named {
                remove(&entry.path());
            }
        }
        Ok(())
    }
}

impl Checkpoint {
    /// Writes the state durably under a name of its own.
    pub(super) fn write(
        &self,
        directory: &Path,
        version: u64,
    ) -> Result<CheckpointEntry, StoreError> {
        let failed =
            |error: String| StoreError::Corrupt(format!("cannot write the checkpoint: {error}"));
        let state = postcard::to_allocvec(self).map_err(|error| failed(error.to_string()))?;
        let bytes = zstd::bulk::compress(&state, CHECKPOINT_LEVEL)
            .map_err(|error| failed(error.to_string()))?;
        let file = format!("{version:08}.checkpoint");
        write_durably(&directory.join(&file), &bytes)?;
        Ok(CheckpointEntry { file, bytes: bytes.len() as u64, crc32c: crc32c::crc32c(&bytes) })
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
    pub(super) fn open(&self, directory: &Path) -> Result<Part, StoreError> {
        let path = directory.join(&self.file);
        let bytes =
            std::fs::metadata(&path).map_err(io(format!("cannot find {}", path.display())))?.len();
        if bytes != self.bytes {
            let (is, was) = (bytes, self.bytes);
            return Err(StoreError::Corrupt(format!(
                "{} has {is} bytes instead of {was}",
                path.display()
            )));
        }
        Ok(Part {
            path,
            bytes,
            rows: self.rows,
            row_group_rows: self.row_group_rows.clone(),
            received_ns_min: self.received_ns_min,
            received_ns_max: self.received_ns_max,
            doomed: AtomicBool::new(false),
        })
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let unfinished = path.with_extension("tmp");
    let mut file =
        File::create(&unfinished).map_err(io(format!("cannot make {}", unfinished.display())))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(io(format!("cannot write {}", unfinished.display())))?;
    std::fs::rename(&unfinished, path).map_err(io(format!("cannot name {}", path.display())))
}

fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(io(format!("cannot sync {}", directory.display())))
}
