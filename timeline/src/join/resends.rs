//! Sends that answer a redirect or a challenge: no attempts, and no calls of their own.
//!
//! Signals: HTTP's own count, which says that the sender has sent before; redirects and challenges
//! that nobody has answered yet. Where nobody counts, only this is sure: what was challenged is asked
//! again next, within a minute, and is not challenged then. Condition: the latest of them is the reason, whatever was asked in
//! between; a challenge is answered by the same request only. But where the same thing was last
//! asked in vain, that is the reason to send again, since not every redirect is followed. Result: a
//! *resend*, in the chain of what it answers, or in one of its own where it asks for something else.
//! A resend has no number, and the numbers of later attempts do not count it.

use super::calls::{Attempt, AttemptKind, CHAINS_LOOKED_AT_MAX};
use super::links::INFERRED_GAP_NS_MAX;
use super::sends::{Evidence, Send};

/// The redirects and challenges of one context that nobody has answered yet, earliest first.
#[derive(Default)]
pub(super) struct Invitations(Vec<Invitation>);

struct Invitation {
    send: usize,
    /// Its chain among those of its key.
    chain: usize,
}

impl Invitations {
    /// Takes note of a send that was redirected or challenged.
    pub(super) fn add(&mut self, send: usize, chain: usize) {
        self.0.push(Invitation { send, chain });
    }

    /// Whether `send` is a resend, where `last` is the latest send of its key; then which chain of
    /// its key it belongs to, if any. What it answers is answered by that.
    pub(super) fn answered_by(
        &mut self,
        sends: &[Send],
        last: Option<&Send>,
        send: &Send,
    ) -> Option<Option<usize>> {
        let counted = matches!(send.previous, Some((count, Evidence::ResendCount)) if count > 0);
        let replays = |last: &Send| {
            let waited_ns = send.start_ns.saturating_sub(last.end_ns.unwrap_or(send.start_ns));
            let soon = waited_ns <= INFERRED_GAP_NS_MAX;
            last.challenged && last.key == send.key && !send.challenged && soon
        };
        let replayed = send.previous.is_none() && last.is_some_and(replays);
        if !(counted || replayed) || last.is_some_and(|last| last.failed) {
            return None;
        }
        let invites = |at: &usize| {
            let before = &sends[self.0[*at].send];
            let ended = before.end_ns.is_some_and(|end| end <= send.start_ns);
            ended && if before.challenged { before.key == send.key } else { counted }
        };
        let found = (0..self.0.len()).rev().take(CHAINS_LOOKED_AT_MAX).find(invites)?;
        let Invitation { send: before, chain } = self.0.remove(found);
        Some((sends[before].key == send.key).then_some(chain))
    }
}

/// Notes of each resend of a chain which send's answer it brings.
pub(super) fn note(sends: &[Send], chain: &[usize], attempts: &mut [Attempt]) {
    let mut redirected = None;
    for &send in chain {
        let attempt = &mut attempts[send];
        if attempt.kind == AttemptKind::Resend {
            attempt.part_of = redirected;
        } else if attempt.part_of.is_none() && sends[send].redirected {
            redirected = Some(send);
        }
    }
}
