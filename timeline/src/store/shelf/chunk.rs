//! Some entries together: what is compressed, written and read at once.
//!
//! On disk: the length of what follows, of its index and of its text (4 bytes each), the checksum
//! of what follows (4), the index (print and offset, 12 bytes each), and the text compressed. An
//! entry in the text is its length (4) and its bytes. All numbers are little-endian.

use serde::{Deserialize, Serialize};

/// zstd level 1, as for the log.
const LEVEL: i32 = 1;

/// Bytes before the index.
pub(super) const HEADER_BYTES: usize = 16;

/// Bytes of a print and where it leads.
pub(super) const ENTRY_BYTES: usize = 12;

/// Entries that stand together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Chunk {
    text: Vec<u8>,
    /// Where the entry of each print begins in the text, in the order they came.
    index: Vec<(u64, u32)>,
}

impl Chunk {
    /// Adds an entry; false, and nothing is added, where offsets cannot reach it.
    pub(super) fn put(&mut self, prints: &[u64], entry: &[u8]) -> bool {
        let (Ok(at), Ok(length)) = (u32::try_from(self.text.len()), u32::try_from(entry.len()))
        else {
            return false;
        };
        self.text.extend(length.to_le_bytes());
        self.text.extend(entry);
        self.index.extend(prints.iter().map(|print| (*print, at)));
        true
    }

    /// The newest entry under a print.
    pub(super) fn get(&self, print: u64) -> Option<Vec<u8>> {
        let (_, at) = self.index.iter().rev().find(|(own, _)| *own == print)?;
        let rest = self.text.get(*at as usize..)?;
        let length = number(rest, 0)? as usize;
        rest.get(4..4 + length).map(<[u8]>::to_vec)
    }

    /// Its entries, each with its prints.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Vec<u64>, &[u8])> {
        let groups = self.index.chunk_by(|(_, left), (_, right)| left == right);
        groups.filter_map(|group| {
            let rest = self.text.get(group.first()?.1 as usize..)?;
            let entry = rest.get(4..4 + number(rest, 0)? as usize)?;
            Some((group.iter().map(|(print, _)| *print).collect(), entry))
        })
    }

    /// How many bytes its entries have.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Its prints.
    pub(super) fn prints(&self) -> impl Iterator<Item = u64> + '_ {
        self.index.iter().map(|(print, _)| *print)
    }

    /// Its form on disk.
    pub(super) fn encode(&self) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::with_capacity(self.index.len() * ENTRY_BYTES + self.text.len() / 4);
        for (print, at) in &self.index {
            body.extend(print.to_le_bytes());
            body.extend(at.to_le_bytes());
        }
        body.extend(zstd::bulk::compress(&self.text, LEVEL)?);
        let numbers = [body.len(), self.index.len(), self.text.len()];
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        for number in numbers {
            let number = u32::try_from(number).map_err(|_| std::io::ErrorKind::FileTooLarge)?;
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(crc32c::crc32c(&body).to_le_bytes());
        bytes.extend(body);
        Ok(bytes)
    }

    /// How many bytes follow a header, and how many of them are its index.
    pub(super) fn lengths(header: &[u8]) -> Option<(usize, usize)> {
        let (body, entries) = (number(header, 0)? as usize, number(header, 4)? as usize);
        let index = entries.checked_mul(ENTRY_BYTES)?;
        (index <= body).then_some((body, index))
    }

    /// The prints of an index.
    pub(super) fn prints_of(index: &[u8]) -> impl Iterator<Item = u64> + '_ {
        index.chunks_exact(ENTRY_BYTES).map(|entry| pair(entry).0)
    }

    /// The chunk of this header and what follows it. `None` where they are damaged.
    pub(super) fn decode(header: &[u8], body: &[u8]) -> Option<Self> {
        let (length, index) = Self::lengths(header)?;
        if body.len() != length || crc32c::crc32c(body) != number(header, 12)? {
            return None;
        }
        let text = zstd::bulk::decompress(&body[index..], number(header, 8)? as usize).ok()?;
        let index = body[..index].chunks_exact(ENTRY_BYTES).map(pair).collect();
        Some(Self { text, index })
    }
}

/// A print and where it leads, of [`ENTRY_BYTES`] bytes.
pub(super) fn pair(entry: &[u8]) -> (u64, u32) {
    let mut print = [0; 8];
    print.copy_from_slice(&entry[..8]);
    (u64::from_le_bytes(print), number(entry, 8).unwrap_or_default())
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
