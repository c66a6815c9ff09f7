//! What a request came to, told from what each of its attempts came to: pure functions of the attempts in
//! the order of their starts, of which there is at least one.
//!
//! Any attempt that succeeded makes it `ok`; else an attempt whose page was left makes it `abandoned`;
//! else one still awaited makes it `pending`; else the last attempt decides between `cancelled` (the
//! program aborted it) and `failed`.

use crate::join::sends::Send;
use crate::join::sighting::Sighting;
use crate::schema::{AttemptItem, Label, Span};

/// What one attempt came to.
pub(in crate::join) struct Ended<'a> {
    pub(in crate::join) send: &'a Send,
    pub(super) item: AttemptItem,
    pub(in crate::join) callee: Option<&'a Span>,
    pub(super) succeeded: bool,
    pub(super) aborted: bool,
    pub(in crate::join) sighting: Option<&'a Sighting>,
}

/// The outcome, and the attempt that decided it.
pub(super) fn outcome<'a, 'b>(attempts: &'b [Ended<'a>]) -> (&'static str, &'b Ended<'a>) {
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

/// The longest that anybody is known to have waited, in microseconds.
pub(super) fn waited_us(attempts: &[Ended<'_>]) -> i64 {
    let first_ns = attempts[0].send.start_ns;
    let to_end = attempts
        .iter()
        .filter_map(|attempt| attempt.send.end_ns)
        .map(|end| (end - first_ns) / 1_000);
    let sighted = attempts.iter().filter_map(|attempt| Some(attempt.sighting?.total_waited_us()));
    to_end.chain(sighted).max().unwrap_or(0).max(0)
}

/// The deciding attempt where its server side is seen, else the last attempt with one.
pub(super) fn decisive_with_server<'a, 'b>(
    attempts: &'b [Ended<'a>],
    decisive: &'b Ended<'a>,
) -> Option<&'b Ended<'a>> {
    if decisive.item.server_us.is_some() {
        return Some(decisive);
    }
    attempts.iter().rev().find(|attempt| attempt.item.server_us.is_some())
}

/// The client's duration less the server's: what the network took, without comparing clocks.
pub(super) fn network_us(attempt: &Ended<'_>) -> Option<i64> {
    attempt.send.caller?;
    Some((attempt.item.duration_us? - attempt.item.server_us?).max(0))
}

/// Server time spent on answers that nobody used, in microseconds.
pub(super) fn wasted_us(attempts: &[Ended<'_>], outcome: &str, decisive: &Ended<'_>) -> i64 {
    attempts
        .iter()
        .filter(|attempt| outcome != "ok" || attempt.send.node() != decisive.send.node())
        .filter_map(|attempt| attempt.item.server_us)
        .sum()
}

/// Why there was more than one attempt: what the first one that failed came to.
pub(super) fn cause(attempts: &[Ended<'_>]) -> Option<Label> {
    if attempts.len() < 2 {
        return None;
    }
    let failed = attempts.iter().find(|attempt| !attempt.succeeded)?;
    match (failed.item.status_code, &failed.item.error_type) {
        (Some(code), _) => Some(Label::new(&code.to_string())),
        (None, error) => error.clone(),
    }
}

/// `matched` where a server span stands under any attempt, else the most telling reason.
pub(super) fn coverage(attempts: &[Ended<'_>], outcome: &str) -> &'static str {
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
