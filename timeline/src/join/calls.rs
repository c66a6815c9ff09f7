//! Which sends are attempts of one call, and which calls are one logical call.
//!
//! *Attempts* are the sends of one call by one caller. Two sends belong to one *logical call* when
//! they are attempts of each other, or when their parents belong to one logical call and they have
//! the same key and the same ordinal under their parent. The original of a logical call is its
//! earliest known send, so a denominator is never 0.
//!
//! Evidence in order: what the beacon, HTTP, gRPC or a proxy counted; a shared idempotency key;
//! else inference: the same caller asks the same thing again after a failure, or, for a concrete
//! target, while it still waits. Attempts in traces of their own are joined in [`super::across`],
//! those that only callees tell of in [`super::proxied`]; what redirects cause is in [`super::resends`].

use std::collections::BTreeMap;

use super::links::INFERRED_GAP_NS_MAX;
use super::resends::Invitations;
use super::sends::{CallKey, Evidence, Send};
use super::tree::{NodeId, Tree};
use super::{across, proxied, resends};
use crate::schema::SpanId;

/// Calls of one trace among which an attempt's own is looked for: a page has fewer requests pending
/// at once, and a trace of a hundred thousand must stay cheap.
pub(super) const CHAINS_LOOKED_AT_MAX: usize = 64;

/// How a send relates to the earlier ones of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptKind {
    First,
    Retry,
    Hedge,
    Overlap,
    Resend,
    /// Nobody says which it is, and those before it may not have been kept.
    Unknown,
}

impl AttemptKind {
    /// Its word in the column `attempt_kind`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Retry => "retry",
            Self::Hedge => "hedge",
            Self::Overlap => "overlap",
            Self::Resend => "resend",
            Self::Unknown => "unknown",
        }
    }
}

/// What is known of one send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    /// Its logical call.
    pub(super) call: usize,
    /// Its place in its call; the first is 1, a resend is 0, and so is what has no place that is known.
    pub(super) number: i32,
    pub(super) kind: AttemptKind,
    pub(super) evidence: Evidence,
    /// Retries on the way from the root to this send.
    pub(super) retry_depth: i32,
    /// The send whose answer it brings: of a resend the redirected one, of what was sent again below
    /// a caller's span the caller's.
    pub(super) part_of: Option<usize>,
}

/// A send of which nothing more is known.
const FIRST: Attempt = Attempt {
    call: 0,
    number: 1,
    kind: AttemptKind::First,
    evidence: Evidence::None,
    retry_depth: 0,
    part_of: None,
};

/// The sends of some traces, sorted into calls.
pub(super) struct Calls {
    /// One for each send, in the order of the sends.
    pub(super) attempts: Vec<Attempt>,
    /// The sends of each logical call, earliest first, without resends and without what proxies have
    /// sent again for a caller: nobody but the caller waited for it.
    pub(super) of_call: Vec<Vec<usize>>,
    /// The send whose callee's execution a node stands for.
    pub(super) send_of_callee: BTreeMap<NodeId, usize>,
}

impl Calls {
    /// Sorts `sends` (parents before children) into calls.
    pub(super) fn new(tree: &Tree<'_>, sends: &[Send]) -> Self {
        let send_of_callee =
            sends.iter().enumerate().filter_map(|(id, send)| Some((send.callee?, id))).collect();
        let attempts = vec![FIRST; sends.len()];
        let mut calls = Self { attempts, of_call: Vec::new(), send_of_callee };
        let mut call_ids: BTreeMap<(Option<usize>, CallKey, usize), usize> = BTreeMap::new();
        for (context, mut group) in groups_in_order(tree, sends) {
            let caller = context.and_then(|node| calls.send_of_callee.get(&node).copied());
            let parent_call = caller.map(|send| calls.attempts[send].call);
            let parent_depth = caller.map_or(0, |send| calls.attempts[send].retry_depth);
            group.sort_by_key(|id| in_time(tree, &sends[*id], sends[*id].count()));
            let sent_again = proxied::take(tree, sends, &mut group);
            let of_key = match context {
                Some(_) => chains(sends, &group, &mut calls.attempts),
                None => across::chains_of_traces(tree, sends, &group, &mut calls.attempts),
            };
            for (key, chains) in of_key {
                for (ordinal, chain) in chains.into_iter().enumerate() {
                    let next = call_ids.len();
                    let call = *call_ids.entry((parent_call, key.clone(), ordinal)).or_insert(next);
                    calls.of_call.resize(call_ids.len(), Vec::new());
                    let chain = proxied::place(&sent_again, chain, &mut calls.attempts);
                    resends::note(sends, &chain, &mut calls.attempts);
                    if context.is_none() {
                        across::unplace(tree, sends, &chain, &mut calls.attempts);
                    }
                    for send in chain {
                        calls.of_call[call].push(send);
                        let attempt = &mut calls.attempts[send];
                        attempt.call = call;
                        attempt.retry_depth = parent_depth + i32::from(attempt.number > 1);
                    }
                }
            }
        }
        for members in &mut calls.of_call {
            members.retain(|send| calls.attempts[*send].kind != AttemptKind::Resend);
            if members.iter().any(|send| calls.attempts[*send].part_of.is_none()) {
                members.retain(|send| calls.attempts[*send].part_of.is_none());
            }
            members.sort_by_key(|id| in_time(tree, &sends[*id], calls.attempts[*id].number));
        }
        calls
    }
}

/// By what sends are ordered: their start, and where clocks are too coarse to tell, as browsers' are, the
/// number that they have.
fn in_time(tree: &Tree<'_>, send: &Send, number: i32) -> (i64, i32, SpanId) {
    (send.start_ns, number, tree.nodes[send.node()].span_id())
}

/// The sends of each context, callers' contexts before callees'.
fn groups_in_order(tree: &Tree<'_>, sends: &[Send]) -> Vec<(Option<NodeId>, Vec<usize>)> {
    let mut of_context: BTreeMap<Option<NodeId>, Vec<usize>> = BTreeMap::new();
    for (id, send) in sends.iter().enumerate() {
        of_context.entry(send.context).or_default().push(id);
    }
    std::iter::once(None)
        .chain(tree.order.iter().map(|id| Some(*id)))
        .filter_map(|context| Some((context, of_context.remove(&context)?)))
        .collect()
}

/// A call while its sends are gathered.
#[derive(Default)]
struct Chain {
    sends: Vec<usize>,
    /// The highest number of its attempts.
    highest: i32,
    /// Its resends, which `http.request.resend_count` counts and an attempt's number does not.
    resends: i32,
}

/// The calls of one context, by key, each a chain of sends in time; fills in `attempts`.
pub(super) fn chains(
    sends: &[Send],
    group: &[usize],
    attempts: &mut [Attempt],
) -> BTreeMap<CallKey, Vec<Vec<usize>>> {
    let mut of_key: BTreeMap<CallKey, Vec<Chain>> = BTreeMap::new();
    let mut invitations = Invitations::default();
    for &id in group {
        let send = &sends[id];
        let chains = of_key.entry(group_key(send)).or_default();
        let last = chains.last().and_then(|chain| chain.sends.last());
        let answered = invitations.answered_by(sends, last.map(|last| &sends[*last]), send);
        let (at, attempt) = match answered {
            Some(chain) => {
                let at = chain.unwrap_or(chains.len());
                (at, Attempt { number: 0, kind: AttemptKind::Resend, ..FIRST })
            }
            None => next_attempt(sends, chains, attempts, send),
        };
        if at == chains.len() {
            chains.push(Chain::default());
        }
        let chain = &mut chains[at];
        chain.sends.push(id);
        chain.highest = chain.highest.max(attempt.number);
        chain.resends += i32::from(attempt.kind == AttemptKind::Resend);
        attempts[id] = attempt;
        if send.redirected && !is_counted_by_beacon(send) {
            invitations.add(id, at);
        }
    }
    let sends_of = |chains: Vec<Chain>| -> Vec<Vec<usize>> {
        chains.into_iter().map(|chain| chain.sends).collect()
    };
    of_key.into_iter().map(|(key, chains)| (key, sends_of(chains))).collect()
}

/// The chain that a send belongs to, one more than there are where it begins one, and as what.
fn next_attempt(
    sends: &[Send],
    chains: &[Chain],
    attempts: &[Attempt],
    send: &Send,
) -> (usize, Attempt) {
    let at = chain_of(sends, chains, attempts, send);
    let before = at.and_then(|at| Some((at, *chains[at].sends.last()?)));
    if let Some((at, before)) = before
        && let Some((kind, evidence)) = continues(&sends[before], send)
    {
        let number = chains[at].highest.max(1).saturating_add(1);
        let said = match send.previous {
            Some((count, Evidence::ResendCount)) => {
                count.saturating_sub(chains[at].resends).saturating_add(1)
            }
            Some((count, _)) => count.saturating_add(1),
            None => 0,
        };
        return (at, Attempt { number: number.max(said), kind, evidence, ..FIRST });
    }
    let attempt = match send.previous {
        // A later attempt implies its call although the first is missing.
        Some((count, evidence)) if count > 0 => {
            let number = count.saturating_add(1);
            let kind = send.kind_as_said().unwrap_or(AttemptKind::Retry);
            Attempt { number, kind, evidence, ..FIRST }
        }
        _ => FIRST,
    };
    (chains.len(), attempt)
}

/// The chain that a send may continue: the latest; of our beacon's requests, which may share a trace
/// that another SDK began, the latest whose last attempt is the one before and asks the same thing.
fn chain_of(sends: &[Send], chains: &[Chain], attempts: &[Attempt], send: &Send) -> Option<usize> {
    let latest = chains.len().checked_sub(1)?;
    let Some((count, Evidence::Beacon)) = send.previous.filter(|_| send.browser) else {
        return Some(latest);
    };
    let is_next = |at: &usize| {
        chains[*at].sends.last().is_some_and(|last| {
            attempts[*last].number == count && sends[*last].key.target == send.key.target
        })
    };
    Some((0..chains.len()).rev().take(CHAINS_LOOKED_AT_MAX).find(is_next).unwrap_or(latest))
}

fn is_counted_by_beacon(send: &Send) -> bool {
    send.browser && matches!(send.previous, Some((_, Evidence::Beacon)))
}

/// All attempts of our beacon in one trace are one call, whatever they name: it has counted them.
fn group_key(send: &Send) -> CallKey {
    if !is_counted_by_beacon(send) {
        return send.key.clone();
    }
    CallKey {
        callee: crate::schema::Label::unknown(),
        method: crate::schema::Label::unknown(),
        target: String::from("beacon"),
    }
}

/// Whether `send` continues the call that `before` belongs to, as what, and who says so.
pub(super) fn continues(before: &Send, send: &Send) -> Option<(AttemptKind, Evidence)> {
    let ended = before.end_ns.is_some_and(|end| end <= send.start_ns);
    let while_waiting =
        if before.caller.is_some() { AttemptKind::Hedge } else { AttemptKind::Overlap };
    let kind = if ended { AttemptKind::Retry } else { while_waiting };
    match send.previous {
        Some((0, Evidence::Beacon)) => return None,
        Some((count, evidence)) if count > 0 => {
            return Some((send.kind_as_said().unwrap_or(kind), evidence));
        }
        // A proxy counts its own sends: its first may well be the application's second.
        _ => {}
    }
    match (&before.idempotency_key, &send.idempotency_key) {
        (Some(before), Some(own)) if before == own => {
            return Some((kind, Evidence::IdempotencyKey));
        }
        (Some(_), Some(_)) => return None,
        _ => {}
    }
    if !ended {
        return send.concrete.then_some((while_waiting, Evidence::Inferred));
    }
    let gap_ns = send.start_ns.saturating_sub(before.end_ns.unwrap_or(send.start_ns));
    (before.failed && gap_ns <= INFERRED_GAP_NS_MAX)
        .then_some((AttemptKind::Retry, Evidence::Inferred))
}
