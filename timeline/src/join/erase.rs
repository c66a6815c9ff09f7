//! Erasure: a session's or a user's rows go, and later arrivals do not come back.
//!
//! The join drops what it holds and says that it is gone; rows that it has let go of are the
//! store's to find, which [`Change::Erase`] asks for. Settled totals remain: they name nobody.

use super::config::seconds_ns;
use super::{Change, Delta, Join};
use crate::schema::{Erasure, EventRow, Label, SessionId, SpanRow, Subject, Time};

/// Seconds in a day.
const DAY_S: u32 = 24 * 60 * 60;

impl Join {
    /// Erases and binds. Sessions that belong to an erased user are erased with it.
    pub(super) fn erase(&mut self, erasure: Erasure) {
        // What has not been said yet may belong to the session through its trace: say it first.
        let mut changes = self.emit();
        let mut all = vec![erasure.clone()];
        all.extend(self.sessions_of_user(&erasure));
        for erasure in all {
            self.erase_traces(&erasure, &mut changes);
            self.erase_session(&erasure, &mut changes);
            changes.push(Change::Erase(erasure.clone()));
            self.erased.insert(erasure, self.now);
        }
        self.pending = changes;
    }

    /// Erases and binds sessions that the store has found to be an erased user's. What changes by
    /// that is said by the next [`Join::emit`]. False where all were bound already.
    pub fn bind(&mut self, sessions: impl IntoIterator<Item = (Label, SessionId)>) -> bool {
        let mut new = false;
        for (app, session) in sessions {
            let erasure = Erasure { app, subject: Subject::Session(session) };
            if !self.erased.contains_key(&erasure) {
                self.erase(erasure);
                new = true;
            }
        }
        new
    }

    /// Whether a row that arrives now was erased before it came.
    pub(super) fn is_erased(
        &self,
        app: &Label,
        session: Option<&SessionId>,
        user: Option<&str>,
    ) -> bool {
        if self.erased.is_empty() {
            return false;
        }
        let bound =
            |subject: Subject| self.erased.contains_key(&Erasure { app: app.clone(), subject });
        session.is_some_and(|session| bound(Subject::Session(session.clone())))
            || user.is_some_and(|user| bound(Subject::User(String::from(user))))
    }

    /// Forgets erasures that are older than anything kept: nothing of them can come back but by a
    /// sender that has held on to it for longer than we do.
    pub(super) fn forget_erasures(&mut self) {
        let days_ns = i64::from(self.config.erasure_days) * seconds_ns(DAY_S);
        let before = Time(self.now.0.saturating_sub(days_ns));
        self.erased.retain(|_, erased| *erased >= before);
    }

    fn sessions_of_user(&self, erasure: &Erasure) -> Vec<Erasure> {
        let Subject::User(user) = &erasure.subject else { return Vec::new() };
        let of_user = self.sessions.iter().filter(|((_, app), session)| {
            *app == erasure.app && session.look().user() == Some(user.as_str())
        });
        of_user
            .map(|((id, app), _)| Erasure {
                app: app.clone(),
                subject: Subject::Session(id.clone()),
            })
            .collect()
    }

    fn erase_traces(&mut self, erasure: &Erasure, changes: &mut Vec<Change>) {
        let keys: Vec<_> =
            self.traces.keys().filter(|(_, app)| *app == erasure.app).cloned().collect();
        for key in keys {
            let Some(trace) = self.traces.get_mut(&key) else { continue };
            let erased = trace.erase(&|(app, session, user)| erasure.covers(app, session, user));
            if erased.weight == 0 {
                continue;
            }
            changes.extend(erased.gone);
            self.span_count -= erased.spans;
            self.weight -= erased.weight;
            if trace.is_empty() {
                changes.extend(trace.take_requests());
                self.traces.remove(&key);
                self.links.forget(&key);
                self.dirty_traces.remove(&key);
            } else {
                let members = self.links.members(&key);
                self.say_traces(&members, changes);
            }
        }
    }

    fn erase_session(&mut self, erasure: &Erasure, changes: &mut Vec<Change>) {
        let Subject::Session(id) = &erasure.subject else { return };
        let key = (id.clone(), erasure.app.clone());
        self.dirty_sessions.remove(&key);
        if let Some(old) =
            self.sessions.remove(&key).and_then(|mut session| session.wake().said.take())
        {
            changes.push(Change::Session(Delta { old: Some(old), new: None }));
        }
    }
}

/// A row's application, session and user, as erasure asks for them.
pub(super) type Whose<'row> = (&'row Label, Option<&'row SessionId>, Option<&'row str>);

/// Whose span it is, as it was said; a span that was never said is its sender's word.
pub(super) fn whose_span(row: &SpanRow) -> Whose<'_> {
    (&row.app, row.session_id.as_ref(), row.user_id.as_deref())
}

/// Whose event it is.
pub(super) fn whose_event(row: &EventRow) -> Whose<'_> {
    (&row.app, row.session_id.as_ref(), row.user_id.as_deref())
}
