//! Which traces are derived together: those that may hold attempts of one logical request.
//!
//! Most SDKs put each attempt in a trace of its own. Signals: a browser's CLIENT spans by session
//! (our beacon's are left out: it counts its attempts itself, see [`super::intents`]), and root SERVER
//! spans by their idempotency key. Condition: [`Candidate::leads_to`]. Result: groups of traces.
//! Whether two sends of a group *are* attempts of each other is decided in [`super::across`], by the
//! same condition.
//!
//! Invariants:
//! * The groups are a function of the set of candidates held, not of their order of arrival.
//! * A trace belongs to one domain, the smallest that names it, so that nothing grows across
//!   sessions.
//! * A group is let go whole, which leaves every other group as it was.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::TraceKey;
use super::groups::Groups;
use super::intents::{Intents, named_by_event, named_by_span};
use super::sends::{CallKey, call_key, failed, redirected, sighted_key};
use super::twin_links::TwinLinks;
use super::twins::Telling;
use crate::schema::{Event, Label, SessionId, Span, SpanId, TraceId};

/// A retry is inferred only within this time after the failure: every retry library studied backs
/// off for at most 60 s, and what comes later is somebody asking anew.
pub(super) const INFERRED_GAP_NS_MAX: i64 = 60_000_000_000;

/// Attempts in one chain of traces. No retry library studied tries more than ten times, and an
/// outage must not chain a page's polling into one request that never ends.
const CHAIN_MAX: usize = 16;

/// Candidates kept for each session: four a second over the window, which no user reaches. Beyond
/// it an attempt is a request of its own, counted.
const CANDIDATES_MAX: usize = 512;

/// Within what attempts are looked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Domain {
    Session(SessionId),
    IdempotencyKey(String),
}

/// A send that may be an attempt of one in another trace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Candidate {
    asks: CallKey,
    start_ns: i64,
    pub(super) end_ns: i64,
    failed: bool,
    /// Answered by a redirect or a challenge.
    redirected: bool,
    /// Says itself that it follows another send.
    resent: bool,
    pub(super) idempotency_key: Option<String>,
}

impl Candidate {
    /// The candidate that a span is, by what the span says alone.
    pub(super) fn of(span: &Span) -> Option<(Domain, Self)> {
        let (row, hints) = (&span.row, &span.hints);
        let concrete = hints.target.as_ref().is_some_and(|target| target.contains('/'));
        let domain = match (row.kind.as_str(), row.layer.as_str()) {
            ("client", "browser") if concrete && hints.beacon_previous_attempts.is_none() => {
                Domain::Session(row.session_id.clone()?)
            }
            ("server", "service") if row.parent_span_id.is_none() => {
                Domain::IdempotencyKey(hints.idempotency_key.clone()?)
            }
            _ => return None,
        };
        let candidate = Self {
            asks: call_key(span),
            start_ns: row.time_client.0,
            end_ns: row.time_client.plus_us(row.duration_us).0,
            failed: failed(span),
            redirected: redirected(span),
            resent: hints.resend_count.is_some_and(|count| count > 0),
            idempotency_key: hints.idempotency_key.clone(),
        };
        Some((domain, candidate))
    }

    /// The candidate that an attempt without a span is, where nobody has counted it: the last of its
    /// request, since nothing is known of its end.
    pub(super) fn of_event(event: &Event) -> Option<(Domain, Self)> {
        let (row, hints) = (&event.row, &event.hints);
        let uncounted = hints.target.is_some() && hints.previous_attempts.is_none();
        let domain = Domain::Session(row.session_id.clone().filter(|_| uncounted)?);
        let candidate = Self {
            asks: sighted_key(event),
            start_ns: row.time_client.plus_us(-hints.waited_us.unwrap_or(0)).0,
            end_ns: i64::MAX,
            failed: false,
            redirected: false,
            resent: false,
            idempotency_key: None,
        };
        Some((domain, candidate))
    }

    /// Whether another send could follow this one at all.
    pub(super) fn may_lead(&self) -> bool {
        self.failed || self.redirected || self.idempotency_key.is_some()
    }

    /// Whether `later` may be the next attempt: the same thing asked again under the same
    /// idempotency key, or, where there is none, after a failure and soon enough; or a resend that
    /// says so after a redirect or a challenge.
    pub(super) fn leads_to(&self, later: &Self) -> bool {
        let soon = later.start_ns <= self.end_ns.saturating_add(INFERRED_GAP_NS_MAX);
        soon && self.asks == later.asks
            && match (&self.idempotency_key, &later.idempotency_key) {
                (Some(own), Some(other)) => own == other,
                _ => {
                    let invited = self.failed || (self.redirected && later.resent);
                    invited && self.end_ns <= later.start_ns
                }
            }
    }
}

type DomainKey = (Label, Domain);
type Place = (i64, TraceId, SpanId);

/// The candidates held, and the groups they make.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Links {
    candidates: BTreeMap<DomainKey, BTreeMap<Place, Candidate>>,
    domain_of: BTreeMap<TraceKey, DomainKey>,
    groups: Groups,
    dirty: BTreeSet<DomainKey>,
    /// Which traces hold attempts of one request that our beacon has numbered.
    intents: Intents,
    /// Which traces tell of one attempt twice.
    twins: TwinLinks,
}

impl Links {
    /// Looks at a span that came; false where it is a candidate for which there is no room.
    pub(super) fn see(&mut self, span: &Span) -> bool {
        let row = &span.row;
        let trace = (row.trace_id, row.app.clone());
        let told = Telling::of_span(span);
        let room = told.is_none_or(|telling| self.twins.see(&trace, row.span_id, telling));
        let named = named_by_span(span);
        let room = room & named.is_none_or(|named| self.intents.see(&trace, named));
        let candidate = Candidate::of(span);
        room & candidate.is_none_or(|candidate| self.hold(trace, row.span_id, candidate, true))
    }

    /// Looks at an event that tells of an attempt; false where there is no room for it.
    pub(super) fn see_event(&mut self, event: &Event) -> bool {
        let row = &event.row;
        let Some((trace, span_id)) = row.trace_id.zip(row.span_id) else { return true };
        let trace = (trace, row.app.clone());
        let told = Telling::of_event(event);
        let room = told.is_none_or(|telling| self.twins.see(&trace, span_id, telling));
        let named = named_by_event(event);
        let room = room & named.is_none_or(|named| self.intents.see(&trace, named));
        let candidate = Candidate::of_event(event);
        room & candidate.is_none_or(|candidate| self.hold(trace, span_id, candidate, false))
    }

    /// Holds a candidate; what `ended` says more than that it was seen pending.
    fn hold(
        &mut self,
        trace: TraceKey,
        span_id: SpanId,
        (domain, candidate): (Domain, Candidate),
        ended: bool,
    ) -> bool {
        let domain = (trace.1.clone(), domain);
        match self.domain_of.get(&trace) {
            Some(known) if *known < domain => return true,
            Some(known) if *known > domain => {
                self.dirty.insert(known.clone());
                self.forget_candidates(&trace);
            }
            _ => {}
        }
        let held = self.candidates.entry(domain.clone()).or_default();
        if held.len() >= CANDIDATES_MAX {
            return false;
        }
        let place = (candidate.start_ns, trace.0, span_id);
        if ended {
            held.insert(place, candidate);
        } else {
            held.entry(place).or_insert(candidate);
        }
        self.domain_of.insert(trace, domain.clone());
        self.dirty.insert(domain);
        true
    }

    /// The traces that are derived together with this one, itself among them.
    pub(super) fn members(&self, trace: &TraceKey) -> Vec<TraceKey> {
        let mut found = BTreeSet::from([trace.clone()]);
        let mut pending = vec![trace.clone()];
        while let Some(at) = pending.pop() {
            let linked = self.groups.of(&at).iter().cloned();
            let next = linked.chain(self.twins.partners(&at)).chain(self.intents.partners(&at));
            pending.extend(next.filter(|next| found.insert(next.clone())));
        }
        found.into_iter().collect()
    }

    /// Whether a trace may hold attempts of a request that others hold attempts of.
    pub(super) fn holds(&self, trace: &TraceKey) -> bool {
        self.domain_of.contains_key(trace)
    }

    /// Lets go of a trace, with its whole group.
    pub(super) fn forget(&mut self, trace: &TraceKey) {
        self.forget_candidates(trace);
        self.twins.forget(trace);
        self.intents.forget(trace);
        self.groups.forget(trace);
    }

    fn forget_candidates(&mut self, trace: &TraceKey) {
        let Some(domain) = self.domain_of.remove(trace) else { return };
        if let Some(held) = self.candidates.get_mut(&domain) {
            held.retain(|(_, of, _), _| *of != trace.0);
            if held.is_empty() {
                self.candidates.remove(&domain);
            }
        }
    }

    /// Groups anew what has changed; returns the traces whose group is another now.
    pub(super) fn relink(&mut self) -> Vec<TraceKey> {
        let mut changed: Vec<TraceKey> = self.twins.relink().into_iter().collect();
        changed.extend(self.intents.take_changed());
        for domain in std::mem::take(&mut self.dirty) {
            let Some(held) = self.candidates.get(&domain) else { continue };
            for members in components(held) {
                let members = members.into_iter().map(|trace| (trace, domain.0.clone()));
                changed.extend(self.groups.set(members.collect()));
            }
        }
        changed
    }
}

/// The traces of one domain, in groups: each candidate is tied to the failure that has waited
/// longest for somebody to ask again, and each failure to one candidate.
fn components(held: &BTreeMap<Place, Candidate>) -> Vec<Vec<TraceId>> {
    let mut group_of: BTreeMap<TraceId, TraceId> =
        held.keys().map(|(_, trace, _)| (*trace, *trace)).collect();
    let mut tails: Vec<(&Candidate, TraceId, usize)> = Vec::new();
    for ((_, trace, _), candidate) in held {
        let fits = |(_, (before, ..)): &(usize, &(&Candidate, _, _))| before.leads_to(candidate);
        let found = tails.iter().enumerate().filter(fits).min_by_key(|(_, (one, ..))| one.end_ns);
        let mut length = 1;
        if let Some((at, _)) = found {
            let (_, before, before_length) = tails.remove(at);
            length = before_length + 1;
            let (one, other) = (group_of[&before], group_of[trace]);
            for group in group_of.values_mut().filter(|group| **group == other) {
                *group = one;
            }
        }
        if candidate.may_lead() && length < CHAIN_MAX {
            tails.push((candidate, *trace, length));
        }
    }
    let mut groups: BTreeMap<TraceId, Vec<TraceId>> = BTreeMap::new();
    for (trace, group) in group_of {
        groups.entry(group).or_default().push(trace);
    }
    groups.into_values().collect()
}
