//! One document of a session: which of its records have come, and what became of what it left.
//!
//! Invariant: like its session it holds minima, maxima and sets, so that the order of arrival does not
//! matter; and it is bounded, whatever its sender numbers and leaves.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::schema::{Event, Label, PageId, Time, TraceId};

/// How a page was reached, in the order that decides between several that name one page before them (a
/// duplicated tab): the first in time.
type Successor = (Time, Option<PageId>, Label);

/// One document.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Page {
    /// Sequence numbers seen, as closed ranges in order.
    seen: Vec<(i64, i64)>,
    /// Reached by a reload.
    pub(super) reloaded: bool,
    /// Log time of its latest row.
    received: Time,
    /// By its latest word whether it was hidden: the word's place in the page, and what it said.
    hidden: Option<(i64, bool)>,
    /// How the page after it in the same tab was reached.
    successor: Option<Successor>,
    /// Traces with an attempt that was abandoned when this page was left.
    left_traces: BTreeSet<TraceId>,
}

impl Page {
    /// Takes a sequence number; whether it is new, or `None` where it would make more than `ranges_max`
    /// ranges.
    pub(super) fn is_new(&mut self, sequence: i64, ranges_max: usize) -> Option<bool> {
        let seen = &mut self.seen;
        let after = seen.partition_point(|(_, last)| *last < sequence);
        if seen.get(after).is_some_and(|(first, _)| *first <= sequence) {
            return Some(false);
        }
        let meets_next =
            seen.get(after).is_some_and(|(first, _)| *first == sequence.saturating_add(1));
        let meets_last = after > 0 && seen[after - 1].1 == sequence.saturating_sub(1);
        match (meets_last, meets_next) {
            (true, true) => seen[after - 1].1 = seen.remove(after).1,
            (true, false) => seen[after - 1].1 = sequence,
            (false, true) => seen[after].0 = sequence,
            (false, false) if seen.len() >= ranges_max => return None,
            (false, false) => seen.insert(after, (sequence, sequence)),
        }
        Some(true)
    }

    /// Takes note of a row's receive time.
    pub(super) fn hear(&mut self, received: Time) {
        self.received = self.received.max(received);
    }

    /// Takes note of a word on whether it is hidden.
    pub(super) fn hide(&mut self, word: Option<(i64, bool)>) {
        self.hidden = self.hidden.max(word);
    }

    /// Takes note of a trace that it left; returns how many of more than `traces_max` had to be forgotten
    /// for it.
    pub(super) fn leave(&mut self, trace: TraceId, traces_max: usize) -> u64 {
        self.left_traces.insert(trace);
        let mut forgotten = 0;
        while self.left_traces.len() > traces_max {
            self.left_traces.pop_last();
            forgotten += 1;
        }
        forgotten
    }

    /// Takes note of how a page after it was reached; returns the traces of which that decides.
    pub(super) fn follow(&mut self, event: &Event, kind: Label) -> Vec<TraceId> {
        let told = (event.row.time_client, event.row.page_id.clone(), kind);
        if self.successor.as_ref().is_none_or(|known| told < *known) {
            self.successor = Some(told);
        }
        self.left_traces.iter().copied().collect()
    }

    /// How the page after it in its tab was reached.
    pub(super) fn successor(&self) -> Option<Label> {
        self.successor.as_ref().map(|(_, _, kind)| kind.clone())
    }

    /// Whether it was in front of its user and has said nothing since `before`. One that was hidden may
    /// have been frozen, and says nothing of its user's patience.
    pub(super) fn is_silent(&self, before: Time) -> bool {
        self.received <= before && !self.hidden.is_some_and(|(_, hidden)| hidden)
    }
}
