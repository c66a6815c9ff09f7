//! Sessions whose end is known and nothing else: a page that begins a session names the one before,
//! and may be heard before it.
//!
//! Invariant: which of both comes first makes no difference, within what is remembered.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::SessionKey;
use super::prints::fingerprint;

/// Ends remembered, about 3 MB: an hour of a site that begins eighteen sessions a second, if every
/// page were heard before the one that it follows. Beyond it the oldest is forgotten, counted; its session
/// ends by silence.
const ENDED_MAX: usize = 65_536;

/// The sessions that have ended and are not known otherwise, as prints: nobody's id is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct EndedAhead {
    prints: BTreeSet<u64>,
    order: VecDeque<u64>,
}

impl EndedAhead {
    /// Remembers that a session has ended; false where another had to be forgotten for it.
    pub(super) fn remember(&mut self, key: &SessionKey) -> bool {
        let print = fingerprint(key);
        if self.prints.insert(print) {
            self.order.push_back(print);
        }
        if self.order.len() <= ENDED_MAX {
            return true;
        }
        if let Some(oldest) = self.order.pop_front() {
            self.prints.remove(&oldest);
        }
        false
    }

    /// Whether a session has ended before anything else of it was heard.
    pub(super) fn knows(&self, key: &SessionKey) -> bool {
        self.prints.contains(&fingerprint(key))
    }
}
