//! One file of the shelf: chunks, and behind them, once it is complete, where each print is.
//!
//! The segment that is written knows its prints in memory. A complete one has them on disk, in
//! order, and a [`Filter`] in memory that spares most reads.
//!
//! Invariant: bytes are only appended, so what a checkpoint says of a file stays true of it.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::chunk::{Chunk, ENTRY_BYTES, HEADER_BYTES, pair};
use super::filter::Filter;
use crate::disk::{Access, DiskFile};
use crate::schema::Time;
use crate::store::directory::Directory;

/// What a checkpoint says of a segment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SegmentMark {
    pub(super) number: u64,
    /// Bytes of its chunks.
    bytes: u64,
    /// How many prints stand behind them; none where it is not complete.
    prints: Option<u64>,
    oldest: Time,
    newest: Time,
}

/// One file.
#[derive(Debug)]
pub(super) struct Segment {
    file: Arc<DiskFile>,
    mark: SegmentMark,
    index: Index,
}

#[derive(Debug)]
enum Index {
    /// The offset of the newest chunk that holds each print.
    Open(HashMap<u64, u32>),
    Complete(Filter),
}

impl Segment {
    /// A new file, in the place of whatever a crash has left under its name.
    pub(super) fn create(directory: &Directory, number: u64, now: Time) -> io::Result<Self> {
        let file = directory.growing(&name(number), Access::CreateEmpty)?;
        let mark = SegmentMark { number, bytes: 0, prints: None, oldest: now, newest: now };
        Ok(Self { file: Arc::new(file), mark, index: Index::Open(HashMap::new()) })
    }

    /// The file that a checkpoint speaks of, as it was then.
    pub(super) fn open(directory: &Directory, mark: SegmentMark) -> io::Result<Self> {
        let file = directory.growing(&name(mark.number), Access::Write)?;
        let end = mark.bytes + mark.prints.unwrap_or(0) * ENTRY_BYTES as u64;
        if file.bytes()? < end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let index = match mark.prints {
            Some(prints) => {
                let mut bytes = vec![0; prints as usize * ENTRY_BYTES];
                read_exact(&file, &mut bytes, mark.bytes)?;
                let prints: Vec<u64> = Chunk::prints_of(&bytes).collect();
                Index::Complete(Filter::new(prints.into_iter()))
            }
            None => {
                file.set_bytes(mark.bytes)?;
                Index::Open(prints_of_chunks(&file, mark.bytes)?)
            }
        };
        Ok(Self { file: Arc::new(file), mark, index })
    }

    /// Appends a chunk.
    pub(super) fn append(&mut self, chunk: &Chunk, now: Time) -> io::Result<()> {
        let bytes = chunk.encode()?;
        let at = u32::try_from(self.mark.bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.file.write_at(&bytes, u64::from(at))?;
        self.mark.bytes += bytes.len() as u64;
        self.mark.newest = now;
        if let Index::Open(index) = &mut self.index {
            index.extend(chunk.prints().map(|print| (print, at)));
        }
        Ok(())
    }

    /// Writes where each print is; nothing is appended afterwards.
    pub(super) fn complete(&mut self) -> io::Result<()> {
        let Index::Open(index) = &self.index else { return Ok(()) };
        let mut prints: Vec<(u64, u32)> = index.iter().map(|(print, at)| (*print, *at)).collect();
        prints.sort_unstable();
        let bytes: Vec<u8> = prints
            .iter()
            .flat_map(|(print, at)| print.to_le_bytes().into_iter().chain(at.to_le_bytes()))
            .collect();
        self.file.write_at(&bytes, self.mark.bytes)?;
        self.mark.prints = Some(prints.len() as u64);
        self.index = Index::Complete(Filter::new(prints.iter().map(|(print, _)| *print)));
        Ok(())
    }

    /// The offset of the newest chunk that holds a print.
    pub(super) fn find(&self, print: u64) -> io::Result<Option<u32>> {
        let filter = match &self.index {
            Index::Open(index) => return Ok(index.get(&print).copied()),
            Index::Complete(filter) => filter,
        };
        if !filter.may_hold(print) {
            return Ok(None);
        }
        let (mut low, mut beyond) = (0, self.mark.prints.unwrap_or(0));
        while low < beyond {
            let middle = low + (beyond - low) / 2;
            let mut entry = [0; ENTRY_BYTES];
            read_exact(&self.file, &mut entry, self.mark.bytes + middle * ENTRY_BYTES as u64)?;
            let (own, at) = pair(&entry);
            match own.cmp(&print) {
                std::cmp::Ordering::Equal => return Ok(Some(at)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => beyond = middle,
            }
        }
        Ok(None)
    }

    /// The chunk at an offset.
    pub(super) fn chunk(&self, at: u32) -> io::Result<Chunk> {
        read_chunk(&self.file, u64::from(at), self.mark.bytes).map(|(chunk, _)| chunk)
    }

    /// This segment for another thread; none where it is still written.
    pub(super) fn complete_view(&self) -> Option<Complete> {
        let (file, mark) = (self.file(), self.mark.clone());
        self.is_complete().then_some(Complete { file, mark })
    }

    pub(super) fn mark(&self) -> &SegmentMark {
        &self.mark
    }

    pub(super) fn file(&self) -> Arc<DiskFile> {
        Arc::clone(&self.file)
    }

    /// Its size on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.mark.bytes + self.mark.prints.unwrap_or(0) * ENTRY_BYTES as u64
    }

    /// Log time of its first and its last entry.
    pub(super) fn times(&self) -> (Time, Time) {
        (self.mark.oldest, self.mark.newest)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.mark.prints.is_some()
    }
}

/// A complete segment, read by any thread.
pub(super) struct Complete {
    file: Arc<DiskFile>,
    mark: SegmentMark,
}

impl Complete {
    pub(super) fn number(&self) -> u64 {
        self.mark.number
    }

    /// Whether any entry is wanted. What is damaged is: nobody can say that it is not.
    pub(super) fn any(&self, wanted: impl Fn(&[u8]) -> bool) -> io::Result<bool> {
        for chunk in self.chunks() {
            match chunk {
                Ok(chunk) if chunk.entries().any(|(_, entry)| wanted(entry)) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// A new segment with all but the wanted entries, up to what is damaged; none where nothing is
    /// left.
    pub(super) fn without(
        &self,
        directory: &Directory,
        number: u64,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Option<Segment>> {
        let mut new = Segment::create(directory, number, self.mark.oldest)?;
        for chunk in self.chunks() {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => break,
                Err(error) => return Err(error),
            };
            let mut kept = Chunk::default();
            for (prints, entry) in chunk.entries().filter(|(_, entry)| !wanted(entry)) {
                kept.put(&prints, entry);
            }
            if kept.len() > 0 {
                new.append(&kept, self.mark.newest)?;
            }
        }
        if new.bytes() == 0 {
            directory.remove(&name(number));
            return Ok(None);
        }
        new.complete()?;
        Ok(Some(new))
    }

    fn chunks(&self) -> impl Iterator<Item = io::Result<Chunk>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            if at >= self.mark.bytes {
                return None;
            }
            let read = read_chunk(&self.file, at, self.mark.bytes);
            // Behind a failure nobody knows where the next one begins.
            at = read.as_ref().map_or(u64::MAX, |(_, next)| *next);
            Some(read.map(|(chunk, _)| chunk))
        })
    }
}

/// The chunk at an offset of a file whose chunks end at `end`, and where the next one begins.
fn read_chunk(file: &DiskFile, at: u64, end: u64) -> io::Result<(Chunk, u64)> {
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let mut header = [0; HEADER_BYTES];
    read_exact(file, &mut header, at)?;
    let (length, _) = Chunk::lengths(&header).ok_or_else(damaged)?;
    let next = at + (HEADER_BYTES + length) as u64;
    if next > end {
        return Err(damaged());
    }
    let mut body = vec![0; length];
    read_exact(file, &mut body, at + HEADER_BYTES as u64)?;
    Ok((Chunk::decode(&header, &body).ok_or_else(damaged)?, next))
}

/// What the segment of this number is called.
pub(super) fn name(number: u64) -> String {
    format!("{number:08}.{ENDING}")
}

/// How the names of segments end.
pub(super) const ENDING: &str = "shelf";

fn read_exact(file: &DiskFile, into: &mut [u8], offset: u64) -> io::Result<()> {
    let count = file.read_at(into, offset)?;
    if count < into.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

fn prints_of_chunks(file: &DiskFile, end: u64) -> io::Result<HashMap<u64, u32>> {
    let mut prints = HashMap::new();
    let mut at = 0;
    while at < end {
        let mut header = [0; HEADER_BYTES];
        read_exact(file, &mut header, at)?;
        let (length, index) = Chunk::lengths(&header).ok_or(io::ErrorKind::InvalidData)?;
        let mut bytes = vec![0; index];
        read_exact(file, &mut bytes, at + HEADER_BYTES as u64)?;
        prints.extend(Chunk::prints_of(&bytes).map(|print| (print, at as u32)));
        at += (HEADER_BYTES + length) as u64;
    }
    Ok(prints)
}
