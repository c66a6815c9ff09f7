//! One browser attempt that is told twice: by our beacon, and by another SDK on the same page.
//!
//! Both watch the same fetch, whichever was loaded first. Signals: the method and the URL, the
//! session where both name one, the status where both have one, and the time. Condition: one of the
//! two is our beacon's, only one of them has the server's span below it, and they overlap within one
//! trace, or, each in a trace of its own, began within [`START_NS_MAX`]. Result: pairs. Of a pair the
//! one that the server names as its parent is the send, else our beacon's; the other is an *echo*.
//! What our beacon says of the attempt (its number, its times, whose it is) holds for the pair.
//!
//! Two sends of one script are never a pair: a double click and a hedge stay two.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::prints::fingerprint;
use super::sighting::Sighting;
use super::tree::{Node, NodeId, Origin};
use crate::schema::{Event, SessionId, Span};

/// How far apart two scripts see one fetch begin, in nanoseconds. They run one after the other in
/// one call, but one may read the wall clock and the other a clock that has not been set since the
/// page was loaded; a few milliseconds an hour are usual.
pub(super) const START_NS_MAX: i64 = 20_000_000;

/// Tellings of the other script that one is compared with, to each side in time: a page does not
/// ask one thing this often at once, and a trace of a hundred thousand spans must stay cheap.
const NEIGHBOURS_MAX: usize = 32;

/// What one script tells of one attempt, as far as it tells which attempt that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Telling {
    /// The application, the method and the URL.
    pub(super) asks: u64,
    pub(super) start_ns: i64,
    end_ns: Option<i64>,
    /// Told by our beacon.
    pub(super) ours: bool,
    session: Option<SessionId>,
    status: Option<i32>,
}

impl Telling {
    /// What a span tells; `None` of anything but a browser's call to a URL.
    pub(super) fn of_span(span: &Span) -> Option<Self> {
        let (row, hints) = (&span.row, &span.hints);
        let target = hints.target.as_ref().filter(|target| target.contains('/'))?;
        (row.layer == "browser" && row.kind == "client").then(|| Self {
            asks: fingerprint(&(&row.app, &row.method, bare(target))),
            start_ns: row.time_client.0,
            end_ns: Some(row.time_client.plus_us(row.duration_us).0),
            ours: hints.beacon_previous_attempts.is_some(),
            session: row.session_id.clone(),
            status: row.status_code,
        })
    }

    /// What an event tells of the attempt that it speaks of.
    pub(super) fn of_event(event: &Event) -> Option<Self> {
        let target = event.hints.target.as_ref()?;
        let waited_us = event.hints.waited_us.unwrap_or(0);
        Some(Self {
            asks: fingerprint(&(&event.row.app, event.hints.method.as_ref()?, bare(target))),
            start_ns: event.row.time_client.plus_us(-waited_us).0,
            end_ns: None,
            ours: true,
            session: event.row.session_id.clone(),
            status: None,
        })
    }

    fn of_node(node: &Node<'_>) -> Option<Self> {
        match node.origin {
            Origin::Span(span) => Self::of_span(span),
            Origin::Sighting(Sighting { event, .. }) => Self::of_event(event),
        }
    }

    /// Whether both can be of one attempt, whatever the time.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        fn alike<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
            one.is_none() || other.is_none() || one == other
        }
        self.ours != other.ours
            && self.asks == other.asks
            && alike(&self.session, &other.session)
            && alike(&self.status, &other.status)
    }

    /// How far apart both began, in nanoseconds.
    pub(super) fn apart_ns(&self, other: &Self) -> u64 {
        self.start_ns.abs_diff(other.start_ns)
    }

    fn overlaps(&self, other: &Self) -> bool {
        let end = |one: &Self| one.end_ns.unwrap_or(i64::MAX);
        self.start_ns <= end(other) && other.start_ns <= end(self)
    }
}

/// A URL without what is left of its query: our beacon takes the query off, others leave that to us.
fn bare(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}

/// A telling among the nodes of a tree.
struct Told {
    node: NodeId,
    telling: Telling,
    /// The server's span stands below it.
    served: bool,
}

/// Which pairs of nodes tell of one attempt: the send, and its echo.
pub(super) fn pairs(nodes: &[Node<'_>]) -> Vec<(NodeId, NodeId)> {
    let mut of_asks: BTreeMap<u64, [Vec<Told>; 2]> = BTreeMap::new();
    for (node, telling) in nodes.iter().enumerate().filter_map(|(id, node)| {
        let calls = node.calls() && node.is_browser();
        Some((id, Telling::of_node(node).filter(|_| calls)?))
    }) {
        let served = nodes[node].children.iter().any(|child| nodes[*child].serves());
        let side = usize::from(telling.ours);
        of_asks.entry(telling.asks).or_default()[side].push(Told { node, telling, served });
    }
    let mut found = Vec::new();
    for [mut others, mut ours] in of_asks.into_values() {
        if ours.is_empty() || others.is_empty() {
            continue;
        }
        for side in [&mut others, &mut ours] {
            side.sort_by_key(|told| (told.telling.start_ns, nodes[told.node].span_id()));
        }
        let mut edges = edges(nodes, &ours, &others);
        edges.sort_unstable();
        let (mut taken_own, mut taken) = (vec![false; ours.len()], vec![false; others.len()]);
        for (_, own, other) in edges {
            if !taken_own[own] && !taken[other] {
                (taken_own[own], taken[other]) = (true, true);
                let (own, other) = (&ours[own], &others[other]);
                let kept_first = if other.served { [other, own] } else { [own, other] };
                found.push((kept_first[0].node, kept_first[1].node));
            }
        }
    }
    found
}

/// How well a pair fits, least is best: one trace before two, one with the server's span below
/// before none, near before far.
type Fit = (bool, bool, u64);

fn edges(nodes: &[Node<'_>], ours: &[Told], others: &[Told]) -> Vec<(Fit, usize, usize)> {
    let mut edges = Vec::new();
    for (own, told) in ours.iter().enumerate() {
        let at = others.partition_point(|other| other.telling.start_ns < told.telling.start_ns);
        let near = at.saturating_sub(NEIGHBOURS_MAX)..others.len().min(at + NEIGHBOURS_MAX);
        for (index, other) in near.clone().zip(&others[near]) {
            let one_trace = nodes[told.node].trace_id() == nodes[other.node].trace_id();
            let apart = told.telling.apart_ns(&other.telling);
            let in_time = apart <= START_NS_MAX as u64
                || (one_trace && told.telling.overlaps(&other.telling));
            if in_time && told.telling.agrees(&other.telling) && !(told.served && other.served) {
                edges.push(((!one_trace, !(told.served || other.served), apart), own, index));
            }
        }
    }
    edges
}
