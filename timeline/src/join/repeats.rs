//! What a user asked for again: requests of one intent, on pages whose SDK does not say so.
//!
//! A request that failed, or was given up, and then was made again by hand (a click, the page loaded
//! anew) is no retry: nobody's program would have sent it, and the time in between is its user's.
//! Signals: the last send of each request, the first of each later one, and what its user did in
//! between. Condition: [`super::candidate::Candidate::repeated_by`]. Result: the later request has the
//! intent of the earlier, and the next repetition. What our beacon says of itself holds.

use std::collections::BTreeMap;

use super::candidate::{Candidate, Domain};
use super::request::Requests;
use super::sends::Send;
use super::sighting::Sighting;
use super::tree::Origin;
use crate::schema::{Label, TraceId};

/// Requests in vain that are remembered while a later one is looked for: more than a page has at
/// once, and a bound on the work for one who sends garbage. Beyond it the oldest is forgotten. Nothing of
/// it lasts longer than one derivation: it bounds time and no memory.
const OPEN_MAX: usize = 256;

/// What is known of the user's intent.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) intent_id: Option<TraceId>,
    pub(super) repeat: i32,
    pub(super) repeat_cause: Option<Label>,
}

impl Said {
    /// What the beacon says.
    pub(super) fn of(origin: Origin<'_>) -> Option<Self> {
        let (intent_id, repeat, repeat_cause) = match origin {
            Origin::Span(span) => {
                (span.hints.intent_id, span.hints.repeat, span.hints.repeat_cause.clone())
            }
            Origin::Sighting(Sighting { event, .. }) => {
                (event.hints.intent_id, event.hints.repeat, event.hints.repeat_cause.clone())
            }
        };
        intent_id.map(|_| Self { intent_id, repeat, repeat_cause })
    }
}

/// A call that was in vain so far.
struct Open<'a> {
    domain: &'a Domain,
    last: &'a Candidate,
    /// The first call of its intent, and the how-manieth this is.
    origin: usize,
    repeat: i32,
}

/// The intents of those of these calls that repeat others; `id_of` names a call's request.
pub(super) fn repeats(
    asked: &Requests<'_, '_>,
    calls: &[usize],
    id_of: impl Fn(usize) -> TraceId,
) -> BTreeMap<usize, Said> {
    let mut found = BTreeMap::new();
    if asked.tree.candidates.is_empty() {
        return found;
    }
    let mut in_order: Vec<usize> = calls.to_vec();
    in_order.sort_by_key(|call| ends(asked, *call).map(|(first, _)| (first.start_ns, first.home)));
    let mut open: Vec<Open<'_>> = Vec::new();
    for call in in_order {
        let Some((first, last)) = ends(asked, call) else { continue };
        let (mut origin, mut repeat) = (call, 0);
        if let Some((domain, own)) = asked.tree.candidates.get(&first.teller) {
            let cause = |open: &Open<'_>| {
                (open.domain == domain).then(|| open.last.repeated_by(own)).flatten()
            };
            let fitting = open.iter().enumerate().filter(|(_, open)| cause(open).is_some());
            let before = fitting.min_by_key(|(_, open)| open.last.end_ns).map(|(at, _)| at);
            if let Some(before) = before.map(|at| open.remove(at)) {
                (origin, repeat) = (before.origin, before.repeat + 1);
                let repeat_cause = before.last.repeated_by(own).map(Label::new);
                let intent_id = Some(id_of(origin));
                found.insert(call, Said { intent_id, repeat, repeat_cause });
            }
        }
        let candidate = asked.tree.candidates.get(&last.teller);
        if let Some((domain, last)) = candidate.filter(|(_, last)| last.may_lead()) {
            if open.len() >= OPEN_MAX {
                open.remove(0);
            }
            open.push(Open { domain, last, origin, repeat });
        }
    }
    found
}

/// The first and the last send of a call.
fn ends<'a>(asked: &Requests<'a, '_>, call: usize) -> Option<(&'a Send, &'a Send)> {
    let members = &asked.calls.of_call[call];
    let (first, last) = (*members.first()?, *members.last()?);
    Some((&asked.sends[first], &asked.sends[last]))
}
