//! Some entries together: what is compressed, written and read at once.
//!
//! On disk: the length of what follows the header, the number of its prints and the length of its
//! text (4 bytes each), the checksum of these and of the index (4), the checksum of the compressed
//! text (4), the index (print and offset, 12 bytes each), and the text compressed. An entry in the
//! text is its length (4) and its bytes. All numbers are little-endian.
//!
//! Invariant: no number is believed before its checksum was looked at, but for how much is to be read
//! to look at it, which the end of the file bounds.

use serde::{Deserialize, Serialize};

/// zstd level 1, as for the log.
const LEVEL: i32 = 1;

/// Bytes before the index.
pub(super) const HEADER_BYTES: usize = 20;

/// The header's numbers that the first checksum covers, in bytes.
const NUMBERS_BYTES: usize = 12;

/// Bytes of a print and where it leads.
pub(super) const ENTRY_BYTES: usize = 12;

/// A text is at most this long, so that one that is read takes no more memory than one that is
/// written. An entry holds ten thousand spans at most, by default, so this leaves 25 KiB for each.
const TEXT_BYTES_MAX: usize = 256 << 20;

/// Entries that stand together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Chunk {
    text: Vec<u8>,
    /// Where the entry of each print begins in the text, in the order they came.
    index: Vec<(u64, u32)>,
}

impl Chunk {
    /// Adds an entry; false, and nothing is added, where there is no room for it.
    pub(super) fn put(&mut self, prints: &[u64], entry: &[u8]) -> bool {
        let (Ok(at), Ok(length)) = (u32::try_from(self.text.len()), u32::try_from(entry.len()))
        else {
            return false;
        };
        if self.text.len().saturating_add(4).saturating_add(entry.len()) > TEXT_BYTES_MAX {
            return false;
        }
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
        let mut index = Vec::with_capacity(self.index.len() * ENTRY_BYTES);
        for (print, at) in &self.index {
            index.extend(print.to_le_bytes());
            index.extend(at.to_le_bytes());
        }
        let packed = zstd::bulk::compress(&self.text, LEVEL)?;
        let numbers = [index.len() + packed.len(), self.index.len(), self.text.len()];
        let mut bytes = Vec::with_capacity(HEADER_BYTES + index.len() + packed.len());
        for number in numbers {
            let number = u32::try_from(number).map_err(|_| std::io::ErrorKind::FileTooLarge)?;
            bytes.extend(number.to_le_bytes());
        }
        let head = crc32c::crc32c_append(crc32c::crc32c(&bytes), &index);
        bytes.extend(head.to_le_bytes());
        bytes.extend(crc32c::crc32c(&packed).to_le_bytes());
        bytes.extend(index);
        bytes.extend(packed);
        Ok(bytes)
    }

    /// How many bytes follow a header, and how many of them are its index, by its word alone.
    pub(super) fn lengths(header: &[u8]) -> Option<(usize, usize)> {
        let (body, entries) = (number(header, 0)? as usize, number(header, 4)? as usize);
        let index = entries.checked_mul(ENTRY_BYTES)?;
        (index <= body && number(header, 8)? as usize <= TEXT_BYTES_MAX).then_some((body, index))
    }

    /// Whether a header and its index are as they were written.
    pub(super) fn is_sound(header: &[u8], index: &[u8]) -> bool {
        let numbers = header.get(..NUMBERS_BYTES).unwrap_or_default();
        let found = crc32c::crc32c_append(crc32c::crc32c(numbers), index);
        number(header, NUMBERS_BYTES) == Some(found)
    }

    /// The prints of an index.
    pub(super) fn prints_of(index: &[u8]) -> impl Iterator<Item = u64> + '_ {
        index.chunks_exact(ENTRY_BYTES).map(|entry| pair(entry).0)
    }

    /// The chunk of this header and what follows it. `None` where they are damaged.
    pub(super) fn decode(header: &[u8], body: &[u8]) -> Option<Self> {
        let (length, index) = Self::lengths(header)?;
        let (index, packed) = body.split_at_checked(index).filter(|_| body.len() == length)?;
        let sum = number(header, NUMBERS_BYTES + 4)?;
        if !Self::is_sound(header, index) || crc32c::crc32c(packed) != sum {
            return None;
        }
        let text = zstd::bulk::decompress(packed, number(header, 8)? as usize).ok()?;
        let index = index.chunks_exact(ENTRY_BYTES).map(pair).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flipped_bit_is_read_as_an_entry() {
        let mut chunk = Chunk::default();
        for number in 0..9_u8 {
            assert!(chunk.put(&[u64::from(number), 77], &[number; 40]));
        }
        let bytes = chunk.encode().expect("it can be packed");
        let read = |bytes: &[u8]| {
            let (header, body) = bytes.split_at(HEADER_BYTES);
            Chunk::decode(header, body)
        };
        let whole = read(&bytes).expect("it is whole");
        assert_eq!(whole.get(3), Some(vec![3; 40]));
        assert_eq!(whole.get(77), Some(vec![8; 40]), "the newest counts");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_not_reserved() {
        let mut header = [0; HEADER_BYTES];
        assert_eq!(Chunk::lengths(&header), Some((0, 0)));
        header[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Chunk::lengths(&header), None);
    }
}
