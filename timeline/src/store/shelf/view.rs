//! Reading a segment as it was at one moment, and writing it anew.
//!
//! Invariant: what is read is no longer than the segment was said to be, whatever its bytes say.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::chunk::{Chunk, HEADER_BYTES};
use super::file::SegmentFile;
use super::segment::{Segment, SegmentMark, name};
use crate::store::directory::Directory;

/// A segment as it was at one moment, read by any thread.
pub(super) struct View {
    file: Arc<SegmentFile>,
    mark: SegmentMark,
}

/// A segment that was written anew.
pub(super) struct Anew {
    /// None where nothing of the old one could be read.
    pub(super) segment: Option<Segment>,
    /// Why the rest of the old one cannot be read.
    pub(super) unread: Option<io::Error>,
}

impl View {
    pub(super) fn new(file: Arc<SegmentFile>, mark: SegmentMark) -> Self {
        Self { file, mark }
    }

    pub(super) fn mark(&self) -> &SegmentMark {
        &self.mark
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

    /// A new segment where the wanted entries are empty, up to what cannot be read. A failure to write
    /// leaves a file behind.
    pub(super) fn without(
        &self,
        directory: &Directory,
        number: u64,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Anew> {
        let mut new = Segment::create(directory, number, self.mark.oldest)?;
        let mut unread = None;
        for chunk in self.chunks() {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    unread = Some(error);
                    break;
                }
            };
            let mut kept = Chunk::default();
            for (prints, entry) in chunk.entries() {
                // An empty one hides what lies there of before: it has gone on without that.
                kept.put(&prints, if wanted(entry) { &[] } else { entry });
            }
            if kept.len() > 0 {
                new.append(&kept, self.mark.newest)?;
            }
        }
        if new.bytes() == 0 {
            directory.remove(&name(number));
            return Ok(Anew { segment: None, unread });
        }
        new.complete()?;
        Ok(Anew { segment: Some(new), unread })
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

/// What is said of bytes that are not as they were written.
pub(super) fn damaged() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// The header of the chunk at an offset of a file whose chunks end at `end`; how many bytes follow it,
/// and how many of them are its index. None of them is longer than the file.
fn read_header(
    file: &SegmentFile,
    at: u64,
    end: u64,
) -> io::Result<([u8; HEADER_BYTES], usize, usize)> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact(&mut header, at)?;
    let (length, index) = Chunk::lengths(&header).ok_or_else(damaged)?;
    if next_chunk(at, length) > end {
        return Err(damaged());
    }
    Ok((header, length, index))
}

fn next_chunk(at: u64, length: usize) -> u64 {
    at.saturating_add((HEADER_BYTES + length) as u64)
}

/// The chunk at an offset of a file whose chunks end at `end`, and where the next one begins.
pub(super) fn read_chunk(file: &SegmentFile, at: u64, end: u64) -> io::Result<(Chunk, u64)> {
    let (header, length, _) = read_header(file, at, end)?;
    let mut body = vec![0; length];
    file.read_exact(&mut body, at + HEADER_BYTES as u64)?;
    Ok((Chunk::decode(&header, &body).ok_or_else(damaged)?, next_chunk(at, length)))
}

/// The offset of the newest of the chunks up to `end` that holds each print.
pub(super) fn prints_of_chunks(file: &SegmentFile, end: u64) -> io::Result<HashMap<u64, u32>> {
    let mut prints = HashMap::new();
    let mut at = 0;
    while at < end {
        let (header, length, index) = read_header(file, at, end)?;
        let mut bytes = vec![0; index];
        file.read_exact(&mut bytes, at + HEADER_BYTES as u64)?;
        if !Chunk::is_sound(&header, &bytes) {
            return Err(damaged());
        }
        prints.extend(Chunk::prints_of(&bytes).map(|print| (print, at as u32)));
        at = next_chunk(at, length);
    }
    Ok(prints)
}
