//! A proxy before a service: what failed there it sends again, and its caller waits on.
//!
//! It has no spans of its own, as a sidecar whose tracing is off. Not the caller's own attempts, each
//! of which passes the proxy anew: see `calls`. Invariants: a proxy sends only while its caller waits,
//! one after the other; what it sends is a send of the caller's hop, and no attempt of its loop.

use super::super::random::Distribution;
use super::super::truth::SendDetail;
use super::super::world::{Context, Event};
use super::calls::WAY;
use super::{Caller, Fleet, Job, Reply, SendId};

/// Envoy's pause before its first retry is drawn below 25 milliseconds, before the second below 75.
const BACK_OFF: Distribution = Distribution::Between(1.0, 50.0);

/// Which of a proxy's sends a request came by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proxied {
    /// 1 is the first.
    pub(crate) nth: u32,
    /// Whether the proxy says so, as Envoy does in a header.
    pub(crate) told: bool,
}

impl Fleet {
    /// Whether a proxy keeps this answer to itself, since it sends again.
    pub(super) fn proxy_repeats(
        &mut self,
        context: &mut Context,
        id: SendId,
        reply: Reply,
    ) -> bool {
        let Some(send) = self.sends.get_mut(&id) else { return false };
        let failed = matches!(reply, Reply::Status(status) if status >= 500);
        if !failed || send.proxied >= send.site.call.proxied_max {
            return false;
        }
        send.proxied += 1;
        let back_off_ns = BACK_OFF.draw_ns(&mut self.further);
        context.schedule.after(back_off_ns, Event::ProxyResend(id));
        true
    }

    /// A proxy sends once more, if its caller still waits.
    pub(crate) fn proxy_resend(&mut self, context: &mut Context, id: SendId) {
        let Some(send) = self.sends.get(&id) else { return };
        let way_ns = WAY.draw_ns(&mut self.further);
        let way_back_ns = WAY.draw_ns(&mut self.further);
        let job = self.jobs.get(&send.site.job).expect("a handler outlives its calls");
        let hop = context.truth.hop(Some(job.arrival.place.service), send.site.call.to);
        hop.sends += 1;
        hop.retries += 1;
        context.calls.hold(job.arrival.request);
        let arrival = send.arrival(id, job, way_back_ns);
        context.schedule.after(way_ns, Event::Arrive(Box::new(arrival)));
    }
}

/// Writes down what a proxy has sent again, when it arrives: only the span it begins then tells of it.
pub(super) fn note(context: &mut Context, job: &Job) {
    let arrival = &job.arrival;
    let Some(again) = arrival.proxied.filter(|proxied| proxied.nth > 1) else { return };
    let Caller::Service { service, .. } = arrival.caller else { return };
    let detail = SendDetail {
        trace_id: arrival.trace_id,
        span_id: job.span_id,
        caller: Some(service),
        session_id: None,
        place: arrival.place,
        request: arrival.request,
        logical: arrival.logical.number(),
        attempt: again.nth,
        resend: false,
        repeats: false,
        lost: false,
    };
    context.truth.details.send(&context.scenario, &detail);
}
