//! What the join has let go of, in files, so that a late row can take it back.
//!
//! Flow: entries → a chunk in memory → (every [`CHUNK_BYTES`]) compressed and appended to a segment
//! → (every [`SEGMENT_BYTES`] or hour) the segment is completed with the places of its prints. A
//! lookup asks the newest first and reads one chunk.
//!
//! It is not a table: queries never see it, and nothing in it is needed once it is too old to be
//! late. It keeps [`super::Config::recall_s`] and [`super::Config::recall_bytes`].
//!
//! Invariants:
//! * What is kept is a function of what was put and of log time: a replay finds what the first
//!   reading found.
//! * Nothing that the checkpoint on disk names is changed or removed before a newer one is durable.
//! * A disk that fails costs recalls and nothing else; what a checkpoint named and cannot be read any
//!   more is listed in `losses`.
//! * A file of which a sync failed is not synced again: what it holds is written to another one.

mod chunk;
mod erase;
mod file;
mod filter;
mod segment;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::directory::Directory;
use crate::join::Shelf;
use crate::schema::Time;
use chunk::Chunk;
pub(super) use erase::{Rewritten, Search};
use file::SegmentFile;
use segment::{Segment, SegmentMark};
use view::Anew;

/// Entries are compressed together in pieces of this size: a larger piece packs better and costs
/// more to take one entry from. 128 KiB is a quarter of a millisecond.
const CHUNK_BYTES: usize = 128 << 10;

/// A segment is completed at this size. Each complete one is asked for every new trace, so a
/// default shelf has some sixty.
const SEGMENT_BYTES: u64 = 64 << 20;

/// A segment is completed after this much log time, in nanoseconds, so that old entries go by the
/// hour.
const SEGMENT_NS: i64 = 60 * 60 * 1_000_000_000;

/// The limits of a shelf.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) keep_ns: i64,
    pub(crate) bytes_max: u64,
    pub(crate) chunk_bytes: usize,
    pub(crate) segment_bytes: u64,
}

impl Limits {
    /// These limits of what is kept, in pieces of the usual size.
    pub(crate) fn new(keep_s: u32, bytes_max: u64) -> Self {
        Self {
            keep_ns: i64::from(keep_s) * 1_000_000_000,
            bytes_max,
            chunk_bytes: CHUNK_BYTES,
            segment_bytes: SEGMENT_BYTES,
        }
    }

    fn is_past(&self, segment: &Segment, now: Time) -> bool {
        segment.times().1.0 < now.0.saturating_sub(self.keep_ns)
    }
}

/// What a checkpoint says of the shelf.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Mark {
    segments: Vec<SegmentMark>,
    next: u64,
    pending: Chunk,
    /// What was lost and has not been listed.
    lost: Vec<String>,
}

/// What is to be done with files around a checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// To be durable before the checkpoint that names them.
    unsynced: Vec<Arc<SegmentFile>>,
    /// How long they are then, by number.
    lengths: Vec<(u64, u64)>,
    /// To be removed after it.
    outdated: Vec<String>,
    /// Why what lies in a file that cannot be synced could not be written to another: a full disk is to
    /// be known as one.
    refused: Option<io::ErrorKind>,
}

impl Files {
    /// Makes what the checkpoint is to name durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        if let Some(kind) = self.refused {
            return Err(kind.into());
        }
        self.unsynced.iter().try_for_each(|file| file.sync())
    }
}

/// The shelf of a directory; clones are one.
#[derive(Clone, Debug)]
pub(crate) struct FileShelf(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    directory: Arc<Directory>,
    limits: Limits,
    /// Oldest first; all but the last are complete.
    segments: Vec<Segment>,
    next: u64,
    pending: Chunk,
    /// The chunk read last, by segment and offset: what comes twice comes in the order it came.
    read: Option<(u64, u32, Chunk)>,
    /// How much of each segment is known to be on disk.
    synced: BTreeMap<u64, u64>,
    outdated: Vec<String>,
    /// What was lost and has not been listed, in words.
    lost: Vec<String>,
    /// Log time of the latest entry.
    now: Time,
    failing: bool,
}

impl FileShelf {
    /// The shelf that `mark` speaks of. A file that is missing or damaged is left out and remembered
    /// as lost, and what `mark` does not name is removed.
    pub(super) fn open(
        directory: &Arc<Directory>,
        limits: Limits,
        mark: Mark,
    ) -> Result<Self, StoreError> {
        let Mark { segments: marks, mut next, pending, mut lost } = mark;
        let named: BTreeSet<u64> = marks.iter().map(|mark| mark.number).collect();
        for name in directory.names()? {
            if let Some(number) = segment::number_of(&name).filter(|own| !named.contains(own)) {
                directory.remove(&name);
                // A removal that fails is tried again later, and must not meet a file of ours then.
                next = next.max(number.saturating_add(1));
            }
        }
        let (mut segments, mut outdated) = (Vec::new(), Vec::new());
        for mark in marks {
            match Segment::open(directory, mark.clone()) {
                Ok(segment) => segments.push(segment),
                Err(error) => {
                    tracing::error!(number = mark.number, %error, "a part of the shelf is lost");
                    lost.push(mark.loss(&error));
                    outdated.push(segment::name(mark.number));
                }
            }
        }
        Ok(Self(Arc::new(Mutex::new(Inner {
            directory: Arc::clone(directory),
            limits,
            segments,
            next,
            pending,
            read: None,
            synced: BTreeMap::new(),
            outdated,
            lost,
            now: Time::default(),
            failing: false,
        }))))
    }

    /// As [`Self::open`], in a directory of this machine's.
    #[cfg(test)]
    pub(crate) fn at(path: &std::path::Path, limits: Limits, mark: Mark) -> Self {
        let storage = Arc::new(crate::disk::RealStorage::new());
        let directory = Directory::create(storage, path).expect("a directory");
        Self::open(&Arc::new(directory), limits, mark).expect("opens")
    }

    /// What a checkpoint of this moment says, and what is to be done with the files around it.
    pub(crate) fn mark(&self) -> (Mark, Files) {
        let mut inner = self.inner();
        // Where that fails, the checkpoint is refused.
        let left = inner.leave_doubtful_files();
        let refused = left.as_ref().err().map(io::Error::kind);
        if left.is_err() {
            inner.note(left);
        }
        let unsynced = inner.segments.iter().filter(|segment| {
            let synced = inner.synced.get(&segment.mark().number);
            segment.is_doubtful() || synced != Some(&segment.bytes())
        });
        let lengths = unsynced.clone().map(|segment| (segment.mark().number, segment.bytes()));
        let files = Files {
            unsynced: unsynced.clone().map(Segment::file).collect(),
            lengths: lengths.collect(),
            outdated: inner.outdated.clone(),
            refused,
        };
        let mark = Mark {
            segments: inner.segments.iter().map(|segment| segment.mark().clone()).collect(),
            next: inner.next,
            pending: inner.pending.clone(),
            lost: inner.lost.clone(),
        };
        (mark, files)
    }

    /// Removes what no checkpoint names any more, once the one that goes with `files` is durable.
    pub(crate) fn finish(&self, files: &Files) {
        let mut inner = self.inner();
        inner.synced.extend(files.lengths.iter().copied());
        inner.outdated.retain(|name| !files.outdated.contains(name));
        for name in &files.outdated {
            inner.directory.remove(name);
        }
        // By name, not by order: one that was written anew has a later number than its neighbours.
        let numbers = inner.segments.iter().map(|segment| segment.mark().number);
        let numbers: BTreeSet<u64> = numbers.collect();
        inner.synced.retain(|number, _| numbers.contains(number));
    }

    /// What was lost since the last call, in words. A checkpoint remembers it until then.
    pub(crate) fn take_losses(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().lost)
    }

    /// Whether a file is one of its segments.
    #[cfg(test)]
    pub(super) fn names(&self, file: &str) -> bool {
        let inner = self.inner();
        inner.segments.iter().any(|segment| segment::name(segment.mark().number) == file)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // The follower is the only one who locks it; a panic of its thread ends the role.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf for FileShelf {
    fn put(&mut self, now: Time, prints: &[u64], entry: &[u8]) {
        let mut inner = self.inner();
        inner.now = now;
        if !inner.pending.put(prints, entry) {
            inner.note(Err(io::ErrorKind::FileTooLarge.into()));
        }
        if inner.pending.len() >= inner.limits.chunk_bytes {
            let outcome = inner.flush(now);
            inner.note(outcome);
        }
    }

    fn get(&mut self, now: Time, print: u64) -> Option<Vec<u8>> {
        let mut inner = self.inner();
        if let Some(entry) = inner.pending.get(print) {
            return Some(entry);
        }
        let found = inner.find(now, print);
        match found {
            // What was erased is empty.
            Ok(found) => found.filter(|entry| !entry.is_empty()),
            Err(error) => {
                inner.note(Err(error));
                None
            }
        }
    }

    fn oldest(&self) -> Option<Time> {
        self.inner().segments.first().map(|segment| segment.times().0)
    }

    fn bytes(&self) -> u64 {
        self.inner().segments.iter().map(Segment::bytes).sum()
    }
}

impl Inner {
    /// Writes the pending chunk away. Where that fails its entries are lost to recall: memory is
    /// for what is open.
    fn flush(&mut self, now: Time) -> io::Result<()> {
        let chunk = std::mem::take(&mut self.pending);
        let segment_bytes = self.limits.segment_bytes;
        let full = |segment: &Segment| {
            segment.bytes() >= segment_bytes || now.0 - segment.times().0.0 >= SEGMENT_NS
        };
        if let Some(last) = self.segments.last_mut().filter(|last| !last.is_complete())
            && full(last)
        {
            last.complete()?;
        }
        if self.segments.last().is_none_or(Segment::is_complete) {
            self.segments.push(Segment::create(&self.directory, self.next, now)?);
            self.next += 1;
            self.expire(now);
        }
        let Some(last) = self.segments.last_mut() else { return Ok(()) };
        last.append(&chunk, now)
    }

    /// Writes the pending chunk away and ends the segment that is written.
    fn complete(&mut self) -> io::Result<()> {
        if self.pending.len() > 0 {
            self.flush(self.now)?;
        }
        self.segments.last_mut().map_or(Ok(()), Segment::complete)
    }

    /// Writes what lies in files that cannot be synced any more to new ones, in their place.
    fn leave_doubtful_files(&mut self) -> io::Result<()> {
        while let Some(at) = self.segments.iter().position(Segment::is_doubtful) {
            let old = self.segments[at].view();
            let number = self.next;
            self.next += 1;
            let anew = old.without(&self.directory, number, |_| false);
            let Anew { segment, unread } =
                anew.inspect_err(|_| self.directory.remove(&segment::name(number)))?;
            self.lost.extend(unread.map(|error| old.mark().loss(&error)));
            match segment {
                Some(segment) => self.segments[at] = segment,
                None => drop(self.segments.remove(at)),
            }
            self.read = None;
            self.outdated.push(segment::name(old.mark().number));
        }
        Ok(())
    }

    fn expire(&mut self, now: Time) {
        let mut bytes: u64 = self.segments.iter().map(Segment::bytes).sum();
        let limits = self.limits;
        let outdated = self.segments.iter().take_while(|segment| {
            let goes = limits.is_past(segment, now) || bytes > limits.bytes_max;
            bytes -= segment.bytes();
            goes
        });
        // The last one is being written.
        let number = outdated.count().min(self.segments.len() - 1);
        let outdated = self.segments.drain(..number);
        self.outdated.extend(outdated.map(|segment| segment::name(segment.mark().number)));
    }

    fn find(&mut self, now: Time, print: u64) -> io::Result<Option<Vec<u8>>> {
        for segment in self.segments.iter().rev() {
            if self.limits.is_past(segment, now) {
                break;
            }
            let Some(at) = segment.find(print)? else { continue };
            let number = segment.mark().number;
            if let Some((_, _, chunk)) =
                self.read.as_ref().filter(|read| (read.0, read.1) == (number, at))
            {
                return Ok(chunk.get(print));
            }
            let chunk = segment.chunk(at)?;
            let entry = chunk.get(print);
            self.read = Some((number, at, chunk));
            return Ok(entry);
        }
        Ok(None)
    }

    /// A failure is said once, not for every row.
    fn note(&mut self, outcome: io::Result<()>) {
        let failing = outcome.is_err();
        if let Err(error) = outcome
            && !self.failing
        {
            tracing::error!(%error, "what is let go cannot be kept or found, and stays as it is");
        }
        self.failing = failing;
    }
}
