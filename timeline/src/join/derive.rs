//! What one trace says, or several that are linked, as a pure function of the set of its spans and events.
//!
//! [`derive`] fills the derived columns of every span and makes the trace's requests. It keeps
//! nothing: [`super::trace`] compares what it says now with what it said before.

use std::collections::{BTreeMap, BTreeSet};

use super::callees::{Answer, Asked, Found, Known};
use super::calls::{AttemptKind, Calls};
use super::candidate;
use super::marks::Deed;
use super::request::{self, Requests};
use super::sends::{self, Send};
use super::sighting::{Sighting, sightings};
use super::tree::{NodeId, Origin, Tree, only};
use super::waste::{self, Leaving};
use crate::schema::{
    Event, Label, PageId, RequestRow, SessionId, Span, SpanId, SpanRow, Time, TraceId,
};

/// What traces need to know of what is outside them.
pub(super) trait Outside {
    /// How the page that replaced `page` in its tab was reached: reload, navigate, back_forward.
    fn successor(&self, session: &SessionId, page: &PageId) -> Option<Label>;
    /// Whether a page that was in front of its user has said nothing since `before`.
    fn is_silent(&self, session: &SessionId, page: &PageId, before: Time) -> bool;
    /// Who answers `caller` behind a host, as other sends have found out around the time at which this
    /// one was received.
    fn answer(&self, caller: &Label, send: &Send, received: Time) -> Option<Answer>;
    /// What the user of a session had done before a send that began at `start_ns` of its clock.
    fn deed(&self, session: &SessionId, start_ns: i64) -> Option<Deed>;
    /// How far the servers' clock is ahead of a session's, and the shortest way up.
    fn server_ahead_ns(&self, session: &SessionId) -> Option<i64>;
}

/// What only the passing of time decides.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    /// The log time before which an abandonment that nobody withdrew is final.
    pub(super) abandon_final_before: Time,
    /// Whether it is waited no longer for the parents that spans name and that are not here.
    pub(super) parents_final: bool,
}

/// What some traces say.
pub(super) struct Derived {
    /// One row for each span, in the order they were given.
    pub(super) spans: Vec<SpanRow>,
    /// The traces' requests.
    pub(super) requests: Vec<RequestRow>,
    /// The session of an event that names none itself: its span's, else its trace's only one.
    pub(super) only_sessions: BTreeMap<TraceId, SessionId>,
    /// The traces that name more than one session.
    pub(super) in_two_sessions: BTreeSet<TraceId>,
    /// By trace, who answered behind which host.
    pub(super) found: BTreeMap<TraceId, Found>,
    /// By trace, who asked which host in vain.
    pub(super) in_vain: BTreeMap<TraceId, BTreeSet<(Label, Label)>>,
    /// For each session, bounds of server clock minus client clock, in nanoseconds.
    pub(super) clock_bounds: Vec<(SessionId, i64, i64)>,
}

/// Derives everything about these traces, of one application.
pub(super) fn derive(
    spans: &[&Span],
    events: &[&Event],
    outside: &dyn Outside,
    moment: Moment,
) -> Derived {
    let sighted = sightings(events.iter().copied());
    let ended: BTreeSet<(TraceId, SpanId)> = spans
        .iter()
        .filter(|span| span.row.kind == "client")
        .map(|span| (span.row.trace_id, span.row.span_id))
        .collect();
    let spanless =
        sighted.values().filter(|sighting| !ended.contains(&(sighting.trace_id, sighting.span_id)));
    let mut tree = Tree::new(spans.iter().copied(), spanless);
    tree.candidates = candidate::of_nodes(&tree, outside);
    let mut sends = sends::sends(&tree);
    candidate::set_clocks(&tree, &mut sends);
    for send in &mut sends {
        send.learned = learned(&tree, send, outside);
    }
    let calls = Calls::new(&tree, &sends);
    let inherited = Inherited::new(&tree);
    let mut rows: Vec<SpanRow> = spans.iter().map(|span| span.row.clone()).collect();
    let leaving = Leaving { sighted: &sighted, outside, moment };
    let wasted = waste::wasted(&tree, &sends, &calls, leaving);
    fill_sends(&mut rows, &tree, &sends, &calls, &wasted);
    for (id, row) in rows.iter_mut().enumerate() {
        row.depth = tree.nodes[id].depth;
        row.session_id = inherited.session(id).cloned();
        inherited.fill_place(id, row);
    }
    let roots = tree.roots();
    let asked = Requests {
        tree: &tree,
        sends: &sends,
        calls: &calls,
        sighted: &sighted,
        roots: &roots,
        moment,
    };
    let made = request::requests(&asked, &rows, outside);
    for (row, request_id) in rows.iter_mut().zip(requests_of_nodes(&tree, &made)) {
        row.request_id = request_id;
    }
    let only_sessions = tree.only_sessions();
    Derived {
        spans: rows,
        requests: made.into_iter().map(|(_, request)| request).collect(),
        in_two_sessions: named(&tree).filter(|trace| !only_sessions.contains_key(trace)).collect(),
        only_sessions: only_sessions
            .into_iter()
            .map(|(trace, session)| (trace, session.clone()))
            .collect(),
        found: found(&tree, &sends),
        in_vain: in_vain(&tree, &sends),
        clock_bounds: clock_bounds(&tree, &sends),
    }
}

/// Writes what is known of each send into the row that stands for it. Spans are the first nodes of
/// the tree, so a node's number is its row's; a sighting has none, and its callee stands for it.
fn fill_sends(
    rows: &mut [SpanRow],
    tree: &Tree<'_>,
    sends: &[Send],
    calls: &Calls,
    wasted: &[bool],
) {
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
        let learned = send.learned.as_ref();
        let answering = callee.map(|span| (&span.row.service, &span.row.route));
        let answering = answering.or(learned.map(|answer| (&answer.service, &answer.route)));
        row.callee = answering.map_or_else(|| send.key.callee.clone(), |(name, _)| name.clone());
        if let Some((_, route)) = answering.filter(|(_, route)| !route.is_unknown()) {
            row.route = route.clone();
        }
        row.wasted = wasted[id];
        row.attempt = attempt.number;
        row.attempt_kind = Label::new(attempt.kind.word());
        row.retry_evidence = Label::new(attempt.evidence.word());
        row.retry_depth = attempt.retry_depth;
        if attempt.kind != AttemptKind::Resend {
            row.is_send = true;
            row.original = originals[attempt.call].filter(|_| attempt.kind != AttemptKind::Unknown);
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
    match caller_node(tree, send) {
        Some(caller) if tree.nodes[caller].is_browser() => Label::new("browser"),
        Some(_) => Label::new("service"),
        None => row.layer.clone(),
    }
}

fn caller_service(tree: &Tree<'_>, send: &Send) -> Label {
    let caller = caller_node(tree, send).map(|caller| tree.teller(caller));
    caller.map_or_else(Label::unknown, |node| tree.nodes[node].service().clone())
}

fn caller_node(tree: &Tree<'_>, send: &Send) -> Option<NodeId> {
    send.caller.or_else(|| send.callee.and_then(|callee| tree.nodes[callee].parent))
}

/// What a send asks for in its caller's words: of calls over HTTP or RPC whose host is said.
pub(super) fn asked_of(app: &Label, caller: &Label, send: &Send) -> Option<Asked> {
    let names = send.caller.is_some() && !send.key.callee.is_unknown();
    (names && !send.key.method.is_unknown()).then(|| Asked {
        app: app.clone(),
        caller: caller.clone(),
        host: send.key.callee.clone(),
        method: send.key.method.clone(),
        route: send.route.clone(),
    })
}

fn learned(tree: &Tree<'_>, send: &Send, outside: &dyn Outside) -> Option<Answer> {
    if send.callee.is_some() {
        return None;
    }
    outside.answer(&caller_service(tree, send), send, received(tree, send.node()))
}

fn received(tree: &Tree<'_>, id: NodeId) -> Time {
    match tree.nodes[id].origin {
        Origin::Span(span) => span.row.time_received,
        Origin::Sighting(sighting) => sighting.event.row.time_received,
    }
}

/// The traces of which some node names a session.
fn named(tree: &Tree<'_>) -> impl Iterator<Item = TraceId> {
    tree.nodes.iter().filter(|node| node.session_id().is_some()).map(|node| node.trace_id())
}

/// Who asked which host in vain, by trace.
fn in_vain(tree: &Tree<'_>, sends: &[Send]) -> BTreeMap<TraceId, BTreeSet<(Label, Label)>> {
    let mut of_trace: BTreeMap<TraceId, BTreeSet<(Label, Label)>> = BTreeMap::new();
    for send in sends.iter().filter(|send| send.callee.is_none()) {
        let caller = caller_service(tree, send);
        if asked_of(&caller, &caller, send).is_some() {
            let hosts = of_trace.entry(tree.nodes[send.node()].trace_id()).or_default();
            hosts.insert((caller, send.key.callee.clone()));
        }
    }
    of_trace
}

/// Who answered the sends that arrived, by trace. It is known since both sides are here.
fn found(tree: &Tree<'_>, sends: &[Send]) -> BTreeMap<TraceId, Found> {
    let answer = |send: &Send| {
        let served = tree.nodes[send.callee?].span()?;
        let asked = asked_of(&served.row.app, &caller_service(tree, send), send)?;
        let (service, route) = (served.row.service.clone(), served.row.route.clone());
        let both = served.row.time_received.max(received(tree, send.node()));
        Some(((asked, Answer { service, route }), Known::at(both)))
    };
    let mut of_trace: BTreeMap<TraceId, BTreeMap<(Asked, Answer), Known>> = BTreeMap::new();
    for send in sends {
        let Some((fact, known)) = answer(send) else { continue };
        let facts = of_trace.entry(tree.nodes[send.node()].trace_id()).or_default();
        facts.entry(fact).or_insert(known).add(known);
    }
    let flat = |facts: BTreeMap<(Asked, Answer), Known>| -> Found {
        facts.into_iter().map(|((asked, answer), known)| (asked, answer, known)).collect()
    };
    of_trace.into_iter().map(|(trace, facts)| (trace, flat(facts))).collect()
}

/// The request that each node belongs to: its nearest ancestor's, else the trace's only one.
fn requests_of_nodes(
    tree: &Tree<'_>,
    requests: &[(Vec<NodeId>, RequestRow)],
) -> Vec<Option<TraceId>> {
    let mut of_node: Vec<Option<TraceId>> = vec![None; tree.nodes.len()];
    for (nodes, request) in requests {
        for node in nodes {
            for node in [Some(*node), tree.nodes[*node].twin].into_iter().flatten() {
                of_node[node] = Some(request.request_id);
            }
        }
    }
    // A trace whose attempts are of another trace's request has that one.
    let only = only(requests.iter().flat_map(|(nodes, request)| {
        let twins = nodes.iter().filter_map(|node| tree.nodes[*node].twin);
        nodes
            .iter()
            .copied()
            .chain(twins)
            .map(|node| (tree.nodes[node].trace_id(), request.request_id))
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
        let places = browsers.iter().map(|id| (*id, place(tree, tree.teller(*id)))).collect();
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
        Origin::Span(span) => {
            (span.row.country.clone(), span.row.subdivision.clone(), span.row.region.clone())
        }
        Origin::Sighting(Sighting { event, .. }) => {
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
            let session = tree.nodes[send.caller?].session_id().cloned()?;
            let low = callee.end_ns()?.saturating_sub(send.end_ns?);
            let high = callee.start_ns().saturating_sub(send.start_ns);
            (low <= high).then_some((session, low, high))
        })
        .collect()
}
