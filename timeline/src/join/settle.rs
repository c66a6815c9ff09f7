//! What the passing of log time does: traces settle and are let go, sessions close.
//!
//! Signals: the silence of a trace or session, and the budget of what may be open. Conditions: see
//! [`super::Config`]. Over the budget the longest-silent go first, early and counted, so that memory
//! is bounded whatever is sent.

use super::change::Change;
use super::config::seconds_ns;
use super::{Join, TraceKey};
use crate::schema::Time;

impl Join {
    pub(super) fn settle_due(&mut self, changes: &mut Vec<Change>) {
        while let Some((due, key)) = self.due.first().cloned() {
            let over_budget = self.span_count > self.config.spans_max;
            if due > self.now && !over_budget {
                break;
            }
            self.due.pop_first();
            self.settle_trace(key, over_budget, changes);
        }
    }

    /// Looks at one trace whose time has come: settles it, lets it go, or names its next time.
    fn settle_trace(&mut self, key: TraceKey, over_budget: bool, changes: &mut Vec<Change>) {
        let Some(trace) = self.traces.get(&key) else { return };
        let settle = Time(trace.last_arrival.0 + seconds_ns(self.config.settle_s));
        if !over_budget && self.now < settle {
            self.due.insert((settle, key));
            return;
        }
        // An abandonment may have become final by the mere passing of time.
        let bounds = if trace.settled { Vec::new() } else { self.say_trace(&key, changes) };
        let Some(trace) = self.traces.get_mut(&key) else { return };
        let abandon_final = Time(trace.last_arrival.0 + seconds_ns(self.config.abandon_final_s));
        if !over_budget && !trace.settled && !trace.is_final() && self.now <= abandon_final {
            self.due.insert((Time(abandon_final.0 + 1), key));
            return;
        }
        if !trace.settled {
            changes.extend(trace.settle());
            self.bound_clocks(&key.1, bounds);
        }
        let Some(trace) = self.traces.get(&key) else { return };
        let go = Time(trace.last_arrival.0 + seconds_ns(self.config.window_s));
        if !over_budget && self.now < go {
            self.due.insert((go, key));
            return;
        }
        if let Some(trace) = self.traces.remove(&key) {
            self.span_count -= trace.span_count();
        }
        if over_budget {
            self.count("settled_early", 1);
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
            let gone = Time(session.time_received.0 + seconds_ns(self.config.window_s));
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
