//! The limits of the log. Not the place of the log: that is the caller's directory.
//!
//! Invariant: a configuration that passed [`LogConfig::check`] cannot make the writer divide a
//! record into frames that do not fit, nor wait for a budget that can never be enough.

use serde::{Deserialize, Serialize};

use super::frame;
use super::segment;

/// The smallest segment: a header, and a few frames, so that tests can use tiny segments.
const SEGMENT_BYTES_MIN: u64 = 512;

/// Limits of one log. All sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Size of one segment, preallocated. 64 MiB: a new one every few seconds at full speed, and
    /// what a reopening has to scan takes a fraction of a second.
    pub segment_bytes: u64,
    /// Sum of all segments. Past it appends are refused until followers have passed segments.
    /// 8 GiB: about a day of a small site's traffic with the query role switched off.
    pub budget_bytes: u64,
    /// Most record bytes in one commit. 4 MiB: beyond it one fdatasync takes longer, but is not
    /// cheaper per byte.
    pub commit_bytes_max: u64,
    /// Most record bytes waiting or being committed. 64 MiB: some hundred milliseconds of a
    /// disk's speed; more would only be latency. One record alone is always let in.
    pub queue_bytes_max: u64,
    /// Largest record. 80 MiB: the largest OTLP request that the collector takes by default
    /// (64 MiB) and room for its envelope.
    pub record_bytes_max: u64,
    /// Largest payload of one frame. 1 MiB: the unit that one damaged bit costs, and the least
    /// memory with which a reader can check a frame.
    pub frame_bytes_max: u32,
    /// Damaged segments kept for whoever looks into the damage, beside the log and its budget. 16: a disk
    /// that rots must not fill itself with evidence. Beyond it no more are kept, which is said; the damage
    /// is listed all the same.
    pub aside_max: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            budget_bytes: 8 << 30,
            commit_bytes_max: 4 << 20,
            queue_bytes_max: 64 << 20,
            record_bytes_max: 80 << 20,
            frame_bytes_max: 1 << 20,
            aside_max: 16,
        }
    }
}

impl LogConfig {
    /// Says what is wrong with this configuration, if anything, naming the field.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.segment_bytes < SEGMENT_BYTES_MIN {
            return Err("segment_bytes must be at least 512");
        }
        if !self.segment_bytes.is_multiple_of(frame::ALIGNMENT_BYTES) {
            return Err("segment_bytes must be a multiple of 8");
        }
        if self.budget_bytes < 2 * self.segment_bytes {
            return Err("budget_bytes must hold at least two segments");
        }
        if self.frame_bytes_max == 0 || self.frame_bytes_max > frame::PAYLOAD_BYTES_LIMIT {
            return Err("frame_bytes_max must be between 1 byte and 16 MiB");
        }
        if self.record_bytes_max == 0 || self.record_bytes_max > frame::RECORD_BYTES_LIMIT {
            return Err("record_bytes_max must be between 1 byte and 1 GiB");
        }
        if self.record_bytes_max > self.budget_bytes - self.segment_bytes - segment::HEADER_BYTES {
            return Err("record_bytes_max must fit in budget_bytes beside one segment");
        }
        Ok(())
    }
}
