//! Requests that their users left: what the beacon said, and what only gives it away.
//!
//! Observed: the latest word of the page is that it was abandoned. Inferred: the page fell silent
//! while it waited (`silence`), or a browser that told nothing of the request hung up on the server
//! (`disconnect`). Both are kept apart in `abandon_evidence`.
//!
//! Invariant: a service that hangs up on another is never a user who left.

use super::derive::{Moment, Outside};
use super::request::{Ended, Request};
use super::sighting::Sighting;
use crate::schema::Label;

impl Request<'_, '_> {
    /// An abandonment that nobody told of, by what gives it away.
    pub(super) fn left_unseen(
        &self,
        outcome: &str,
        decisive: &Ended<'_>,
        outside: &dyn Outside,
    ) -> Option<&'static str> {
        if let Some(sighting) = decisive.sighting {
            let silent = outcome == "pending" && fell_silent(sighting, outside, self.all.moment);
            return silent.then_some("silence");
        }
        (decisive.send.caller.is_none() && self.was_hung_up_on(decisive)).then_some("disconnect")
    }

    /// Whether a browser closed the connection before it had the answer: a browser by its own name,
    /// or by the session that the request was made in. Where the trace has other work that this one
    /// does not contain, its caller is a service whose span is missing.
    fn was_hung_up_on(&self, decisive: &Ended<'_>) -> bool {
        let (Some(callee), Some(node)) = (decisive.callee, decisive.send.callee) else {
            return false;
        };
        let in_session = self.rows.get(node).is_some_and(|row| row.session_id.is_some());
        callee.hints.hung_up
            && (callee.hints.browser_made || in_session)
            && self.all.roots.get(&decisive.send.home) == Some(&1)
    }

    /// An abandonment may be withdrawn until its page has been silent; a pending request may end;
    /// and what a server saw alone may turn out to be a browser's.
    pub(super) fn is_final(&self, outcome: &str, abandoned: Option<&Sighting>) -> bool {
        let moment = self.all.moment;
        let orphaned = self.members.first().is_some_and(|first| {
            let first = &self.all.sends[*first];
            let span = first
                .callee
                .filter(|_| first.caller.is_none())
                .and_then(|callee| self.all.tree.nodes[callee].span());
            span.is_some_and(|span| span.row.parent_span_id.is_some())
        });
        if orphaned && !moment.parents_final {
            return false;
        }
        match outcome {
            "abandoned" => abandoned.is_none_or(|sighting| {
                sighting.event.row.time_received <= moment.abandon_final_before
            }),
            "pending" => false,
            _ => true,
        }
    }
}

/// Whether the page of a pending attempt has said nothing for so long that its user has left.
pub(super) fn fell_silent(sighting: &Sighting, outside: &dyn Outside, moment: Moment) -> bool {
    let row = &sighting.event.row;
    let page = row.session_id.as_ref().zip(row.page_id.as_ref());
    row.event_name == "behavior.pending"
        && page.is_some_and(|(session, page)| {
            outside.is_silent(session, page, moment.abandon_final_before)
        })
}

/// What the beacon could not know when the page was left, the next page of the tab tells.
pub(super) fn trigger(sighting: &Sighting, outside: &dyn Outside) -> Label {
    let row = &sighting.event.row;
    let said = sighting.event.hints.abandon_trigger.clone().unwrap_or_else(|| Label::new("leave"));
    if said != "leave" {
        return said;
    }
    let successor = row
        .session_id
        .as_ref()
        .zip(row.page_id.as_ref())
        .and_then(|(session, page)| outside.successor(session, page));
    match successor {
        Some(kind) if kind == "reload" => kind,
        Some(_) => Label::new("navigate"),
        None => said,
    }
}
