//! Who answers behind a host: learned from sends that arrived, for those that did not.
//!
//! A request that no server saw names a host only, and would stand beside the requests of the same
//! service as if it had gone elsewhere. Signals: sends with both sides seen. Condition: within
//! [`KNOWN_NS`] everything that this caller asked of this host (and, for the route, of this route)
//! reached one service. Result: the callee of a send that reached nobody; until it is known, the
//! host stands for it.
//!
//! Invariant: what is known depends on the set of what was seen and on log time, not on the order.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::schema::{Label, Time};

/// How long a service is known to be behind a host: a host that was moved is another's after this.
const KNOWN_NS: i64 = 3_600 * 1_000_000_000;

/// Places remembered, about 1 MB: hosts times routes of a large application. Beyond it nothing more
/// is learned.
const PLACES_MAX: usize = 4_096;

/// Services remembered of one place: with a second one it is already unknown who answers.
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

type Host = (Label, Label, Label);
type Seen = BTreeMap<Answer, Time>;

/// Everything learned so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Callees {
    of_route: BTreeMap<Asked, Seen>,
    of_host: BTreeMap<Host, Seen>,
    /// Hosts of which something was learned since the last look.
    fresh: BTreeSet<Host>,
}

impl Callees {
    /// Takes note of a send that arrived.
    pub(super) fn learn(&mut self, asked: Asked, answer: Answer, now: Time) {
        let host = (asked.app.clone(), asked.caller.clone(), asked.host.clone());
        let anywhere = Answer { service: answer.service.clone(), route: Label::unknown() };
        let of_host = note(&mut self.of_host, host.clone(), anywhere, now);
        if note(&mut self.of_route, asked, answer, now) || of_host {
            self.fresh.insert(host);
        }
    }

    /// Who answers, where all agree.
    pub(super) fn answer(&self, asked: &Asked, now: Time) -> Option<Answer> {
        let host = (asked.app.clone(), asked.caller.clone(), asked.host.clone());
        let of_route = self.of_route.get(asked).and_then(|seen| only(seen, now));
        of_route.or_else(|| self.of_host.get(&host).and_then(|seen| only(seen, now)))
    }

    /// The hosts of which something was learned since the last call: application, caller, host.
    pub(super) fn take_fresh(&mut self) -> BTreeSet<Host> {
        std::mem::take(&mut self.fresh)
    }
}

/// Notes an answer; true where it is new.
fn note<K: Ord>(known: &mut BTreeMap<K, Seen>, key: K, answer: Answer, now: Time) -> bool {
    if known.len() >= PLACES_MAX && !known.contains_key(&key) {
        return false;
    }
    let seen = known.entry(key).or_default();
    if let Some(time) = seen.get_mut(&answer) {
        let forgotten = time.0 < now.0.saturating_sub(KNOWN_NS);
        *time = now;
        return forgotten;
    }
    seen.retain(|_, time| time.0 >= now.0.saturating_sub(KNOWN_NS));
    seen.len() < ANSWERS_MAX && seen.insert(answer, now).is_none()
}

/// The one service of those seen lately, and its route where that is one too.
fn only(seen: &Seen, now: Time) -> Option<Answer> {
    let mut recent = seen
        .iter()
        .filter(|(_, time)| time.0 >= now.0.saturating_sub(KNOWN_NS))
        .map(|(answer, _)| answer);
    let first = recent.next()?;
    let mut found = first.clone();
    for other in recent {
        if other.service != first.service {
            return None;
        }
        found.route = Label::unknown();
    }
    Some(found)
}
