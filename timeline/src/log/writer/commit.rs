//! A commit: takes a batch, lays it out, writes, syncs, publishes, calls back. Not a thread: who
//! calls [`Writer::step`] decides where and when, so that a test can be the scheduler.
//!
//! Invariants:
//! * Segments of one commit are written and synced in order, and one gets its name only when it
//!   and all before it are durable.
//! * A full disk refuses records and changes nothing; every other error ends the writer for good.

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

impl Writer {
    /// Publishes the recovered position durably.
    pub(super) fn begin(shared: Arc<Shared>, recovered: &Recovered) -> io::Result<Self> {
        let committed = shared.disk.open_committed()?;
        let tail = Tail::after(recovered);
        let epoch = recovered.report.epoch;
        let mut writer = Self { shared, epoch, tail, file: None, committed, buffer: Vec::new() };
        writer.write_committed()?;
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
        let result = self
            .write(chunks)
            .and_then(|began_segment| self.publish(tail, began_segment).map_err(Failure::Fatal));
        // Before anybody is told: who then appends more must find the room.
        let bytes = accepted.iter().map(|(pending, _)| pending.record.len() as u64).sum();
        shared.queue.release(bytes);
        match result {
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

    /// Writes and syncs; returns whether a segment was begun.
    fn write(&mut self, chunks: Vec<Chunk>) -> Result<bool, Failure> {
        let mut began_segment = false;
        let mut chunks = chunks.into_iter().enumerate();
        while let Some((index, mut chunk)) = chunks.next() {
            let created = chunk.created.take();
            let is_created = created.is_some();
            let file = match created.as_ref().or(self.file.as_ref()) {
                Some(file) => file,
                None => {
                    return Err(Failure::Fatal(io::Error::other("the open segment has no file")));
                }
            };
            if let Err(error) = file.write_at(&chunk.bytes, chunk.offset) {
                if !disk::is_full(&error) || index > 0 {
                    return Err(Failure::Fatal(error));
                }
                let rest = chunks.map(|(_, chunk)| chunk);
                let unused = std::iter::once(chunk).chain(rest);
                return Err(self
                    .take_back(unused, is_created)
                    .err()
                    .map_or(Failure::Full, Failure::Fatal));
            }
            self.sync(file, is_created).map_err(Failure::Fatal)?;
            if is_created {
                self.shared.disk.name_segment(chunk.segment).map_err(Failure::Fatal)?;
                began_segment = true;
            }
            if created.is_some() {
                self.file = created;
            }
            self.buffer = chunk.bytes;
        }
        Ok(began_segment)
    }

    /// Undoes a commit of which nothing was synced: a later one must not find its remains.
    fn take_back(
        &self,
        chunks: impl Iterator<Item = Chunk>,
        first_is_created: bool,
    ) -> io::Result<()> {
        for (index, chunk) in chunks.enumerate() {
            match self.file.as_ref() {
                Some(file) if index == 0 && !first_is_created => {
                    file.set_bytes(chunk.offset)?;
                    // Whole frames may have been written before the disk was full. Who is told
                    // that they were refused must not find them after a power cut.
                    file.sync_all()?;
                }
                _ => Source(&self.shared).discard(chunk.segment),
            }
        }
        Ok(())
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
        self.write_committed()?;
        if began_segment {
            // Once per segment is enough: recovery then has to look at the newest two only.
            self.committed.sync_data()?;
        }
        *self.shared.committed.lock() = self.tail.position;
        self.shared.moved.notify_all();
        Ok(())
    }

    fn write_committed(&mut self) -> io::Result<()> {
        let block = Committed {
            position: self.tail.position,
            next_sequence: self.tail.sequence,
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
                Ok(file)
            }
            Err(error) => {
                tracing::warn!(%error, segment = number, "cannot begin a segment");
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
