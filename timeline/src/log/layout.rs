//! Divides records into frames and segments, in memory. Not the writing: it only asks for new
//! segment files, since whether there is room for one decides what a commit may hold.
//!
//! Invariant: a record is laid out whole or not at all; after a refusal the layout is as before.

use super::config::LogConfig;
use super::disk::DiskFile;
use super::error::AppendError;
use super::frame::{self, Frame};
use super::position::{LogId, Position};
use super::recovery::Recovered;
use super::segment::{self, SegmentHeader};

/// Less room than this at a segment's end is left unused: a frame of a few bytes of payload costs
/// more than the room is worth.
const ROOM_BYTES_MIN: u64 = 2 * frame::HEADER_BYTES;

/// Where the log ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    pub(super) position: Position,
    /// Number of the next frame.
    pub(super) sequence: u64,
    /// Header checksum of the last frame.
    pub(super) crc: u32,
    /// Whether the position's segment may be written to; if not, the next frame starts another.
    pub(super) open: bool,
}

impl Tail {
    /// Behind what was recovered: never within a segment that was there before.
    pub(super) fn after(recovered: &Recovered) -> Self {
        let end = recovered.end;
        Self { position: end.position, sequence: end.sequence, crc: end.crc, open: false }
    }
}

/// Bytes to be written to one segment.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
    /// The file, if this commit begins the segment.
    pub(super) created: Option<DiskFile>,
}

/// Where new segment files come from.
pub(super) trait Segments {
    /// A file for this segment, not named yet.
    fn create(&mut self, number: u64) -> Result<DiskFile, AppendError>;
    /// Takes back a created file that was not used.
    fn discard(&mut self, number: u64);
}

/// The frames of one commit.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    config: &'a LogConfig,
    log_id: LogId,
    epoch: u32,
    tail: Tail,
    chunks: Vec<Chunk>,
    frames: u32,
}

impl<'a> Layout<'a> {
    /// An empty commit behind `tail`. `buffer` is reused for the first chunk.
    pub(super) fn new(config: &'a LogConfig, epoch: u32, tail: Tail, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        let mut chunks = Vec::new();
        if tail.open {
            chunks.push(Chunk {
                segment: tail.position.segment,
                offset: tail.position.offset,
                bytes: buffer,
                created: None,
            });
        }
        Self { config, log_id: tail.position.log_id, epoch, tail, chunks, frames: 0 }
    }

    /// Adds a record; returns the position behind it.
    pub(super) fn place(
        &mut self,
        record: &[u8],
        segments: &mut dyn Segments,
    ) -> Result<Position, AppendError> {
        let (tail, frames, chunks) = (self.tail, self.frames, self.chunks.len());
        let bytes = self.chunks.last().map_or(0, |chunk| chunk.bytes.len());
        if let Err(error) = self.place_frames(record, segments) {
            for chunk in self.chunks.drain(chunks..) {
                segments.discard(chunk.segment);
            }
            if let Some(chunk) = self.chunks.last_mut() {
                chunk.bytes.truncate(bytes);
            }
            self.tail = tail;
            self.frames = frames;
            return Err(error);
        }
        Ok(self.tail.position)
    }

    /// What to write, and where the log ends once it is written.
    pub(super) fn finish(self) -> (Vec<Chunk>, Tail) {
        let chunks = self.chunks.into_iter().filter(|chunk| !chunk.bytes.is_empty()).collect();
        (chunks, self.tail)
    }

    fn place_frames(
        &mut self,
        record: &[u8],
        segments: &mut dyn Segments,
    ) -> Result<(), AppendError> {
        let mut rest = record;
        loop {
            if self.room() < ROOM_BYTES_MIN {
                self.begin_segment(segments)?;
            }
            let space = (self.room() - frame::HEADER_BYTES) as usize;
            let len = rest.len().min(space).min(self.config.frame_bytes_max as usize);
            let (payload, after) = rest.split_at(len);
            let first = rest.len() == record.len();
            self.push_frame(payload, first, after.is_empty(), record.len());
            if after.is_empty() {
                return Ok(());
            }
            rest = after;
        }
    }

    fn room(&self) -> u64 {
        if !self.tail.open {
            return 0;
        }
        self.config.segment_bytes.saturating_sub(self.tail.position.offset)
    }

    fn begin_segment(&mut self, segments: &mut dyn Segments) -> Result<(), AppendError> {
        let last = self.tail.position;
        // A log without any frame begins with the segment its position already names.
        let is_new_log = self.tail.sequence == 0 && last.segment == segment::FIRST;
        let begins_log = is_new_log && !self.tail.open && self.chunks.is_empty();
        let number = if begins_log { last.segment } else { last.segment + 1 };
        let header = SegmentHeader {
            log_id: self.log_id,
            epoch: self.epoch,
            segment: number,
            first_sequence: self.tail.sequence,
            previous_end: if begins_log { 0 } else { last.offset },
            previous_crc: self.tail.crc,
        };
        let file = segments.create(number)?;
        self.chunks.push(Chunk {
            segment: number,
            offset: 0,
            bytes: header.encode().to_vec(),
            created: Some(file),
        });
        self.tail.position = Position::start_of(self.log_id, self.epoch, number);
        self.tail.open = true;
        Ok(())
    }

    fn push_frame(&mut self, payload: &[u8], first: bool, last: bool, record_len: usize) {
        let frame = Frame {
            first,
            last,
            payload_len: payload.len() as u32,
            record_len: record_len as u32,
            payload_crc: crc32c::crc32c(payload),
            previous_crc: self.tail.crc,
            sequence: self.tail.sequence,
            commit_index: self.frames,
        };
        let seed = frame::seed(self.log_id, self.tail.position.segment);
        let (header, crc) = frame.encode(seed);
        let chunk = self.chunks.last_mut().expect("an open segment has a chunk");
        let end = chunk.bytes.len() + frame.bytes() as usize;
        chunk.bytes.extend_from_slice(&header);
        chunk.bytes.extend_from_slice(payload);
        chunk.bytes.resize(end, 0);
        self.tail.position.offset += frame.bytes();
        self.tail.sequence += 1;
        self.tail.crc = crc;
        self.frames += 1;
    }
}
