//! Which sends are attempts of one call, and which calls are one logical call.
//!
//! *Attempts* are the sends of one call by one caller. Two sends belong to one *logical call* when
//! they are attempts of each other, or when their parents belong to one logical call and they have
//! the same key and the same ordinal under their parent. The original of a logical call is its
//! earliest known send, so a denominator is never 0.
//!
//! Evidence in order: what the beacon, HTTP, gRPC or a proxy counted; a shared idempotency key;
//! else inference: the same caller asks the same thing again after a failure, or, for a concrete
//! target, while it still waits. Attempts in traces of their own are joined in [`super::across`].

use std::collections::BTreeMap;

use super::across;
use super::links::INFERRED_GAP_NS_MAX;
use super::sends::{CallKey, Evidence, Send};
use super::tree::{NodeId, Tree};

/// Calls of one trace among which an attempt's own is looked for: a page has fewer requests pending
/// at once, and a trace of a hundred thousand must stay cheap.
const CHAINS_LOOKED_AT_MAX: usize = 64;

/// How a send relates to the earlier ones of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptKind {
    First,
    Retry,
    Hedge,
    Overlap,
    Resend,
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
        }
    }
}

/// What is known of one send.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// Its logical call.
    pub(super) call: usize,
    /// Its place in its call; the first is 1, a resend is 0.
    pub(super) number: i32,
    pub(super) kind: AttemptKind,
    pub(super) evidence: Evidence,
    /// Retries on the way from the root to this send.
    pub(super) retry_depth: i32,
}

/// The sends of some traces, sorted into calls.
pub(super) struct Calls {
    /// One for each send, in the order of the sends.
    pub(super) attempts: Vec<Attempt>,
    /// The sends of each logical call, earliest first, resends left out.
    pub(super) of_call: Vec<Vec<usize>>,
    /// The send whose callee's execution a node stands for.
    pub(super) send_of_callee: BTreeMap<NodeId, usize>,
}

impl Calls {
    /// Sorts `sends` (parents before children) into calls.
    pub(super) fn new(tree: &Tree<'_>, sends: &[Send]) -> Self {
        let send_of_callee =
            sends.iter().enumerate().filter_map(|(id, send)| Some((send.callee?, id))).collect();
        let mut calls = Self { attempts: blank(sends.len()), of_call: Vec::new(), send_of_callee };
        let mut call_ids: BTreeMap<(Option<usize>, CallKey, usize), usize> = BTreeMap::new();
        for (context, mut group) in groups_in_order(tree, sends) {
            let caller = context.and_then(|node| calls.send_of_callee.get(&node).copied());
            let parent_call = caller.map(|send| calls.attempts[send].call);
            let parent_depth = caller.map_or(0, |send| calls.attempts[send].retry_depth);
            group.sort_by_key(|id| (sends[*id].start_ns, tree.nodes[sends[*id].node()].span_id()));
            let of_key = match context {
                Some(_) => chains(sends, &group, &mut calls.attempts),
                None => across::chains_of_traces(tree, sends, &group, &mut calls.attempts),
            };
            for (key, chains) in of_key {
                for (ordinal, chain) in chains.into_iter().enumerate() {
                    let next = call_ids.len();
                    let call = *call_ids.entry((parent_call, key.clone(), ordinal)).or_insert(next);
                    calls.of_call.resize(call_ids.len(), Vec::new());
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
            members
                .sort_by_key(|id| (sends[*id].start_ns, tree.nodes[sends[*id].node()].span_id()));
        }
        calls
    }
}

fn blank(count: usize) -> Vec<Attempt> {
    let attempt = Attempt {
        call: 0,
        number: 1,
        kind: AttemptKind::First,
        evidence: Evidence::None,
        retry_depth: 0,
    };
    vec![attempt; count]
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

/// The calls of one context, by key, each a chain of sends in time; fills in `attempts`.
pub(super) fn chains(
    sends: &[Send],
    group: &[usize],
    attempts: &mut [Attempt],
) -> BTreeMap<CallKey, Vec<Vec<usize>>> {
    let mut of_key: BTreeMap<CallKey, Vec<Vec<usize>>> = BTreeMap::new();
    let mut latest: Option<usize> = None;
    for &id in group {
        let send = &sends[id];
        let chains = of_key.entry(group_key(send)).or_default();
        let redirect = latest.is_some_and(|latest| is_resend(&sends[latest], send));
        latest = Some(id);
        if redirect {
            attempts[id].kind = AttemptKind::Resend;
            attempts[id].number = 0;
            match chains.last_mut() {
                Some(chain) => chain.push(id),
                None => chains.push(vec![id]),
            }
            continue;
        }
        let at = chain_of(sends, chains, attempts, send);
        let before = at.and_then(|at| chains[at].last().copied());
        match before.and_then(|before| continues(&sends[before], send)) {
            Some((kind, evidence)) => {
                let number = before.map_or(1, |before| attempts[before].number.max(1)) + 1;
                let said = send.previous.map_or(0, |(count, _)| count + 1);
                attempts[id] = Attempt { number: number.max(said), kind, evidence, ..attempts[id] };
                if let Some(at) = at {
                    chains[at].push(id);
                }
            }
            None => {
                if let Some((count, evidence)) = send.previous.filter(|(count, _)| *count > 0) {
                    // A later attempt implies its call although the first is missing.
                    let number = count + 1;
                    attempts[id] =
                        Attempt { number, kind: AttemptKind::Retry, evidence, ..attempts[id] };
                }
                chains.push(vec![id]);
            }
        }
    }
    of_key
}

/// The chain that a send may continue: the latest; of our beacon's requests, which may share a trace
/// that another SDK began, the latest whose last attempt is the one before and asks the same thing.
fn chain_of(
    sends: &[Send],
    chains: &[Vec<usize>],
    attempts: &[Attempt],
    send: &Send,
) -> Option<usize> {
    let latest = chains.len().checked_sub(1)?;
    let Some((count, Evidence::Beacon)) = send.previous.filter(|_| send.browser) else {
        return Some(latest);
    };
    let is_next = |at: &usize| {
        chains[*at].last().is_some_and(|last| {
            attempts[*last].number == count && sends[*last].key.target == send.key.target
        })
    };
    Some((0..chains.len()).rev().take(CHAINS_LOOKED_AT_MAX).find(is_next).unwrap_or(latest))
}

/// All attempts of our beacon in one trace are one call, whatever they name: it has counted them.
fn group_key(send: &Send) -> CallKey {
    match send.previous {
        Some((_, Evidence::Beacon)) if send.browser => CallKey {
            callee: crate::schema::Label::unknown(),
            method: crate::schema::Label::unknown(),
            target: String::from("beacon"),
        },
        _ => send.key.clone(),
    }
}

/// A redirect or a challenge was answered by sending again: neither a retry nor a call of its own.
fn is_resend(before: &Send, send: &Send) -> bool {
    let counted = matches!(send.previous, Some((count, Evidence::ResendCount)) if count > 0);
    counted && before.redirected && before.end_ns.is_some_and(|end| end <= send.start_ns)
}

/// Whether `send` continues the call that `before` belongs to, as what, and who says so.
fn continues(before: &Send, send: &Send) -> Option<(AttemptKind, Evidence)> {
    let ended = before.end_ns.is_some_and(|end| end <= send.start_ns);
    let while_waiting =
        if before.caller.is_some() { AttemptKind::Hedge } else { AttemptKind::Overlap };
    let kind = if ended { AttemptKind::Retry } else { while_waiting };
    match send.previous {
        Some((0, Evidence::Beacon)) => return None,
        Some((count, evidence)) if count > 0 => {
            let said = send.said_kind.as_ref().map(|said| match said.as_str() {
                "hedge" => AttemptKind::Hedge,
                _ => AttemptKind::Retry,
            });
            return Some((said.unwrap_or(kind), evidence));
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
