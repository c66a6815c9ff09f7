//! Which sends were for nothing: work whose answer nobody used.
//!
//! Signals: how each send ended, which of its call answered first, and who had left. A send is
//! wasted when it failed, when a sibling had won, when its user had left, or when the work it was
//! part of was wasted. One that is still awaited is not, as long as nobody else has won.

use std::collections::BTreeMap;

use super::calls::{AttemptKind, Calls};
use super::sends::Send;
use super::sighting::Sighting;
use super::tree::{NodeId, Tree};
use crate::schema::{SpanId, TraceId};

/// For each send (parents before children) whether it was for nothing.
pub(super) fn wasted(
    tree: &Tree<'_>,
    sends: &[Send],
    calls: &Calls,
    sighted: &BTreeMap<(TraceId, SpanId), Sighting>,
) -> Vec<bool> {
    let left = |send: &Send| {
        let teller = &tree.nodes[send.teller];
        // An answer that came in spite of it was taken back from the abandonment, and counts.
        send.browser
            && teller.span().is_none()
            && sighted.get(&(teller.trace_id(), teller.span_id())).is_some_and(|s| s.abandoned)
    };
    let mut winners: BTreeMap<(Option<NodeId>, usize), usize> = BTreeMap::new();
    for (id, send) in sends.iter().enumerate() {
        let answered = send.end_ns.is_some() && !send.failed && !left(send);
        if answered && calls.attempts[id].kind != AttemptKind::Resend {
            let winner = winners.entry((send.context, calls.attempts[id].call)).or_insert(id);
            if send.end_ns < sends[*winner].end_ns {
                *winner = id;
            }
        }
    }
    let mut wasted: Vec<bool> = Vec::with_capacity(sends.len());
    for (id, send) in sends.iter().enumerate() {
        let above = send.context.and_then(|node| calls.send_of_callee.get(&node));
        let winner = winners.get(&(send.context, calls.attempts[id].call));
        wasted.push(
            // A caller's send comes before those that its callee makes.
            above.is_some_and(|above| wasted.get(*above).copied().unwrap_or(false))
                || send.failed
                || left(send)
                || winner.is_some_and(|winner| *winner != id),
        );
    }
    wasted
}
