//! One frame: a 40-byte header and a payload, padded to eight bytes. Not a record: a record is
//! the payloads of frames from one marked first to one marked last.
//!
//! Layout of the header, little-endian: magic u32, flags u8, 3 zero bytes, payload length u32,
//! record length u32, payload crc u32, previous frame's header crc u32, sequence u64,
//! frames of this commit before this one u32, header crc u32.
//!
//! Invariants:
//! * The header's checksum covers the length, so a flipped length never drives an allocation; and
//!   the payload's checksum, so the chain of header checksums covers the whole log.
//! * The header's checksum is seeded with the log's id and the segment's number. The id is random
//!   and never leaves the machine's disk, so a record's content cannot imitate a frame.

use super::position::LogId;

/// Bytes of a frame's header.
pub(super) const HEADER_BYTES: u64 = 40;
/// Frames start at multiples of this, so that a search for the next frame has few candidates.
pub(super) const ALIGNMENT_BYTES: u64 = 8;
/// No frame of any version's writer is larger: it bounds what a reader allocates to check one.
pub(super) const PAYLOAD_BYTES_LIMIT: u32 = 16 << 20;
/// No record is larger: it bounds what a reader allocates to join frames.
pub(super) const RECORD_BYTES_LIMIT: u64 = 1 << 30;

const MAGIC: [u8; 4] = *b"EGfr";
const FLAG_FIRST: u8 = 1;
const FLAG_LAST: u8 = 2;
const CRC_AT: usize = 36;

/// A frame's header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// The record begins here.
    pub(super) first: bool,
    /// The record ends here.
    pub(super) last: bool,
    /// Bytes of payload, without padding.
    pub(super) payload_len: u32,
    /// Bytes of the whole record.
    pub(super) record_len: u32,
    /// Checksum of the payload.
    pub(super) payload_crc: u32,
    /// Header checksum of the frame before.
    pub(super) previous_crc: u32,
    /// Number of this frame in the log, from 0, without gaps.
    pub(super) sequence: u64,
    /// Frames of the same commit before this one.
    pub(super) commit_index: u32,
}

impl Frame {
    /// Every frame with a smaller sequence was durable before this one was written.
    pub(super) fn durable_sequence(&self) -> u64 {
        self.sequence.saturating_sub(u64::from(self.commit_index))
    }

    /// Bytes of header, payload and padding.
    pub(super) fn bytes(&self) -> u64 {
        padded_bytes(u64::from(self.payload_len))
    }

    /// Encodes the header; returns its checksum as well.
    pub(super) fn encode(&self, seed: u32) -> ([u8; HEADER_BYTES as usize], u32) {
        let mut bytes = [0; HEADER_BYTES as usize];
        let flags = if self.first { FLAG_FIRST } else { 0 } | if self.last { FLAG_LAST } else { 0 };
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4] = flags;
        bytes[8..12].copy_from_slice(&self.payload_len.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.record_len.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.previous_crc.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.commit_index.to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// Decodes a header and its checksum; `None` if it is not one of this log and segment.
    pub(super) fn decode(bytes: &[u8], seed: u32) -> Option<(Self, u32)> {
        // The magic is compared first: it makes the search through damaged bytes cheap.
        if bytes.len() < HEADER_BYTES as usize || bytes[0..4] != MAGIC {
            return None;
        }
        let crc = u32_at(bytes, CRC_AT);
        if crc32c::crc32c_append(seed, &bytes[..CRC_AT]) != crc {
            return None;
        }
        let frame = Self {
            first: bytes[4] & FLAG_FIRST != 0,
            last: bytes[4] & FLAG_LAST != 0,
            payload_len: u32_at(bytes, 8),
            record_len: u32_at(bytes, 12),
            payload_crc: u32_at(bytes, 16),
            previous_crc: u32_at(bytes, 20),
            sequence: u64_at(bytes, 24),
            commit_index: u32_at(bytes, 32),
        };
        let fits = frame.payload_len <= PAYLOAD_BYTES_LIMIT
            && u64::from(frame.record_len) <= RECORD_BYTES_LIMIT
            && frame.payload_len <= frame.record_len;
        fits.then_some((frame, crc))
    }
}

/// What the header checksums of one segment start from.
pub(super) fn seed(log_id: LogId, segment: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&log_id.0.to_le_bytes()), &segment.to_le_bytes())
}

/// Bytes a frame with this payload takes in the file.
pub(super) fn padded_bytes(payload_len: u64) -> u64 {
    (HEADER_BYTES + payload_len).next_multiple_of(ALIGNMENT_BYTES)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were sliced"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes were sliced"))
}

pub(super) fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(bytes[at..at + 16].try_into().expect("sixteen bytes were sliced"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Frame {
        Frame {
            first: true,
            last: false,
            payload_len: 5,
            record_len: 9,
            payload_crc: 0x1234_5678,
            previous_crc: 0x9abc_def0,
            sequence: 42,
            commit_index: 2,
        }
    }

    #[test]
    fn round_trip() {
        let seed = seed(LogId(7), 3);
        let (bytes, crc) = example().encode(seed);
        assert_eq!(Frame::decode(&bytes, seed), Some((example(), crc)));
        assert_eq!(example().durable_sequence(), 40);
        assert_eq!(example().bytes(), 48);
    }

    #[test]
    fn every_bit_of_the_header_is_checked() {
        let seed = seed(LogId(7), 3);
        let (bytes, _) = example().encode(seed);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::decode(&flipped, seed), None, "bit {bit}");
        }
    }

    #[test]
    fn frames_of_other_places_are_not_frames() {
        let (bytes, _) = example().encode(seed(LogId(7), 3));
        for other in [seed(LogId(8), 3), seed(LogId(7), 4)] {
            assert_eq!(Frame::decode(&bytes, other), None);
        }
    }
}
