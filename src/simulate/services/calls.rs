//! A service as a caller: send, wait, time out, try again.
//!
//! Not the callee: see the parent module. Invariants: every send emits exactly one CLIENT span,
//! when the caller stops waiting for it; a reply that comes later is ignored, though the callee
//! did the work; sends never exceed the call's `attempts_max`.

use super::super::engine::MILLISECOND_NS;
use super::super::logical::Logical;
use super::super::random::Distribution;
use super::super::scenario::{Call, Place, Step};
use super::super::spans;
use super::super::truth::SendDetail;
use super::super::wire::SpanId;
use super::super::world::{Context, Event};
use super::challenge::{CHALLENGE, gets_token};
use super::proxy::Proxied;
use super::{Arrival, Caller, Fleet, Job, JobId, Reply, SendId};

/// One way between two services of a site, in milliseconds.
pub(super) const WAY: Distribution = Distribution::LogNormal(0.25, 0.3);

/// What a gateway answers when what it needs timed out.
const GATEWAY_TIMEOUT: u16 = 504;

/// What a gateway answers when what it needs failed.
const BAD_GATEWAY: u16 = 502;

/// One call of a handler, over all its sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    pub(super) job: JobId,
    pub(crate) call: Call,
    pub(super) logical: Logical,
    /// Answers to challenges until now: HTTP counts them as sends, and the loop does not.
    pub(crate) resends: u32,
}

/// Why a send is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It is the turn of the caller's loop.
    Turn,
    /// This one's answer is late.
    Late(SendId),
    /// The callee asked for another token.
    Challenge,
}

/// One send on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Send {
    pub(crate) site: Site,
    /// 1 is the first.
    pub(crate) attempt: u32,
    /// Sends of its call until now; more than the attempt where another was sent beside it.
    pub(super) made: u32,
    /// The other one, where two of a call are awaited.
    pub(super) beside: Option<SendId>,
    /// What a proxy has made of it until now, where there is one; 1 is the first.
    pub(super) proxied: u32,
    /// Whether its token had expired when it was sent.
    pub(super) stale: bool,
    /// Whether it answers a challenge.
    pub(super) answers: bool,
    pub(crate) sent_ns: u64,
    pub(crate) span_id: SpanId,
}

impl Send {
    /// What the callee gets of it.
    pub(super) fn arrival(&self, id: SendId, job: &Job, way_back_ns: u64) -> Arrival {
        let call = self.site.call;
        let proxied = Proxied { nth: self.proxied, told: call.annotated };
        Arrival {
            place: call.to,
            request: job.arrival.request,
            logical: self.site.logical,
            trace_id: job.arrival.trace_id,
            parent: Some(self.span_id),
            caller: Caller::Service { send: id, service: job.arrival.place.service },
            item: job.arrival.item,
            proxied: (call.proxied_max > 0).then_some(proxied),
            stale: self.stale,
            client: None,
            way_back_ns,
        }
    }
}

/// How a send ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Status(u16),
    Refused,
    Timeout,
    /// Given up for another one's answer.
    Cancelled,
}

impl Ended {
    pub(super) fn ok(self) -> bool {
        matches!(self, Self::Status(status) if status < 500 && status != CHALLENGE)
    }
}

impl Fleet {
    /// Begins the call `index` of the step the job is at.
    pub(super) fn call(&mut self, context: &mut Context, id: JobId, index: usize) {
        let job = self.jobs.get_mut(&id).expect("the job is at this step");
        let Step::Call(calls) = &context.scenario.route(job.arrival.place).steps[job.step] else {
            return;
        };
        let call = calls[index];
        let ordinal = ordinal(&mut job.made, call.to);
        let (request, parent) = (job.arrival.request, job.arrival.logical);
        let caller = job.arrival.place.service;
        let (logical, new) = context.calls.call(request, parent, call.to, ordinal);
        let hop = context.truth.hop(Some(caller), call.to);
        hop.first_attempts += 1;
        hop.logical_calls += u64::from(new);
        self.send(context, Site { job: id, call, logical, resends: 0 }, 1, Cause::Turn);
    }

    /// Sends once more after the back-off.
    pub(crate) fn resend(&mut self, context: &mut Context, site: Site, attempt: u32) {
        self.send(context, site, attempt, Cause::Turn);
    }

    /// A reply came. Nobody waits any more when the send has timed out.
    pub(crate) fn reply(&mut self, context: &mut Context, send: SendId, reply: Reply) {
        if self.proxy_repeats(context, send, reply) {
            return;
        }
        let ended = match reply {
            Reply::Status(status) => Ended::Status(status),
            Reply::Refused => Ended::Refused,
        };
        self.send_ended(context, send, ended);
    }

    /// The caller's patience with a send is over.
    pub(crate) fn timed_out(&mut self, context: &mut Context, send: SendId) {
        self.send_ended(context, send, Ended::Timeout);
    }

    /// Sends, and waits.
    pub(super) fn send(
        &mut self,
        context: &mut Context,
        site: Site,
        attempt: u32,
        cause: Cause,
    ) -> SendId {
        let id = SendId(self.number());
        let chance = if cause == Cause::Turn { &mut self.random } else { &mut self.further };
        let way_ns = WAY.draw_ns(chance);
        let way_back_ns = WAY.draw_ns(chance);
        let job = self.jobs.get(&site.job).expect("a handler outlives its calls");
        let caller = job.arrival.place.service;
        let send = Send {
            site,
            attempt,
            made: attempt,
            beside: if let Cause::Late(other) = cause { Some(other) } else { None },
            proxied: 1,
            stale: self.is_stale(context, caller, site.call),
            answers: cause == Cause::Challenge,
            sent_ns: context.schedule.now_ns(),
            span_id: context.ids.id(),
        };
        let hop = context.truth.hop(Some(caller), site.call.to);
        hop.sends += u64::from(!send.answers);
        hop.resends += u64::from(send.answers);
        hop.hedges += u64::from(send.beside.is_some());
        hop.retries += u64::from(attempt > 1 && cause == Cause::Turn);
        context.calls.hold(job.arrival.request);
        let detail = SendDetail {
            trace_id: job.arrival.trace_id,
            span_id: send.span_id,
            caller: Some(caller),
            session_id: None,
            place: site.call.to,
            request: job.arrival.request,
            logical: site.logical.number(),
            attempt,
            resend: send.answers,
            repeats: false,
            lost: false,
        };
        context.truth.details.send(&context.scenario, &detail);
        let arrival = send.arrival(id, job, way_back_ns);
        self.sends.insert(id, send);
        context.schedule.after(way_ns, Event::Arrive(Box::new(arrival)));
        let timeout_ns = site.call.timeout_ms * MILLISECOND_NS;
        context.schedule.after(timeout_ns, Event::CallTimeout(id));
        if let Some(after_ms) = site.call.hedge_after_ms.filter(|_| attempt == 1) {
            context.schedule.after(after_ms * MILLISECOND_NS, Event::CallHedge(id));
        }
        id
    }

    fn send_ended(&mut self, context: &mut Context, id: SendId, ended: Ended) {
        let Some(send) = self.sends.remove(&id) else { return };
        let site = send.site;
        let job = self.jobs.get(&site.job).expect("a handler outlives its calls");
        let caller = job.arrival.place.service;
        let span = spans::client(context, job, &send, ended);
        self.emit(context, caller, span);
        if ended == Ended::Timeout {
            context.truth.hop(Some(caller), site.call.to).timeouts += 1;
        }
        if self.other_decides(context, &send, ended) || gets_token(context, &send, ended) {
            return;
        }
        if !ended.ok() && send.made < site.call.attempts_max {
            let back_off_ns = site.call.back_off.draw_ns(&mut self.random);
            context.schedule.after(back_off_ns, Event::CallResend(site, send.made + 1));
        } else {
            self.call_ended(context, site, ended);
        }
    }

    fn call_ended(&mut self, context: &mut Context, site: Site, ended: Ended) {
        let job = self.jobs.get_mut(&site.job).expect("a handler outlives its calls");
        job.open_calls -= 1;
        if !ended.ok() && site.call.needed {
            job.status = match ended {
                Ended::Timeout | Ended::Status(GATEWAY_TIMEOUT) => GATEWAY_TIMEOUT,
                Ended::Refused | Ended::Cancelled | Ended::Status(_) => BAD_GATEWAY,
            };
        }
        if job.open_calls > 0 {
            return;
        }
        if job.status >= 500 {
            self.finish(context, site.job);
        } else {
            job.step += 1;
            self.proceed(context, site.job);
        }
    }
}

fn ordinal(made: &mut Vec<(Place, u16)>, place: Place) -> u16 {
    if let Some((_, count)) = made.iter_mut().find(|(known, _)| *known == place) {
        *count += 1;
        return *count;
    }
    made.push((place, 0));
    0
}
