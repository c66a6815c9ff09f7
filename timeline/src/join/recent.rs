//! Second deliveries of rows that have no identity of their own.
//!
//! A span has its id and a beacon's event its sequence; any other event and every data point is
//! known by a fingerprint of what it says. Exact but for the one in 2^64 of a shared fingerprint,
//! within the window. A span or an event that is known here needs no recall of its trace.

use std::collections::{HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::schema::Time;

/// The fingerprints seen within the window, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Recent {
    seen: HashSet<u64>,
    order: VecDeque<(Time, u64)>,
    /// How many went before their time since that was last asked.
    gone_early: u64,
}

impl Recent {
    /// Takes a fingerprint; false where it was seen before. Of more than `entries_max` the oldest go.
    pub(super) fn is_new(&mut self, print: u64, now: Time, entries_max: usize) -> bool {
        let new = self.seen.insert(print);
        if new {
            self.order.push_back((now, print));
        }
        while self.order.len() > entries_max
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
            self.gone_early += 1;
        }
        new
    }

    /// How many went before their time since the last call.
    pub(super) fn take_gone_early(&mut self) -> u64 {
        std::mem::take(&mut self.gone_early)
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
    /// How far back it knows, where its window begins at `window` and it holds `entries_max` at most.
    pub(super) fn reach(&self, window: Time, entries_max: usize) -> Reach {
        let entries = self.order.len();
        let oldest = self.order.front().map_or(window, |(seen, _)| *seen);
        let since = if entries >= entries_max { oldest.max(window) } else { window };
        Reach { since_ns: since.0, entries, entries_max, bytes: entries * PRINT_BYTES }
    }
}
