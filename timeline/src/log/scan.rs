//! Reads the frames of one segment in order. Not a reader of records, and it judges nothing: it
//! says where frames are good and where they are not; recovery, reader and verify draw conclusions.
//!
//! Invariants:
//! * Bytes at or beyond the limit are never read; bytes before it are read once each.
//! * Memory is one chunk and one frame.

use std::io;

use super::disk::DiskFile;
use super::frame::{self, Frame};
use super::position::LogId;
use super::segment::{self, HeaderState, SegmentHeader};

/// Bytes asked of the disk at once. 256 KiB: the throughput of larger reads, in little memory.
const CHUNK_BYTES: u64 = 256 << 10;

/// The frames of one segment.
#[derive(Debug)]
pub(super) struct Scanner {
    file: DiskFile,
    seed: u32,
    /// Bytes of the file from `buffer_start`; a prefix of it is already passed.
    buffer: Vec<u8>,
    buffer_start: u64,
    offset: u64,
    limit: u64,
    /// The file ended before the limit.
    ended: bool,
    bytes_read: u64,
}

/// What stands at the scanner's offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A whole frame, and its header's checksum.
    Frame(Frame, u32),
    /// Bytes that are not a whole frame.
    Bad,
    /// The limit.
    End,
}

impl Scanner {
    /// Starts at `offset` and will not go beyond `limit`.
    pub(super) fn new(
        file: DiskFile,
        log_id: LogId,
        segment: u64,
        offset: u64,
        limit: u64,
    ) -> Self {
        let seed = frame::seed(log_id, segment);
        let buffer = Vec::new();
        Self {
            file,
            seed,
            buffer,
            buffer_start: offset,
            offset,
            limit,
            ended: false,
            bytes_read: 0,
        }
    }

    /// Where the next frame begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The same file from a later offset on.
    pub(super) fn restarted(self, offset: u64, log_id: LogId, segment: u64) -> Self {
        Self::new(self.file, log_id, segment, offset, offset)
    }

    /// Length of the file now.
    pub(super) fn file_bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }

    /// Moves the limit; it never moves back before what was read.
    pub(super) fn set_limit(&mut self, limit: u64) {
        let limit = limit.max(self.buffer_start + self.buffer.len() as u64);
        self.ended &= limit <= self.limit;
        self.limit = limit;
    }

    /// Bytes read from the file since the last call.
    pub(super) fn take_bytes_read(&mut self) -> u64 {
        std::mem::take(&mut self.bytes_read)
    }

    /// Looks at the next frame without passing it.
    pub(super) fn peek(&mut self) -> io::Result<Step> {
        if self.offset >= self.limit {
            return Ok(Step::End);
        }
        if !self.fill(frame::HEADER_BYTES)? {
            return Ok(Step::Bad);
        }
        let Some((frame, crc)) = Frame::decode(self.ahead(), self.seed) else {
            return Ok(Step::Bad);
        };
        if !self.fill(frame.bytes())? || crc32c::crc32c(self.payload(&frame)) != frame.payload_crc {
            return Ok(Step::Bad);
        }
        Ok(Step::Frame(frame, crc))
    }

    /// Payload of the frame that [`Self::peek`] just returned.
    pub(super) fn payload(&self, frame: &Frame) -> &[u8] {
        let start = frame::HEADER_BYTES as usize;
        &self.ahead()[start..start + frame.payload_len as usize]
    }

    /// Goes past the frame that [`Self::peek`] just returned.
    pub(super) fn pass(&mut self, frame: &Frame) {
        self.offset += frame.bytes();
    }

    /// Goes forward, from the current offset on, to a whole frame that `wanted` accepts; without
    /// one, to the limit.
    pub(super) fn seek(&mut self, wanted: impl Fn(&Frame) -> bool) -> io::Result<Option<Frame>> {
        loop {
            match self.peek()? {
                Step::End => return Ok(None),
                Step::Frame(frame, _) if wanted(&frame) => return Ok(Some(frame)),
                Step::Frame(frame, _) => self.pass(&frame),
                // No frame can begin in what is left of a file that ended.
                Step::Bad if self.ended && (self.ahead().len() as u64) < frame::HEADER_BYTES => {
                    self.offset = self.limit;
                }
                Step::Bad => {
                    self.offset = (self.offset + frame::ALIGNMENT_BYTES).min(self.limit);
                }
            }
        }
    }

    fn ahead(&self) -> &[u8] {
        self.buffer.get((self.offset - self.buffer_start) as usize..).unwrap_or_default()
    }

    /// Makes `bytes` from the offset on available; false when the limit or the file ends before.
    fn fill(&mut self, bytes: u64) -> io::Result<bool> {
        let wanted_end = self.offset + bytes;
        if wanted_end <= self.buffer_start + self.buffer.len() as u64 {
            return Ok(true);
        }
        if self.ended || wanted_end > self.limit {
            return Ok(false);
        }
        let passed = (self.offset - self.buffer_start) as usize;
        self.buffer.drain(..passed.min(self.buffer.len()));
        self.buffer_start = self.offset;
        let kept = self.buffer.len();
        let from = self.buffer_start + kept as u64;
        let end = wanted_end.max(from + CHUNK_BYTES).min(self.limit);
        self.buffer.resize((end - self.buffer_start) as usize, 0);
        let read = self.file.read_at(&mut self.buffer[kept..], from);
        // After an error the buffer must hold what was read before, and nothing else.
        let count = *read.as_ref().unwrap_or(&0);
        self.buffer.truncate(kept + count);
        self.ended = read? as u64 + from < end;
        self.bytes_read += count as u64;
        Ok(self.buffer.len() as u64 >= bytes)
    }
}

/// Reads a segment's header, and checks that it is this segment's.
pub(super) fn read_header(file: &DiskFile, number: u64) -> io::Result<HeaderState> {
    let mut bytes = [0; segment::HEADER_BYTES as usize];
    let count = file.read_at(&mut bytes, 0)?;
    Ok(match SegmentHeader::decode(&bytes[..count]) {
        // A file under another's name is no good header: its frames would not check either.
        HeaderState::Good(header) if header.segment != number => HeaderState::Bad,
        state => state,
    })
}
