//! What a page tells whose session is not sampled: counts, once, when it goes.
//!
//! Invariant: neither the summary nor its resource names a session, a page, a tab or a user.

use super::super::wire::{Attribute, Record, int, word};
use super::{BEACON_VERSION, Request, Seen};

/// The counts of one page.
#[derive(Debug, Default)]
pub(super) struct Summary {
    requests: u32,
    attempts: u32,
    retries: u32,
    repeats_user: u32,
    repeats_refresh: u32,
    reloads: u32,
    abandoned: u32,
}

impl Summary {
    /// Counts what is noticed. True when the page goes: then the summary is to be sent.
    pub(super) fn see(&mut self, seen: &Seen<'_>) -> bool {
        match seen {
            Seen::Attempt(request, _) => self.attempt(request),
            Seen::Abandoned(request, _) => {
                self.attempt(request);
                self.abandoned += 1;
            }
            Seen::Refresh(..) => self.reloads += 1,
            Seen::Leave => return true,
            _ => {}
        }
        false
    }

    /// Each send ends once, as a span or as an abandonment.
    fn attempt(&mut self, request: &Request) {
        self.attempts += 1;
        if request.attempt > 1 {
            self.retries += 1;
            return;
        }
        self.requests += 1;
        match (request.repeat > 0, request.refreshed) {
            (true, true) => self.repeats_refresh += 1,
            (true, false) => self.repeats_user += 1,
            (false, _) => {}
        }
    }

    /// The event.
    pub(super) fn record(&self, time_ns: i64) -> Record {
        let attributes = vec![
            int("behavior.requests", self.requests),
            int("behavior.attempts", self.attempts),
            int("behavior.retries", self.retries),
            int("behavior.hedges", 0_u32),
            int("behavior.repeats_user", self.repeats_user),
            int("behavior.repeats_refresh", self.repeats_refresh),
            int("behavior.reloads", self.reloads),
            int("behavior.abandoned", self.abandoned),
        ];
        Record { time_ns, name: "behavior.summary", about: None, attributes }
    }
}

/// What the body with a summary says of its sender.
pub(super) fn resource(sent_ns: i64) -> Vec<Attribute> {
    vec![
        word("telemetry.sdk.name", "ethogram"),
        word("telemetry.sdk.language", "webjs"),
        word("telemetry.sdk.version", BEACON_VERSION),
        word("service.version", "1.0.0"),
        word("deployment.environment.name", "production"),
        int("behavior.sent_at", sent_ns),
    ]
}
