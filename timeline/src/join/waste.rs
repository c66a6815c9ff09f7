//! Which sends were for nothing: work whose answer nobody used.
//!
//! Signals: how each send ended, which of its call answered first, and who had left. A send is
//! wasted when it failed, when its sender had given it up, when a sibling had won, when its user had
//! left (by their word, by their page's silence, or by a server's that it was hung up on), or when the
//! work it was part of was wasted. One that is still awaited is not, as long as nobody else has won.
//!
//! A send that was redirected or challenged is judged by its last resend. Of what a proxy sent again
//! below one span of a caller's, the first that answered was used, if the caller's answer was; the
//! caller's row stands for the first of them.

use std::collections::BTreeMap;

use super::calls::{AttemptKind, Calls};
use super::derive::{Moment, Outside};
use super::left::fell_silent;
use super::sends::{self, Send};
use super::sighting::Sighting;
use super::tree::{NodeId, Tree};
use crate::schema::{SpanId, TraceId};

/// What tells of those who left.
#[derive(Clone, Copy)]
pub(super) struct Leaving<'a> {
    pub(super) sighted: &'a BTreeMap<(TraceId, SpanId), Sighting>,
    pub(super) outside: &'a dyn Outside,
    pub(super) moment: Moment,
}

/// For each send (parents before children) whether it was for nothing.
pub(super) fn wasted(
    tree: &Tree<'_>,
    sends: &[Send],
    calls: &Calls,
    leaving: Leaving<'_>,
) -> Vec<bool> {
    let lost: Vec<bool> = sends.iter().map(|send| is_lost(tree, send, leaving)).collect();
    let of_callers = of_callers(sends, calls, &lost);
    let answering = answering(tree, sends, calls, &lost);
    let of_caller = |id: usize| match (calls.attempts[id].kind, calls.attempts[id].part_of) {
        (AttemptKind::Resend, Some(redirected)) => lost[id] || of_callers[redirected],
        _ => of_callers[id],
    };
    let by_itself = |id: usize| match (calls.attempts[id].kind, calls.attempts[id].part_of) {
        (kind, Some(caller)) if kind != AttemptKind::Resend => {
            lost[id] || of_caller(caller) || answering.get(&caller) != Some(&id)
        }
        _ => of_caller(id) || answering.get(&id).is_some_and(|answering| *answering != id),
    };
    let mut wasted: Vec<bool> = Vec::with_capacity(sends.len());
    for (id, send) in sends.iter().enumerate() {
        let above = send.context.and_then(|node| calls.send_of_callee.get(&node));
        // A caller's send comes before those that its callee makes.
        let above = above.is_some_and(|above| wasted.get(*above).copied().unwrap_or(false));
        wasted.push(above || by_itself(id));
    }
    wasted
}

/// Whether nobody can have used a send's answer, whatever others did.
fn is_lost(tree: &Tree<'_>, send: &Send, leaving: Leaving<'_>) -> bool {
    let Leaving { sighted, outside, moment } = leaving;
    let teller = &tree.nodes[send.teller];
    // An answer that came in spite of it was taken back from the abandonment, and counts.
    let sighting = sighted
        .get(&(teller.trace_id(), teller.span_id()))
        .filter(|_| send.browser && teller.span().is_none());
    let left = sighting.is_some_and(|s| s.abandoned || fell_silent(s, outside, moment));
    // Where the caller tells of its end, its word holds.
    let untold = send.caller.is_none() || send.end_ns.is_none();
    let served = send.callee.and_then(|callee| tree.nodes[callee].span());
    let hung_up = untold && served.is_some_and(|span| span.hints.hung_up);
    send.failed || send.aborted || left || hung_up
}

/// For each send of a caller's whether it was for nothing, by the callers' words: it was lost, or
/// another of its call had won. Of resends, and of what proxies sent again, only whether it was lost.
fn of_callers(sends: &[Send], calls: &Calls, lost: &[bool]) -> Vec<bool> {
    let mut last_resends: BTreeMap<usize, usize> = BTreeMap::new();
    for (id, attempt) in calls.attempts.iter().enumerate() {
        if let (AttemptKind::Resend, Some(redirected)) = (attempt.kind, attempt.part_of) {
            let last = last_resends.entry(redirected).or_insert(id);
            if sends[id].start_ns > sends[*last].start_ns {
                *last = id;
            }
        }
    }
    let deciding = |id: usize| last_resends.get(&id).copied().unwrap_or(id);
    let is_part = |id: usize| {
        let attempt = &calls.attempts[id];
        attempt.kind == AttemptKind::Resend || attempt.part_of.is_some()
    };
    let mut winners: BTreeMap<(Option<NodeId>, usize), (i64, usize)> = BTreeMap::new();
    for (id, send) in sends.iter().enumerate().filter(|(id, _)| !is_part(*id)) {
        let deciding = deciding(id);
        if let Some(end_ns) = sends[deciding].end_ns.filter(|_| !lost[deciding]) {
            let call = (send.context, calls.attempts[id].call);
            let winner = winners.entry(call).or_insert((end_ns, id));
            *winner = (*winner).min((end_ns, id));
        }
    }
    let found = sends.iter().enumerate().map(|(id, send)| {
        let winner = winners.get(&(send.context, calls.attempts[id].call));
        match is_part(id) {
            true => lost[id],
            false => lost[deciding(id)] || winner.is_some_and(|(_, winner)| *winner != id),
        }
    });
    found.collect()
}

/// For each caller's send that a proxy made again, which of them all answered first.
fn answering(
    tree: &Tree<'_>,
    sends: &[Send],
    calls: &Calls,
    lost: &[bool],
) -> BTreeMap<usize, usize> {
    let mut answered: BTreeMap<usize, Vec<(i64, usize)>> = BTreeMap::new();
    for (id, attempt) in calls.attempts.iter().enumerate() {
        let Some(caller) = attempt.part_of.filter(|_| attempt.kind != AttemptKind::Resend) else {
            continue;
        };
        let own = || {
            let callee = &tree.nodes[sends[caller].callee?];
            let span = callee.span()?;
            let failed = sends::failed(span) || span.hints.hung_up;
            callee.end_ns().filter(|_| !failed).map(|end_ns| (end_ns, caller))
        };
        let found = answered.entry(caller).or_insert_with(|| own().into_iter().collect());
        found.extend(sends[id].end_ns.filter(|_| !lost[id]).map(|end_ns| (end_ns, id)));
    }
    let first = |(caller, found): (usize, Vec<(i64, usize)>)| {
        found.into_iter().min().map(|(_, id)| (caller, id))
    };
    answered.into_iter().filter_map(first).collect()
}
