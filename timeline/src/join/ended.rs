//! Sessions whose end is known and nothing else: a page that begins a session names the one before,
//! and may be heard before it.
//!
//! Invariant: which of both comes first makes no difference, within what is remembered.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::SessionKey;
use super::prints::fingerprint;

/// The sessions that have ended and are not known otherwise, as prints: nobody's id is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct EndedAhead {
    prints: BTreeSet<u64>,
    order: VecDeque<u64>,
}

impl EndedAhead {
    /// Remembers that a session has ended; returns how many of more than `ends_max` had to be forgotten
    /// for it.
    pub(super) fn remember(&mut self, key: &SessionKey, ends_max: usize) -> u64 {
        let print = fingerprint(key);
        if self.prints.insert(print) {
            self.order.push_back(print);
        }
        let mut forgotten = 0;
        while self.order.len() > ends_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.prints.remove(&oldest);
            forgotten += 1;
        }
        forgotten
    }

    /// Whether a session has ended before anything else of it was heard.
    pub(super) fn knows(&self, key: &SessionKey) -> bool {
        self.prints.contains(&fingerprint(key))
    }
}
