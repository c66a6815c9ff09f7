//! Second deliveries of rows that have no identity of their own.
//!
//! A span has its id and a beacon's event its sequence; any other event and every data point is
//! known by a fingerprint of what it says. Exact but for the one in 2^64 of a shared fingerprint,
//! within the window. A span or an event that is known here needs no recall of its trace.

use std::collections::{HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::schema::Time;

/// Fingerprints kept, about 50 MB. Beyond it the oldest go early and the reach is shorter.
const PRINTS_MAX: usize = 1_000_000;

/// The fingerprints seen within the window, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Recent {
    seen: HashSet<u64>,
    order: VecDeque<(Time, u64)>,
}

impl Recent {
    /// Takes a fingerprint; false where it was seen before.
    pub(super) fn is_new(&mut self, print: u64, now: Time) -> bool {
        if self.order.len() >= PRINTS_MAX
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        let new = self.seen.insert(print);
        if new {
            self.order.push_back((now, print));
        }
        new
    }

    /// Whether a fingerprint was seen.
    pub(super) fn has(&self, print: u64) -> bool {
        self.seen.contains(&print)
    }

    /// Lets go of what was seen before `time`.
    pub(super) fn forget_before(&mut self, time: Time) {
        while let Some((_, print)) = self.order.front().copied().filter(|(seen, _)| *seen < time) {
            self.order.pop_front();
            self.seen.remove(&print);
        }
    }
}

/// What a fingerprint costs in memory, in bytes: its place in the order, and in the set with the
/// set's spare room.
const PRINT_BYTES: usize = 50;

/// How far back second deliveries are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// What came since this log time and comes again is known exactly, in nanoseconds since the
    /// epoch.
    pub since_ns: i64,
    /// Fingerprints held.
    pub entries: usize,
    /// Fingerprints held at most; beyond it the reach is shorter than the window.
    pub entries_max: usize,
    /// About what they take in memory, in bytes.
    pub bytes: usize,
}

impl Recent {
    /// How far back it knows, where its window begins at `window`.
    pub(super) fn reach(&self, window: Time) -> Reach {
        let entries = self.order.len();
        let oldest = self.order.front().map_or(window, |(seen, _)| *seen);
        let since = if entries >= PRINTS_MAX { oldest.max(window) } else { window };
        Reach { since_ns: since.0, entries, entries_max: PRINTS_MAX, bytes: entries * PRINT_BYTES }
    }
}
