//! A follower's end of the log: whole records in order, up to the committed position. Not a
//! subscription: who reads asks for the committed position elsewhere (see [`super::link`]).
//!
//! Invariants:
//! * Nothing beyond the committed position is read, so the segment being written is safe to read.
//! * Every byte is read at most once in the life of a reader.
//! * Memory is bounded by one chunk, one frame, one record and what the caller asked for.
//! * A range that was promised and cannot be read is returned once, as [`ReadError::Corrupt`], in
//!   order with the records; after it reading goes on behind the range.

use std::io;
use std::path::Path;

use super::damage::Damage;
use super::disk::Disk;
use super::position::{LogId, Position};
use super::scan;
use super::segment::{HeaderState, SegmentHeader};

mod cursor;

use cursor::{Cursor, Next};

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Just behind it: where reading resumes once it was taken over.
    pub position: Position,
    /// What was appended.
    pub payload: Vec<u8>,
}

/// Why records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A promised range is unreadable. Reported once; calling `read` again goes on behind it.
    #[error("the log is {0}")]
    Corrupt(Box<Damage>),
    /// The wanted segment was removed. The caller decides whether to start at the oldest record.
    #[error("segment {wanted} was removed, the oldest kept is {oldest}")]
    Removed {
        /// Segment of the position asked for.
        wanted: u64,
        /// Oldest segment there is.
        oldest: u64,
    },
    /// The position belongs to another log than the directory, or the committed position does.
    #[error("position of log {wanted}, but this is log {found}")]
    OtherLog {
        /// Log of the position that was given.
        wanted: LogId,
        /// Log in the directory.
        found: LogId,
    },
    /// The position is of a later epoch than the log: the log was replaced by an older copy.
    #[error("position {position} is of epoch {}, but the log there is of epoch {found}", position.epoch)]
    Ahead {
        /// The position that was given.
        position: Position,
        /// Epoch of the segment in the log.
        found: u32,
    },
    /// The log was written by a newer version.
    #[error("segment {segment} has format version {version}, which this version cannot read")]
    Version {
        /// Number of the segment.
        segment: u64,
        /// Its format version.
        version: u32,
    },
    /// The operating system refused; trying again may help.
    #[error("reading the log: {0}")]
    Io(#[from] io::Error),
}

/// Reads a log that somebody else may be writing.
#[derive(Debug)]
pub struct LogReader {
    cursor: Cursor,
    /// Found behind records that were returned first.
    pending: Option<Damage>,
}

impl LogReader {
    /// A reader from a position on; `None` starts at the oldest record kept. The directory may
    /// be missing or empty as long as nothing was committed.
    pub fn open(dir: &Path, from: Option<Position>) -> Result<Self, ReadError> {
        Self::open_on(Disk::new(dir), from)
    }

    /// As [`Self::open`], on a disk that may be a simulated one.
    pub(super) fn open_on(disk: Disk, from: Option<Position>) -> Result<Self, ReadError> {
        let from = from.filter(|position| *position != Position::UNPLACED);
        if let Some(from) = from {
            check_start(&disk, from)?;
        }
        Ok(Self { cursor: Cursor::new(disk, from), pending: None })
    }

    /// Reads whole records up to `committed`: about `bytes_max` of payload, and at least one
    /// record if there is one. Empty when there is none yet.
    pub fn read(&mut self, committed: Position, bytes_max: u64) -> Result<Vec<Record>, ReadError> {
        if let Some(damage) = self.pending.take() {
            return Err(ReadError::Corrupt(Box::new(damage)));
        }
        let mut records = Vec::new();
        let mut bytes = 0;
        while records.is_empty() || bytes < bytes_max {
            match self.cursor.next(committed) {
                Ok(Next::Record(record)) => {
                    bytes += record.payload.len() as u64;
                    records.push(record);
                }
                Ok(Next::Damage(damage)) if records.is_empty() => {
                    return Err(ReadError::Corrupt(Box::new(damage)));
                }
                Ok(Next::Damage(damage)) => {
                    self.pending = Some(damage);
                    break;
                }
                Ok(Next::Nothing) => break,
                // The cursor did not move, so the next call meets the same error.
                Err(error) if records.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(records)
    }

    /// Behind the last record returned, or behind the last damage reported. Before the first read
    /// of a reader opened with `None` it is the position before everything.
    pub fn position(&self) -> Position {
        match self.pending {
            Some(damage) => damage.from,
            None => self.cursor.position(),
        }
    }

    /// Bytes read from the disk so far, headers included.
    pub fn bytes_read(&self) -> u64 {
        self.cursor.bytes_read()
    }
}

/// Refuses a start that the log no longer has, as far as it can be told now.
fn check_start(disk: &Disk, from: Position) -> Result<(), ReadError> {
    let segments = disk.segments()?;
    let Some(oldest) = segments.first().copied() else {
        return match disk.read_committed()? {
            Some(committed) => same_log(from.log_id, committed.position.log_id),
            None => Ok(()),
        };
    };
    let mut header = None;
    if let Some(file) = disk.open_segment(oldest, false)?
        && let HeaderState::Good(good) = scan::read_header(&file, oldest)?
    {
        same_log(from.log_id, good.log_id)?;
        header = Some(good);
    }
    if from.segment < oldest && !continues(header, from) {
        return Err(ReadError::Removed { wanted: from.segment, oldest });
    }
    Ok(())
}

/// Whether nothing lies between a position and the start of a segment after it.
fn continues(header: Option<SegmentHeader>, from: Position) -> bool {
    header.is_some_and(|header| {
        header.segment == from.segment + 1 && header.previous_end <= from.offset
    })
}

fn same_log(wanted: LogId, found: LogId) -> Result<(), ReadError> {
    if wanted == found { Ok(()) } else { Err(ReadError::OtherLog { wanted, found }) }
}
