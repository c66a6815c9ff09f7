//! The reader's place in the log: from frame to frame, from segment to segment, around damage.
//! Not the batching: it finds one thing at a time.
//!
//! Invariant: `position` is behind the last record or damage that was handed out, and moves only
//! when something is handed out or a sealed segment's end is passed.

use super::super::damage::Damage;
use super::super::disk::Disk;
use super::super::frame::Frame;
use super::super::position::Position;
use super::super::scan::{Scanner, Step};
use super::super::segment::SegmentHeader;
use super::{ReadError, Record, same_log};

mod segments;

/// What comes next in the log.
#[derive(Debug)]
pub(super) enum Next {
    Record(Record),
    Damage(Damage),
    /// The committed position is reached.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Cursor {
    disk: Disk,
    position: Position,
    open: Option<OpenSegment>,
    /// The header after the open segment, and its file, once it was needed.
    following: Option<Following>,
    /// Number of the next frame and header checksum of the last one, where known.
    expected: Option<(u64, Option<u32>)>,
    /// Payload of the record being joined.
    partial: Option<Vec<u8>>,
    /// Something cannot be read; looking for the next record's start.
    seeking: Option<Seeking>,
    /// Nothing was read before: the log may begin within a record whose start was removed.
    headless: bool,
    bytes_read: u64,
}

#[derive(Debug)]
struct OpenSegment {
    number: u64,
    epoch: u32,
    scanner: Scanner,
}

#[derive(Debug)]
struct Following {
    number: u64,
    scanner: Scanner,
    header: Option<SegmentHeader>,
}

/// Where reading in a segment has to stop.
#[derive(Clone, Copy, Debug)]
struct Limit {
    offset: u64,
    /// Frames reach exactly to the offset: whatever else stands before it is damage.
    exact: bool,
}

#[derive(Clone, Copy, Debug)]
struct Seeking {
    /// There was more than unused space: even if no frame is missing it must be reported.
    certain: bool,
}

impl Cursor {
    pub(super) fn new(disk: Disk, from: Option<Position>) -> Self {
        Self {
            disk,
            position: from.unwrap_or(Position::UNPLACED),
            open: None,
            following: None,
            expected: None,
            partial: None,
            seeking: None,
            headless: from.is_none(),
            bytes_read: 0,
        }
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The next record or damage before `committed`.
    pub(super) fn next(&mut self, committed: Position) -> Result<Next, ReadError> {
        if self.position != Position::UNPLACED {
            same_log(self.position.log_id, committed.log_id)?;
        }
        if committed.segment == 0 {
            return Ok(Next::Nothing);
        }
        loop {
            if self.open.is_none() && !self.place(committed)? {
                return Ok(Next::Nothing);
            }
            let limit = self.limit(committed)?;
            let Some(open) = self.open.as_mut() else {
                return Ok(Next::Nothing);
            };
            let Some(limit) = limit.filter(|limit| open.scanner.offset() < limit.offset) else {
                if open.number < committed.segment && self.follow(committed)? {
                    continue;
                }
                return Ok(self.end_of_committed(committed));
            };
            open.scanner.set_limit(limit.offset);
            let found = if self.seeking.is_some() { self.seek()? } else { self.step(limit.exact)? };
            if let Some(open) = self.open.as_mut() {
                self.bytes_read += open.scanner.take_bytes_read();
            }
            if let Some(next) = found {
                return Ok(next);
            }
        }
    }

    /// Reads one frame; something comes of it if it ends a record.
    fn step(&mut self, exact: bool) -> Result<Option<Next>, ReadError> {
        let Some(open) = self.open.as_mut() else {
            return Ok(None);
        };
        let Step::Frame(frame, crc) = open.scanner.peek()? else {
            self.seeking = Some(Seeking { certain: exact });
            return Ok(None);
        };
        let chain = match self.expected {
            Some((sequence, crc)) => {
                sequence == frame.sequence && crc.is_none_or(|crc| crc == frame.previous_crc)
            }
            None => true,
        };
        let joined =
            self.partial.as_ref().map_or(0, Vec::len) as u64 + u64::from(frame.payload_len);
        let record_len = u64::from(frame.record_len);
        let fits = if frame.last { joined == record_len } else { joined < record_len };
        // A first frame begins a record, every other one goes on with it.
        let belongs = frame.first != self.partial.is_some() && fits;
        let is_rest_of_removed = self.headless && !frame.first;
        if !chain || !(belongs || is_rest_of_removed) {
            self.seeking = Some(Seeking { certain: true });
            return Ok(None);
        }
        self.expected = Some((frame.sequence + 1, Some(crc)));
        if belongs {
            let partial = self.partial.get_or_insert_default();
            partial.extend_from_slice(open.scanner.payload(&frame));
            self.headless = false;
        }
        open.scanner.pass(&frame);
        if !frame.last || !belongs {
            return Ok(None);
        }
        self.position = Position {
            offset: open.scanner.offset(),
            ..Position::start_of(self.position.log_id, open.epoch, open.number)
        };
        let payload = self.partial.take().unwrap_or_default();
        Ok(Some(Next::Record(Record { position: self.position, payload })))
    }

    /// Looks for the next record's start in the open segment.
    fn seek(&mut self) -> Result<Option<Next>, ReadError> {
        let Some(open) = self.open.as_mut() else {
            return Ok(None);
        };
        let least = self.expected.map_or(0, |(sequence, _)| sequence);
        let wanted = |frame: &Frame| frame.first && frame.sequence >= least;
        let Some(frame) = open.scanner.seek(wanted)? else {
            return Ok(None);
        };
        let to = Position {
            offset: open.scanner.offset(),
            ..Position::start_of(self.position.log_id, open.epoch, open.number)
        };
        let certain = self.seeking.take().is_some_and(|seeking| seeking.certain);
        let missing = self.expected.is_none_or(|(sequence, _)| sequence != frame.sequence);
        let harmless = !certain && !missing && self.partial.is_none();
        let first_sequence = self.expected.map(|(sequence, _)| sequence);
        self.expected = Some((frame.sequence, None));
        self.partial = None;
        self.headless = false;
        let from = std::mem::replace(&mut self.position, to);
        if harmless {
            return Ok(None);
        }
        let next_sequence = Some(frame.sequence);
        Ok(Some(Next::Damage(Damage { from, to, first_sequence, next_sequence })))
    }

    /// Nothing more is committed. If it was reached while seeking, the rest was damaged.
    fn end_of_committed(&mut self, committed: Position) -> Next {
        if self.seeking.is_none() && self.partial.is_none() {
            return Next::Nothing;
        }
        if self.position.place() >= committed.place() {
            return Next::Nothing;
        }
        self.seeking = None;
        self.partial = None;
        self.headless = false;
        let first_sequence = self.expected.take().map(|(sequence, _)| sequence);
        let from = std::mem::replace(&mut self.position, committed);
        if self.open.as_ref().is_some_and(|open| open.number != committed.segment) {
            self.open = None;
        }
        Next::Damage(Damage { from, to: committed, first_sequence, next_sequence: None })
    }
}
