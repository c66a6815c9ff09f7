//! The state that goes with the parts, in sections that stand or fall alone.
//!
//! Each section has a name and a form in the manifest, and is compressed by itself. What the rows at
//! rest need (which of them no longer hold) changes its form least; the join's state changes with
//! the program. A section that cannot be read costs what it held, which is said, and nothing else.
//!
//! Invariant: the join is encoded piece by piece into its compressed form, so that a checkpoint
//! needs no second copy of what is open.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::directory::Directory;
use super::manifest::{CheckpointEntry, Manifest, SectionEntry};
use super::shelf::Mark;
use super::{RowSet, StoreError, Table};
use crate::join::{Join, RowIds};
use crate::rollup::Rollup;
use crate::schema::{Erasure, Time};

/// zstd level 1, as for the log: written every minute, read at a restart.
const LEVEL: i32 = 1;

/// The form of every section but the join's and the shelf's. It rises when one of them changes.
const FORM: u32 = 1;

/// The form of the shelf's section, and of the files that it names.
const SHELF_FORM: u32 = 2;

const ROWS: &str = "rows";
const ERASED: &str = "erased";
const UNSEARCHED: &str = "unsearched";
const ANEW: &str = "anew";
const SHELF: &str = "shelf";
const ROLLUP: &str = "rollup";
const JOIN: &str = "join";

/// Which rows of the parts do not hold.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Gone {
    /// For each part, the lines that went since it was written.
    pub(super) deleted: Vec<(String, RowSet)>,
    /// For each part, the places that were gone when it was written.
    pub(super) gone: Vec<(String, RowSet)>,
    /// The parts that are to be written anew, as something of them was erased. It is a section of its own.
    #[serde(skip)]
    pub(super) anew: BTreeSet<String>,
}

/// The state of one moment, packed for the disk.
pub(super) struct Checkpoint {
    pub(super) rows: Gone,
    sections: Vec<(SectionEntry, Vec<u8>)>,
}

/// What a checkpoint held.
#[derive(Default)]
pub(super) struct State {
    pub(super) rows: Gone,
    pub(super) shelf: Mark,
    pub(super) rollup: Rollup,
    pub(super) join: Join,
    pub(super) unsearched: Vec<Erasure>,
    /// The sections that could not be read.
    pub(super) lost: Vec<&'static str>,
}

impl Checkpoint {
    /// Packs the state of this moment.
    pub(super) fn new(
        rows: Gone,
        shelf: &Mark,
        rollup: &Rollup,
        join: &Join,
        unsearched: &BTreeSet<Erasure>,
    ) -> Result<Self, StoreError> {
        let mut packed = pack_with(|out| join.write(out))?;
        packed.shrink_to_fit();
        let sections = vec![
            section(ERASED, FORM, pack(join.erased())?),
            section(UNSEARCHED, FORM, pack(unsearched)?),
            section(ANEW, FORM, pack(&rows.anew)?),
            section(SHELF, SHELF_FORM, pack(shelf)?),
            section(ROLLUP, FORM, pack(rollup)?),
            section(JOIN, Join::FORM, packed),
        ];
        Ok(Self { rows, sections })
    }

    /// Writes the state durably under a name of its own.
    pub(super) fn write(
        &self,
        directory: &Directory,
        version: u64,
    ) -> Result<CheckpointEntry, StoreError> {
        let rows = section(ROWS, FORM, pack(&self.rows)?);
        let sections = std::iter::once(&rows).chain(&self.sections);
        let pieces: Vec<&[u8]> = sections.clone().map(|(_, bytes)| bytes.as_slice()).collect();
        let file = format!("{version:08}.checkpoint");
        directory.write(&file, &pieces)?;
        let (bytes, crc32c) = pieces.iter().fold((0, 0), |(bytes, crc32c), piece| {
            (bytes + piece.len() as u64, crc32c::crc32c_append(crc32c, piece))
        });
        let sections = sections.map(|(entry, _)| entry.clone()).collect();
        Ok(CheckpointEntry { file, bytes, crc32c, sections })
    }
}

impl Manifest {
    /// The checkpoint it names.
    pub(super) fn read_checkpoint(
        &self,
        directory: &Directory,
    ) -> Result<Option<State>, StoreError> {
        let Some(entry) = &self.checkpoint else { return Ok(None) };
        let path = directory.path(&entry.file);
        let corrupt = |what: &str| StoreError::Corrupt(format!("{}: {what}", path.display()));
        let bytes = directory.read(&entry.file)?.ok_or_else(|| corrupt("it is missing"))?;
        if bytes.len() as u64 != entry.bytes || crc32c::crc32c(&bytes) != entry.crc32c {
            return Err(corrupt("the checksum does not match the manifest's"));
        }
        let sections = Sections { entry, bytes: &bytes };
        let mut rows: Gone = sections.read(ROWS, FORM).ok_or_else(|| {
            corrupt("which rows hold cannot be read; it was written by a version before 0.1")
        })?;
        let mut lost = Vec::new();
        // The first version wrote none.
        if sections.find(ANEW).is_some() {
            rows.anew = sections.read_or_lose(ANEW, FORM, &mut lost);
        }
        let shelf = sections.read_or_lose(SHELF, SHELF_FORM, &mut lost);
        let rollup: Rollup = sections.read_or_lose(ROLLUP, FORM, &mut lost);
        let erased: BTreeMap<Erasure, Time> = sections.read_or_lose(ERASED, FORM, &mut lost);
        let unsearched = sections.read_or_lose(UNSEARCHED, FORM, &mut lost);
        let join = sections
            .find(JOIN)
            .and_then(|(form, bytes)| Join::read(form, &zstd::stream::decode_all(bytes).ok()?));
        let join = join.unwrap_or_else(|| {
            lost.push(JOIN);
            Join::restart(self.places(), Time(self.complete_until_ns), rollup.dropped(), erased)
        });
        Ok(Some(State { rows, shelf, rollup, join, unsearched, lost }))
    }

    fn places(&self) -> RowIds {
        let next = |table| self.next_places.get(&table).copied().unwrap_or(0);
        RowIds {
            spans: next(Table::Spans),
            events: next(Table::Events),
            metrics: next(Table::Metrics),
            requests: next(Table::Requests),
            sessions: next(Table::Sessions),
            losses: next(Table::Losses),
        }
    }
}

/// The sections of a file.
struct Sections<'file> {
    entry: &'file CheckpointEntry,
    bytes: &'file [u8],
}

impl<'file> Sections<'file> {
    fn find(&self, name: &str) -> Option<(u32, &'file [u8])> {
        let mut rest = self.bytes;
        for section in &self.entry.sections {
            let (own, after) = rest.split_at_checked(usize::try_from(section.bytes).ok()?)?;
            if section.name == name {
                return Some((section.form, own));
            }
            rest = after;
        }
        None
    }

    fn read<T: DeserializeOwned>(&self, name: &str, form: u32) -> Option<T> {
        let (_, bytes) = self.find(name).filter(|(own, _)| *own == form)?;
        postcard::from_bytes(&zstd::stream::decode_all(bytes).ok()?).ok()
    }

    fn read_or_lose<T: DeserializeOwned + Default>(
        &self,
        name: &'static str,
        form: u32,
        lost: &mut Vec<&'static str>,
    ) -> T {
        self.read(name, form).unwrap_or_else(|| {
            lost.push(name);
            T::default()
        })
    }
}

fn section(name: &str, form: u32, bytes: Vec<u8>) -> (SectionEntry, Vec<u8>) {
    (SectionEntry { name: String::from(name), form, bytes: bytes.len() as u64 }, bytes)
}

fn pack(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    pack_with(|out| postcard::to_io(value, out).map(drop))
}

fn pack_with(
    write: impl FnOnce(&mut dyn std::io::Write) -> Result<(), postcard::Error>,
) -> Result<Vec<u8>, StoreError> {
    let failed =
        |error: String| StoreError::Corrupt(format!("cannot write the checkpoint: {error}"));
    let mut out = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)
        .map_err(|error| failed(error.to_string()))?;
    write(&mut out).map_err(|error| failed(error.to_string()))?;
    out.finish().map_err(|error| failed(error.to_string()))
}
