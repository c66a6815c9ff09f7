//! What the passing of log time does: traces settle and are let go, sessions close.
//!
//! Signals: the silence of a trace or session, and the budget of what may be open. Conditions: see
//! [`super::Config`]. Over the budget the longest-silent go first, early and counted, so that memory
//! is bounded whatever is sent.

use super::change::Change;
use super::config::seconds_ns;
use super::recent::fingerprint;
use super::trace::Trace;
use super::{Join, TraceKey};
use crate::schema::Time;

impl Join {
    pub(super) fn settle_due(&mut self, changes: &mut Vec<Change>) {
        self.relink();
        while let Some((due, key)) = self.due.first().cloned() {
            let over_budget = self.span_count > self.config.spans_max;
            if due > self.now && !over_budget {
                break;
            }
            self.due.pop_first();
            self.settle_trace(key, over_budget, changes);
        }
    }

    /// Looks at one trace whose time has come, with all that are linked to it: settles them, lets
    /// them go, or names their next time.
    fn settle_trace(&mut self, key: TraceKey, over_budget: bool, changes: &mut Vec<Change>) {
        let members = self.links.members(&key);
        let held = || members.iter().filter_map(|member| self.traces.get(member));
        let (Some(last), true) =
            (held().map(|trace| trace.last_arrival).max(), self.traces.contains_key(&key))
        else {
            return;
        };
        let settle = Time(last.0 + seconds_ns(self.config.settle_s));
        if !over_budget && self.now < settle {
            self.due.insert((settle, key));
            return;
        }
        let settled = held().all(|trace| trace.settled);
        // An abandonment may have become final by the mere passing of time.
        let bounds = if settled { Vec::new() } else { self.say_traces(&members, changes) };
        let is_final =
            members.iter().filter_map(|key| self.traces.get(key)).all(|trace| trace.is_final());
        let abandon_final = Time(last.0 + seconds_ns(self.config.abandon_final_s));
        if !over_budget && !settled && !is_final && self.now <= abandon_final {
            self.due.insert((Time(abandon_final.0 + 1), key));
            return;
        }
        let go = Time(last.0 + seconds_ns(self.config.window_s));
        let orphaned = members.iter().filter_map(|key| self.traces.get(key));
        if !over_budget
            && !settled
            && self.now < go
            && orphaned.into_iter().any(Trace::waits_for_parent)
        {
            self.due.insert((go, key));
            return;
        }
        for member in &members {
            if let Some(trace) = self.traces.get_mut(member).filter(|trace| !trace.settled) {
                changes.extend(trace.settle());
            }
        }
        self.bound_clocks(&key.1, bounds);
        if !over_budget && self.now < go {
            self.due.insert((go, key));
            return;
        }
        for member in &members {
            if let Some(trace) = self.traces.remove(member) {
                self.span_count -= trace.span_count();
                for print in trace.prints() {
                    self.released.is_new(print, self.now);
                }
                self.released.is_new(fingerprint(member), self.now);
            }
            self.links.forget(member);
            if over_budget {
                self.count("settled_early", 1);
            }
        }
    }

    pub(super) fn close_due_sessions(&mut self) {
        while let Some((due, key)) = self.session_due.first().cloned() {
            let over_budget = self.sessions.len() > self.config.sessions_max;
            if due > self.now && !over_budget {
                break;
            }
            self.session_due.pop_first();
            let Some(session) = self.sessions.get_mut(&key) else { continue };
            let idle = session.time_received.0 + seconds_ns(self.config.session_idle_s);
            let aged = session.start().0 + seconds_ns(self.config.session_age_s);
            // Kept for as long as a session may last, so that a user who comes back continues it.
            let gone = Time(session.time_received.0 + seconds_ns(self.config.session_age_s));
            if session.closed && (over_budget || self.now >= gone) {
                self.sessions.remove(&key);
            } else if !over_budget && self.now.0 < idle.min(aged) {
                self.session_due.insert((Time(idle.min(aged)), key));
            } else {
                session.closed = true;
                self.dirty_sessions.insert(key.clone());
                self.session_due.insert((Time(gone.0.max(self.now.0 + 1)), key));
            }
        }
    }
}
