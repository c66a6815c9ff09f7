//! What the passing of log time does: traces settle and are let go, sessions sleep and close.
//!
//! Signals: the silence of a trace or session, and the budget of what may be open. Conditions: see
//! [`super::Config`]. Over a budget the longest-silent go first, early and counted, so that memory
//! is bounded whatever is sent.

use super::change::Change;
use super::config::seconds_ns;
use super::prints::fingerprint;
use super::recall::MINUTE_NS;
use super::trace::Trace;
use super::{Join, SessionKey, TraceKey};
use crate::schema::Time;

/// A session is packed when it has been silent for this long, in seconds: a page in use is spoken
/// of every few seconds, and packing takes microseconds.
const SESSION_SLEEP_S: u32 = 60;

/// When a session that was spoken of at `now` is looked at again.
pub(super) fn sleep_time(now: Time) -> Time {
    Time(now.0 + seconds_ns(SESSION_SLEEP_S))
}

/// What is left after an eviction: a tenth of the budget is made free at once, so that finding the
/// longest-silent is paid for by many that go.
fn spared(budget: usize) -> usize {
    budget - budget / 10
}

/// The second of log time that a moment is in.
fn second(time: Time) -> i64 {
    time.0.div_euclid(seconds_ns(1))
}

impl Join {
    /// Lets log time pass. What has come is said, learned from, settled and let go once a second, and
    /// when a budget is exceeded: less often, knowledge would come late; with each record, a trace that
    /// comes in a thousand would be derived a thousand times.
    pub(super) fn advance(&mut self, now: Time) {
        if now <= self.now {
            return;
        }
        let same_second = second(now) == second(self.now);
        self.now = now;
        if same_second && !self.is_over_budget() {
            return;
        }
        self.recall_refused();
        let mut changes = std::mem::take(&mut self.pending);
        self.learn(&mut changes);
        self.settle_due(&mut changes);
        self.close_due_sessions(&mut changes);
        self.pending = changes;
        self.forget_erasures();
        let window = Time(now.0 - seconds_ns(self.config.duplicate_window_s));
        self.recent.forget_before(window);
        self.released.forget_before(window);
        let gone_early = self.recent.take_gone_early() + self.released.take_gone_early();
        if gone_early > 0 {
            self.count("fingerprint_forgotten", gone_early);
        }
    }

    fn is_over_budget(&self) -> bool {
        self.weight > self.config.spans_max || self.sessions.len() > self.config.sessions_max
    }

    /// Says what has come since the last call of [`Join::emit`], learns from it, and says what that
    /// changes. Whatever was said when in between, from here on nothing depends on it.
    fn learn(&mut self, changes: &mut Vec<Change>) {
        loop {
            self.say_dirty_traces(changes);
            let forgotten = self.callees.learn(self.config.callee_places_max);
            if forgotten > 0 {
                self.count("callee_forgotten", forgotten);
            }
            self.tell_who_answers();
            if self.dirty_traces.is_empty() {
                return;
            }
        }
    }

    fn settle_due(&mut self, changes: &mut Vec<Change>) {
        while let Some((due, key)) = self.due.first().cloned() {
            if due > self.now {
                break;
            }
            self.due.pop_first();
            self.settle_trace(key, false, changes);
        }
        if self.weight > self.config.spans_max {
            self.evict_traces(changes);
        }
    }

    fn evict_traces(&mut self, changes: &mut Vec<Change>) {
        // Those that wait for their older part go last: by themselves they stay doubled. What waits for
        // something beside it is whole, and late rows are not to push out others.
        let traces = self.traces.iter().map(|(key, trace)| {
            (self.recalls.refused.awaits(key), trace.last_arrival, key.clone())
        });
        let mut silent: Vec<(bool, Time, TraceKey)> = traces.collect();
        silent.sort_unstable();
        for (_, _, key) in silent {
            if self.weight <= spared(self.config.spans_max) {
                break;
            }
            self.settle_trace(key, true, changes);
        }
    }

    /// Looks at one trace whose time has come, with all that are linked to it: settles them, lets
    /// them go, or names their next time. It says them whenever it does so, since an abandonment may
    /// have become final by the mere passing of time.
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
        if !over_budget && members.iter().any(|member| self.recalls.await_for(member)) {
            self.due.insert((Time(self.now.0 + MINUTE_NS), key));
            return;
        }
        let settled = held().all(|trace| trace.settled);
        let window_end = Time(last.0 + seconds_ns(self.config.window_s));
        let awaited = held().any(|trace| trace.recalled)
            || members.iter().any(|member| self.links.holds(member));
        let is_kept = awaited && !over_budget && self.now < window_end;
        if settled && is_kept {
            self.due.insert((window_end, key));
            return;
        }
        let parents_final =
            over_budget || self.now >= window_end || !held().any(Trace::waits_for_parent);
        for member in &members {
            if let Some(trace) = self.traces.get_mut(member) {
                trace.parents_final |= parents_final;
            }
        }
        let bounds = self.say_traces(&members, changes);
        let held = || members.iter().filter_map(|member| self.traces.get(member));
        let abandon_final = Time(last.0 + seconds_ns(self.config.abandon_final_s));
        let is_final = held().all(Trace::is_final);
        if !over_budget && !settled && !is_final && self.now <= abandon_final {
            self.due.insert((Time(abandon_final.0 + 1), key));
            return;
        }
        if !settled && !parents_final {
            self.due.insert((window_end, key));
            return;
        }
        self.count_facts(&members, changes);
        self.bound_clocks(&key.1, bounds);
        if is_kept {
            self.due.insert((window_end, key));
            return;
        }
        if over_budget {
            self.count("settled_early", members.len() as u64);
        }
        self.let_go(&members);
    }

    /// Says what counters may count of traces that settle.
    fn count_facts(&mut self, members: &[TraceKey], changes: &mut Vec<Change>) {
        let mut in_two_sessions = 0;
        for member in members {
            if let Some(trace) = self.traces.get_mut(member).filter(|trace| !trace.settled) {
                changes.extend(trace.settle());
                in_two_sessions += u64::from(trace.is_first_seen_in_two_sessions());
            }
        }
        if in_two_sessions > 0 {
            self.count("trace_in_two_sessions", in_two_sessions);
        }
    }

    fn let_go(&mut self, members: &[TraceKey]) {
        let (mut group, most) = (Vec::new(), self.config.fingerprints_max);
        for member in members {
            self.links.forget(member);
            self.dirty_traces.remove(member);
            let Some(trace) = self.traces.remove(member) else { continue };
            self.span_count -= trace.span_count();
            self.weight -= trace.weight();
            for print in trace.prints() {
                self.released.is_new(print, self.now, most);
            }
            self.released.is_new(fingerprint(member), self.now, most);
            if self.recalls.around.forget(member) {
                self.count("attempt_not_sought", 1);
            }
            if !trace.apart {
                group.push((member.clone(), trace));
            } else if self.recalls.refused.forget(member) {
                // The older part stays what a late row takes back.
                self.count("recall_given_up", 1);
            }
        }
        self.shelve_traces(group);
    }

    fn close_due_sessions(&mut self, changes: &mut Vec<Change>) {
        while let Some((due, key)) = self.session_due.first().cloned() {
            if due > self.now {
                break;
            }
            self.session_due.pop_first();
            let Some(kept) = self.sessions.get_mut(&key) else { continue };
            let (silent_since, ends) = kept.look().ends(&self.config);
            if self.now >= ends {
                self.close_session(&key, changes);
                continue;
            }
            let sleep = sleep_time(silent_since);
            let next = if self.now < sleep { sleep } else { ends };
            if self.now >= sleep && !self.dirty_sessions.contains(&key) {
                kept.sleep();
            }
            self.session_due.insert((next.min(ends), key));
        }
        if self.sessions.len() > self.config.sessions_max {
            self.evict_sessions(changes);
        }
    }

    fn evict_sessions(&mut self, changes: &mut Vec<Change>) {
        let silent_since = |(key, kept): (&SessionKey, &super::Kept)| {
            (kept.look().ends(&self.config).0, key.clone())
        };
        let mut silent: Vec<(Time, SessionKey)> = self.sessions.iter().map(silent_since).collect();
        silent.sort_unstable();
        let number = self.sessions.len() - spared(self.config.sessions_max);
        for (_, key) in silent.into_iter().take(number) {
            self.close_session(&key, changes);
            self.count("session_closed_early", 1);
        }
    }

    /// Says that a session is closed, and lays it away.
    fn close_session(&mut self, key: &SessionKey, changes: &mut Vec<Change>) {
        if let Some(kept) = self.sessions.get_mut(key) {
            let session = kept.wake();
            session.closed = true;
            if session.take_forgot_minute() {
                self.count("session_minute_not_kept", 1);
            }
        }
        self.say_session(key, changes);
        self.dirty_sessions.remove(key);
        if let Some(mut kept) = self.sessions.remove(key) {
            self.shelve_session(key, kept.wake());
        }
    }
}
