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

use super::chunk::{Chunk, ENTRY_BYTES, pair};
use super::file::SegmentFile;
use super::filter::Filter;
use super::view::{View, damaged, prints_of_chunks, read_chunk};
use crate::disk::Access;
use crate::schema::Time;
use crate::store::directory::Directory;

/// What a checkpoint says of a segment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SegmentMark {
    pub(super) number: u64,
    /// Bytes of its chunks.
    pub(super) bytes: u64,
    /// What stands behind them; none where it is not complete.
    index: Option<IndexMark>,
    pub(super) oldest: Time,
    pub(super) newest: Time,
}

/// Where each print is, as it was written.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct IndexMark {
    prints: u64,
    crc32c: u32,
}

impl SegmentMark {
    fn prints(&self) -> u64 {
        self.index.map_or(0, |index| index.prints)
    }

    /// Its size on disk.
    fn end(&self) -> u64 {
        self.bytes.saturating_add(self.prints().saturating_mul(ENTRY_BYTES as u64))
    }

    /// What is lost with it, in words.
    pub(super) fn loss(&self, error: &io::Error) -> String {
        let second = |time: Time| time.0 / 1_000_000_000;
        let (oldest, newest) = (second(self.oldest), second(self.newest));
        let name = name(self.number);
        format!(
            "shelf: what was let go from {oldest} to {newest}, in seconds since 1970, cannot be taken \
             back: {name}: {error}"
        )
    }
}

/// One file.
#[derive(Debug)]
pub(super) struct Segment {
    file: Arc<SegmentFile>,
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
        let file = SegmentFile::open(directory, &name(number), Access::CreateEmpty)?;
        let mark = SegmentMark { number, bytes: 0, index: None, oldest: now, newest: now };
        Ok(Self { file: Arc::new(file), mark, index: Index::Open(HashMap::new()) })
    }

    /// The file that a checkpoint speaks of, as it was then.
    pub(super) fn open(directory: &Directory, mark: SegmentMark) -> io::Result<Self> {
        let file = SegmentFile::open(directory, &name(mark.number), Access::Write)?;
        // What is read below is no longer than the file is.
        if file.bytes()? < mark.end() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let index = match mark.index {
            Some(index) => {
                let mut bytes = vec![0; (mark.end() - mark.bytes) as usize];
                file.read_exact(&mut bytes, mark.bytes)?;
                if crc32c::crc32c(&bytes) != index.crc32c {
                    return Err(damaged());
                }
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
        let crc32c = crc32c::crc32c(&bytes);
        self.mark.index = Some(IndexMark { prints: prints.len() as u64, crc32c });
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
        let (mut low, mut beyond) = (0, self.mark.prints());
        while low < beyond {
            let middle = low + (beyond - low) / 2;
            let mut entry = [0; ENTRY_BYTES];
            self.file.read_exact(&mut entry, self.mark.bytes + middle * ENTRY_BYTES as u64)?;
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

    /// This segment as it is now, for any thread.
    pub(super) fn view(&self) -> View {
        View::new(self.file(), self.mark.clone())
    }

    pub(super) fn mark(&self) -> &SegmentMark {
        &self.mark
    }

    pub(super) fn file(&self) -> Arc<SegmentFile> {
        Arc::clone(&self.file)
    }

    /// Whether nobody knows what of it is on the disk.
    pub(super) fn is_doubtful(&self) -> bool {
        self.file.is_doubtful()
    }

    /// Its size on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.mark.end()
    }

    /// Log time of its first and its last entry.
    pub(super) fn times(&self) -> (Time, Time) {
        (self.mark.oldest, self.mark.newest)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.mark.index.is_some()
    }
}

/// What the segment of this number is called.
pub(super) fn name(number: u64) -> String {
    format!("{number:08}.{ENDING}")
}

/// The number of the segment of this name; none where it is another file.
pub(super) fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(ENDING)?.strip_suffix('.')?.parse().ok()
}

/// How the names of segments end.
const ENDING: &str = "shelf";
