//! Sends that nobody waits for any more: known until they are answered, only so that the truth can
//! say how long the answer would have taken.

use super::super::scenario::{GATEWAY, Place};
use super::super::truth::RequestDetail;
use super::super::wire::TraceId;
use super::super::world::Context;
use super::{AttemptEnd, Request};

/// A send in flight of a request that was given up.
pub(super) struct Ghost {
    /// Whether its user gave it up; else the application did, for something newer.
    abandoned: bool,
    region: usize,
    place: Place,
    trace_id: TraceId,
    began_ns: u64,
    /// Whether no further attempt would have followed a failure.
    last: bool,
}

impl Ghost {
    /// What is left of `request` of a user in `region`.
    pub(super) fn of(context: &Context, request: &Request, region: usize, abandoned: bool) -> Self {
        Self {
            abandoned,
            region,
            place: Place { service: GATEWAY, route: request.planned.fetch.route },
            trace_id: request.trace_id,
            began_ns: request.began_ns,
            last: request.attempt >= context.scenario.browser.attempts_max,
        }
    }

    /// The send has ended after all.
    pub(super) fn answered(&self, context: &mut Context, end: AttemptEnd) {
        let total_us = (context.schedule.now_ns() - self.began_ns) / 1000;
        let region = &mut context.truth.regions[self.region];
        if !end.ok() && !self.last {
            region.abandoned_unknown += u64::from(self.abandoned);
            return;
        }
        if self.abandoned {
            region.would_have(total_us);
        }
        let detail = RequestDetail {
            trace_id: self.trace_id,
            region: self.region,
            place: self.place,
            outcome: None,
            total_us,
        };
        context.truth.details.request(&context.scenario, &detail);
    }
}
