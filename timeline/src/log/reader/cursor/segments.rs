//! The reader's way from segment to segment: where to begin, where one ends, which comes next.
//!
//! Invariant: a segment is left only when its sealed end is reached, and a gap between two is
//! never stepped over silently.

use super::super::super::position::Position;
use super::super::super::scan::{self, Scanner};
use super::super::super::segment::{self, HeaderState};
use super::super::{ReadError, continues, same_log};
use super::{Cursor, Following, Limit, OpenSegment, Seeking};

impl Cursor {
    /// Opens the segment to begin with; false while there is none.
    pub(super) fn place(&mut self, committed: Position) -> Result<bool, ReadError> {
        let segments = self.disk.segments()?;
        let wanted = self.position.segment;
        let Some(oldest) = segments.first().copied() else {
            return Ok(false);
        };
        let number = segments.into_iter().find(|number| *number >= wanted);
        let Some(number) = number.filter(|number| *number <= committed.segment) else {
            return Ok(false);
        };
        let Some(following) = self.load(number, committed)? else {
            return Ok(false);
        };
        let header = following.header;
        let is_gap = wanted != 0 && number > wanted && !continues(header, self.position);
        if is_gap && wanted < oldest {
            return Err(ReadError::Removed { wanted, oldest });
        }
        let epoch = header.map_or(committed.epoch, |header| header.epoch);
        let start = Position::start_of(committed.log_id, epoch, number);
        let resumes = number == wanted && self.position.offset > start.offset;
        if resumes && epoch < self.position.epoch && header.is_some() {
            return Err(ReadError::Ahead { position: self.position, found: epoch });
        }
        self.following = Some(following);
        if resumes && (header.is_none() || epoch == self.position.epoch) {
            self.enter(epoch, self.position.offset, committed);
        } else {
            // At a segment's start, or in a segment that was written anew in a later epoch: then
            // all of it is new to this follower.
            self.enter(epoch, start.offset, committed);
            self.expected = header.map(|header| (header.first_sequence, Some(header.previous_crc)));
            if is_gap {
                self.seeking = Some(Seeking { certain: true });
            } else {
                self.position = start;
            }
        }
        Ok(true)
    }

    /// Makes the loaded segment the open one, to be read from `offset` on.
    fn enter(&mut self, epoch: u32, offset: u64, committed: Position) {
        let Some(following) = self.following.take() else {
            return;
        };
        let Following { number, mut scanner, .. } = following;
        if offset > scanner.offset() {
            scanner = scanner.restarted(offset, committed.log_id, number);
        }
        self.open = Some(OpenSegment { number, epoch, scanner });
    }

    /// Opens a segment and reads its header; `None` if it does not exist.
    fn load(&mut self, number: u64, committed: Position) -> Result<Option<Following>, ReadError> {
        let Some(file) = self.disk.open_segment(number, false)? else {
            return Ok(None);
        };
        let header = match scan::read_header(&file, number)? {
            HeaderState::Good(header) => {
                same_log(committed.log_id, header.log_id)?;
                Some(header)
            }
            HeaderState::Newer(version) => {
                return Err(ReadError::Version { segment: number, version });
            }
            HeaderState::Bad => {
                tracing::warn!(segment = number, "the segment's header is damaged");
                None
            }
        };
        self.bytes_read += segment::HEADER_BYTES;
        let start = segment::HEADER_BYTES;
        let scanner = Scanner::new(file, committed.log_id, number, start, start);
        Ok(Some(Following { number, scanner, header }))
    }

    /// Where reading in the open segment has to stop; `None` if it is beyond the committed one.
    pub(super) fn limit(&mut self, committed: Position) -> Result<Option<Limit>, ReadError> {
        let Some(open) = &self.open else {
            return Ok(None);
        };
        let number = open.number;
        if number >= committed.segment {
            let limit = Limit { offset: committed.offset, exact: true };
            return Ok((number == committed.segment).then_some(limit));
        }
        if self.following.is_none() {
            let segments = self.disk.segments()?;
            let next = segments.into_iter().find(|next| *next > number);
            if let Some(next) = next.filter(|next| *next <= committed.segment) {
                self.following = self.load(next, committed)?;
            }
        }
        let header = self.following.as_ref().and_then(|following| following.header);
        if let Some(header) = header.filter(|header| header.segment == number + 1) {
            return Ok(Some(Limit { offset: header.previous_end, exact: true }));
        }
        // The end is not known: unused space at it looks like damage, until the next frame's
        // number says that nothing is missing.
        match &self.open {
            Some(open) => Ok(Some(Limit { offset: open.scanner.file_bytes()?, exact: false })),
            None => Ok(None),
        }
    }

    /// Goes from a sealed segment to the one after it; false if there is none.
    pub(super) fn follow(&mut self, committed: Position) -> Result<bool, ReadError> {
        let Some(following) = self.following.as_ref() else {
            return Ok(false);
        };
        let known = self.open.as_ref().map_or(0, |open| open.epoch);
        let (number, header) = (following.number, following.header);
        let epoch = match header {
            Some(header) => header.epoch,
            None if number == committed.segment => committed.epoch,
            None => known,
        };
        let gap = self.open.as_ref().is_some_and(|open| open.number + 1 != number);
        // A segment of which nothing at all could be read is damage whatever stands in the next one.
        if self.expected.is_none() && !gap && self.seeking.is_none() {
            self.expected = header.map(|header| (header.first_sequence, Some(header.previous_crc)));
        }
        // Probably the unused space at the segment's end: the next frame's number tells. Until it does
        // the position stays before that space, since what is missing may have stood there.
        let is_open_question =
            !gap && self.expected.is_some() && self.seeking.is_some_and(|seeking| !seeking.certain);
        if gap {
            self.seeking = Some(Seeking { certain: true });
        } else if is_open_question {
            self.seeking = None;
        }
        self.enter(epoch, segment::HEADER_BYTES, committed);
        if self.partial.is_none() && self.seeking.is_none() && !is_open_question {
            self.position = Position::start_of(committed.log_id, epoch, number);
        }
        Ok(true)
    }
}
