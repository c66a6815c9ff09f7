//! The sends of a trace: one caller's span together with the callee's span under it.
//!
//! A SERVER span whose caller is not seen is one send; a CLIENT span without a server side is a
//! send that did not arrive; INTERNAL never counts; of nested CLIENT spans of one service for the
//! same target the innermost counts. Of several callees below one caller's span the first is the
//! caller's, and each other one is a send beside it. Whether a send is an attempt of another is
//! decided in [`super::calls`] and [`super::proxied`].

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::callees::Answer;
use super::calls::AttemptKind;
use super::sighting::Sighting;
use super::tree::{NodeId, Origin, Tree};
use crate::schema::{Event, Label, Span, SpanHints, TraceId};

/// Which convention says how many sends came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    None,
    Beacon,
    ResendCount,
    Grpc,
    Envoy,
    IdempotencyKey,
    Inferred,
}

impl Evidence {
    /// Its word in the column `retry_evidence`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Beacon => "beacon",
            Self::ResendCount => "resend_count",
            Self::Grpc => "grpc",
            Self::Envoy => "envoy",
            Self::IdempotencyKey => "idempotency_key",
            Self::Inferred => "inferred",
        }
    }
}

/// What one caller asks for: two sends with the same key may be attempts of each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct CallKey {
    pub(super) callee: Label,
    pub(super) method: Label,
    pub(super) target: String,
}

pub(super) struct Send {
    /// The caller's side, where it is seen.
    pub(super) caller: Option<NodeId>,
    /// The callee's side, where it is seen.
    pub(super) callee: Option<NodeId>,
    /// The node that tells of the attempt: of two on one page our beacon's, else the send's own.
    pub(super) teller: NodeId,
    /// The caller's send below whose span this callee stands beside another.
    pub(super) beside: Option<usize>,
    /// The trace of its request as its teller has it.
    pub(super) home: TraceId,
    /// In whose execution the send happens; none at the root of the trace.
    pub(super) context: Option<NodeId>,
    pub(super) key: CallKey,
    /// The caller's own word for the route.
    pub(super) route: Label,
    /// Whom other sends of this caller to the same host have reached, where this one reached nobody.
    pub(super) learned: Option<Answer>,
    /// True where the target is concrete enough that two sends at once are one call hedged.
    pub(super) concrete: bool,
    pub(super) start_ns: i64,
    pub(super) end_ns: Option<i64>,
    pub(super) failed: bool,
    /// The sender gave it up before there was an answer.
    pub(super) aborted: bool,
    /// Answered by a redirect or a challenge: the next send is a resend, not an attempt.
    pub(super) redirected: bool,
    /// Answered by a challenge, which only the same request answers.
    pub(super) challenged: bool,
    /// How many sends came before, and who says so.
    pub(super) previous: Option<(i32, Evidence)>,
    pub(super) idempotency_key: Option<String>,
    /// The beacon's own word: first | retry | hedge.
    pub(super) said_kind: Option<Label>,
    /// Sent by a browser.
    pub(super) browser: bool,
}

impl Send {
    /// The node that stands for the send.
    pub(super) fn node(&self) -> NodeId {
        self.caller.or(self.callee).expect("a send has at least one side")
    }

    /// How many attempts came before it, as far as anybody says.
    pub(super) fn count(&self) -> i32 {
        self.previous.as_ref().map_or(0, |(count, _)| *count)
    }

    /// What kind of later attempt it says that it is.
    pub(super) fn kind_as_said(&self) -> Option<AttemptKind> {
        self.said_kind.as_ref().map(|said| match said.as_str() {
            "hedge" => AttemptKind::Hedge,
            _ => AttemptKind::Retry,
        })
    }
}

/// Every send of the tree, parents before children.
pub(super) fn sends(tree: &Tree<'_>) -> Vec<Send> {
    let mut sends = Vec::new();
    let mut answered = vec![false; tree.nodes.len()];
    let wraps = wrappers(tree);
    for &id in &tree.order {
        let node = &tree.nodes[id];
        if node.calls() && !wraps[id] && !node.echo {
            let serving = node.children.iter().copied().filter(|child| tree.nodes[*child].serves());
            let callees: Vec<NodeId> = serving.collect();
            let caller = sends.len();
            sends.push(caller_send(tree, id, callees.first().copied()));
            for (at, callee) in callees.into_iter().enumerate() {
                answered[callee] = true;
                if at > 0 {
                    sends.push(Send { beside: Some(caller), ..callee_send(tree, callee) });
                }
            }
        } else if node.serves() && !answered[id] {
            sends.push(callee_send(tree, id));
        }
    }
    sends
}

/// Whom the calls below a node ask, as far as they are of its own service.
#[derive(Default)]
struct Below<'trace> {
    /// Some call does not say whom it asks.
    unnamed: bool,
    named: BTreeSet<&'trace Label>,
}

impl<'trace> Below<'trace> {
    /// Adds the smaller set to the larger: every name moves at most log(n) times.
    fn add(&mut self, mut other: Self) {
        if other.named.len() > self.named.len() {
            std::mem::swap(&mut self.named, &mut other.named);
        }
        self.named.append(&mut other.named);
        self.unnamed |= other.unnamed;
    }

    fn asks(&self, callee: Option<&Label>) -> bool {
        let some = self.unnamed || !self.named.is_empty();
        some && callee.is_none_or(|callee| self.unnamed || self.named.contains(callee))
    }
}

/// For each node, whether it is a CLIENT span that only wraps CLIENT spans of the same service for
/// the same target. From the leaves up, so that deep nesting costs no more than shallow.
fn wrappers(tree: &Tree<'_>) -> Vec<bool> {
    let mut below: Vec<Below<'_>> = tree.nodes.iter().map(|_| Below::default()).collect();
    let mut wraps = vec![false; tree.nodes.len()];
    for &id in tree.order.iter().rev() {
        let node = &tree.nodes[id];
        let callee = node.span().and_then(|span| span.hints.callee.as_ref());
        let mut own = std::mem::take(&mut below[id]);
        // Of an attempt that is told twice, the inner telling is no call that the outer wraps.
        wraps[id] = node.calls() && !node.echo && own.asks(callee);
        let above = node.parent.filter(|above| tree.nodes[*above].service() == node.service());
        let Some(above) = above.filter(|_| !node.serves()) else { continue };
        if node.calls() && !node.echo {
            own.unnamed |= callee.is_none();
            own.named.extend(callee);
        }
        below[above].add(own);
    }
    wraps
}

fn caller_send(tree: &Tree<'_>, id: NodeId, callee: Option<NodeId>) -> Send {
    let teller = tree.teller(id);
    let told_by = &tree.nodes[teller];
    let mut send = match (told_by.origin, tree.nodes[id].origin) {
        (Origin::Span(span), _) => span_send(span, told_by.end_ns()),
        (Origin::Sighting(sighting), Origin::Span(span)) => {
            Send { previous: sighted_before(sighting), ..span_send(span, tree.nodes[id].end_ns()) }
        }
        (Origin::Sighting(sighting), Origin::Sighting(_)) => sighted_send(sighting),
    };
    send.caller = Some(id);
    send.callee = callee;
    send.teller = teller;
    send.home = told_by.trace_id();
    send.context = tree.nodes[id].context;
    // The callee may have been told what the caller's own span does not say.
    if let Some(served) = callee.and_then(|callee| tree.nodes[callee].span())
        && send.previous.is_none()
    {
        send.previous = previous_sends(&served.hints);
    }
    send
}

/// A send that only events tell of so far.
fn sighted_send(sighting: &Sighting) -> Send {
    let hints = &sighting.event.hints;
    let key = sighted_key(&sighting.event);
    Send {
        caller: None,
        callee: None,
        teller: 0,
        beside: None,
        home: sighting.trace_id,
        context: None,
        concrete: key.target.contains('/'),
        key,
        route: hints.route.clone().unwrap_or_else(Label::unknown),
        learned: None,
        start_ns: sighting.start_ns(),
        end_ns: None,
        failed: false,
        aborted: false,
        redirected: false,
        challenged: false,
        previous: sighted_before(sighting),
        idempotency_key: None,
        said_kind: None,
        browser: true,
    }
}

fn sighted_before(sighting: &Sighting) -> Option<(i32, Evidence)> {
    sighting.event.hints.previous_attempts.map(|count| (count, Evidence::Beacon))
}

/// What an attempt asks for that an event tells of: the same as its span will.
pub(super) fn sighted_key(event: &Event) -> CallKey {
    let hints = &event.hints;
    let route = || hints.route.as_ref().map(ToString::to_string);
    CallKey {
        callee: hints.callee.clone().unwrap_or_else(Label::unknown),
        method: hints.method.clone().unwrap_or_else(Label::unknown),
        target: hints.target.clone().or_else(route).unwrap_or_default(),
    }
}

/// The send that a callee tells of.
pub(super) fn callee_send(tree: &Tree<'_>, id: NodeId) -> Send {
    let node = &tree.nodes[id];
    let span = node.span().expect("only spans serve");
    let parent_context = node.parent.and_then(|parent| {
        if tree.nodes[parent].serves() { Some(parent) } else { tree.nodes[parent].context }
    });
    let mut send = span_send(span, node.end_ns());
    send.callee = Some(id);
    send.teller = id;
    send.context = parent_context;
    send.browser = false;
    send
}

fn span_send(span: &Span, end_ns: Option<i64>) -> Send {
    let row = &span.row;
    let target = span.hints.target.as_ref();
    Send {
        caller: None,
        callee: None,
        teller: 0,
        beside: None,
        home: row.trace_id,
        context: None,
        key: call_key(span),
        route: row.route.clone(),
        learned: None,
        concrete: target.is_some_and(|target| target.contains('/')),
        start_ns: row.time_client.0,
        end_ns,
        failed: failed(span),
        aborted: aborted(span),
        redirected: redirected(span),
        challenged: matches!(row.status_code, Some(401 | 407)),
        previous: previous_sends(&span.hints),
        idempotency_key: span.hints.idempotency_key.clone(),
        said_kind: span.hints.beacon_attempt_kind.clone(),
        browser: row.layer == "browser",
    }
}

/// What a span asks for, or is asked for.
pub(super) fn call_key(span: &Span) -> CallKey {
    let (row, hints) = (&span.row, &span.hints);
    let callee = match row.kind.as_str() {
        "server" | "consumer" => row.service.clone(),
        _ => hints.callee.clone().unwrap_or_else(Label::unknown),
    };
    let target = hints.target.clone();
    let target = target.unwrap_or_else(|| format!("{} {}", row.name, row.route));
    CallKey { callee, method: row.method.clone(), target }
}

/// Whether the sender had reason to send again: an error, a timeout, or a status that says so.
pub(super) fn failed(span: &Span) -> bool {
    match span.row.status_code {
        Some(code) => code >= 500 || matches!(code, 408 | 425 | 429),
        None => (span.row.error_type.is_some() || span.row.status == "error") && !replaced(span),
    }
}

/// Whether a browser had an answer whose status is kept from the page: of `no-cors`, or a redirect
/// that the page follows by itself.
pub(super) fn is_opaque(span: &Span) -> bool {
    span.row.error_type.is_none() && span.row.attributes.get("behavior.opaque") == Some("true")
}

/// A program that aborts so soon has not waited in vain: it wants something else, as a search field
/// does at each key, and what it asks next is no retry. Who aborts later has a timeout of its own. The
/// beacon draws the same line.
const REPLACED_US_MAX: i64 = 1_000_000;

fn replaced(span: &Span) -> bool {
    aborted(span) && span.row.duration_us < REPLACED_US_MAX
}

/// Whether the sender gave up before there was an answer. One that had a status had an answer.
fn aborted(span: &Span) -> bool {
    let error_type = span.row.error_type.as_ref().map(Label::as_str);
    span.row.status_code.is_none() && matches!(error_type, Some("abort" | "AbortError"))
}

/// Whether the answer was a redirect or a challenge.
pub(super) fn redirected(span: &Span) -> bool {
    matches!(span.row.status_code, Some(300..=399 | 401 | 407))
}

/// The number of earlier sends by the first convention that says one.
fn previous_sends(hints: &SpanHints) -> Option<(i32, Evidence)> {
    let said = [
        (hints.beacon_previous_attempts, Evidence::Beacon),
        (hints.resend_count, Evidence::ResendCount),
        (hints.grpc_previous_attempts, Evidence::Grpc),
        (hints.envoy_previous_attempts, Evidence::Envoy),
    ];
    said.into_iter().find_map(|(count, evidence)| Some((count?.max(0), evidence)))
}
