//! What a scan of the segments found, and what follows from it. Not the repair: it reads only, so
//! that `verify` can use it on a log that somebody else owns.
//!
//! Invariant: the verdict never drops a frame that was durable when a later readable frame (or
//! the `committed` file) was written, and never reports as lost one that was not.

use std::cmp::Ordering;
use std::io;

use super::committed::Committed;
use super::damage::Damage;
use super::disk::Disk;
use super::frame::Frame;
use super::position::{LogId, Position};
use super::scan::{self, Scanner, Step};
use super::segment::{self, HeaderState, SegmentHeader};

/// A boundary between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Boundary {
    pub(super) position: Position,
    /// Number of the next frame.
    pub(super) sequence: u64,
    /// Header checksum of the frame before.
    pub(super) crc: u32,
}

/// Frames that follow each other without a gap.
#[derive(Debug)]
struct Run {
    first_sequence: u64,
    /// Header checksum that the first frame expects before it.
    previous_crc: u32,
    next_sequence: u64,
    /// Header checksum of the last frame.
    crc: u32,
    /// Start of the first whole record; what stands before belongs to a record that is damaged.
    record_start: Option<(Position, u64)>,
    /// End of the last whole record.
    end: Option<Boundary>,
    in_record: bool,
    /// The record's first frame was seen: it counts.
    is_whole: bool,
}

/// What the segments hold.
#[derive(Debug)]
pub(super) struct Survey {
    /// The first boundary, before all runs.
    start: Boundary,
    /// Nothing is missing before the first frame: the first header can be read, or a frame stands right
    /// behind it.
    start_is_known: bool,
    runs: Vec<Run>,
    /// Every frame below was durable, by what later frames say.
    durable_sequence: u64,
    /// Where the last segment begins whose header can be read, and the number of its first frame.
    last_begin: Option<(Position, u64)>,
    /// Segments whose header cannot be read.
    pub(super) bad_headers: Vec<u64>,
    /// Counts of what can be read.
    pub(super) frames: u64,
    pub(super) records: u64,
    pub(super) payload_bytes: u64,
}

/// What follows from a survey.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Behind the last record that is kept.
    pub(super) end: Boundary,
    pub(super) damages: Vec<Damage>,
}

impl Survey {
    /// Scans the given segments, up to `limit` if there is one (bytes behind it may be changing).
    pub(super) fn take(
        disk: &Disk,
        log_id: LogId,
        segments: &[u64],
        limit: Option<Position>,
    ) -> io::Result<Self> {
        let headers: Vec<Option<SegmentHeader>> =
            segments.iter().map(|number| header_of(disk, *number)).collect::<io::Result<_>>()?;
        let first = headers.first().copied().flatten();
        let number = segments.first().copied().unwrap_or(segment::FIRST);
        let mut survey = Self {
            start: start_of(log_id, number, first),
            start_is_known: first.is_some() || segments.is_empty(),
            runs: Vec::new(),
            durable_sequence: 0,
            last_begin: None,
            bad_headers: Vec::new(),
            frames: 0,
            records: 0,
            payload_bytes: 0,
        };
        let mut epoch = survey.start.position.epoch;
        let mut has_begun = false;
        for (index, number) in segments.iter().enumerate() {
            let Some(file) = disk.open_segment(*number, false)? else {
                // Its writer, of whom `verify` knows nothing, has let it go meanwhile.
                continue;
            };
            if !has_begun {
                has_begun = true;
                survey.start = start_of(log_id, *number, headers[index]);
                survey.start_is_known = headers[index].is_some();
            }
            match headers[index] {
                Some(header) => {
                    epoch = header.epoch;
                    let begin = Position::start_of(log_id, epoch, *number);
                    if limit.is_none_or(|limit| begin.place() <= limit.place()) {
                        survey.last_begin = Some((begin, header.first_sequence));
                    }
                }
                None => survey.bad_headers.push(*number),
            }
            let next = headers.get(index + 1).copied().flatten();
            let end = file.bytes()?.min(scan_limit(*number, next, limit));
            let from = Position::start_of(log_id, epoch, *number);
            survey.scan_segment(Scanner::new(file, log_id, *number, from.offset, end), from)?;
        }
        Ok(survey)
    }

    fn scan_segment(&mut self, mut scanner: Scanner, start: Position) -> io::Result<()> {
        loop {
            let offset = scanner.offset();
            match scanner.peek()? {
                Step::End => return Ok(()),
                Step::Bad => {
                    if scanner.seek(|_| true)?.is_none() {
                        return Ok(());
                    }
                }
                Step::Frame(frame, crc) => {
                    scanner.pass(&frame);
                    let from = Position { offset, ..start };
                    let to = Position { offset: scanner.offset(), ..start };
                    self.add(&frame, crc, from, to);
                }
            }
        }
    }

    fn add(&mut self, frame: &Frame, crc: u32, from: Position, to: Position) {
        self.frames += 1;
        self.payload_bytes += u64::from(frame.payload_len);
        self.durable_sequence = self.durable_sequence.max(frame.durable_sequence());
        if !self.start_is_known && self.runs.is_empty() {
            self.start_is_known = from.place() == self.start.position.place();
            self.start.sequence = frame.sequence;
            self.start.crc = frame.previous_crc;
        }
        let follows = self.runs.last().is_some_and(|run| {
            run.next_sequence == frame.sequence && run.crc == frame.previous_crc
        });
        if !follows {
            // The head of the log may be the rest of a record whose beginning was removed.
            let is_head = self.start_is_known
                && self.runs.is_empty()
                && frame.sequence == self.start.sequence;
            self.runs.push(Run {
                first_sequence: frame.sequence,
                previous_crc: frame.previous_crc,
                next_sequence: frame.sequence,
                crc: frame.previous_crc,
                record_start: is_head.then_some((from, frame.sequence)),
                end: None,
                in_record: is_head,
                is_whole: false,
            });
        }
        let run = self.runs.last_mut().expect("a run was pushed if there was none");
        run.next_sequence = frame.sequence + 1;
        run.crc = crc;
        if frame.first {
            run.in_record = true;
            run.is_whole = true;
            run.record_start.get_or_insert((from, frame.sequence));
        }
        if frame.last && run.in_record {
            run.in_record = false;
            run.end = Some(Boundary { position: to, sequence: run.next_sequence, crc });
            self.records += u64::from(run.is_whole);
        }
    }

    /// Judges what was found. `committed` is what the file of that name says, if it can be read.
    pub(super) fn judge(&self, committed: Option<Committed>) -> Verdict {
        let promised = committed.map_or(0, |committed| committed.next_sequence);
        let durable = self.durable_sequence.max(promised);
        // Of frames, not of whole records: where none is missing, a header promises nothing.
        let synced = self.last_begin.map_or(durable, |(_, sequence)| durable.max(sequence));
        let mut verdict = Verdict { end: self.start, damages: Vec::new() };
        if !self.start_is_known && durable > 0 {
            // How many are missing before the first frame that can be read is not known. That some are,
            // is: a segment begins with a frame, which was durable if any in it was.
            verdict.end.sequence = verdict.end.sequence.min(durable).saturating_sub(1);
        }
        let mut expected = verdict.end.sequence;
        let mut chain = self.start.crc;
        // Behind the frames that nothing is missing before, but what was reported.
        let mut gapless = expected;
        for run in &self.runs {
            if run.first_sequence < expected {
                // Older frames than those before them: remains that nothing refers to.
                continue;
            }
            let fits = run.first_sequence == expected && run.previous_crc == chain;
            let gap_is_promised = run.first_sequence <= synced && expected < synced;
            if !fits && !gap_is_promised {
                // Remains of a last commit that was never acknowledged.
                break;
            }
            if fits && gapless == expected {
                gapless = run.next_sequence;
            }
            expected = run.next_sequence;
            chain = run.crc;
            let (Some((start, sequence)), Some(end)) = (run.record_start, run.end) else {
                continue;
            };
            gapless = expected;
            if !fits {
                verdict.damages.push(Damage {
                    from: verdict.end.position,
                    to: start,
                    first_sequence: self.known(verdict.end),
                    next_sequence: Some(sequence),
                });
            }
            verdict.end = end;
        }
        if verdict.end.sequence < durable {
            self.judge_lost_tail(&mut verdict, durable, committed);
        }
        self.judge_lost_segment(&mut verdict, gapless);
        verdict
    }

    /// A segment gets its name after every frame before it was synced. Where frames before the last one
    /// are not there, only its header tells; they may have been the beginning of a record that was never
    /// finished, but numbers and places that were used are not used again.
    fn judge_lost_segment(&self, verdict: &mut Verdict, gapless: u64) {
        let Some((begin, sequence)) = self.last_begin else { return };
        let from = verdict.end;
        if gapless.max(from.sequence) >= sequence || begin.place() <= from.position.place() {
            return;
        }
        verdict.end.position = begin;
        verdict.end.sequence = sequence;
        verdict.damages.push(Damage {
            from: from.position,
            to: begin,
            first_sequence: self.known(from),
            next_sequence: Some(sequence),
        });
    }

    /// The number of the next frame behind a boundary, where it can be told.
    fn known(&self, end: Boundary) -> Option<u64> {
        (self.start_is_known || end.position != self.start.position).then_some(end.sequence)
    }

    /// Frames at the end were promised and are not there: a disk that lied, or damage.
    fn judge_lost_tail(&self, verdict: &mut Verdict, durable: u64, committed: Option<Committed>) {
        let from = verdict.end;
        let committed = committed.map(|committed| committed.position);
        let begun = self.last_begin.map(|(begin, _)| begin);
        if let Some(known) = committed.into_iter().chain(begun).max_by_key(Position::place)
            && known.place() > from.position.place()
        {
            // Followers may stand there, so nothing new may be written before it; and what was lost
            // up to it is known by its place as well, even where a later frame's remains say that
            // more was durable than the file or the last header does.
            verdict.end.position = known;
        }
        verdict.end.sequence = durable;
        verdict.damages.push(Damage {
            from: from.position,
            to: verdict.end.position,
            first_sequence: self.known(from),
            next_sequence: Some(durable),
        });
    }
}

/// The boundary before everything in a segment, as far as its header tells.
fn start_of(log_id: LogId, number: u64, header: Option<SegmentHeader>) -> Boundary {
    Boundary {
        position: Position::start_of(log_id, header.map_or(0, |header| header.epoch), number),
        sequence: header.map_or(0, |header| header.first_sequence),
        crc: header.map_or(0, |header| header.previous_crc),
    }
}

/// Where the frames of a segment end at the latest.
fn scan_limit(number: u64, next: Option<SegmentHeader>, limit: Option<Position>) -> u64 {
    let mut end = u64::MAX;
    // What stands behind the end that the next segment names was cut once already.
    if let Some(next) = next.filter(|next| next.segment == number + 1) {
        end = end.min(next.previous_end);
    }
    if let Some(limit) = limit {
        end = match number.cmp(&limit.segment) {
            Ordering::Less => end,
            Ordering::Equal => end.min(limit.offset),
            Ordering::Greater => 0,
        };
    }
    end.max(segment::HEADER_BYTES)
}

/// Header of a segment, if it can be read.
pub(super) fn header_of(disk: &Disk, number: u64) -> io::Result<Option<SegmentHeader>> {
    let Some(file) = disk.open_segment(number, false)? else {
        return Ok(None);
    };
    Ok(match scan::read_header(&file, number)? {
        HeaderState::Good(header) => Some(header),
        HeaderState::Newer(_) | HeaderState::Bad => None,
    })
}
