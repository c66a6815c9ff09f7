//! What was sent again for a caller that tells of one send only.
//!
//! A proxy without spans of its own, or a gRPC channel below its tracing, sends a call several times
//! under one span of the caller's. Signals: the callees' spans below that one span; their word for
//! the number of earlier sends (Envoy's or gRPC's count), else inference. Condition: the same service
//! was asked for the same thing as by the first of them, and the send continues the one before by
//! [`continues`]. Whether that one had ended or failed is judged by its own span: the caller's lasts
//! until the proxy gives up. Result: attempts of the caller's call, right after the caller's own send.
//!
//! Invariant: the clocks of a caller and its callee are never compared.

use std::collections::{BTreeMap, BTreeSet};

use super::calls::{Attempt, AttemptKind, continues};
use super::sends::{Evidence, Send, callee_send};
use super::tree::Tree;

/// A send that was made again.
pub(super) struct Again {
    send: usize,
    kind: AttemptKind,
    evidence: Evidence,
    /// How many sends after the caller's own this one is, as far as it is said.
    after: i32,
}

/// By the caller's send, what was sent again for it.
pub(super) type SentAgain = BTreeMap<usize, Vec<Again>>;

/// Takes out of `group`, which is in the order of time, what was sent again for a caller of it.
pub(super) fn take(tree: &Tree<'_>, sends: &[Send], group: &mut Vec<usize>) -> SentAgain {
    let mut beside: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &id in group.iter() {
        if let Some(caller) = sends[id].beside {
            beside.entry(caller).or_default().push(id);
        }
    }
    let mut sent_again = SentAgain::new();
    for (caller, others) in beside {
        let Some(first) = sends[caller].callee.map(|callee| callee_send(tree, callee)) else {
            continue;
        };
        let found = follow(sends, &first, &others);
        if !found.is_empty() {
            sent_again.insert(caller, found);
        }
    }
    let taken: BTreeSet<usize> = sent_again.values().flatten().map(|again| again.send).collect();
    group.retain(|id| !taken.contains(id));
    sent_again
}

/// Those of `others`, under the same span of the caller's, that were made because of `first`.
fn follow(sends: &[Send], first: &Send, others: &[usize]) -> Vec<Again> {
    let earlier = |send: &Send| send.previous.map_or(0, |(count, _)| count);
    let mut found: Vec<Again> = Vec::new();
    for &id in others {
        let send = &sends[id];
        let before = found.last().map_or(first, |again| &sends[again.send]);
        if send.key != first.key {
            continue;
        }
        if let Some((kind, evidence)) = continues(before, send) {
            let after = earlier(send).saturating_sub(earlier(first));
            found.push(Again { send: id, kind, evidence, after });
        }
    }
    found
}

/// Puts what was sent again into the chain of its caller's send, and numbers the chain anew.
pub(super) fn place(
    sent_again: &SentAgain,
    chain: Vec<usize>,
    attempts: &mut [Attempt],
) -> Vec<usize> {
    if sent_again.is_empty() {
        return chain;
    }
    let mut placed = Vec::with_capacity(chain.len());
    let (mut highest, mut added) = (0_i32, 0_i32);
    for send in chain {
        let own = &mut attempts[send];
        if own.kind != AttemptKind::Resend {
            own.number = own.number.saturating_add(added);
        }
        highest = highest.max(own.number);
        let base = highest;
        placed.push(send);
        for again in sent_again.get(&send).into_iter().flatten() {
            let number = highest.saturating_add(1).max(base.saturating_add(again.after));
            added = added.saturating_add(number.saturating_sub(highest));
            highest = number;
            let attempt = &mut attempts[again.send];
            (attempt.number, attempt.kind, attempt.evidence) = (number, again.kind, again.evidence);
            attempt.part_of = Some(send);
            placed.push(again.send);
        }
    }
    placed
}
