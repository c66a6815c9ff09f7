//! Taking rows in: what is erased, doubled or late, and which trace and session a row belongs to.
//!
//! Nothing is derived here: a row is put where it belongs and what it may change is marked.

use super::prints::fingerprint;
use super::recall::{Ask, Sought};
use super::{Join, erase, sighting, trace, weight};
use crate::schema::{Event, Span};

impl Join {
    pub(super) fn push_span(&mut self, span: Span) {
        let (app, session, user) = erase::whose_span(&span.row);
        if self.is_erased(app, session, user) {
            self.count("erased_span", 1);
            return;
        }
        let key = (span.row.trace_id, span.row.app.clone());
        let session_key = span.row.session_id.clone().map(|id| (id, span.row.app.clone()));
        let (row_time, sent_at) = (span.row.time, span.hints.sent_at);
        let row_of_session = session_key.as_ref().map(|_| span.row.clone());
        if self.released.has(trace::print(&span)) {
            self.count("duplicate_span", 1);
            return;
        }
        let sought = self.recall_trace(&key);
        if sought == Sought::Unknown && self.released.has(fingerprint(&key)) {
            // Its trace was let go and cannot be taken back: it is a timeline by itself.
            self.count("late_span", 1);
        }
        let trace = self.traces.entry(key.clone()).or_default();
        trace.apart |= sought == Sought::Refused;
        if trace.holds(&span) {
            let conflicts = trace.conflicts_with(&span);
            self.count(if conflicts { "dedupe_conflict" } else { "duplicate_span" }, 1);
            return;
        }
        let linked = self.links.see(&span, &self.config);
        self.weight += weight::of_span(&span);
        let late = Ask::of_late_span(self.now, &self.config, &span).map(|ask| (key.clone(), ask));
        trace.add_span(span);
        if !linked {
            self.count("attempt_not_linked", 1);
        }
        self.span_count += 1;
        self.touch(key);
        if let Some((key, ask)) = late {
            self.recall_around(&key, &ask);
        }
        if let Some((session_key, row)) = session_key.zip(row_of_session) {
            let limits = self.config.of_session();
            if !self.session(session_key, row_time).see_span(&row, sent_at, limits) {
                self.count("page_not_kept", 1);
            }
        }
    }

    pub(super) fn push_event(&mut self, event: Event) {
        let (app, session, user) = erase::whose_event(&event.row);
        if self.is_erased(app, session, user) {
            self.count("erased_event", 1);
            return;
        }
        if !self.is_new_event(&event) {
            self.count("duplicate_event", 1);
            return;
        }
        let app = event.row.app.clone();
        if let Some(id) = event.row.session_id.clone() {
            let limits = self.config.of_session();
            let told = self.session((id, app.clone()), event.row.time).see_event(&event, limits);
            if told.forgotten > 0 {
                self.count("left_trace_forgotten", told.forgotten);
            }
            if told.lacks_page {
                self.count("page_not_kept", 1);
            }
            for trace in told.traces {
                let key = (trace, app.clone());
                if self.recall_trace(&key) == Sought::Open {
                    self.dirty_traces.insert(key);
                }
            }
            self.end_sessions(&event);
        }
        let needs_trace = sighting::is_sighting(&event) || event.row.session_id.is_none();
        if sighting::is_sighting(&event) && !self.links.see_event(&event, &self.config) {
            self.count("attempt_not_linked", 1);
        }
        match event.row.trace_id.filter(|_| needs_trace) {
            Some(trace) => {
                let key = (trace, app);
                let sought = self.recall_trace(&key);
                let trace = self.traces.entry(key.clone()).or_default();
                trace.apart |= sought == Sought::Refused;
                if trace.has_come_back_with(&event) {
                    self.count("duplicate_event", 1);
                    return;
                }
                self.weight += weight::of_event(&event);
                let late = Ask::of_late_event(self.now, &self.config, &event);
                trace.add_event(event);
                self.touch(key.clone());
                if let Some(ask) = late {
                    self.recall_around(&key, &ask);
                }
            }
            None => self.ready.events.push(event),
        }
    }

    fn is_new_event(&mut self, event: &Event) -> bool {
        let row = &event.row;
        if let (Some(session), Some(page), Some(sequence)) =
            (row.session_id.clone(), row.page_id.as_ref(), row.sequence)
        {
            let (key, limits) = ((session, row.app.clone()), self.config.of_session());
            if let Some(is_new) = self.session(key, row.time).is_new(page, sequence, limits) {
                return is_new;
            }
            // It is known like an event without a page, for minutes.
            self.count("sequence_not_kept", 1);
            let print = fingerprint(&(&row.app, &row.session_id, page, sequence));
            return self.is_recently_new(print);
        }
        self.is_recently_new(trace::event_print(row))
    }

    /// Takes the fingerprint of what has no identity of its own; false where it has come before.
    pub(super) fn is_recently_new(&mut self, print: u64) -> bool {
        self.recent.is_new(print, self.now, self.config.fingerprints_max)
    }

    /// `session.end` ends its session; `session.start` ends the one it continues.
    fn end_sessions(&mut self, event: &Event) {
        let ended = match event.row.event_name.as_str() {
            "session.end" => event.row.session_id.clone(),
            "session.start" => event.hints.previous_session_id.clone(),
            _ => None,
        };
        let Some(id) = ended else { return };
        let key = (id, event.row.app.clone());
        if self.recall_session(&key) {
            self.session(key, event.row.time).ended = true;
            return;
        }
        let forgotten = self.ended_ahead.remember(&key, self.config.session_ends_max);
        if forgotten > 0 {
            self.count("session_end_forgotten", forgotten);
        }
    }
}
