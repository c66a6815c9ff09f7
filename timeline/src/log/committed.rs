//! The 64 bytes that say how far the log is committed: the content of the file `committed`, and
//! of every message on the link. Not a record of the log, and not needed to recover it: it only
//! sharpens what recovery can tell.
//!
//! Layout, little-endian: magic of 8 bytes, version u32, position's epoch u32, log id u128, segment u64,
//! offset u64, next sequence u64, writer's epoch u32, crc u32.
//!
//! Invariant: the block lies within one disk sector, so a power cut leaves the old or the new one.

use super::frame::{u32_at, u64_at, u128_at};
use super::position::{LogId, Position};

/// Bytes of the block.
pub(super) const BLOCK_BYTES: usize = 64;
/// Name of the file in the log's directory.
pub(super) const FILE_NAME: &str = "committed";

const MAGIC: [u8; 8] = *b"ETHOGPOS";
const VERSION: u32 = 1;
const CRC_AT: usize = 60;

/// How far a log is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    /// Just after the last committed record.
    pub(super) position: Position,
    /// Number of the next frame.
    pub(super) next_sequence: u64,
    /// The epoch of the open that wrote this.
    pub(super) writer_epoch: u32,
}

impl Committed {
    pub(super) fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut bytes = [0; BLOCK_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.position.epoch.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.position.log_id.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.position.segment.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.position.offset.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.next_sequence.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.writer_epoch.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when the bytes are not such a block, or are one of another version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < BLOCK_BYTES
            || bytes[0..8] != MAGIC
            || crc32c::crc32c(&bytes[..CRC_AT]) != u32_at(bytes, CRC_AT)
            || u32_at(bytes, 8) != VERSION
        {
            return None;
        }
        Some(Self {
            position: Position {
                epoch: u32_at(bytes, 12),
                log_id: LogId(u128_at(bytes, 16)),
                segment: u64_at(bytes, 32),
                offset: u64_at(bytes, 40),
            },
            next_sequence: u64_at(bytes, 48),
            writer_epoch: u32_at(bytes, 56),
        })
    }
}
