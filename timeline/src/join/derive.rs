//! What one trace says, or several that are linked, as a pure function of the set of its spans and events.
//!
//! [`derive`] fills the derived columns of every span and makes the trace's requests. It keeps
//! nothing: [`super::trace`] compares what it says now with what it said before.

use std::collections::{BTreeMap, BTreeSet};

use super::calls::{AttemptKind, Calls};
use super::request::{self, Asked};
use super::sends::{self, Send};
use super::sighting::{Sighting, sightings};
use super::tree::{NodeId, Tree, only};
use crate::schema::{
    Event, Label, PageId, RequestRow, SessionId, Span, SpanId, SpanRow, Time, TraceId,
};

/// What the trace needs to know of its session.
pub(super) trait Pages {
    /// How the page that replaced `page` in its tab was reached: reload, navigate, back_forward.
    fn successor(&self, session: &SessionId, page: &PageId) -> Option<Label>;
}

/// What some traces say.
pub(super) struct Derived {
    /// One row for each span, in the order they were given.
    pub(super) spans: Vec<SpanRow>,
    /// The traces' requests.
    pub(super) requests: Vec<RequestRow>,
    /// The session of an event that names none itself: its span's, else its trace's only one.
    pub(super) only_sessions: BTreeMap<TraceId, SessionId>,
    /// For each session, bounds of server clock minus client clock, in nanoseconds.
    pub(super) clock_bounds: Vec<(SessionId, i64, i64)>,
}

/// Derives everything about these traces, of one application. `abandon_final_before` is the log time before which an
/// abandonment that nobody withdrew is final.
pub(super) fn derive(
    spans: &[&Span],
    events: &[&Event],
    pages: &dyn Pages,
    abandon_final_before: Time,
) -> Derived {
    let sighted = sightings(events.iter().copied());
    let ended: BTreeSet<(TraceId, SpanId)> = spans
        .iter()
        .filter(|span| span.row.kind == "client")
        .map(|span| (span.row.trace_id, span.row.span_id))
        .collect();
    let spanless =
        sighted.values().filter(|sighting| !ended.contains(&(sighting.trace_id, sighting.span_id)));
    let tree = Tree::new(spans.iter().copied(), spanless);
    let sends = sends::sends(&tree);
    let calls = Calls::new(&tree, &sends);
    let inherited = Inherited::new(&tree);
    let mut rows: Vec<SpanRow> = spans.iter().map(|span| span.row.clone()).collect();
    fill_sends(&mut rows, &tree, &sends, &calls);
    let asked = Asked { tree: &tree, sends: &sends, calls: &calls, sighted: &sighted };
    let made = request::requests(&asked, &rows, pages, abandon_final_before);
    let requests_of_node = requests_of_nodes(&tree, &made);
    for (id, row) in rows.iter_mut().enumerate() {
        row.depth = tree.nodes[id].depth;
        row.session_id = inherited.session(id).cloned();
        row.request_id = requests_of_node[id];
        inherited.fill_place(id, row);
    }
    Derived {
        spans: rows,
        requests: made.into_iter().map(|(_, request)| request).collect(),
        only_sessions: tree
            .only_sessions()
            .into_iter()
            .map(|(trace, session)| (trace, session.clone()))
            .collect(),
        clock_bounds: clock_bounds(&tree, &sends),
    }
}

/// Writes what is known of each send into the row that stands for it. Spans are the first nodes of
/// the tree, so a node's number is its row's; a sighting has none, and its callee stands for it.
fn fill_sends(rows: &mut [SpanRow], tree: &Tree<'_>, sends: &[Send], calls: &Calls) {
    let originals: Vec<Option<SpanId>> =
        calls.of_call.iter().map(|call| original(tree, sends, call, rows.len())).collect();
    let answering: Vec<Option<NodeId>> =
        calls.of_call.iter().map(|call| call.iter().find_map(|send| sends[*send].callee)).collect();
    for (id, send) in sends.iter().enumerate() {
        let attempt = &calls.attempts[id];
        // Where this send never arrived, another of its call tells: what was asked for is the same.
        let callee = send.callee.or(answering[attempt.call]);
        let callee = callee.and_then(|callee| tree.nodes[callee].span());
        let Some(node) = row_of(send, rows.len()) else { continue };
        let row = &mut rows[node];
        row.caller = caller_service(tree, send);
        row.caller_layer = caller_layer(tree, send, row);
        row.callee =
            callee.map(|span| span.row.service.clone()).unwrap_or_else(|| send.key.callee.clone());
        if let Some(route) = callee.map(|span| &span.row.route).filter(|route| !route.is_unknown())
        {
            row.route = route.clone();
        }
        row.attempt = attempt.number;
        row.attempt_kind = Label::new(attempt.kind.word());
        row.retry_evidence = Label::new(attempt.evidence.word());
        row.retry_depth = attempt.retry_depth;
        if attempt.kind != AttemptKind::Resend {
            row.is_send = true;
            row.original = originals[attempt.call];
        }
    }
}

/// The row that stands for a send: its caller's, else its callee's.
fn row_of(send: &Send, rows: usize) -> Option<NodeId> {
    [send.caller, send.callee].into_iter().flatten().find(|node| *node < rows)
}

/// The span id of the row that stands for the earliest known send of a logical call.
fn original(tree: &Tree<'_>, sends: &[Send], call: &[usize], rows: usize) -> Option<SpanId> {
    let node = call.iter().find_map(|send| row_of(&sends[*send], rows))?;
    Some(tree.nodes[node].span_id())
}

/// Who sends, whichever row stands for the send: an attempt that was abandoned has no span of its
/// own, and its callee's stands for it.
fn caller_layer(tree: &Tree<'_>, send: &Send, row: &SpanRow) -> Label {
    let caller = send.caller.or_else(|| send.callee.and_then(|callee| tree.nodes[callee].parent));
    match caller {
        Some(caller) if tree.nodes[caller].is_browser() => Label::new("browser"),
        Some(_) => Label::new("service"),
        None => row.layer.clone(),
    }
}

fn caller_service(tree: &Tree<'_>, send: &Send) -> Label {
    let node = send.caller.or_else(|| send.callee.and_then(|callee| tree.nodes[callee].parent));
    node.map_or_else(Label::unknown, |node| tree.nodes[node].service().clone())
}

/// The request that each node belongs to: its nearest ancestor's, else the trace's only one.
fn requests_of_nodes(
    tree: &Tree<'_>,
    requests: &[(Vec<NodeId>, RequestRow)],
) -> Vec<Option<TraceId>> {
    let mut of_node: Vec<Option<TraceId>> = vec![None; tree.nodes.len()];
    for (nodes, request) in requests {
        for node in nodes {
            of_node[*node] = Some(request.request_id);
        }
    }
    // A trace whose attempts are of another trace's request has that one.
    let only = only(requests.iter().flat_map(|(nodes, request)| {
        nodes.iter().map(|node| (tree.nodes[*node].trace_id(), request.request_id))
    }));
    for &id in &tree.order {
        let above = tree.nodes[id].parent.and_then(|parent| of_node[parent]);
        of_node[id] =
            of_node[id].or(above).or_else(|| only.get(&tree.nodes[id].trace_id()).copied());
    }
    of_node
}

/// What a node takes from the nearest browser node above it: the session and the place.
struct Inherited<'trace> {
    browser_above: Vec<Option<NodeId>>,
    sessions: Vec<Option<&'trace SessionId>>,
    places: BTreeMap<NodeId, (Label, Label, Label)>,
}

impl<'trace> Inherited<'trace> {
    fn new(tree: &Tree<'trace>) -> Self {
        let only_sessions = tree.only_sessions();
        let browsers: Vec<NodeId> =
            (0..tree.nodes.len()).filter(|id| tree.nodes[*id].is_browser()).collect();
        let mut browser_above: Vec<Option<NodeId>> = vec![None; tree.nodes.len()];
        let mut sessions: Vec<Option<&'trace SessionId>> = vec![None; tree.nodes.len()];
        let only_browser = only(browsers.iter().map(|id| (tree.nodes[*id].trace_id(), *id)));
        for &id in &tree.order {
            let node = &tree.nodes[id];
            let above = node.parent.and_then(|parent| browser_above[parent]);
            let only_browser = only_browser.get(&node.trace_id()).copied();
            browser_above[id] = if node.is_browser() { Some(id) } else { above.or(only_browser) };
            let session_above = node.parent.and_then(|parent| sessions[parent]);
            sessions[id] = node
                .session_id()
                .or(session_above)
                .or_else(|| only_sessions.get(&node.trace_id()).copied());
        }
        let places = browsers.iter().map(|id| (*id, place(tree, *id))).collect();
        Self { browser_above, sessions, places }
    }

    fn session(&self, id: NodeId) -> Option<&'trace SessionId> {
        self.sessions[id]
    }

    /// A service's span happened where its user is, unless it says otherwise itself.
    fn fill_place(&self, id: NodeId, row: &mut SpanRow) {
        if !row.country.is_unknown() || !row.region.is_unknown() {
            return;
        }
        let above = self.browser_above[id].and_then(|browser| self.places.get(&browser));
        if let Some((country, subdivision, region)) = above {
            row.country = country.clone();
            row.subdivision = subdivision.clone();
            row.region = region.clone();
        }
    }
}

fn place(tree: &Tree<'_>, id: NodeId) -> (Label, Label, Label) {
    match tree.nodes[id].origin {
        super::tree::Origin::Span(span) => {
            (span.row.country.clone(), span.row.subdivision.clone(), span.row.region.clone())
        }
        super::tree::Origin::Sighting(Sighting { event, .. }) => {
            (event.row.country.clone(), event.row.subdivision.clone(), event.row.region.clone())
        }
    }
}

/// A callee's span lies inside its caller's in true time: the clocks differ by at least
/// `callee end − caller end` and at most `callee start − caller start`. It does not where the caller
/// had stopped waiting: the callee went on, and nothing is known of when it would have ended.
fn clock_bounds(tree: &Tree<'_>, sends: &[Send]) -> Vec<(SessionId, i64, i64)> {
    sends
        .iter()
        .filter(|send| send.browser)
        .filter_map(|send| {
            let caller = tree.nodes[send.caller?].span()?;
            caller.row.status_code?;
            let callee = &tree.nodes[send.callee?];
            let session = caller.row.session_id.clone()?;
            let low = callee.end_ns()?.saturating_sub(send.end_ns?);
            let high = callee.start_ns().saturating_sub(send.start_ns);
            (low <= high).then_some((session, low, high))
        })
        .collect()
}
