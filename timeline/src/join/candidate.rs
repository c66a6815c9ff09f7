//! Sends that may be attempts of one in another trace, and by what they are compared.
//!
//! Signals: a browser's CLIENT spans and the sightings of what it has not ended, by session; root
//! SERVER spans by their idempotency key; root CLIENT spans of a service, which HTTP's own count puts in
//! order; and a browser's request that only its server tells of, since one that was given up leaves no
//! span in most SDKs. Conditions: [`Candidate::leads_to`] for the
//! next attempt, [`Candidate::repeated_by`] for what a user asks again.
//!
//! Invariant: a comparison is a function of the two candidates. Whatever they need to know of others
//! (what their user did, how far their server's clock is ahead) is written into them before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::derive::Outside;
use super::links::INFERRED_GAP_NS_MAX;
use super::marks::Deed;
use super::sends::{CallKey, Send, call_key, failed, redirected, sighted_key};
use super::sighting::is_sighting;
use super::tree::{Node, NodeId, Origin, Tree};
use crate::schema::{Event, Label, SessionId, Span, UNKNOWN};

/// How much sooner than its server saw it a request may have been sent, beyond what other requests of
/// its session tell: the difference between two ways up, most of the time.
const WAYS_APART_NS_MAX: i64 = 50_000_000;

/// Within what attempts are looked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Domain {
    Session(SessionId),
    IdempotencyKey(String),
    /// What a service asks for outside of any request.
    Caller(Label, CallKey),
}

/// A send that may be an attempt of one in another trace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Candidate {
    asks: CallKey,
    pub(super) start_ns: i64,
    pub(super) end_ns: i64,
    failed: bool,
    /// Answered by a redirect or a challenge.
    redirected: bool,
    /// How many sends came before it, as HTTP counts them.
    count: i32,
    /// A service's own, of which only that count says what it follows: its workers ask for the same thing
    /// at the same time.
    of_service: bool,
    /// Its caller has had an answer.
    pub(super) answered: bool,
    /// Only its server tells of it: whoever sent it was gone before the answer.
    pub(super) served: bool,
    idempotency_key: Option<String>,
    /// What its user did before.
    pub(super) deed: Option<Deed>,
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
            ("client", "service") if row.parent_span_id.is_none() => {
                // What can neither follow nor be followed is not worth a place, and only HTTP counts.
                let is_http = row.method.as_str() != UNKNOWN;
                let may_lead = is_http && (failed(span) || redirected(span));
                let is_linked = hints.resend_count.is_some() || may_lead;
                let service = row.service.clone();
                is_linked.then(|| Domain::Caller(service, call_key(span)))?
            }
            _ => return None,
        };
        let candidate = Self {
            of_service: matches!(domain, Domain::Caller(..)),
            end_ns: row.time_client.plus_us(row.duration_us).0,
            failed: failed(span),
            redirected: redirected(span),
            count: hints.resend_count.unwrap_or(0),
            answered: row.status_code.is_some(),
            idempotency_key: hints.idempotency_key.clone(),
            ..Self::begun(call_key(span), row.time_client.0)
        };
        Some((domain, candidate))
    }

    /// The candidate that an attempt without a span is, where nobody has counted it: the last of its
    /// request, since nothing is known of its end.
    pub(super) fn of_event(event: &Event) -> Option<(Domain, Self)> {
        let (row, hints) = (&event.row, &event.hints);
        let uncounted =
            is_sighting(event) && hints.target.is_some() && hints.previous_attempts.is_none();
        let domain = Domain::Session(row.session_id.clone().filter(|_| uncounted)?);
        let start_ns = row.time_client.plus_us(-hints.waited_us.unwrap_or(0)).0;
        let begun = Self::begun(sighted_key(event), start_ns);
        Some((domain, Self { end_ns: i64::MAX, ..begun }))
    }

    /// The candidate that a browser's request is whose CLIENT span is not here, by its server's clock.
    pub(super) fn of_served(span: &Span) -> Option<(Domain, Self)> {
        let (row, hints) = (&span.row, &span.hints);
        let concrete = hints.target.as_ref().is_some_and(|target| target.contains('/'));
        let browsers = row.kind == "server" && hints.browser_made && row.parent_span_id.is_some();
        let browsers = browsers && !is_sampled(span);
        let domain = Domain::Session(row.session_id.clone().filter(|_| browsers && concrete)?);
        let begun = Self::begun(call_key(span), row.time_client.0);
        Some((domain, Self { served: true, ..begun }))
    }

    fn begun(asks: CallKey, start_ns: i64) -> Self {
        Self {
            asks,
            start_ns,
            end_ns: start_ns,
            failed: false,
            redirected: false,
            count: 0,
            of_service: false,
            answered: false,
            served: false,
            idempotency_key: None,
            deed: None,
        }
    }

    /// Puts a served one onto its browser's clock, which the server's is ahead of by so much more than
    /// a way up takes. How long its user waited is not known: it ends where it began.
    pub(super) fn begin_by_browser(&mut self, server_ns: i64, ahead_ns: i64) {
        self.start_ns = server_ns.saturating_sub(ahead_ns).saturating_add(WAYS_APART_NS_MAX);
        self.end_ns = self.start_ns;
    }

    /// Whether it is a service's own that nobody says to follow another: of a poller in an outage there
    /// are any number of these.
    pub(super) fn is_uncounted(&self) -> bool {
        self.of_service && self.count == 0
    }

    /// Whether another send could follow this one at all.
    pub(super) fn may_lead(&self) -> bool {
        self.failed || self.redirected || self.served || self.idempotency_key.is_some()
    }

    /// Whether `later` may be the next attempt: the same thing asked again under the same
    /// idempotency key, or, where there is none, after a failure, soon enough, and not by their user's
    /// hand; or a resend that says so after a redirect or a challenge. Of a service's own, only the next
    /// by its count.
    pub(super) fn leads_to(&self, later: &Self) -> bool {
        if self.of_service && later.count.checked_sub(1) != Some(self.count) {
            return false;
        }
        self.is_soon_before(later)
            && match (&self.idempotency_key, &later.idempotency_key) {
                (Some(own), Some(other)) => own == other,
                _ => {
                    let invited = self.failed || (self.redirected && later.count > 0);
                    let by_hand = later.deed.is_some_and(|deed| deed.is_after(self.end_ns));
                    invited && !by_hand && self.end_ns <= later.start_ns
                }
            }
    }

    /// Why `later` is what its user asked for again, if it is: refresh or user.
    pub(super) fn repeated_by(&self, later: &Self) -> Option<&'static str> {
        let in_vain = (self.failed || self.served) && self.end_ns <= later.start_ns;
        let deed = later.deed.filter(|_| in_vain && self.is_soon_before(later))?;
        deed.repeats(self.end_ns)
    }

    /// What it asks for, as far as both a browser and its server say it.
    pub(super) fn asked(&self) -> (Label, &str) {
        Self::ask(&self.asks)
    }

    /// HTTP's count, where only that says what it follows.
    pub(super) fn counted(&self) -> Option<i32> {
        self.of_service.then_some(self.count)
    }

    /// What orders it among those of its moment.
    pub(super) fn count(&self) -> i32 {
        self.count
    }

    /// What is asked, as far as both a browser and its server say it.
    pub(super) fn ask(key: &CallKey) -> (Label, &str) {
        (key.method.clone(), path(&key.target))
    }

    fn is_soon_before(&self, later: &Self) -> bool {
        let soon = later.start_ns <= self.end_ns.saturating_add(INFERRED_GAP_NS_MAX);
        let same = match self.served == later.served {
            true => self.asks == later.asks,
            false => Self::ask(&self.asks) == Self::ask(&later.asks),
        };
        soon && same
    }
}

/// Whether it stands for others, whose traces were not kept.
pub(super) fn is_sampled(span: &Span) -> bool {
    span.row.sample_weight > 1.0
}

/// The path of a target, which is a URL or a path, without what is left of its query.
fn path(target: &str) -> &str {
    let target = target.split('?').next().unwrap_or(target);
    match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    }
}

/// The candidates among the nodes of several traces; of one alone there is nothing to compare.
pub(super) fn of_nodes(
    tree: &Tree<'_>,
    outside: &dyn Outside,
) -> BTreeMap<NodeId, (Domain, Candidate)> {
    let mut traces = tree.nodes.iter().map(Node::trace_id);
    let first = traces.next();
    if traces.all(|trace| Some(trace) == first) {
        return BTreeMap::new();
    }
    let nodes = tree.nodes.iter().enumerate();
    nodes.filter_map(|(id, node)| Some((id, of_node(node, outside)?))).collect()
}

fn of_node(node: &Node<'_>, outside: &dyn Outside) -> Option<(Domain, Candidate)> {
    let (domain, mut candidate) = match node.origin {
        Origin::Sighting(sighting) => Candidate::of_event(&sighting.event)?,
        Origin::Span(span) => {
            let orphan = || Candidate::of_served(span).filter(|_| node.parent.is_none());
            Candidate::of(span).or_else(orphan)?
        }
    };
    if let Domain::Session(session) = &domain {
        if candidate.served {
            let ahead_ns = outside.server_ahead_ns(session)?;
            candidate.begin_by_browser(candidate.start_ns, ahead_ns);
        }
        candidate.deed = outside.deed(session, candidate.start_ns);
    }
    Some((domain, candidate))
}

/// Puts sends that only a server tells of onto their browser's clock, so that they stand where they
/// stood among the others.
pub(super) fn set_clocks(tree: &Tree<'_>, sends: &mut [Send]) {
    for send in sends {
        let candidate = tree.candidates.get(&send.teller).map(|(_, candidate)| candidate);
        let Some(candidate) = candidate.filter(|candidate| candidate.served) else { continue };
        let shift_ns = candidate.start_ns.saturating_sub(send.start_ns);
        send.start_ns = candidate.start_ns;
        send.end_ns = send.end_ns.map(|end_ns| end_ns.saturating_add(shift_ns));
    }
}
