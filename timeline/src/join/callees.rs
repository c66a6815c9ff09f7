//! Who answers behind a host: learned from sends that arrived, for those that did not.
//!
//! A request that no server saw names a host only, and would stand beside the requests of the same
//! service as if it had gone elsewhere. Signals: sends with both sides seen. Condition: within
//! [`KNOWN_NS`] of the request everything that this caller asked of this host (and, for the route, of
//! this route) reached one service. Result: the callee of a send that reached nobody; until it is known,
//! the host stands for it.
//!
//! What a trace shows may change with its next row, and what was learned is not unlearned. So a trace's
//! facts are *found* whenever it is said, and *learned* only when a second of log time passes.
//!
//! Invariant: what is known is a function of the log up to a second of it: of the receive times of rows,
//! not of how much was read at once.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::TraceKey;
use crate::schema::{Label, Time};

/// How long before and after it was seen a service is known to be behind a host: a host that was moved
/// is another's after this.
const KNOWN_NS: i64 = 3_600 * 1_000_000_000;

/// Services remembered of one place, the latest: with a second one within [`KNOWN_NS`] it is already
/// unknown who answers, so more of them would say no more to anybody.
const ANSWERS_MAX: usize = 8;

/// What a caller asks for, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) app: Label,
    pub(super) caller: Label,
    pub(super) host: Label,
    pub(super) method: Label,
    pub(super) route: Label,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) service: Label,
    /// Its own word for the route; unknown where only the host is.
    pub(super) route: Label,
}

/// From when to when an answer was seen, by when the rows that show it were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    first: Time,
    last: Time,
}

impl Known {
    /// Seen once.
    pub(super) fn at(received: Time) -> Self {
        Self { first: received, last: received }
    }

    /// Adds another time; true where both are so far apart that something between was not known.
    pub(super) fn add(&mut self, other: Self) -> bool {
        let apart = other.first.0 > self.last.0.saturating_add(KNOWN_NS)
            || other.last.0 < self.first.0.saturating_sub(KNOWN_NS);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        apart
    }

    fn covers(&self, received: Time) -> bool {
        received.0 >= self.first.0.saturating_sub(KNOWN_NS)
            && received.0 <= self.last.0.saturating_add(KNOWN_NS)
    }
}

/// What one trace shows: who answered what.
pub(super) type Found = Vec<(Asked, Answer, Known)>;

type Host = (Label, Label, Label);
type Seen = BTreeMap<Answer, Known>;

/// Everything learned so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Callees {
    of_route: BTreeMap<Asked, Seen>,
    of_host: BTreeMap<Host, Seen>,
    /// What the traces show that were said since it was last learned. Bounded by what was said within
    /// one second of log time.
    found: BTreeMap<TraceKey, Found>,
    /// Hosts of which something was learned since the last look.
    fresh: BTreeSet<Host>,
}

impl Callees {
    /// Takes note of what a trace shows, in the place of what it showed before.
    pub(super) fn find(&mut self, trace: &TraceKey, found: Found) {
        if found.is_empty() {
            self.found.remove(trace);
        } else {
            self.found.insert(trace.clone(), found);
        }
    }

    /// Learns what was found; returns how many of more than `places_max` hosts, and as many routes, had to
    /// be forgotten for it.
    pub(super) fn learn(&mut self, places_max: usize) -> u64 {
        let mut forgotten = 0;
        let found = std::mem::take(&mut self.found);
        for (asked, answer, known) in found.into_values().flatten() {
            let host = (asked.app.clone(), asked.caller.clone(), asked.host.clone());
            let anywhere = Answer { service: answer.service.clone(), route: Label::unknown() };
            forgotten += make_room(&mut self.of_host, &host, places_max);
            forgotten += make_room(&mut self.of_route, &asked, places_max);
            let of_host = note(&mut self.of_host, host.clone(), anywhere, known);
            if note(&mut self.of_route, asked, answer, known) || of_host {
                self.fresh.insert(host);
            }
        }
        forgotten
    }

    /// Who answered what was `received` then, where all agree.
    pub(super) fn answer(&self, asked: &Asked, received: Time) -> Option<Answer> {
        let host = (asked.app.clone(), asked.caller.clone(), asked.host.clone());
        let of_route = self.of_route.get(asked).and_then(|seen| only(seen, received));
        of_route.or_else(|| self.of_host.get(&host).and_then(|seen| only(seen, received)))
    }

    /// The hosts of which something was learned since the last call: application, caller, host.
    pub(super) fn take_fresh(&mut self) -> BTreeSet<Host> {
        std::mem::take(&mut self.fresh)
    }
}

/// Notes an answer; true where it is new.
fn note<K: Ord>(places: &mut BTreeMap<K, Seen>, key: K, answer: Answer, known: Known) -> bool {
    let seen = places.entry(key).or_default();
    if let Some(before) = seen.get_mut(&answer) {
        return before.add(known);
    }
    if seen.len() >= ANSWERS_MAX {
        let oldest = seen.iter().min_by_key(|(_, known)| known.last);
        let oldest = oldest.map(|(answer, _)| answer.clone());
        if let Some(oldest) = oldest {
            seen.remove(&oldest);
        }
    }
    seen.insert(answer, known);
    true
}

/// Where `places_max` are known and `key` is not among them, lets go of the tenth that was seen longest
/// ago, so that finding them is paid for by many that come; returns how many went.
fn make_room<K: Ord + Clone>(places: &mut BTreeMap<K, Seen>, key: &K, places_max: usize) -> u64 {
    if places.len() < places_max || places.contains_key(key) {
        return 0;
    }
    let last = |seen: &Seen| seen.values().map(|known| known.last).max();
    let mut ages: Vec<(Option<Time>, K)> =
        places.iter().map(|(key, seen)| (last(seen), key.clone())).collect();
    ages.sort_unstable();
    // One at least, and more where an earlier start had a larger limit.
    ages.truncate(places.len().saturating_sub(places_max - places_max / 10).max(1));
    for (_, key) in &ages {
        places.remove(key);
    }
    ages.len() as u64
}

/// The one service of those seen around that time, and its route where that is one too.
fn only(seen: &Seen, received: Time) -> Option<Answer> {
    let mut near = seen.iter().filter(|(_, known)| known.covers(received));
    let (first, _) = near.next()?;
    let mut found = first.clone();
    for (other, _) in near {
        if other.service != first.service {
            return None;
        }
        found.route = Label::unknown();
    }
    Some(found)
}
