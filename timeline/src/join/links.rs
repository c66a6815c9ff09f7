//! Which traces are derived together: those that may hold attempts of one logical request, or what
//! its user asked again.
//!
//! Most SDKs put each attempt in a trace of its own. Signals: [candidates](super::candidate) (our
//! beacon's are left out: it counts its attempts itself, see [`super::intents`]) and
//! [marks](super::marks), each within its [domain](super::held). Result: groups of traces. Whether two
//! sends of a group *are* attempts of each other is decided in [`super::across`], and which request
//! repeats which in [`super::repeats`], by the same conditions.
//!
//! Invariants:
//! * The groups are a function of the set of candidates held, not of their order of arrival.
//! * A trace belongs to one domain, the smallest that names it, so that nothing grows across
//!   sessions.
//! * A group is let go whole, which leaves every other group as it was.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::TraceKey;
use super::candidate::{Candidate, Domain};
use super::config::Config;
use super::groups::Groups;
use super::held::Held;
use super::intents::{Intents, named_by_event, named_by_span};
use super::marks::{Deed, Mark};
use super::twin_links::TwinLinks;
use super::twins::Telling;
use crate::schema::{Event, Label, SessionId, Span, TraceId};

/// A retry is inferred only within this time after the failure: every retry library studied backs
/// off for at most 60 s, and what comes later is somebody asking anew.
pub(super) const INFERRED_GAP_NS_MAX: i64 = 60_000_000_000;

type DomainKey = (Label, Domain);

/// The candidates held, and the groups they make.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Links {
    domains: BTreeMap<DomainKey, Held>,
    domain_of: BTreeMap<TraceKey, DomainKey>,
    /// Traces whose next attempt may still come.
    awaited: BTreeSet<TraceKey>,
    groups: Groups,
    dirty: BTreeSet<DomainKey>,
    /// Which traces hold attempts of one request that our beacon has numbered.
    intents: Intents,
    /// Which traces tell of one attempt twice.
    twins: TwinLinks,
}

impl Links {
    /// Looks at a span that came; false where there is no room for what it tells.
    pub(super) fn see(&mut self, span: &Span, config: &Config) -> bool {
        let row = &span.row;
        let trace = (row.trace_id, row.app.clone());
        let told = Telling::of_span(span);
        let room = told.is_none_or(|telling| {
            self.twins.see(&trace, row.span_id, telling, config.tellings_max)
        });
        let named = named_by_span(span);
        let room = room
            & named.is_none_or(|named| self.intents.see(&trace, named, config.request_traces_max));
        room & self.see_candidate(&trace, span, config) & self.see_mark(&trace, span, config)
    }

    /// Looks at an event that tells of an attempt; false where there is no room for it.
    pub(super) fn see_event(&mut self, event: &Event, config: &Config) -> bool {
        let row = &event.row;
        let Some((trace, span_id)) = row.trace_id.zip(row.span_id) else { return true };
        let trace = (trace, row.app.clone());
        let told = Telling::of_event(event);
        let room = told
            .is_none_or(|telling| self.twins.see(&trace, span_id, telling, config.tellings_max));
        let named = named_by_event(event);
        let room = room
            & named.is_none_or(|named| self.intents.see(&trace, named, config.request_traces_max));
        let Some((domain, candidate)) = Candidate::of_event(event) else { return room };
        self.awaited.insert(trace.clone());
        let place = (candidate.start_ns, trace.0, span_id);
        let calls_max = config.session_candidates_max;
        room & self.hold(&trace, domain, |held| held.put_pending(place, candidate, calls_max))
    }

    fn see_candidate(&mut self, trace: &TraceKey, span: &Span, config: &Config) -> bool {
        let (span_id, most) = (span.row.span_id, config.session_candidates_max);
        if let Some((domain, candidate)) = Candidate::of(span) {
            self.awaited.insert(trace.clone());
            let place = (candidate.start_ns, trace.0, span_id);
            if candidate.is_uncounted() {
                // Half of the room is kept for those that say what they follow, which are missed.
                self.hold(trace, domain, |held| held.put_ended(place, candidate, most / 2));
                return true;
            }
            return self.hold(trace, domain, |held| held.put_ended(place, candidate, most));
        }
        let served = Candidate::of_served(span).zip(span.row.parent_span_id);
        let Some(((domain, candidate), caller)) = served else { return true };
        let served = (trace.0, span_id);
        self.hold(trace, domain, |held| held.put_served(served, caller, candidate, most))
    }

    fn see_mark(&mut self, trace: &TraceKey, span: &Span, config: &Config) -> bool {
        let row = &span.row;
        let Some((mark, session)) = Mark::of(span).zip(row.session_id.clone()) else { return true };
        let place = (row.time_client.0, row.trace_id, row.span_id);
        let marks_max = config.session_marks_max;
        self.hold(trace, Domain::Session(session), |held| held.put_mark(place, mark, marks_max))
    }

    /// Puts something into the domain that it names, unless its trace belongs to a smaller one.
    fn hold(
        &mut self,
        trace: &TraceKey,
        domain: Domain,
        put: impl FnOnce(&mut Held) -> bool,
    ) -> bool {
        let domain = (trace.1.clone(), domain);
        match self.domain_of.get(trace) {
            Some(known) if *known < domain => return true,
            Some(known) if *known == domain => {}
            _ => {
                self.leave_domain(trace);
                self.domain_of.insert(trace.clone(), domain.clone());
            }
        }
        let held = self.domains.entry(domain.clone()).or_default();
        let room = put(held);
        if held.has_calls() {
            self.dirty.insert(domain);
        }
        room
    }

    /// A trace belongs to a smaller domain than was known.
    fn leave_domain(&mut self, trace: &TraceKey) {
        let Some(domain) = self.domain_of.remove(trace) else { return };
        let Some(held) = self.domains.get_mut(&domain) else { return };
        held.take_back(trace.0);
        if held.is_empty() {
            self.domains.remove(&domain);
        } else {
            self.dirty.insert(domain);
        }
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

    /// Whether a trace may hold attempts of a request that others hold attempts of, or tell again of.
    pub(super) fn holds(&self, trace: &TraceKey) -> bool {
        self.awaited.contains(trace) || self.twins.awaits(trace)
    }

    /// What the user of a session had done before a send that began at `start_ns` of its clock.
    pub(super) fn deed(&self, app: &Label, session: &SessionId, start_ns: i64) -> Option<Deed> {
        self.of_session(app, session)?.deed(start_ns)
    }

    /// How far the servers' clock is ahead of a session's, and the shortest way up.
    pub(super) fn server_ahead_ns(&self, app: &Label, session: &SessionId) -> Option<i64> {
        self.of_session(app, session)?.ahead_ns
    }

    fn of_session(&self, app: &Label, session: &SessionId) -> Option<&Held> {
        self.domains.get(&(app.clone(), Domain::Session(session.clone())))
    }

    /// Lets go of a trace, with its whole group.
    pub(super) fn forget(&mut self, trace: &TraceKey) {
        self.awaited.remove(trace);
        self.twins.forget(trace);
        self.intents.forget(trace);
        self.groups.forget(trace);
        let Some(domain) = self.domain_of.remove(trace) else { return };
        let Some(held) = self.domains.get_mut(&domain) else { return };
        held.forget(trace.0);
        if held.is_empty() {
            self.domains.remove(&domain);
        }
    }

    /// Groups anew what has changed; returns the traces whose group, or what is known of the sends in
    /// it, is another now.
    pub(super) fn relink(&mut self) -> Vec<TraceKey> {
        let mut changed: Vec<TraceKey> = self.twins.relink().into_iter().collect();
        changed.extend(self.intents.take_changed());
        for domain in std::mem::take(&mut self.dirty) {
            let Some(held) = self.domains.get_mut(&domain) else { continue };
            let of_app = |trace: TraceId| (trace, domain.0.clone());
            changed.extend(held.look_again().into_iter().map(of_app));
            for members in held.groups() {
                changed.extend(self.groups.set(members.into_iter().map(of_app).collect()));
            }
        }
        changed
    }
}
