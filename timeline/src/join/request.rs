//! The requests of one trace, or of several that are linked: what a user waited for, with all its automatic attempts.
//!
//! A trace that a browser began has one request for each of its browser calls (our beacon gives
//! each request a trace of its own). A trace without a browser is itself what somebody waited for:
//! its root SERVER span is a request of layer `service`.

mod outcome;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use outcome::Ended;
use outcome::{cause, coverage, decisive_with_server, network_us, outcome, waited_us, wasted_us};

use super::calls::Calls;
use super::derive::{Moment, Outside};
use super::identity::Identity;
use super::left::trigger;
use super::prints::fingerprint;
use super::repeats::{Said, repeats};
use super::sends::{Send, is_opaque};
use super::sighting::Sighting;
use super::tree::{NodeId, Origin, Tree};
use crate::schema::{AttemptItem, Label, RequestRow, Span, SpanId, SpanRow, Time, TraceId};

/// Traces ready to be asked for its requests.
#[derive(Clone, Copy)]
pub(super) struct Requests<'a, 'trace> {
    pub(super) tree: &'a Tree<'trace>,
    pub(super) sends: &'a [Send],
    pub(super) calls: &'a Calls,
    pub(super) sighted: &'a BTreeMap<(TraceId, SpanId), Sighting>,
    /// How many nodes of each trace stand under none.
    pub(super) roots: &'a BTreeMap<TraceId, usize>,
    pub(super) moment: Moment,
}

/// The traces' requests, each with the nodes that are its attempts.
pub(super) fn requests(
    asked: &Requests<'_, '_>,
    rows: &[SpanRow],
    outside: &dyn Outside,
) -> Vec<(Vec<NodeId>, RequestRow)> {
    let nodes = &asked.tree.nodes;
    let browsers: BTreeSet<TraceId> =
        nodes.iter().filter(|node| node.is_browser()).map(|node| node.trace_id()).collect();
    let trace_of = |send: usize| asked.sends[send].home;
    let root_calls: Vec<usize> = (0..asked.calls.of_call.len())
        .filter(|call| {
            asked.calls.of_call[*call].first().is_some_and(|first| {
                let send = &asked.sends[*first];
                // A page that was rendered with a trace context asks below its server's span.
                send_is_browser(asked, send)
                    || (is_root(asked, send)
                        && (names_no_parent(asked, send) || !browsers.contains(&trace_of(*first))))
            })
        })
        .collect();
    let ids = request_ids(asked, &root_calls);
    let mut again = repeats(asked, &root_calls, |call| ids[&call]);
    root_calls
        .into_iter()
        .map(|call| {
            let members = &asked.calls.of_call[call];
            let nodes = members.iter().map(|send| asked.sends[*send].node()).collect();
            let trace_id = trace_of(members[0]);
            let (request_id, again) = (ids[&call], again.remove(&call));
            let request = Request { all: asked, trace_id, request_id, members, rows, again };
            (nodes, request.row(outside))
        })
        .collect()
}

/// A name for the request that each of these calls is: its trace's where it is the only one there. A
/// trace that holds several (a page load with its fetches) names each by half of the trace and the
/// span that began it. Where senders have given that span's id twice (to a SERVER and a CONSUMER span,
/// say), the later one's name is drawn from it and its place among them: rows under one name would be one
/// row, and looking for a free name could be made to take as long as a sender likes.
fn request_ids(asked: &Requests<'_, '_>, calls: &[usize]) -> BTreeMap<usize, TraceId> {
    let first = |call: usize| &asked.sends[asked.calls.of_call[call][0]];
    let mut calls_of_trace: BTreeMap<TraceId, usize> = BTreeMap::new();
    for call in calls {
        *calls_of_trace.entry(first(*call).home).or_default() += 1;
    }
    let mut begun_by: BTreeMap<TraceId, u64> = BTreeMap::new();
    let named = calls.iter().map(|call| {
        let first = first(*call);
        let mut id = first.home;
        if calls_of_trace[&first.home] > 1 {
            id.0[8..].copy_from_slice(&asked.tree.nodes[first.teller].span_id().0);
        }
        let before = begun_by.entry(id).or_default();
        *before += 1;
        if *before > 1 {
            let drawn = fingerprint(&(id.0, *before));
            id.0[8..].copy_from_slice(&drawn.to_be_bytes());
        }
        (*call, id)
    });
    named.collect()
}

fn send_is_browser(asked: &Requests<'_, '_>, send: &Send) -> bool {
    send.caller.is_some_and(|caller| asked.tree.nodes[caller].is_browser())
}

/// Nobody is missing above it, so that no browser's span can still turn out to have called it.
fn names_no_parent(asked: &Requests<'_, '_>, send: &Send) -> bool {
    send.callee
        .and_then(|callee| asked.tree.nodes[callee].span())
        .is_some_and(|span| span.row.parent_span_id.is_none())
}

/// A SERVER or CONSUMER span that nobody in the trace has called.
fn is_root(asked: &Requests<'_, '_>, send: &Send) -> bool {
    send.caller.is_none()
        && send.callee.is_some_and(|callee| asked.tree.nodes[callee].parent.is_none())
}

/// One of them, being made.
pub(super) struct Request<'a, 'trace> {
    pub(super) all: &'a Requests<'a, 'trace>,
    /// The trace of its first attempt.
    trace_id: TraceId,
    request_id: TraceId,
    pub(super) members: &'a [usize],
    pub(super) rows: &'a [SpanRow],
    /// Which request its user asked again by it, where nobody says so.
    again: Option<Said>,
}

impl<'a, 'trace> Request<'a, 'trace> {
    fn row(&self, outside: &dyn Outside) -> RequestRow {
        let attempts: Vec<Ended<'_>> = self.members.iter().map(|send| self.ended(*send)).collect();
        let first = &attempts[0];
        let identity = self.identity();
        let (mut outcome, decisive) = outcome(&attempts);
        let inferred = self.left_unseen(outcome, decisive, outside);
        if inferred.is_some() {
            outcome = "abandoned";
        }
        let finished = matches!(outcome, "ok" | "failed");
        let total_us = decisive
            .send
            .end_ns
            .filter(|_| finished)
            .map(|end| (end.saturating_sub(first.send.start_ns) / 1_000).max(0));
        let waited_us = total_us.unwrap_or_else(|| waited_us(&attempts));
        let measured = decisive_with_server(&attempts, decisive);
        let abandoned =
            attempts.iter().rev().find_map(|attempt| attempt.sighting.filter(|s| s.abandoned));
        let said = attempts.iter().find_map(|attempt| self.said(attempt));
        let said = said.or_else(|| self.again.clone());
        RequestRow {
            time: identity.time,
            time_received: self.time_received(),
            app: identity.app,
            environment: identity.environment,
            service: identity.service,
            layer: identity.layer,
            session_id: identity.session_id,
            user_id: identity.user_id,
            page_id: identity.page_id,
            tab_id: identity.tab_id,
            request_id: self.request_id,
            trace_id: self.trace_id,
            method: identity.method,
            route: self.answer(|row| &row.route).unwrap_or(identity.route),
            callee: self.callee(),
            country: identity.country,
            subdivision: identity.subdivision,
            region: identity.region,
            cloud_region: attempts
                .iter()
                .rev()
                .find_map(|attempt| Some(attempt.callee?.row.cloud_region.clone()))
                .unwrap_or_else(Label::unknown),
            synthetic: identity.synthetic,
            verified: identity.verified,
            sample_weight: identity.sample_weight,
            attempts: count(attempts.len()),
            hedges: count(attempts.iter().filter(|attempt| attempt.item.kind == "hedge").count()),
            outcome: Label::new(outcome),
            outcome_final: self.is_final(outcome, abandoned),
            first_status: attempts.iter().find_map(|attempt| attempt.item.status_code),
            final_status: decisive.item.status_code,
            error_type: decisive.item.error_type.clone(),
            first_us: first.item.duration_us,
            total_us,
            waited_us,
            server_us: measured.and_then(|attempt| attempt.item.server_us),
            network_us: measured.and_then(network_us),
            wasted_us: wasted_us(&attempts, outcome, decisive),
            cause: cause(&attempts),
            abandon_trigger: abandoned
                .filter(|_| outcome == "abandoned")
                .map(|sighting| trigger(sighting, outside))
                .or(inferred.map(Label::new)),
            intent_id: said.as_ref().and_then(|said| said.intent_id).unwrap_or(self.request_id),
            repeat: said.as_ref().map_or(0, |said| said.repeat),
            repeat_cause: said.and_then(|said| said.repeat_cause),
            coverage: Label::new(coverage(&attempts, outcome)),
            abandon_evidence: (outcome == "abandoned")
                .then(|| Label::new(if inferred.is_some() { "inferred" } else { "observed" })),
            attempt_list: attempts.into_iter().map(|attempt| attempt.item).collect(),
        }
    }

    fn ended(&self, id: usize) -> Ended<'a> {
        let (tree, send) = (self.all.tree, &self.all.sends[id]);
        let attempt = &self.all.calls.attempts[id];
        let (node, teller) = (&tree.nodes[send.node()], &tree.nodes[send.teller]);
        let callee: Option<&'trace Span> = send.callee.and_then(|callee| tree.nodes[callee].span());
        let span = teller.span().or(node.span());
        let row = span.map(|span| &span.row);
        let error_type = row.and_then(|row| row.error_type.clone());
        let status_code = row.and_then(|row| row.status_code);
        let answered = span.is_some()
            && match status_code {
                Some(code) => code < 400,
                // A browser's attempt without a status got no answer, whatever its span status says,
                // unless the page may not see what it got.
                None if send.browser => span.is_some_and(is_opaque),
                None => row.is_some_and(|row| row.status != "error"),
            };
        let sighting =
            self.all.sighted.get(&(teller.trace_id(), teller.span_id())).filter(|_| send.browser);
        Ended {
            send,
            item: AttemptItem {
                attempt: attempt.number.max(1),
                kind: Label::new(attempt.kind.word()),
                span_id: node.span_id(),
                time: start_time(teller.origin),
                duration_us: row.map(|row| row.duration_us),
                status_code,
                error_type: error_type.clone(),
                server_us: callee.map(|span| span.row.duration_us),
            },
            callee,
            succeeded: answered && error_type.as_ref().is_none_or(|_| status_code.is_some()),
            aborted: error_type.is_some_and(|error| error == "abort"),
            sighting,
        }
    }

    /// The caller's row that identifies the request: its first attempt's span, else its event.
    fn identity(&self) -> Identity {
        let teller = self.all.sends[self.members[0]].teller;
        let mut identity = match self.all.tree.nodes[teller].origin {
            Origin::Span(span) => Identity::of_span(span),
            Origin::Sighting(sighting) => Identity::of_event(&sighting.event),
        };
        if let Some(row) = self.rows.get(teller) {
            // Found through the trace, where the sender names none.
            identity.session_id = row.session_id.clone();
        }
        identity
    }

    /// Who answered, or would have.
    fn callee(&self) -> Label {
        let said = || self.members.iter().map(|send| &self.all.sends[*send]);
        let learned = || said().find_map(|send| Some(send.learned.as_ref()?.service.clone()));
        let named = || said().map(|send| &send.key.callee).find(|callee| !callee.is_unknown());
        self.answer(|row| &row.callee)
            .or_else(learned)
            .or_else(|| named().filter(|_| self.all.sends[self.members[0]].browser).cloned())
            .unwrap_or_else(Label::unknown)
    }

    fn time_received(&self) -> Time {
        let sends = self.members.iter().map(|send| &self.all.sends[*send]);
        sends
            .flat_map(|send| [send.caller, send.callee])
            .flatten()
            .map(|node| match self.all.tree.nodes[node].origin {
                Origin::Span(span) => span.row.time_received,
                Origin::Sighting(sighting) => sighting.event.row.time_received,
            })
            .max()
            .unwrap_or_default()
    }

    /// A label of the send's row, where it is known.
    fn answer(&self, label: impl Fn(&SpanRow) -> &Label) -> Option<Label> {
        let sends = self.members.iter().map(|send| &self.all.sends[*send]);
        sends
            .flat_map(|send| [send.caller, send.callee])
            .flatten()
            .filter_map(|node| self.rows.get(node))
            .map(label)
            .find(|label| !label.is_unknown())
            .cloned()
    }

    fn said(&self, attempt: &Ended<'_>) -> Option<Said> {
        Said::of(self.all.tree.nodes[attempt.send.teller].origin)
    }
}

fn start_time(origin: Origin<'_>) -> Time {
    match origin {
        Origin::Span(span) => span.row.time,
        Origin::Sighting(Sighting { event, .. }) => {
            event.row.time.plus_us(-event.hints.waited_us.unwrap_or(0))
        }
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
