//! Reads a whole log and says what is wrong with it. Not a repair, and not an owner: it takes no
//! lock, writes nothing, and may run beside the collector.
//!
//! Invariant: it looks no further than the committed position, where that can be read, since bytes
//! behind it may be changing.

use std::path::Path;

use serde::Serialize;

use super::damage::Damage;
use super::disk::Disk;
use super::error::LogError;
use super::position::{LogId, Position};
use super::recovery;
use super::survey::Survey;

/// What is in a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Identity of the log; `None` when nothing was ever appended.
    pub log_id: Option<LogId>,
    /// Segments there are.
    pub segments: u64,
    /// Whole frames.
    pub frames: u64,
    /// Whole records.
    pub records: u64,
    /// Bytes of payload in those frames.
    pub payload_bytes: u64,
    /// Behind the last record that can be read.
    pub end: Option<Position>,
    /// What the file `committed` says, if it can be read.
    pub committed: Option<Position>,
    /// Ranges that were promised and cannot be read.
    pub damages: Vec<Damage>,
    /// Segments whose header is damaged; their frames may be sound.
    pub damaged_headers: Vec<u64>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.damages.is_empty() && self.damaged_headers.is_empty()
    }
}

/// Verifies the log in `dir`. Reads all of it once; memory does not grow with its size.
pub fn verify(dir: &Path) -> Result<VerifyReport, LogError> {
    verify_on(&Disk::new(dir))
}

/// As [`verify`], on a disk that may be a simulated one.
pub(super) fn verify_on(disk: &Disk) -> Result<VerifyReport, LogError> {
    // The position comes first: the segments then hold at least that much.
    let committed =
        disk.read_committed().map_err(LogError::io("reading the committed position"))?;
    let segments = disk.segments().map_err(LogError::io("listing segments"))?;
    let identity = recovery::identify(disk, &segments, committed)?;
    let Some(log_id) = identity.log_id else {
        return Ok(VerifyReport {
            log_id: None,
            segments: 0,
            frames: 0,
            records: 0,
            payload_bytes: 0,
            end: None,
            committed: None,
            damages: Vec::new(),
            damaged_headers: Vec::new(),
        });
    };
    let committed = committed.filter(|committed| committed.position.log_id == log_id);
    let limit = committed.map(|committed| committed.position);
    let survey =
        Survey::take(disk, log_id, &segments, limit).map_err(LogError::io("scanning segments"))?;
    let verdict = survey.judge(committed);
    let mut damages = recovery::missing(log_id, &segments);
    damages.retain(|damage| !verdict.damages.iter().any(|found| covers(found, damage)));
    damages.extend(verdict.damages);
    Ok(VerifyReport {
        log_id: Some(log_id),
        segments: segments.len() as u64,
        frames: survey.frames,
        records: survey.records,
        payload_bytes: survey.payload_bytes,
        end: Some(verdict.end.position),
        committed: limit,
        damages,
        damaged_headers: survey.bad_headers,
    })
}

/// A missing segment is also a gap in the frames' numbers; that one says more.
fn covers(found: &Damage, other: &Damage) -> bool {
    found.from.place() <= other.from.place() && other.to.place() <= found.to.place()
}
