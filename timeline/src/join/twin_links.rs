//! Which traces may hold one browser attempt told twice, so that they are derived together.
//!
//! A script that was loaded after another may replace its trace context: then our beacon's span and
//! the other SDK's stand in two traces, and the other SDK often names no session. Signals: the
//! tellings of all open traces. Condition: each is the other's nearest in time, at first or once
//! those that are nearer to somebody else are taken. Whether they *are* one attempt is decided in
//! [`super::twins`].
//!
//! Invariant: the partners are a function of the set of tellings held. What a telling's partner is
//! depends on the tellings within [`REACH_NS`] of it alone, so that a new one costs what stands near it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::TraceKey;
use super::twins::{START_NS_MAX, Telling};
use crate::schema::{Label, SpanId, TraceId};

/// Rounds of pairing. The second finds the pairs of a double click within one millisecond; three
/// sends of one URL by one user in so short a time are not seen.
const ROUNDS: usize = 2;

/// How far a round's outcome can travel: to a neighbour, and to that one's nearest.
const REACH_NS: i64 = START_NS_MAX * 2 * ROUNDS as i64;

type AttemptKey = (TraceId, Label, SpanId);

/// What is asked, since when, and by which attempt.
type Place = (u64, i64, AttemptKey);

/// The tellings held, and which belong together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct TwinLinks {
    /// Told by other SDKs; empty for most applications, and then nothing is looked for.
    others: BTreeMap<Place, Telling>,
    ours: BTreeMap<Place, Telling>,
    place_of: BTreeMap<AttemptKey, (u64, i64, bool)>,
    partners: BTreeMap<AttemptKey, AttemptKey>,
    dirty: BTreeSet<(u64, i64)>,
}

impl TwinLinks {
    /// Holds what was told of an attempt; false where more than `near_max` of its URL are held within
    /// reach. Of several tellings of one attempt (it was seen pending, and ended) the earliest start is kept.
    pub(super) fn see(
        &mut self,
        trace: &TraceKey,
        span_id: SpanId,
        telling: Telling,
        near_max: usize,
    ) -> bool {
        let attempt: AttemptKey = (trace.0, trace.1.clone(), span_id);
        let (asks, start) = (telling.asks, telling.start_ns);
        if let Some((known_asks, known, ours)) = self.place_of.get(&attempt).copied() {
            if (start, asks) >= (known, known_asks) {
                return true;
            }
            self.side(ours).remove(&(known_asks, known, attempt.clone()));
            self.dirty.insert((known_asks, known));
        }
        let side = self.side(telling.ours);
        if side.range(around(asks, start, start, REACH_NS)).nth(near_max).is_some() {
            return false;
        }
        self.place_of.insert(attempt.clone(), (asks, start, telling.ours));
        self.side(telling.ours).insert((asks, start, attempt), telling);
        self.dirty.insert((asks, start));
        true
    }

    /// The traces that may tell of an attempt of this one.
    pub(super) fn partners(&self, trace: &TraceKey) -> impl Iterator<Item = TraceKey> {
        let of_trace = self.partners.range(of_trace(trace));
        of_trace.map(|(_, (id, app, _))| (*id, app.clone()))
    }

    /// Whether somebody may still tell of an attempt of this trace: our beacon of what another SDK has
    /// told, and another SDK, where there is one at all, of what our beacon has.
    pub(super) fn awaits(&self, trace: &TraceKey) -> bool {
        let mut told = self.place_of.range(of_trace(trace));
        told.any(|(_, (_, _, ours))| !ours || !self.others.is_empty())
    }

    /// Lets go of a trace.
    pub(super) fn forget(&mut self, trace: &TraceKey) {
        let attempts: Vec<AttemptKey> =
            self.place_of.range(of_trace(trace)).map(|(attempt, _)| attempt.clone()).collect();
        for attempt in attempts {
            if let Some((asks, start, ours)) = self.place_of.remove(&attempt) {
                self.side(ours).remove(&(asks, start, attempt.clone()));
            }
            self.part(&attempt);
        }
    }

    /// Pairs anew what has changed; returns the traces whose partners are others now.
    pub(super) fn relink(&mut self) -> BTreeSet<TraceKey> {
        let mut changed = BTreeSet::new();
        let mut dirty = std::mem::take(&mut self.dirty).into_iter().peekable();
        while let Some((asks, from)) = dirty.next().filter(|_| !self.others.is_empty()) {
            let mut to = from;
            while let Some((_, start)) =
                dirty.next_if(|next| next.0 == asks && next.1 - to <= REACH_NS)
            {
                to = start;
            }
            self.pair(asks, from, to, &mut changed);
        }
        changed
    }

    fn pair(&mut self, asks: u64, from: i64, to: i64, changed: &mut BTreeSet<TraceKey>) {
        let read = || around(asks, from, to, 2 * REACH_NS);
        let others: Vec<_> = self.others.range(read()).collect();
        if others.is_empty() {
            return;
        }
        let ours: Vec<_> = self.ours.range(read()).collect();
        let pairs: BTreeMap<AttemptKey, AttemptKey> = nearest(&ours, &others)
            .into_iter()
            .flat_map(|(own, other)| {
                let (own, other) = (ours[own].0.2.clone(), others[other].0.2.clone());
                [(own.clone(), other.clone()), (other, own)]
            })
            .collect();
        let within = around(asks, from, to, REACH_NS);
        let looked_at: Vec<AttemptKey> = [&ours, &others]
            .into_iter()
            .flatten()
            .filter(|(place, _)| within.contains(place))
            .map(|(place, _)| place.2.clone())
            .collect();
        for attempt in looked_at {
            let (before, now) = (self.partners.get(&attempt), pairs.get(&attempt));
            if before == now {
                continue;
            }
            let touched = [Some(&attempt), before, now];
            changed.extend(touched.into_iter().flatten().map(|(id, app, _)| (*id, app.clone())));
            self.part(&attempt);
            if let Some(now) = now {
                self.part(now);
                self.partners.insert(attempt.clone(), now.clone());
                self.partners.insert(now.clone(), attempt);
            }
        }
    }

    fn part(&mut self, attempt: &AttemptKey) {
        if let Some(partner) = self.partners.remove(attempt) {
            self.partners.remove(&partner);
        }
    }

    fn side(&mut self, ours: bool) -> &mut BTreeMap<Place, Telling> {
        if ours { &mut self.ours } else { &mut self.others }
    }
}

/// Everything that asks this, begun from `reach` before `from` to `reach` after `to`.
fn around(asks: u64, from: i64, to: i64, reach: i64) -> std::ops::Range<Place> {
    let least = || (TraceId([0; 16]), Label::new(""), SpanId([0; 8]));
    let (from, to) = (from.saturating_sub(reach), to.saturating_add(reach).saturating_add(1));
    (asks, from, least())..(asks, to, least())
}

fn of_trace(trace: &TraceKey) -> std::ops::RangeInclusive<AttemptKey> {
    let key = |byte| (trace.0, trace.1.clone(), SpanId([byte; 8]));
    key(0)..=key(u8::MAX)
}

/// Pairs of which each is the other's nearest that is still free, in rounds.
fn nearest(ours: &[(&Place, &Telling)], others: &[(&Place, &Telling)]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let (mut taken_own, mut taken) = (vec![false; ours.len()], vec![false; others.len()]);
    for _ in 0..ROUNDS {
        let of_ours = choices(ours, others, &taken_own, &taken);
        let of_others = choices(others, ours, &taken, &taken_own);
        for (own, other) in of_ours.iter().enumerate() {
            if let Some(other) = *other
                && of_others[other] == Some(own)
            {
                (taken_own[own], taken[other]) = (true, true);
                pairs.push((own, other));
            }
        }
    }
    pairs
}

/// For each free one of a side, its nearest free one of the other. A tie goes by both ids mixed, so
/// that of several at the same time not all choose the same.
fn choices(
    own: &[(&Place, &Telling)],
    others: &[(&Place, &Telling)],
    taken_own: &[bool],
    taken: &[bool],
) -> Vec<Option<usize>> {
    let choice = |at: usize| {
        let (place, telling) = own[at];
        let from = telling.start_ns.saturating_sub(START_NS_MAX);
        let first = others.partition_point(|(_, other)| other.start_ns < from);
        let mixed = |other: &Place| {
            let bytes = |place: &Place| u64::from_be_bytes(place.2.2.0);
            bytes(place) ^ bytes(other)
        };
        others[first..]
            .iter()
            .enumerate()
            .take_while(|(_, (_, other))| {
                other.start_ns <= telling.start_ns.saturating_add(START_NS_MAX)
            })
            .filter(|(at, (_, other))| !taken[first + at] && telling.agrees(other))
            .min_by_key(|(_, (other, with))| (telling.apart_ns(with), mixed(other)))
            .map(|(at, _)| first + at)
    };
    (0..own.len()).map(|at| if taken_own[at] { None } else { choice(at) }).collect()
}
