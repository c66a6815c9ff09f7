//! The requests of one trace, or of several that are linked: what a user waited for, with all its automatic attempts.
//!
//! A trace that a browser began has one request for each of its browser calls (our beacon gives
//! each request a trace of its own). A trace without a browser is itself what somebody waited for:
//! its root SERVER span is a request of layer `service`.
//!
//! The outcome: any attempt that succeeded makes it `ok`; else an attempt whose page was left makes
//! it `abandoned`; else one still awaited makes it `pending`; else the last attempt decides between
//! `cancelled` (the program aborted it) and `failed`.

use std::collections::{BTreeMap, BTreeSet};

use super::calls::Calls;
use super::derive::Pages;
use super::identity::Identity;
use super::sends::Send;
use super::sighting::Sighting;
use super::tree::{NodeId, Origin, Tree};
use crate::schema::{AttemptItem, Label, RequestRow, Span, SpanId, SpanRow, Time, TraceId};

/// Traces ready to be asked for its requests.
pub(super) struct Asked<'a, 'trace> {
    pub(super) tree: &'a Tree<'trace>,
    pub(super) sends: &'a [Send],
    pub(super) calls: &'a Calls,
    pub(super) sighted: &'a BTreeMap<(TraceId, SpanId), Sighting>,
}

/// The traces' requests, each with the nodes that are its attempts.
pub(super) fn requests(
    asked: &Asked<'_, '_>,
    rows: &[SpanRow],
    pages: &dyn Pages,
    abandon_final_before: Time,
) -> Vec<(Vec<NodeId>, RequestRow)> {
    let nodes = &asked.tree.nodes;
    let browsers: BTreeSet<TraceId> =
        nodes.iter().filter(|node| node.is_browser()).map(|node| node.trace_id()).collect();
    let trace_of = |send: usize| nodes[asked.sends[send].node()].trace_id();
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
    let mut calls_of_trace: BTreeMap<TraceId, usize> = BTreeMap::new();
    for call in &root_calls {
        *calls_of_trace.entry(trace_of(asked.calls.of_call[*call][0])).or_default() += 1;
    }
    root_calls
        .into_iter()
        .map(|call| {
            let members = &asked.calls.of_call[call];
            let nodes = members.iter().map(|send| asked.sends[*send].node()).collect();
            let trace_id = trace_of(members[0]);
            let request = Request { asked, trace_id, members, rows };
            let several = calls_of_trace[&trace_id] > 1;
            (nodes, request.row(several, pages, abandon_final_before))
        })
        .collect()
}

fn send_is_browser(asked: &Asked<'_, '_>, send: &Send) -> bool {
    send.caller.is_some_and(|caller| asked.tree.nodes[caller].is_browser())
}

/// Nobody is missing above it, so that no browser's span can still turn out to have called it.
fn names_no_parent(asked: &Asked<'_, '_>, send: &Send) -> bool {
    send.callee
        .and_then(|callee| asked.tree.nodes[callee].span())
        .is_some_and(|span| span.row.parent_span_id.is_none())
}

/// A SERVER or CONSUMER span that nobody in the trace has called.
fn is_root(asked: &Asked<'_, '_>, send: &Send) -> bool {
    send.caller.is_none()
        && send.callee.is_some_and(|callee| asked.tree.nodes[callee].parent.is_none())
}

struct Request<'a, 'trace> {
    asked: &'a Asked<'a, 'trace>,
    /// The trace of its first attempt.
    trace_id: TraceId,
    members: &'a [usize],
    rows: &'a [SpanRow],
}

/// What one attempt came to.
struct Ended<'a> {
    send: &'a Send,
    item: AttemptItem,
    callee: Option<&'a Span>,
    succeeded: bool,
    aborted: bool,
    sighting: Option<&'a Sighting>,
}

impl<'a, 'trace> Request<'a, 'trace> {
    fn row(&self, several: bool, pages: &dyn Pages, abandon_final_before: Time) -> RequestRow {
        let attempts: Vec<Ended<'_>> = self.members.iter().map(|send| self.ended(*send)).collect();
        let first = &attempts[0];
        let identity = self.identity();
        let (outcome, decisive) = outcome(&attempts);
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
        let request_id = self.request_id(several, first);
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
            request_id,
            trace_id: self.trace_id,
            method: identity.method,
            route: self.answer(|row| &row.route).unwrap_or(identity.route),
            callee: self.answer(|row| &row.callee).unwrap_or_else(Label::unknown),
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
            outcome_final: is_final(outcome, abandoned, abandon_final_before),
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
                .map(|sighting| trigger(sighting, pages)),
            intent_id: said.as_ref().and_then(|said| said.intent_id).unwrap_or(request_id),
            repeat: said.as_ref().map_or(0, |said| said.repeat),
            repeat_cause: said.and_then(|said| said.repeat_cause),
            coverage: Label::new(coverage(&attempts, outcome)),
            attempt_list: attempts.into_iter().map(|attempt| attempt.item).collect(),
        }
    }

    fn ended(&self, id: usize) -> Ended<'a> {
        let (tree, send) = (self.asked.tree, &self.asked.sends[id]);
        let attempt = &self.asked.calls.attempts[id];
        let node = &tree.nodes[send.node()];
        let callee: Option<&'trace Span> = send.callee.and_then(|callee| tree.nodes[callee].span());
        let span = node.span();
        let row = span.map(|span| &span.row);
        let error_type = row.and_then(|row| row.error_type.clone());
        let status_code = row.and_then(|row| row.status_code);
        let answered = span.is_some()
            && match status_code {
                Some(code) => code < 400,
                // A browser's attempt without a status got no answer, whatever its span status says.
                None => !send.browser && row.is_some_and(|row| row.status != "error"),
            };
        let sighting =
            self.asked.sighted.get(&(node.trace_id(), node.span_id())).filter(|_| send.browser);
        Ended {
            send,
            item: AttemptItem {
                attempt: attempt.number.max(1),
                kind: Label::new(attempt.kind.word()),
                span_id: node.span_id(),
                time: start_time(node.origin),
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
        let first = &self.asked.tree.nodes[self.asked.sends[self.members[0]].node()];
        match first.origin {
            Origin::Span(span) => Identity::of_span(span),
            Origin::Sighting(sighting) => Identity::of_event(&sighting.event),
        }
    }

    fn request_id(&self, several: bool, first: &Ended<'_>) -> TraceId {
        if !several {
            return self.trace_id;
        }
        // A trace that holds several requests (a page load with its fetches) names each by half of
        // its trace and the span that began it.
        let mut id = self.trace_id.0;
        id[8..].copy_from_slice(&first.item.span_id.0);
        TraceId(id)
    }

    fn time_received(&self) -> Time {
        let sends = self.members.iter().map(|send| &self.asked.sends[*send]);
        sends
            .flat_map(|send| [send.caller, send.callee])
            .flatten()
            .map(|node| match self.asked.tree.nodes[node].origin {
                Origin::Span(span) => span.row.time_received,
                Origin::Sighting(sighting) => sighting.event.row.time_received,
            })
            .max()
            .unwrap_or_default()
    }

    /// A label of the send's row, where it is known.
    fn answer(&self, label: impl Fn(&SpanRow) -> &Label) -> Option<Label> {
        let sends = self.members.iter().map(|send| &self.asked.sends[*send]);
        sends
            .flat_map(|send| [send.caller, send.callee])
            .flatten()
            .filter_map(|node| self.rows.get(node))
            .map(label)
            .find(|label| !label.is_unknown())
            .cloned()
    }

    fn said(&self, attempt: &Ended<'_>) -> Option<Said> {
        let node = &self.asked.tree.nodes[attempt.send.node()];
        let (intent_id, repeat, repeat_cause) = match node.origin {
            Origin::Span(span) => {
                (span.hints.intent_id, span.hints.repeat, span.hints.repeat_cause.clone())
            }
            Origin::Sighting(Sighting { event, .. }) => {
                (event.hints.intent_id, event.hints.repeat, event.hints.repeat_cause.clone())
            }
        };
        intent_id.map(|_| Said { intent_id, repeat, repeat_cause })
    }
}

/// What the beacon said of the user's intent.
struct Said {
    intent_id: Option<TraceId>,
    repeat: i32,
    repeat_cause: Option<Label>,
}

fn start_time(origin: Origin<'_>) -> Time {
    match origin {
        Origin::Span(span) => span.row.time,
        Origin::Sighting(Sighting { event, .. }) => {
            event.row.time.plus_us(-event.hints.waited_us.unwrap_or(0))
        }
    }
}

/// The outcome, and the attempt that decided it.
fn outcome<'a, 'b>(attempts: &'b [Ended<'a>]) -> (&'static str, &'b Ended<'a>) {
    let succeeded = attempts.iter().filter(|attempt| attempt.succeeded);
    if let Some(winner) = succeeded.min_by_key(|attempt| attempt.send.end_ns) {
        return ("ok", winner);
    }
    if let Some(left) =
        attempts.iter().rev().find(|attempt| attempt.sighting.is_some_and(|s| s.abandoned))
    {
        return ("abandoned", left);
    }
    if let Some(waiting) = attempts.iter().rev().find(|attempt| attempt.item.duration_us.is_none())
    {
        return ("pending", waiting);
    }
    let last = &attempts[attempts.len() - 1];
    (if last.aborted { "cancelled" } else { "failed" }, last)
}

/// An abandonment may be withdrawn until its page has been silent; a pending request may end.
fn is_final(outcome: &str, abandoned: Option<&Sighting>, final_before: Time) -> bool {
    match outcome {
        "abandoned" => {
            abandoned.is_none_or(|sighting| sighting.event.row.time_received <= final_before)
        }
        "pending" => false,
        _ => true,
    }
}

/// The longest that anybody is known to have waited, in microseconds.
fn waited_us(attempts: &[Ended<'_>]) -> i64 {
    let first_ns = attempts[0].send.start_ns;
    let to_end = attempts
        .iter()
        .filter_map(|attempt| attempt.send.end_ns)
        .map(|end| (end - first_ns) / 1_000);
    let sighted = attempts.iter().filter_map(|attempt| Some(attempt.sighting?.total_waited_us()));
    to_end.chain(sighted).max().unwrap_or(0).max(0)
}

/// The deciding attempt where its server side is seen, else the last attempt with one.
fn decisive_with_server<'a, 'b>(
    attempts: &'b [Ended<'a>],
    decisive: &'b Ended<'a>,
) -> Option<&'b Ended<'a>> {
    if decisive.item.server_us.is_some() {
        return Some(decisive);
    }
    attempts.iter().rev().find(|attempt| attempt.item.server_us.is_some())
}

/// The client's duration less the server's: what the network took, without comparing clocks.
fn network_us(attempt: &Ended<'_>) -> Option<i64> {
    attempt.send.caller?;
    Some((attempt.item.duration_us? - attempt.item.server_us?).max(0))
}

/// Server time spent on answers that nobody used, in microseconds.
fn wasted_us(attempts: &[Ended<'_>], outcome: &str, decisive: &Ended<'_>) -> i64 {
    attempts
        .iter()
        .filter(|attempt| outcome != "ok" || attempt.send.node() != decisive.send.node())
        .filter_map(|attempt| attempt.item.server_us)
        .sum()
}

/// Why there was more than one attempt: what the first one that failed came to.
fn cause(attempts: &[Ended<'_>]) -> Option<Label> {
    if attempts.len() < 2 {
        return None;
    }
    let failed = attempts.iter().find(|attempt| !attempt.succeeded)?;
    match (failed.item.status_code, &failed.item.error_type) {
        (Some(code), _) => Some(Label::new(&code.to_string())),
        (None, error) => error.clone(),
    }
}

/// What the beacon could not know when the page was left, the next page of the tab tells.
fn trigger(sighting: &Sighting, pages: &dyn Pages) -> Label {
    let row = &sighting.event.row;
    let said = sighting.event.hints.abandon_trigger.clone().unwrap_or_else(|| Label::new("leave"));
    if said != "leave" {
        return said;
    }
    let successor = row
        .session_id
        .as_ref()
        .zip(row.page_id.as_ref())
        .and_then(|(session, page)| pages.successor(session, page));
    match successor {
        Some(kind) if kind == "reload" => kind,
        Some(_) => Label::new("navigate"),
        None => said,
    }
}

/// `matched` where a server span stands under any attempt, else the most telling reason.
fn coverage(attempts: &[Ended<'_>], outcome: &str) -> &'static str {
    if attempts.iter().any(|attempt| attempt.callee.is_some()) {
        return "matched";
    }
    let answered = attempts.iter().any(|attempt| attempt.item.status_code.is_some());
    match outcome {
        "pending" => "pending",
        _ if answered => "not_received",
        _ => "not_answered",
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
