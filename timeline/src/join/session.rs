//! One session so far: sums over its rows, and what its pages tell of each other.
//!
//! It holds no rows: a request adds to the sums when it comes and subtracts when it goes, so a
//! session of any length costs its pages and its active minutes.
//!
//! Invariant: every field is a minimum, a maximum, a set or a signed sum, so that the order of
//! arrival does not matter.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::change::Placed;
use super::config::{Config, SessionLimits, seconds_ns};
use super::page::Page;
use crate::schema::{
    Event, Label, PageId, RequestRow, SessionId, SessionRow, SpanRow, Time, TraceId,
};

/// The fastest that an operating system slews a clock by, in millionths; quartzes stay far below.
const DRIFT_PPM_MAX: i64 = 500;

/// One session so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Session {
    app: Label,
    session_id: SessionId,
    start: Time,
    end: Time,
    pub(super) time_received: Time,
    /// Environment and place of the earliest row that names them.
    place: Option<(Time, Label, Label, Label, Label)>,
    user: Option<(Time, String)>,
    pages: BTreeMap<PageId, Page>,
    requests: i64,
    attempts: i64,
    failures: i64,
    exceptions: i64,
    rage_clicks: i64,
    abandonments: i64,
    requests_of_minute: BTreeMap<i64, i64>,
    /// Requests were made in a minute that there was no room for.
    forgot_minute: bool,
    clock_low_ns: Option<i64>,
    clock_high_ns: Option<i64>,
    verified: bool,
    /// Ended by its own word: `session.end`, or the start of its successor.
    pub(super) ended: bool,
    /// Closed by silence or age; a later row opens it again.
    pub(super) closed: bool,
    pub(super) said: Option<Placed<SessionRow>>,
}

/// What an event tells beside its session.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The traces whose outcome it may change.
    pub(super) traces: Vec<TraceId>,
    /// How many traces that its page left had to be forgotten for it.
    pub(super) forgotten: u64,
    /// Its page is one of more than are kept.
    pub(super) lacks_page: bool,
}

impl Session {
    pub(super) fn new(app: Label, session_id: SessionId, time: Time) -> Self {
        Self {
            app,
            session_id,
            start: time,
            end: time,
            time_received: Time::default(),
            place: None,
            user: None,
            pages: BTreeMap::new(),
            requests: 0,
            attempts: 0,
            failures: 0,
            exceptions: 0,
            rage_clicks: 0,
            abandonments: 0,
            requests_of_minute: BTreeMap::new(),
            forgot_minute: false,
            clock_low_ns: None,
            clock_high_ns: None,
            verified: true,
            ended: false,
            closed: false,
            said: None,
        }
    }

    /// Log time since which it has been silent, and at which it ends if it stays so. One that was
    /// closed and spoken of again has outlived its age, and ends by silence alone.
    pub(super) fn ends(&self, config: &Config) -> (Time, Time) {
        let idle = Time(self.time_received.0 + seconds_ns(config.session_idle_s));
        let aged = Time(self.start.0.saturating_add(seconds_ns(config.session_age_s)));
        let reopened = self.said.as_ref().is_some_and(|(_, row)| row.state != "open");
        (self.time_received, if reopened { idle } else { idle.min(aged) })
    }

    /// Takes an event's sequence number: whether its page sends it for the first time, or `None` where
    /// there is no room to remember it.
    pub(super) fn is_new(
        &mut self,
        page: &PageId,
        sequence: i64,
        limits: SessionLimits,
    ) -> Option<bool> {
        self.page(page, limits)?.is_new(sequence, limits.ranges)
    }

    fn page(&mut self, page: &PageId, limits: SessionLimits) -> Option<&mut Page> {
        if !self.pages.contains_key(page) && self.pages.len() >= limits.pages {
            return None;
        }
        Some(self.pages.entry(page.clone()).or_default())
    }

    /// Takes in what a span tells of the session; false where there is no room for its page.
    pub(super) fn see_span(
        &mut self,
        row: &SpanRow,
        sent_at: Option<Time>,
        limits: SessionLimits,
    ) -> bool {
        self.see(row.time, row.time_received, sent_at, row.verified);
        self.see_place(row.time, &row.environment, [&row.country, &row.subdivision, &row.region]);
        self.see_user(row.time, row.user_id.as_ref());
        self.see_page(row.page_id.as_ref(), row.time_received, limits)
    }

    /// Takes note that a page was heard of; false where there is no room for it.
    fn see_page(&mut self, page: Option<&PageId>, received: Time, limits: SessionLimits) -> bool {
        let Some(page) = page else { return true };
        let Some(page) = self.page(page, limits) else { return false };
        page.hear(received);
        true
    }

    /// Takes in what an event tells of the session.
    pub(super) fn see_event(&mut self, event: &Event, limits: SessionLimits) -> Told {
        let Event { row, hints } = event;
        self.see(row.time, row.time_received, hints.sent_at, row.verified);
        self.see_place(row.time, &row.environment, [&row.country, &row.subdivision, &row.region]);
        self.see_user(row.time, row.user_id.as_ref());
        let has_page = self.see_page(row.page_id.as_ref(), row.time_received, limits);
        let mut told = Told { lacks_page: !has_page, ..Told::default() };
        match row.event_name.as_str() {
            "behavior.visibility" => {
                let word = row.sequence.zip(hints.hidden);
                if let Some(page) = row.page_id.as_ref().and_then(|page| self.page(page, limits)) {
                    page.hide(word);
                }
            }
            "browser.navigation" => told.traces = self.see_navigation(event, limits),
            "behavior.abandon" => {
                if let Some((page, trace)) = row.page_id.as_ref().zip(row.trace_id)
                    && let Some(page) = self.page(page, limits)
                {
                    told.forgotten = page.leave(trace, limits.left_traces);
                }
            }
            "behavior.click_burst" => self.rage_clicks += 1,
            "exception" => self.exceptions += 1,
            _ => {}
        }
        told
    }

    fn see(&mut self, time: Time, received: Time, sent_at: Option<Time>, verified: bool) {
        self.start = self.start.min(time);
        self.end = self.end.max(time);
        self.time_received = self.time_received.max(received);
        self.verified &= verified;
        if let Some(sent_at) = sent_at {
            // A body is received after it was sent: the offset is at most this difference.
            self.bound_clock(None, Some(received.0.saturating_sub(sent_at.0)));
        }
    }

    fn see_place(&mut self, time: Time, environment: &Label, place: [&Label; 3]) {
        if place[0].is_unknown() && place[2].is_unknown() {
            return;
        }
        let [country, subdivision, region] = place.map(Label::clone);
        let seen = (time, environment.clone(), country, subdivision, region);
        // The whole tuple is compared, so that a tie in time does not leave it to the arrival.
        if self.place.as_ref().is_none_or(|earliest| seen < *earliest) {
            self.place = Some(seen);
        }
    }

    fn see_user(&mut self, time: Time, user: Option<&String>) {
        if let Some(user) = user
            && self.user.as_ref().is_none_or(|latest| (time, user) > (latest.0, &latest.1))
        {
            self.user = Some((time, user.clone()));
        }
    }

    fn see_navigation(&mut self, event: &Event, limits: SessionLimits) -> Vec<TraceId> {
        let Some(kind) = event.hints.navigation_type.clone() else { return Vec::new() };
        let own = event.row.page_id.as_ref();
        if let Some(page) = own.and_then(|page| self.page(page, limits)) {
            page.reloaded |= kind == "reload";
        }
        let Some(before) = event.hints.previous_page_id.as_ref() else { return Vec::new() };
        self.page(before, limits).map(|before| before.follow(event, kind)).unwrap_or_default()
    }

    /// How the page after `page` in its tab was reached.
    pub(super) fn successor(&self, page: &PageId) -> Option<Label> {
        self.pages.get(page)?.successor()
    }

    /// Whether a page that was in front of its user has said nothing since `before`.
    pub(super) fn is_silent(&self, page: &PageId, before: Time) -> bool {
        self.pages.get(page).is_some_and(|page| page.is_silent(before))
    }

    /// Adds (`sign` 1) or takes back (−1) one request.
    pub(super) fn count_request(&mut self, request: &RequestRow, sign: i64, limits: SessionLimits) {
        self.requests += sign;
        self.attempts += sign * i64::from(request.attempts);
        self.failures += if request.outcome == "failed" { sign } else { 0 };
        self.abandonments += if request.outcome == "abandoned" { sign } else { 0 };
        let minute = request.time.0.div_euclid(60_000_000_000);
        if self.requests_of_minute.contains_key(&minute)
            || self.requests_of_minute.len() < limits.minutes
        {
            let count = self.requests_of_minute.entry(minute).or_default();
            *count += sign;
            if *count == 0 {
                self.requests_of_minute.remove(&minute);
            }
        } else {
            self.forgot_minute = true;
        }
    }

    /// Whether requests were made in a minute that there was no room for, since the last call.
    pub(super) fn take_forgot_minute(&mut self) -> bool {
        std::mem::take(&mut self.forgot_minute)
    }

    /// Narrows what is known of server clock minus client clock, in nanoseconds.
    pub(super) fn bound_clock(&mut self, low_ns: Option<i64>, high_ns: Option<i64>) {
        self.clock_low_ns = self.clock_low_ns.max(low_ns);
        self.clock_high_ns = match (self.clock_high_ns, high_ns) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
    }

    /// Reloads so far.
    pub(super) fn refreshes(&self) -> i64 {
        self.pages.values().filter(|page| page.reloaded).count() as i64
    }

    /// Its user, where one is known.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_ref().map(|(_, user)| user.as_str())
    }

    /// Its row as of now.
    pub(super) fn row(&self) -> SessionRow {
        let (_, environment, country, subdivision, region) =
            self.place.clone().unwrap_or_else(|| {
                let unknown = Label::unknown;
                (self.start, unknown(), unknown(), unknown(), unknown())
            });
        let (clock_offset_us, clock_error_us) = self.clock();
        let closed = self.closed || self.ended;
        let reopened = !closed && self.said.as_ref().is_some_and(|(_, row)| row.state != "open");
        SessionRow {
            app: self.app.clone(),
            environment,
            session_id: self.session_id.clone(),
            user_id: self.user.as_ref().map(|(_, user)| user.clone()),
            country,
            subdivision,
            region,
            start: self.start,
            end: self.end,
            time_received: self.time_received,
            pages: self.pages.len() as i64,
            requests: self.requests,
            attempts: self.attempts,
            refreshes: self.refreshes(),
            rage_clicks: self.rage_clicks,
            errors: self.failures + self.exceptions,
            abandonments: self.abandonments,
            requests_per_min_max: self.requests_of_minute.values().copied().max().unwrap_or(0),
            requests_per_min_calm: self.median_minute(),
            clock_offset_us,
            clock_error_us,
            state: Label::new(match (closed, reopened) {
                (true, _) => "closed",
                (false, true) => "reopened",
                (false, false) => "open",
            }),
            verified: self.verified,
            sample_weight: 1.0,
        }
    }

    fn median_minute(&self) -> i64 {
        let mut counts: Vec<i64> = self.requests_of_minute.values().copied().collect();
        counts.sort_unstable();
        counts.get(counts.len().saturating_sub(1) / 2).copied().unwrap_or(0)
    }

    /// The middle of what the bounds leave, and half its width. Contradicting bounds are those of a
    /// clock that drifts: then the upper one and their distance, since by it no server's span starts
    /// before the request above it. Each bound is of one moment, and what is said holds for the whole
    /// session, so what a clock may drift meanwhile is added.
    fn clock(&self) -> (Option<i64>, Option<i64>) {
        let lasted_us = self.end.0.saturating_sub(self.start.0) / 1_000;
        let drift_us = lasted_us / 1_000_000 * DRIFT_PPM_MAX;
        match (self.clock_low_ns, self.clock_high_ns) {
            (Some(low), Some(high)) if low > high => {
                (Some(high.div_euclid(1_000)), Some((low - high) / 1_000 + 1 + drift_us))
            }
            (Some(low), Some(high)) => {
                let (middle, half) = (low / 2 + high / 2, high / 2 - low / 2);
                (Some(middle / 1_000), Some(half / 1_000 + drift_us))
            }
            (None, Some(high)) => (Some(high / 1_000), None),
            (low, None) => (low.map(|low| low / 1_000), None),
        }
    }
}
