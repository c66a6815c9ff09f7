//! A segment's name and its 64-byte header. Not its content: see `frame` and `scan`.
//!
//! Layout of the header, little-endian: magic of 8 bytes, version u32, epoch u32, log id u128,
//! segment u64, first sequence u64, end of the previous segment u64, last crc of the previous
//! segment u32, header crc u32.
//!
//! Invariant: file names sort as segment numbers do.

use super::frame::{u32_at, u64_at, u128_at};
use super::position::LogId;

/// Bytes of a segment's header; the first frame follows at once.
pub(super) const HEADER_BYTES: u64 = 64;

/// Number of a log's first segment; 0 means none.
pub(super) const FIRST: u64 = 1;

const MAGIC: [u8; 8] = *b"ETHOGLOG";
/// Version of segment and frame layout. A reader refuses what is newer.
pub(super) const VERSION: u32 = 1;
const CRC_AT: usize = 60;
const SUFFIX: &str = ".log";
/// Digits of a segment's name: a u64 always fits.
const NAME_DIGITS: usize = 20;

/// A segment's header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) log_id: LogId,
    pub(super) epoch: u32,
    pub(super) segment: u64,
    /// Number of the segment's first frame.
    pub(super) first_sequence: u64,
    /// Where the frames of the segment before end; 0 when there is none.
    pub(super) previous_end: u64,
    /// Header checksum of the last frame before this segment.
    pub(super) previous_crc: u32,
}

/// What the first 64 bytes of a segment turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderState {
    Good(SegmentHeader),
    /// Written by a newer version, which we must not touch.
    Newer(u32),
    Bad,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = [0; HEADER_BYTES as usize];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.log_id.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.segment.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.previous_end.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.previous_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> HeaderState {
        if bytes.len() < HEADER_BYTES as usize
            || bytes[0..8] != MAGIC
            || crc32c::crc32c(&bytes[..CRC_AT]) != u32_at(bytes, CRC_AT)
        {
            return HeaderState::Bad;
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return HeaderState::Newer(version);
        }
        HeaderState::Good(Self {
            epoch: u32_at(bytes, 12),
            log_id: LogId(u128_at(bytes, 16)),
            segment: u64_at(bytes, 32),
            first_sequence: u64_at(bytes, 40),
            previous_end: u64_at(bytes, 48),
            previous_crc: u32_at(bytes, 56),
        })
    }
}

/// The file name of a segment.
pub(super) fn name(segment: u64) -> String {
    format!("{segment:020}{SUFFIX}")
}

/// The segment of a file name; `None` for every other file.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    if digits.len() != NAME_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_numbers() {
        let names: Vec<String> = [1, 9, 10, 99_999, u64::MAX].into_iter().map(name).collect();
        assert!(names.is_sorted());
        assert_eq!(names.iter().filter_map(|name| number(name)).count(), names.len());
        for other in ["lock", "1.log", "0000000000000000000a.log", "00000000000000000000.log"] {
            assert_eq!(number(other), None, "{other}");
        }
    }

    #[test]
    fn every_bit_of_the_header_is_checked() {
        let header = SegmentHeader {
            log_id: LogId(9),
            epoch: 2,
            segment: 3,
            first_sequence: 70,
            previous_end: 4096,
            previous_crc: 5,
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), HeaderState::Good(header));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&flipped), HeaderState::Bad, "bit {bit}");
        }
    }
}
