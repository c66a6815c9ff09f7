//! What could not be taken back when somebody spoke of it, and is tried again.
//!
//! Within a minute no more may be taken back than a budget allows (see [`super::recall`]). A row that
//! arrives for a trace beyond it begins the trace anew, so a second delivery stands twice for a while.
//! Signals: such a refusal. Condition: the next minute's budget, the longest waiting first. Result: the
//! trace comes back and what began anew is joined with it, within [`PATIENCE_NS`].
//!
//! Until then what began anew is neither settled nor laid on the shelf: counters would count it, and
//! the newer entry would hide the older one for good.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{Join, TraceKey};
use crate::schema::Time;

/// How long a trace waits, in nanoseconds: an hour of a budget that never lasts is not a burst. Then it
/// is given up, counted, and what began anew stays a timeline by itself. It bounds no
/// memory, which is what the number that may wait is for.
const PATIENCE_NS: i64 = 60 * 60 * 1_000_000_000;

/// The traces that wait, and since when.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Refused {
    queue: VecDeque<(Time, TraceKey)>,
    /// Those of the queue that are still waited for.
    since: BTreeMap<TraceKey, Time>,
}

impl Refused {
    /// Waits for a trace; false where `waiting_max` do already.
    pub(super) fn wait(&mut self, now: Time, key: &TraceKey, waiting_max: usize) -> bool {
        if self.since.contains_key(key) {
            return true;
        }
        if self.queue.len() >= waiting_max {
            return false;
        }
        self.queue.push_back((now, key.clone()));
        self.since.insert(key.clone(), now);
        true
    }

    /// Whether it waits for a trace.
    pub(super) fn awaits(&self, key: &TraceKey) -> bool {
        self.since.contains_key(key)
    }

    /// Waits no longer; false where nobody did.
    pub(super) fn forget(&mut self, key: &TraceKey) -> bool {
        self.since.remove(key).is_some()
    }

    /// The one that waits longest.
    fn first(&mut self) -> Option<(Time, TraceKey)> {
        while let Some((since, key)) = self.queue.front() {
            if self.since.get(key) == Some(since) {
                return Some((*since, key.clone()));
            }
            self.queue.pop_front();
        }
        None
    }
}

impl Join {
    /// Takes back what the budget allows now: first what rows have named, then what may stand beside it.
    pub(super) fn recall_refused(&mut self) {
        while let Some((since, key)) = self.recalls.refused.first() {
            if self.may_recall() {
                self.recalls.refused.forget(&key);
                self.recall_again(&key);
            } else if self.has_waited_long(since) {
                self.recalls.refused.forget(&key);
                self.count("recall_given_up", 1);
            } else {
                return;
            }
        }
        while let Some((since, key)) = self.recalls.around.first() {
            let is_found = self.may_recall() && self.recall_around_again(&key);
            let is_given_up = !is_found && self.has_waited_long(since);
            if !is_found && !is_given_up {
                return;
            }
            self.recalls.around.forget(&key);
            if is_given_up {
                self.count("attempt_not_sought", 1);
            }
        }
    }

    fn has_waited_long(&self, since: Time) -> bool {
        self.now.0.saturating_sub(since.0) > PATIENCE_NS
    }
}
