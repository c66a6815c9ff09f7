//! What a trace cannot know by itself: which others are about the same, what its users and their pages
//! did before and after, and who answers behind a host.
//!
//! Invariant: what is learned later is looked at again, for as long as the trace is open.

use std::collections::BTreeMap;

use super::callees::{Answer, Callees};
use super::idle::Kept;
use super::links::Links;
use super::marks::Deed;
use super::sends::Send;
use super::{Join, SessionKey, derive};
use crate::schema::{Label, PageId, SessionId, Time};

impl Join {
    /// Looks again at the traces that asked a host in vain of which something was learned.
    pub(super) fn tell_who_answers(&mut self) {
        let hosts = self.callees.take_fresh();
        if hosts.is_empty() {
            return;
        }
        let waiting = self.traces.iter().filter(|((_, app), trace)| {
            let mut asked = trace.in_vain.iter().cloned();
            asked.any(|(caller, host)| hosts.contains(&(app.clone(), caller, host)))
        });
        self.dirty_traces.extend(waiting.map(|(key, _)| key.clone()));
    }
}

/// What is around the traces of one application.
pub(super) struct Around<'a> {
    pub(super) sessions: &'a BTreeMap<SessionKey, Kept>,
    pub(super) callees: &'a Callees,
    pub(super) links: &'a Links,
    pub(super) app: &'a Label,
}

impl derive::Outside for Around<'_> {
    fn successor(&self, session: &SessionId, page: &PageId) -> Option<Label> {
        self.sessions.get(&(session.clone(), self.app.clone()))?.look().successor(page)
    }

    fn is_silent(&self, session: &SessionId, page: &PageId, before: Time) -> bool {
        let session = self.sessions.get(&(session.clone(), self.app.clone()));
        session.is_some_and(|session| session.look().is_silent(page, before))
    }

    fn answer(&self, caller: &Label, send: &Send, received: Time) -> Option<Answer> {
        self.callees.answer(&derive::asked_of(self.app, caller, send)?, received)
    }

    fn deed(&self, session: &SessionId, start_ns: i64) -> Option<Deed> {
        self.links.deed(self.app, session, start_ns)
    }

    fn server_ahead_ns(&self, session: &SessionId) -> Option<i64> {
        self.links.server_ahead_ns(self.app, session)
    }
}
