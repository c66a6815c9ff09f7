//! What is held of one domain: the sends among which attempts are looked for, and what their user did.
//!
//! Signals: candidates by when they began, requests of browsers as their servers tell of them, and
//! marks. Result: the traces that belong together. Each candidate is tied to the failure that has
//! waited longest for somebody to ask again, and each failure to one candidate; one that nobody's
//! program would have sent, to the failure that its user asks again for.
//!
//! A server's clock is compared with a browser's by the requests that both tell of: the smallest
//! distance between sent and received is what the clocks are apart, and one way up.
//!
//! Invariant: everything that is said is a function of what is held, not of its order of arrival.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::candidate::Candidate;
use super::marks::{Deed, Mark, Marks};
use crate::schema::{SpanId, TraceId};

/// Attempts in one chain of traces. No retry library studied tries more than ten times, and an
/// outage must not chain a page's polling into one request that never ends. It is a part of what an attempt
/// is: with another number the same log would tell of other requests.
const CHAIN_MAX: usize = 16;

/// Sends of one intent that are derived together, with all that its user asked again: more than
/// anybody has patience for, and a bound on what is derived anew with each of them. A part of what an
/// intent is, for the same reason.
const INTENT_MAX: usize = 64;

/// When a send began, and which it is.
pub(super) type Place = (i64, TraceId, SpanId);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Held {
    calls: BTreeMap<Place, Candidate>,
    served: BTreeMap<(TraceId, SpanId), Served>,
    marks: Marks,
    /// How far the server's clock is ahead of the browser's, and the shortest way up.
    pub(super) ahead_ns: Option<i64>,
}

/// A browser's request as its server tells of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Served {
    /// The span that it names as its caller.
    caller: SpanId,
    /// By the server's clock.
    start_ns: i64,
    /// Nobody else tells of it, and the clocks are known.
    alone: bool,
    candidate: Candidate,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.served.is_empty() && self.marks.is_empty()
    }

    /// Whether there is anything to compare.
    pub(super) fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Holds a candidate that has ended; false where `calls_max` are held.
    pub(super) fn put_ended(
        &mut self,
        place: Place,
        candidate: Candidate,
        calls_max: usize,
    ) -> bool {
        let room = self.calls.len() < calls_max;
        if room {
            self.calls.insert(place, candidate);
        }
        room
    }

    /// The same for one that was seen pending: what has ended says more.
    pub(super) fn put_pending(
        &mut self,
        place: Place,
        candidate: Candidate,
        calls_max: usize,
    ) -> bool {
        let room = self.calls.len() < calls_max;
        if room {
            self.calls.entry(place).or_insert(candidate);
        }
        room
    }

    /// Holds what a server tells of the request that `caller` is the CLIENT span of. Where there is no
    /// room, somebody is worse off only if a page's sends are looked for.
    pub(super) fn put_served(
        &mut self,
        served: (TraceId, SpanId),
        caller: SpanId,
        candidate: Candidate,
        served_max: usize,
    ) -> bool {
        if self.served.len() >= served_max {
            return self.calls.is_empty();
        }
        let start_ns = candidate.start_ns;
        self.served.insert(served, Served { caller, start_ns, alone: false, candidate });
        true
    }

    /// Holds what a user did, `marks_max` deeds at most; false where that pushes something out that a
    /// candidate may need.
    pub(super) fn put_mark(&mut self, place: Place, mark: Mark, marks_max: usize) -> bool {
        let first_ns = self.calls.first_key_value().map(|((start_ns, ..), _)| *start_ns);
        let gone_ns = self.marks.put(place, mark, marks_max);
        gone_ns.zip(first_ns).is_none_or(|(gone_ns, first_ns)| gone_ns < first_ns)
    }

    /// A trace belongs elsewhere: what it told goes.
    pub(super) fn take_back(&mut self, trace: TraceId) {
        self.take_sends(trace);
        self.marks.take_back(trace);
    }

    /// A trace is let go. What its user did holds for as long as there is somebody to ask for it.
    pub(super) fn forget(&mut self, trace: TraceId) {
        self.take_sends(trace);
        self.marks.close(trace);
        if self.calls.is_empty() && self.served.is_empty() {
            self.marks.drop_closed();
        }
    }

    fn take_sends(&mut self, trace: TraceId) {
        self.calls.retain(|(_, of, _), _| *of != trace);
        let span = |byte| (trace, SpanId([byte; 8]));
        let served = self.served.range(span(0)..=span(u8::MAX)).map(|(served, _)| *served);
        for served in served.collect::<Vec<_>>() {
            self.served.remove(&served);
        }
    }

    /// What was done before a send that began at `start_ns` of the browser's clock.
    pub(super) fn deed(&self, start_ns: i64) -> Option<Deed> {
        self.marks.deed(start_ns)
    }

    /// Writes into the candidates what the others tell of them; returns the traces of which that
    /// changes something.
    pub(super) fn look_again(&mut self) -> Vec<TraceId> {
        let mut changed = Vec::new();
        let Self { calls, served, marks, ahead_ns } = self;
        for ((start_ns, trace, _), candidate) in calls.iter_mut() {
            let deed = marks.deed(*start_ns);
            if candidate.deed != deed {
                candidate.deed = deed;
                changed.push(*trace);
            }
        }
        *ahead_ns = None;
        if served.is_empty() {
            return changed;
        }
        let callers: BTreeMap<(TraceId, SpanId), Option<i64>> = calls
            .iter()
            .map(|((start_ns, trace, span), candidate)| {
                ((*trace, *span), candidate.answered.then_some(*start_ns))
            })
            .collect();
        let apart = served.iter().filter_map(|((trace, _), served)| {
            let sent_ns = callers.get(&(*trace, served.caller)).copied().flatten()?;
            Some(served.start_ns.saturating_sub(sent_ns))
        });
        *ahead_ns = apart.min();
        for ((trace, _), served) in served.iter_mut() {
            let known = callers.contains_key(&(*trace, served.caller));
            let ahead_ns = (*ahead_ns).filter(|_| !known);
            let before = (served.alone, served.candidate.start_ns, served.candidate.deed);
            served.alone = ahead_ns.is_some();
            if let Some(ahead_ns) = ahead_ns {
                served.candidate.begin_by_browser(served.start_ns, ahead_ns);
                served.candidate.deed = marks.deed(served.candidate.start_ns);
            }
            if before != (served.alone, served.candidate.start_ns, served.candidate.deed) {
                changed.push(*trace);
            }
        }
        changed
    }

    /// All traces, those together that are to be derived together.
    pub(super) fn groups(&self) -> Vec<Vec<TraceId>> {
        let alone = self.served.iter().filter(|(_, served)| served.alone);
        let alone = alone.map(|((trace, span), served)| {
            ((served.candidate.start_ns, *trace, *span), &served.candidate)
        });
        let calls = self.calls.iter().map(|(place, candidate)| (*place, candidate));
        let mut in_order: Vec<(Place, &Candidate)> = calls.chain(alone).collect();
        // As they are chained: where clocks are too coarse, by their number.
        in_order.sort_by_key(|((start_ns, trace, span), candidate)| {
            (*start_ns, candidate.count(), *trace, *span)
        });
        let called = self.calls.keys().map(|(_, trace, _)| *trace);
        components(called.chain(self.served.keys().map(|(trace, _)| *trace)), &in_order)
    }
}

/// The last send of a chain so far.
struct Tail<'a> {
    candidate: &'a Candidate,
    trace: TraceId,
    attempts: usize,
    /// Of all chains of its intent.
    sends: usize,
}

/// Of those that fit, the one that has waited longest.
fn longest(tails: &[Tail<'_>], fits: impl Fn(&Tail<'_>) -> bool) -> Option<usize> {
    let found = tails.iter().enumerate().filter(|(_, tail)| fits(tail));
    found.min_by_key(|(_, tail)| tail.candidate.end_ns).map(|(at, _)| at)
}

/// These traces in groups, by what leads to what among the candidates.
fn components(
    traces: impl Iterator<Item = TraceId>,
    in_order: &[(Place, &Candidate)],
) -> Vec<Vec<TraceId>> {
    let mut group_of: BTreeMap<TraceId, TraceId> = traces.map(|trace| (trace, trace)).collect();
    let mut tails: Vec<Tail<'_>> = Vec::new();
    for ((_, trace, _), candidate) in in_order {
        let retried =
            longest(&tails, |tail| tail.attempts < CHAIN_MAX && tail.candidate.leads_to(candidate));
        let repeated = || longest(&tails, |tail| tail.candidate.repeated_by(candidate).is_some());
        let found = retried.or_else(repeated);
        let (mut attempts, mut sends) = (1, 1);
        if let Some(at) = found {
            let before = tails.remove(at);
            attempts += if retried.is_some() { before.attempts } else { 0 };
            sends += before.sends;
            let (one, other) = (group_of[&before.trace], group_of[trace]);
            for group in group_of.values_mut().filter(|group| **group == other) {
                *group = one;
            }
        }
        if candidate.may_lead() && sends < INTENT_MAX {
            tails.push(Tail { candidate, trace: *trace, attempts, sends });
        }
    }
    let mut groups: BTreeMap<TraceId, Vec<TraceId>> = BTreeMap::new();
    for (trace, group) in group_of {
        groups.entry(group).or_default().push(trace);
    }
    groups.into_values().collect()
}
