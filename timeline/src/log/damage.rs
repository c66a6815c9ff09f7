//! What is known about a part of the log that was promised and cannot be read. Not an error by
//! itself: recovery lists damages, the reader returns each of them once.

use serde::Serialize;

use super::position::Position;

/// A range of the log whose frames were committed but cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// End of the last whole record before the damage.
    pub from: Position,
    /// Where reading goes on.
    pub to: Position,
    /// Number of the first lost frame, if known.
    pub first_sequence: Option<u64>,
    /// Number of the first frame that can be read again, if known. Equal to `first_sequence` when
    /// no frame is missing but the chain of checksums does not fit.
    pub next_sequence: Option<u64>,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = |sequence: Option<u64>| match sequence {
            Some(sequence) => sequence.to_string(),
            None => "unknown".to_owned(),
        };
        write!(
            f,
            "damaged from {} to {} (frames {} until {})",
            self.from,
            self.to,
            number(self.first_sequence),
            number(self.next_sequence),
        )
    }
}
