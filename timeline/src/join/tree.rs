//! The tree of one trace, or of several that are derived together: who stands under whom, how deep, and in whose execution.
//!
//! A node is a span, or an attempt that only an event has told of (a request that was pending when
//! its page was left has no span). It is not yet a list of sends: that is [`super::sends`].
//!
//! Invariants: the tree is a function of the set of nodes, not of their order of arrival; a cycle
//! in parent ids is cut at its smallest node; every node is reached exactly once.

use std::collections::BTreeMap;

use super::candidate::{Candidate, Domain};
use super::sighting::Sighting;
use super::twins;
use crate::schema::{Label, SessionId, Span, SpanId, TraceId};

/// A node's number within its tree.
pub(super) type NodeId = usize;

/// What a node is made of.
#[derive(Clone, Copy)]
pub(super) enum Origin<'trace> {
    Span(&'trace Span),
    Sighting(&'trace Sighting),
}

pub(super) struct Node<'trace> {
    pub(super) origin: Origin<'trace>,
    pub(super) parent: Option<NodeId>,
    pub(super) children: Vec<NodeId>,
    /// Levels below the root of the trace.
    pub(super) depth: i32,
    /// The nearest node above that executes on behalf of a caller: a SERVER or CONSUMER span.
    pub(super) context: Option<NodeId>,
    /// The other node that tells of the same attempt.
    pub(super) twin: Option<NodeId>,
    /// Its twin stands for the attempt.
    pub(super) echo: bool,
    /// The session that its twin names.
    lent_session: Option<&'trace SessionId>,
}

impl<'trace> Node<'trace> {
    pub(super) fn span(&self) -> Option<&'trace Span> {
        match self.origin {
            Origin::Span(span) => Some(span),
            Origin::Sighting(_) => None,
        }
    }

    pub(super) fn span_id(&self) -> SpanId {
        match self.origin {
            Origin::Span(span) => span.row.span_id,
            Origin::Sighting(sighting) => sighting.span_id,
        }
    }

    pub(super) fn trace_id(&self) -> TraceId {
        match self.origin {
            Origin::Span(span) => span.row.trace_id,
            Origin::Sighting(sighting) => sighting.trace_id,
        }
    }

    /// A span that waits for another: CLIENT or PRODUCER, or an attempt known by its event.
    pub(super) fn calls(&self) -> bool {
        self.span().is_none_or(|span| matches!(span.row.kind.as_str(), "client" | "producer"))
    }

    /// A span that works for a caller: SERVER or CONSUMER.
    pub(super) fn serves(&self) -> bool {
        self.span().is_some_and(|span| matches!(span.row.kind.as_str(), "server" | "consumer"))
    }

    pub(super) fn is_browser(&self) -> bool {
        self.span().is_none_or(|span| span.row.layer == "browser")
    }

    pub(super) fn service(&self) -> &'trace Label {
        match self.origin {
            Origin::Span(span) => &span.row.service,
            Origin::Sighting(sighting) => &sighting.event.row.service,
        }
    }

    pub(super) fn session_id(&self) -> Option<&'trace SessionId> {
        let own = match self.origin {
            Origin::Span(span) => span.row.session_id.as_ref(),
            Origin::Sighting(sighting) => sighting.event.row.session_id.as_ref(),
        };
        own.or(self.lent_session)
    }

    /// Told by our beacon: it counts its attempts, and only it tells of one before it ends.
    fn is_ours(&self) -> bool {
        self.span().is_none_or(|span| span.hints.beacon_previous_attempts.is_some())
    }

    /// Start on the sender's own clock, in nanoseconds. Nodes of one caller compare; nodes of two
    /// senders do so only as well as their clocks agree.
    pub(super) fn start_ns(&self) -> i64 {
        match self.origin {
            Origin::Span(span) => span.row.time_client.0,
            Origin::Sighting(sighting) => sighting.start_ns(),
        }
    }

    /// End on the sender's own clock; none while an attempt is pending.
    pub(super) fn end_ns(&self) -> Option<i64> {
        let span = self.span()?;
        Some(span.row.time_client.plus_us(span.row.duration_us).0)
    }
}

/// The nodes of one trace, parents before children in `order`.
pub(super) struct Tree<'trace> {
    pub(super) nodes: Vec<Node<'trace>>,
    pub(super) order: Vec<NodeId>,
    /// Of several traces, the nodes that may be attempts of others, once somebody has looked.
    pub(super) candidates: BTreeMap<NodeId, (Domain, Candidate)>,
}

impl<'trace> Tree<'trace> {
    /// The tree of these spans and of the sightings that no span has taken the place of.
    pub(super) fn new(
        spans: impl Iterator<Item = &'trace Span>,
        sightings: impl Iterator<Item = &'trace Sighting>,
    ) -> Self {
        let origins = spans.map(Origin::Span).chain(sightings.map(Origin::Sighting));
        let mut nodes: Vec<Node<'trace>> = origins
            .map(|origin| Node {
                origin,
                parent: None,
                children: Vec::new(),
                depth: 0,
                context: None,
                twin: None,
                echo: false,
                lent_session: None,
            })
            .collect();
        link_parents(&mut nodes);
        cut_cycles(&mut nodes);
        for id in 0..nodes.len() {
            if let Some(parent) = nodes[id].parent {
                nodes[parent].children.push(id);
            }
        }
        let mut tree = Self { nodes, order: Vec::new(), candidates: BTreeMap::new() };
        tree.walk();
        for (kept, echo) in twins::pairs(&tree.nodes) {
            tree.nodes[echo].echo = true;
            for (one, other) in [(kept, echo), (echo, kept)] {
                tree.nodes[one].twin = Some(other);
                tree.nodes[one].lent_session = tree.nodes[other].session_id();
            }
        }
        tree
    }

    /// The node that tells best of the attempt that `id` stands for: our beacon's of two.
    pub(super) fn teller(&self, id: NodeId) -> NodeId {
        match self.nodes[id].twin {
            Some(twin) if !self.nodes[id].is_ours() => twin,
            _ => id,
        }
    }

    /// The one session of each trace that names exactly one.
    pub(super) fn only_sessions(&self) -> BTreeMap<TraceId, &'trace SessionId> {
        let named =
            self.nodes.iter().filter_map(|node| Some((node.trace_id(), node.session_id()?)));
        only(named)
    }

    /// How many nodes of each trace stand under none.
    pub(super) fn roots(&self) -> BTreeMap<TraceId, usize> {
        let mut of_trace = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| node.parent.is_none()) {
            *of_trace.entry(node.trace_id()).or_default() += 1;
        }
        of_trace
    }

    /// Orders nodes parents first, siblings by start, and sets depth and context on the way.
    fn walk(&mut self) {
        let sort = |nodes: &[Node<'_>], ids: &mut Vec<NodeId>| {
            ids.sort_by_key(|id| (nodes[*id].start_ns(), nodes[*id].span_id()));
        };
        let mut level: Vec<NodeId> =
            (0..self.nodes.len()).filter(|id| self.nodes[*id].parent.is_none()).collect();
        sort(&self.nodes, &mut level);
        let mut stack: Vec<NodeId> = level.into_iter().rev().collect();
        while let Some(id) = stack.pop() {
            self.order.push(id);
            let (depth, context) = (
                self.nodes[id].depth + 1,
                if self.nodes[id].serves() { Some(id) } else { self.nodes[id].context },
            );
            let mut children = std::mem::take(&mut self.nodes[id].children);
            sort(&self.nodes, &mut children);
            for child in &children {
                self.nodes[*child].depth = depth;
                self.nodes[*child].context = context;
            }
            stack.extend(children.iter().rev());
            self.nodes[id].children = children;
        }
    }
}

/// What each trace has, where it has exactly one.
pub(super) fn only<T: PartialEq>(
    found: impl Iterator<Item = (TraceId, T)>,
) -> BTreeMap<TraceId, T> {
    let mut of_trace: BTreeMap<TraceId, Option<T>> = BTreeMap::new();
    for (trace, one) in found {
        let known = of_trace.get(&trace).map(|known| known.as_ref() == Some(&one));
        if known != Some(true) {
            of_trace.insert(trace, Some(one).filter(|_| known.is_none()));
        }
    }
    of_trace.into_iter().filter_map(|(trace, one)| Some((trace, one?))).collect()
}

/// Finds each node's parent. Where a caller and its callee share one span id (Zipkin's way), the
/// callee stands under the caller and everything else under the callee. A span that names itself
/// names nobody.
fn link_parents(nodes: &mut [Node<'_>]) {
    let mut callers: BTreeMap<(TraceId, SpanId), NodeId> = BTreeMap::new();
    let mut others: BTreeMap<(TraceId, SpanId), NodeId> = BTreeMap::new();
    for (id, node) in nodes.iter().enumerate() {
        let map = if node.calls() { &mut callers } else { &mut others };
        map.entry((node.trace_id(), node.span_id())).or_insert(id);
    }
    for node in nodes.iter_mut() {
        let own = (node.trace_id(), node.span_id());
        if node.serves() && callers.contains_key(&own) {
            node.parent = callers.get(&own).copied();
            continue;
        }
        let named = node.span().and_then(|span| span.row.parent_span_id);
        let Some(parent) = named.filter(|parent| *parent != own.1) else { continue };
        let parent = (own.0, parent);
        let found = if node.serves() {
            callers.get(&parent).or_else(|| others.get(&parent))
        } else {
            others.get(&parent).or_else(|| callers.get(&parent))
        };
        node.parent = found.copied();
    }
}

/// Makes the smallest node of each cycle a root.
fn cut_cycles(nodes: &mut [Node<'_>]) {
    const NEW: u8 = 0;
    const ON_PATH: u8 = 1;
    const DONE: u8 = 2;
    let mut state = vec![NEW; nodes.len()];
    for start in 0..nodes.len() {
        let mut path = Vec::new();
        let mut at = Some(start);
        while let Some(id) = at.filter(|id| state[*id] == NEW) {
            state[id] = ON_PATH;
            path.push(id);
            at = nodes[id].parent;
        }
        if let Some(meeting) = at.filter(|id| state[*id] == ON_PATH) {
            let entry = path.iter().position(|id| *id == meeting).unwrap_or(0);
            if let Some(smallest) = path[entry..].iter().min_by_key(|id| nodes[**id].span_id()) {
                nodes[*smallest].parent = None;
            }
        }
        for id in path {
            state[id] = DONE;
        }
    }
}
