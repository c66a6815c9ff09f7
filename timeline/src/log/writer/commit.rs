//! A commit: takes a batch, lays it out, writes, syncs, publishes, calls back. Not a thread: who
//! calls [`Writer::step`] decides where and when, so that a test can be the scheduler.
//!
//! Invariants:
//! * Segments of one commit are written and synced in order, and one gets its name only when it
//!   and all before it are durable.
//! * A full disk refuses records and changes nothing: what a commit had written by then is taken
//!   back, durably, before anybody is told. Every other error ends the writer for good.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::committed::Committed;
use super::super::disk::{self, DiskFile};
use super::super::error::AppendError;
use super::super::layout::{Chunk, Layout, Segments, Tail};
use super::super::position::Position;
use super::super::queue::Pending;
use super::super::recovery::Recovered;
use super::{Shared, tell};

/// The writing end, used by one thread at a time.
pub(in crate::log) struct Writer {
    shared: Arc<Shared>,
    epoch: u32,
    tail: Tail,
    /// The file of the tail's segment, if it may be written to.
    file: Option<DiskFile>,
    committed: DiskFile,
    /// Memory of the last commit's frames.
    buffer: Vec<u8>,
}

/// What a failed attempt to write a commit means.
enum Failure {
    /// Nothing was promised or half written: only this commit is refused.
    Full,
    Fatal(io::Error),
}

impl Failure {
    fn of(error: io::Error) -> Self {
        if disk::is_full(&error) { Self::Full } else { Self::Fatal(error) }
    }
}

/// How far a commit got.
#[derive(Default)]
struct Done {
    /// Chunks that may have been written, in whole or in part.
    begun: usize,
    /// Created segments that have their name.
    named: usize,
}

impl Writer {
    /// Publishes the recovered position durably.
    pub(super) fn begin(shared: Arc<Shared>, recovered: &Recovered) -> io::Result<Self> {
        let committed = shared.disk.open_committed()?;
        let tail = Tail::after(recovered);
        let epoch = recovered.report.epoch;
        let writer = Self { shared, epoch, tail, file: None, committed, buffer: Vec::new() };
        writer.write_committed(writer.tail)?;
        writer.committed.sync_all()?;
        writer.shared.disk.sync_directory()?;
        Ok(writer)
    }

    /// Waits for records and commits what fits; breaks once the queue is closed and empty, and
    /// the log is finished.
    pub(in crate::log) fn step(&mut self) -> io::Result<ControlFlow<()>> {
        let batch = self.shared.queue.take(self.shared.config.commit_bytes_max);
        if batch.is_empty() {
            self.finish()?;
            return Ok(ControlFlow::Break(()));
        }
        self.commit(batch)?;
        Ok(ControlFlow::Continue(()))
    }

    fn commit(&mut self, batch: Vec<Pending>) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let buffer = std::mem::take(&mut self.buffer);
        let mut layout = Layout::new(&shared.config, self.epoch, self.tail, buffer);
        let mut source = Source(&shared);
        let mut accepted: Vec<(Pending, Position)> = Vec::with_capacity(batch.len());
        for pending in batch {
            match layout.place(&pending.record, &mut source) {
                Ok(position) => accepted.push((pending, position)),
                Err(error) => {
                    shared.queue.release(pending.record.len() as u64);
                    shared.refuse(pending, error);
                }
            }
        }
        if accepted.is_empty() {
            return Ok(());
        }
        let (chunks, tail) = layout.finish();
        let ends_segment = accepted.iter().any(|(pending, _)| pending.ends_segment);
        let result = self.write(chunks, tail);
        // Before anybody is told: who then appends more must find the room.
        let bytes = accepted.iter().map(|(pending, _)| pending.record.len() as u64).sum();
        shared.queue.release(bytes);
        match result {
            Ok(()) if ends_segment => self.end_segment(),
            Ok(()) => {}
            Err(Failure::Full) => {
                for (pending, _) in accepted {
                    shared.refuse(pending, AppendError::DiskFull);
                }
                return Ok(());
            }
            Err(Failure::Fatal(error)) => {
                shared.failed.store(true, Ordering::Release);
                for (pending, _) in accepted {
                    shared.refuse(pending, AppendError::Failed);
                }
                return Err(error);
            }
        }
        let counters = &shared.counters;
        counters.commits.fetch_add(1, Ordering::Relaxed);
        for (pending, position) in accepted {
            counters.appended_records.fetch_add(1, Ordering::Relaxed);
            counters.appended_bytes.fetch_add(pending.record.len() as u64, Ordering::Relaxed);
            tell(pending, Ok(position));
        }
        Ok(())
    }

    /// Writes, syncs and publishes a commit, or takes back what a full disk has left of it.
    fn write(&mut self, mut chunks: Vec<Chunk>, tail: Tail) -> Result<(), Failure> {
        let mut done = Done::default();
        if let Err(failure) = self.write_chunks(&chunks, tail, &mut done) {
            if let Failure::Full = failure {
                self.take_back(chunks, &done).map_err(Failure::Fatal)?;
            }
            return Err(failure);
        }
        let last = chunks.last_mut().map(|chunk| std::mem::take(&mut chunk.bytes));
        self.buffer = last.unwrap_or_default();
        let created = chunks.into_iter().rev().find_map(|chunk| chunk.created);
        let began_segment = created.is_some();
        if began_segment {
            self.file = created;
        }
        self.publish(tail, began_segment).map_err(Failure::Fatal)
    }

    fn write_chunks(&self, chunks: &[Chunk], tail: Tail, done: &mut Done) -> Result<(), Failure> {
        for chunk in chunks {
            let is_created = chunk.created.is_some();
            let file = chunk.created.as_ref().or(self.file.as_ref());
            let file = file
                .ok_or_else(|| Failure::Fatal(io::Error::other("the open segment has no file")))?;
            done.begun += 1;
            file.write_at(&chunk.bytes, chunk.offset).map_err(Failure::of)?;
            // Whether a sync failed for want of room or not: after it the cache proves nothing.
            self.sync(file, is_created).map_err(Failure::Fatal)?;
            if is_created {
                self.shared.disk.rename_segment(chunk.segment).map_err(Failure::of)?;
                done.named += 1;
                self.shared.disk.sync_directory().map_err(Failure::Fatal)?;
            }
        }
        // Where the block's own file grows with a full disk below it, nobody was told yet.
        self.write_committed(tail).map_err(Failure::of)
    }

    /// Undoes a commit durably: who is told that it was refused must not find it after a power
    /// cut. Newest first, so that a crash in between leaves a shorter tail, never a hole.
    fn take_back(&self, chunks: Vec<Chunk>, done: &Done) -> io::Result<()> {
        let mut created = chunks.iter().filter(|chunk| chunk.created.is_some()).count();
        for (index, chunk) in chunks.iter().enumerate().rev() {
            if chunk.created.is_some() {
                created -= 1;
                if created < done.named {
                    self.shared.disk.remove_segment(chunk.segment)?;
                    self.shared.segments.lock().remove(&chunk.segment);
                } else {
                    Source(&self.shared).discard(chunk.segment);
                }
            } else if let Some(file) = self.file.as_ref().filter(|_| index < done.begun) {
                // Whole frames may have been written before the disk was full.
                file.set_bytes(chunk.offset)?;
                file.sync_all()?;
            }
        }
        Ok(())
    }

    /// Ends the tail's segment where it is: the next commit begins another.
    fn end_segment(&mut self) {
        self.tail.open = false;
        let Some(file) = self.file.take() else { return };
        let Position { segment, offset, .. } = self.tail.position;
        // Its reserved space is given back. That need not be durable: the next segment's header
        // says where this one ends.
        match file.set_bytes(offset) {
            Ok(()) => {
                self.shared.segments.lock().insert(segment, offset);
            }
            Err(error) => {
                tracing::warn!(%error, segment, "cannot give back the space behind a segment's end");
            }
        }
    }

    fn sync(&self, file: &DiskFile, is_created: bool) -> io::Result<()> {
        let begun = self.shared.disk.elapsed();
        if is_created {
            file.sync_all()?
        } else {
            file.sync_data()?
        }
        let us = self.shared.disk.elapsed().saturating_sub(begun).as_micros();
        let us = u64::try_from(us).unwrap_or(u64::MAX);
        self.shared.counters.fsync_us_sum.fetch_add(us, Ordering::Relaxed);
        self.shared.counters.fsync_us_max.fetch_max(us, Ordering::Relaxed);
        Ok(())
    }

    /// Lets followers read up to the new tail.
    fn publish(&mut self, tail: Tail, began_segment: bool) -> io::Result<()> {
        self.tail = tail;
        if began_segment {
            // Once per segment is enough: recovery then has to look at the newest two only.
            self.committed.sync_data()?;
        }
        *self.shared.committed.lock() = self.tail.position;
        self.shared.moved.notify_all();
        Ok(())
    }

    fn write_committed(&self, tail: Tail) -> io::Result<()> {
        let block = Committed {
            position: tail.position,
            next_sequence: tail.sequence,
            writer_epoch: self.epoch,
        };
        self.committed.write_at(&block.encode(), 0)
    }

    /// Gives back the space that was reserved and not used.
    fn finish(&mut self) -> io::Result<()> {
        if let Some(file) = self.file.take() {
            file.set_bytes(self.tail.position.offset)?;
            file.sync_all()?;
        }
        self.committed.sync_all()
    }
}

/// Creates segments within the budget.
struct Source<'a>(&'a Shared);

impl Segments for Source<'_> {
    fn create(&mut self, number: u64) -> Result<DiskFile, AppendError> {
        let bytes = self.0.config.segment_bytes;
        let used: u64 = self.0.segments.lock().values().sum();
        if used + bytes > self.0.config.budget_bytes {
            return Err(AppendError::BudgetExhausted);
        }
        match self.0.disk.create_segment(number, bytes) {
            Ok(file) => {
                self.0.segments.lock().insert(number, bytes);
                self.0.lacks_segment.store(false, Ordering::Relaxed);
                Ok(file)
            }
            Err(error) => {
                // Every commit tries again, and a full disk may last: it is said once.
                if !self.0.lacks_segment.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, segment = number, "cannot begin a segment");
                }
                // Not having a new file yet harms nothing that was promised, whatever the reason;
                // the caller may try again.
                Err(AppendError::DiskFull)
            }
        }
    }

    fn discard(&mut self, number: u64) {
        self.0.segments.lock().remove(&number);
        if let Err(error) = self.0.disk.discard_segment(number) {
            // The next open removes it.
            tracing::warn!(%error, segment = number, "cannot remove an unused segment");
        }
    }
}
