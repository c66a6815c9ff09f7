//! Makes a log that somebody stopped writing ready for a new writer. Not a repair of damage: what
//! is damaged stays where it is, is set aside and reported, and the reader goes around it.
//!
//! Invariants:
//! * Nothing that was acknowledged is cut: see `survey` for how a torn tail is told from damage.
//! * After it every byte before the end is durable, even where the page cache shows bytes whose
//!   fdatasync failed: the bytes not known to be committed are written again and synced. Positions do
//!   not move by that, so followers do not notice.

use std::io;

use serde::Serialize;

use super::committed::Committed;
use super::damage::Damage;
use super::disk::{Disk, DiskFile};
use super::error::LogError;
use super::position::{LogId, Position};
use super::scan;
use super::segment::{self, HeaderState};
use super::survey::{Boundary, Survey, Verdict};

/// Bytes moved at once when a tail is measured or written again.
const CHUNK_BYTES: usize = 256 << 10;

/// What opening a log found and did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recovery {
    /// Identity of the log.
    pub log_id: LogId,
    /// The log was made by this open.
    pub created: bool,
    /// The epoch of what this open will write.
    pub epoch: u32,
    /// Behind the last record that was kept.
    pub end: Position,
    /// Bytes of a torn tail that were cut; never acknowledged.
    pub cut_bytes: u64,
    /// Bytes of the tail that were written again, because nothing proved them durable.
    pub rewritten_bytes: u64,
    /// Ranges that were promised and cannot be read. Only what this open had to look at: the
    /// newest segments. Older damage is found by the reader and by `verify`.
    pub damages: Vec<Damage>,
    /// Segments that were set aside as `*.damaged`.
    pub set_aside: Vec<u64>,
}

/// What the writer starts from.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) report: Recovery,
    pub(super) end: Boundary,
}

/// Recovers the log in a directory whose lock is held; keeps `aside_max` damaged segments at most.
pub(super) fn recover(disk: &Disk, aside_max: usize) -> Result<Recovered, LogError> {
    disk.remove_unnamed().map_err(LogError::io("removing unfinished segments"))?;
    let committed =
        disk.read_committed().map_err(LogError::io("reading the committed position"))?;
    let segments = disk.segments().map_err(LogError::io("listing segments"))?;
    let identity = identify(disk, &segments, committed)?;
    let log_id = match identity.log_id {
        Some(log_id) => log_id,
        None => LogId(disk.random_identity().map_err(LogError::io("choosing the identity"))?),
    };
    let committed = committed.filter(|committed| committed.position.log_id == log_id);
    let epoch = identity.epoch_max + 1;

    let scanned = newest(&segments, committed);
    let survey =
        Survey::take(disk, log_id, scanned, None).map_err(LogError::io("scanning segments"))?;
    let mut verdict = survey.judge(committed);
    if segments.is_empty() && verdict.damages.is_empty() {
        verdict.end.position.epoch = committed.map_or(epoch, |committed| committed.position.epoch);
    }
    let older = &segments[..segments.len() - scanned.len() + scanned.len().min(1)];
    let mut damages = missing(log_id, older);
    damages.append(&mut verdict.damages.clone());

    let mut report = Recovery {
        log_id,
        created: identity.log_id.is_none(),
        epoch,
        end: verdict.end.position,
        cut_bytes: 0,
        rewritten_bytes: 0,
        damages,
        set_aside: Vec::new(),
    };
    repair(disk, scanned, &verdict, committed, aside_max, &mut report)
        .map_err(LogError::io("repairing the tail"))?;
    Ok(Recovered { report, end: verdict.end })
}

/// What the headers and the file `committed` say about the whole log.
pub(super) struct Identity {
    /// `None` when there is no log yet.
    pub(super) log_id: Option<LogId>,
    epoch_max: u32,
}

/// Tells which log is in the directory; refuses what this version must not touch.
pub(super) fn identify(
    disk: &Disk,
    segments: &[u64],
    committed: Option<Committed>,
) -> Result<Identity, LogError> {
    let mut log_id = None;
    let mut epoch_max = committed.map_or(0, |committed| committed.writer_epoch);
    for number in segments {
        let file = disk.open_segment(*number, false).map_err(LogError::io("opening a segment"))?;
        let Some(file) = file else { continue };
        let state = scan::read_header(&file, *number).map_err(LogError::io("reading a header"))?;
        match state {
            HeaderState::Good(header) => {
                if log_id.is_some_and(|known| known != header.log_id) {
                    return Err(LogError::OtherLog { segment: *number });
                }
                log_id = Some(header.log_id);
                epoch_max = epoch_max.max(header.epoch);
            }
            HeaderState::Newer(version) => {
                return Err(LogError::Version { segment: *number, version });
            }
            HeaderState::Bad => {
                tracing::warn!(segment = number, "the segment's header is damaged");
            }
        }
    }
    // The segments are the log; the file `committed` only names it where they cannot.
    let known = log_id.or(committed.map(|committed| committed.position.log_id));
    if known.is_none() && !segments.is_empty() {
        return Err(LogError::Unreadable);
    }
    Ok(Identity { log_id: known, epoch_max })
}

/// The segments that can hold a tail: from the committed one on, else all. Older ones were
/// durable before it began.
fn newest(segments: &[u64], committed: Option<Committed>) -> &[u64] {
    let Some(committed) = committed else {
        return segments;
    };
    let older = segments.partition_point(|number| *number < committed.position.segment);
    match segments.get(older) {
        Some(number) if *number == committed.position.segment => &segments[older..],
        // The committed segment itself is gone: begin with what is left before it.
        _ => &segments[older.saturating_sub(1)..],
    }
}

/// Segments that are not there although older and newer ones are.
pub(super) fn missing(log_id: LogId, segments: &[u64]) -> Vec<Damage> {
    let gaps = segments.windows(2).filter(|pair| pair[1] != pair[0] + 1);
    gaps.map(|pair| Damage {
        from: Position::start_of(log_id, 0, pair[0] + 1),
        to: Position::start_of(log_id, 0, pair[1]),
        first_sequence: None,
        next_sequence: None,
    })
    .collect()
}

fn repair(
    disk: &Disk,
    scanned: &[u64],
    verdict: &Verdict,
    committed: Option<Committed>,
    aside_max: usize,
    report: &mut Recovery,
) -> io::Result<()> {
    let end = verdict.end.position;
    for number in scanned {
        let damaged = verdict.damages.iter().any(|damage| {
            (damage.from.segment..=damage.to.segment).contains(number) || *number > end.segment
        });
        if damaged {
            match disk.set_segment_aside(*number, aside_max) {
                Ok(true) => report.set_aside.push(*number),
                Ok(false) => tracing::warn!(segment = number, "too many segments are set aside"),
                // Evidence is worth less than a log that opens.
                Err(error) => tracing::warn!(segment = number, %error, "cannot set aside"),
            }
        }
    }
    // Newest first: a crash in between leaves a shorter tail, never a hole.
    for number in scanned.iter().rev().filter(|number| **number > end.segment) {
        if let Some(file) = disk.open_segment(*number, false)? {
            report.cut_bytes += content_end(&file, 0)?;
        }
        disk.remove_segment(*number)?;
    }
    if let Some(file) = disk.open_segment(end.segment, true)? {
        report.cut_bytes += content_end(&file, end.offset)?.saturating_sub(end.offset);
        let bytes = file.bytes()?;
        // What is set aside keeps its bytes; the next segment's header says where it ends.
        let cut = bytes > end.offset && !report.set_aside.contains(&end.segment);
        if cut {
            file.set_bytes(end.offset)?;
        }
        let proved = match committed {
            Some(committed) if committed.position.segment == end.segment => {
                committed.position.offset
            }
            Some(committed) if committed.position.segment > end.segment => end.offset,
            _ => 0,
        };
        report.rewritten_bytes = rewrite(&file, proved, end.offset.min(bytes))?;
        if report.rewritten_bytes > 0 || cut {
            file.sync_all()?;
        }
    }
    disk.sync_directory()
}

/// Where the last byte that is not zero ends, at or behind `from`.
fn content_end(file: &DiskFile, from: u64) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let (mut offset, mut end) = (from, from);
    loop {
        let count = file.read_at(&mut buffer, offset)?;
        if count == 0 {
            return Ok(end);
        }
        if let Some(at) = buffer[..count].iter().rposition(|byte| *byte != 0) {
            end = offset + at as u64 + 1;
        }
        offset += count as u64;
    }
}

/// Writes the bytes of a range again: their pages become dirty, so that the next sync really
/// writes them. Returns how many.
fn rewrite(file: &DiskFile, from: u64, to: u64) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = from;
    while offset < to {
        let wanted = CHUNK_BYTES.min((to - offset) as usize);
        let count = file.read_at(&mut buffer[..wanted], offset)?;
        if count == 0 {
            break;
        }
        file.write_at(&buffer[..count], offset)?;
        offset += count as u64;
    }
    Ok(offset.saturating_sub(from))
}

/// Bytes of each segment, for the budget.
pub(super) fn sizes(disk: &Disk) -> io::Result<std::collections::BTreeMap<u64, u64>> {
    let mut sizes = std::collections::BTreeMap::new();
    for number in disk.segments()? {
        if let Some(file) = disk.open_segment(number, false)? {
            sizes.insert(number, file.bytes()?.max(segment::HEADER_BYTES));
        }
    }
    Ok(sizes)
}
