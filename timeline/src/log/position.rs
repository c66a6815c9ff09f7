//! Where something stands in a log. Not a pointer to a record's start: a position is always just
//! after a record (or at the start of a log).
//!
//! Invariant: positions of one log are ordered as their records are, by segment and offset; the
//! epoch only tells two histories of one segment number apart.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::segment;

/// The random identity of a log, chosen when it is created. Written as 32 lower-case hex digits
/// where people read it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u128);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogId({self})")
    }
}

impl LogId {
    /// Reads what [`fmt::Display`] wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

impl Serialize for LogId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            // JSON readers commonly lose digits of a 128-bit number; a string keeps them.
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for LogId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            Self::parse(&text).ok_or_else(|| serde::de::Error::custom("a log id is 32 hex digits"))
        } else {
            u128::deserialize(deserializer).map(Self)
        }
    }
}

/// A place between two records of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The log it belongs to; zero before any log is known.
    pub log_id: LogId,
    /// The epoch in which the segment was written.
    pub epoch: u32,
    /// Number of the segment, from 1; 0 means before the oldest record.
    pub segment: u64,
    /// Bytes from the start of the segment's file.
    pub offset: u64,
}

impl Position {
    /// Before the oldest record of a log that is not known yet.
    pub(super) const UNPLACED: Self = Self { log_id: LogId(0), epoch: 0, segment: 0, offset: 0 };

    /// The start of a segment.
    pub(super) fn start_of(log_id: LogId, epoch: u32, segment: u64) -> Self {
        Self { log_id, epoch, segment, offset: segment::HEADER_BYTES }
    }

    /// What orders positions of one log.
    pub(super) fn place(&self) -> (u64, u64) {
        (self.segment, self.offset)
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        // Epoch and log id come last, so that equal in order is equal in value.
        self.place()
            .cmp(&other.place())
            .then(self.epoch.cmp(&other.epoch))
            .then(self.log_id.cmp(&other.log_id))
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_text_and_binary() {
        let position = Position { log_id: LogId(u128::MAX - 5), epoch: 7, segment: 3, offset: 64 };
        let text = serde_json::to_string(&position).unwrap();
        assert!(text.contains("\"fffffffffffffffffffffffffffffffa\""), "{text}");
        assert_eq!(serde_json::from_str::<Position>(&text).unwrap(), position);
        let binary = postcard::to_allocvec(&position).unwrap();
        assert_eq!(postcard::from_bytes::<Position>(&binary).unwrap(), position);
    }

    #[test]
    fn segment_orders_before_offset() {
        let at = |segment, offset| Position { segment, offset, ..Position::UNPLACED };
        assert!(at(1, 900) < at(2, 64));
        assert!(at(2, 64) < at(2, 72));
        assert!(Position::UNPLACED < at(1, 64));
    }
}
