//! The services: pools of workers with queues, handlers that call on.
//!
//! Not a network and not users: requests arrive here and replies leave. Overload is not drawn:
//! a worker is held while its handler waits, a full queue refuses, and nothing that a caller
//! gave up is taken back. Invariants: every arrival is answered exactly once; a pool never runs
//! more handlers than it has workers; queues are bounded.

mod calls;
mod challenge;
mod hedge;
mod proxy;

pub(crate) use calls::{Ended, Send, Site};

use super::browser::{AttemptId, Client};
use super::engine::{MILLISECOND_NS, SECOND_NS};
use super::logical::{Logical, RequestId};
use super::random::{Random, scaled_ns};
use super::scenario::{Place, Scenario, ServiceKind, Step};
use super::spans;
use super::wire::{Span, SpanId, TraceId};
use super::world::{Context, Event};
use proxy::Proxied;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// SDKs export every few seconds; two keep the delay until a row is visible short.
const FLUSH_NS: u64 = 2 * SECOND_NS;

/// An SDK's batch: a service exports early when it has this many spans (OpenTelemetry's default
/// `max_export_batch_size`).
const BATCH_SPANS_MAX: usize = 512;

/// No piece of work takes longer: databases and servers are set up to stop it by then.
const WORK_NS_MAX: u64 = 20 * SECOND_NS;

/// What a handler answers that breaks down by itself.
const OWN_FAULT: u16 = 500;

/// Identifies a handler's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct JobId(u64);

/// Identifies one send of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SendId(u64);

/// Who waits for a reply.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Caller {
    Browser(AttemptId),
    Service { send: SendId, service: usize },
}

/// A request at the door of a service.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) place: Place,
    pub(crate) request: RequestId,
    pub(crate) logical: Logical,
    pub(crate) trace_id: TraceId,
    /// The span it was sent by, where the sender names one.
    pub(crate) parent: Option<SpanId>,
    pub(crate) caller: Caller,
    /// The item of the path's `{id}`.
    pub(crate) item: u32,
    /// Which of a proxy's sends it came by, where one stands before the service.
    pub(crate) proxied: Option<Proxied>,
    /// Whether its token has expired, so that it is answered by a challenge.
    pub(crate) stale: bool,
    /// The user's side, known at the gateway only.
    pub(crate) client: Option<Arc<Client>>,
    /// How long the reply travels.
    pub(crate) way_back_ns: u64,
}

/// What a caller is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Status(u16),
    /// The pool was full: a database refuses the connection.
    Refused,
}

/// Spans of one service, ready to be exported.
#[derive(Debug)]
pub(crate) struct Export {
    pub(crate) service: usize,
    pub(crate) spans: Vec<Span>,
    /// Whether they have been exported before.
    pub(crate) again: bool,
}

impl Export {
    /// The same once more.
    pub(crate) fn copy(&self) -> Self {
        Self { service: self.service, spans: self.spans.clone(), again: true }
    }
}

/// All services.
pub(crate) struct Fleet {
    pools: Vec<Pool>,
    jobs: HashMap<JobId, Job>,
    sends: HashMap<SendId, calls::Send>,
    /// When an item of a route was last filled.
    filled_ns: HashMap<(Place, u32), u64>,
    /// Until when the token of one service for another is good.
    tokens_until_ns: HashMap<(usize, usize), u64>,
    random: Random,
    /// What happens on the way between services, where a scenario is asked for more than it has.
    further: Random,
    numbered: u64,
}

struct Pool {
    workers: usize,
    busy: usize,
    queue: VecDeque<JobId>,
    queue_max: usize,
    spans: Vec<Span>,
}

/// A handler's run.
pub(crate) struct Job {
    pub(crate) arrival: Arrival,
    pub(crate) span_id: SpanId,
    pub(crate) arrived_ns: u64,
    pub(crate) status: u16,
    step: usize,
    open_calls: u32,
    /// How many calls this run has made to each place.
    made: Vec<(Place, u16)>,
}

impl Fleet {
    /// The services of a scenario, idle.
    pub(crate) fn new(scenario: &Scenario, random: Random, further: Random) -> Self {
        let pool = |service: &super::scenario::Service| Pool {
            workers: service.workers,
            busy: 0,
            queue: VecDeque::new(),
            queue_max: service.queue,
            spans: Vec::new(),
        };
        Self {
            pools: scenario.services.iter().map(pool).collect(),
            jobs: HashMap::new(),
            sends: HashMap::new(),
            filled_ns: HashMap::new(),
            tokens_until_ns: HashMap::new(),
            random,
            further,
            numbered: 0,
        }
    }

    /// Starts the exporters, each at a phase of its own.
    pub(crate) fn start(&mut self, context: &mut Context) {
        for service in 0..self.pools.len() {
            let phase_ns = scaled_ns(FLUSH_NS, self.random.uniform());
            context.schedule.after(phase_ns, Event::Export(service));
        }
    }

    /// Whether no handler runs or waits.
    pub(crate) fn idle(&self) -> bool {
        self.jobs.is_empty()
    }

    /// A request comes to the door: it gets a worker, a place in the queue, or a refusal.
    pub(crate) fn arrive(&mut self, context: &mut Context, arrival: Arrival) {
        let place = arrival.place;
        let id = JobId(self.number());
        let job = Job {
            span_id: context.ids.id(),
            arrived_ns: context.schedule.now_ns(),
            status: 200,
            step: 0,
            open_calls: 0,
            made: Vec::new(),
            arrival,
        };
        proxy::note(context, &job);
        if job.arrival.stale {
            return self.challenge(context, job);
        }
        let workers_max = context.conditions.workers_max[place.service];
        let pool = &mut self.pools[place.service];
        if pool.busy < pool.workers.min(workers_max) {
            pool.busy += 1;
            self.jobs.insert(id, job);
            self.proceed(context, id);
        } else if pool.queue.len() < pool.queue_max {
            pool.queue.push_back(id);
            self.jobs.insert(id, job);
        } else {
            self.refuse(context, job);
        }
    }

    /// A handler's own work is done.
    pub(crate) fn work_done(&mut self, context: &mut Context, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.step += 1;
            self.proceed(context, id);
        }
    }

    /// Hands the spans gathered since to the exporter, and comes back.
    pub(crate) fn export(&mut self, context: &mut Context, service: usize) {
        self.flush(context, service);
        context.schedule.after(FLUSH_NS, Event::Export(service));
    }

    /// Hands over what every service has left.
    pub(crate) fn flush_all(&mut self, context: &mut Context) {
        for service in 0..self.pools.len() {
            self.flush(context, service);
        }
    }

    fn flush(&mut self, context: &mut Context, service: usize) {
        let spans = std::mem::take(&mut self.pools[service].spans);
        if !spans.is_empty() {
            context.output.exports.push(Export { service, spans, again: false });
        }
    }

    /// Runs a handler's steps until it has to wait.
    fn proceed(&mut self, context: &mut Context, id: JobId) {
        let scenario = Arc::clone(&context.scenario);
        let now_ns = context.schedule.now_ns();
        loop {
            let job = self.jobs.get_mut(&id).expect("only a job that is kept proceeds");
            let (place, item) = (job.arrival.place, job.arrival.item);
            match scenario.route(place).steps.get(job.step) {
                None => {
                    let share = context.conditions.failing[place.service];
                    if share > 0.0 && self.random.chance(share) {
                        job.status = OWN_FAULT;
                    }
                    return self.finish(context, id);
                }
                Some(Step::Work(time)) => {
                    let slow = context.conditions.slow[place.service];
                    let time_ns = scaled_ns(time.draw_ns(&mut self.random), slow);
                    return context.schedule.after(time_ns.min(WORK_NS_MAX), Event::WorkDone(id));
                }
                Some(Step::Call(calls)) => {
                    job.open_calls = calls.len() as u32;
                    return (0..calls.len()).for_each(|index| self.call(context, id, index));
                }
                Some(Step::UnlessCached { ttl_ms, skip }) => {
                    let filled_ns = self.filled_ns.get(&(place, item)).copied();
                    let ttl_ns = ttl_ms * MILLISECOND_NS;
                    let fresh = filled_ns.is_some_and(|filled_ns| now_ns < filled_ns + ttl_ns);
                    job.step += if fresh { 1 + skip } else { 1 };
                }
                Some(Step::Fill) => {
                    job.step += 1;
                    self.filled_ns.insert((place, item), now_ns);
                }
            }
        }
    }

    /// Ends a handler: its span, its reply, its worker for the next in the queue.
    fn finish(&mut self, context: &mut Context, id: JobId) {
        let job = self.jobs.remove(&id).expect("only a job that is kept finishes");
        let service = job.arrival.place.service;
        self.answer(context, &job, Reply::Status(job.status));
        self.pools[service].busy -= 1;
        self.refill(context, service);
    }

    /// Gives free workers what waits in the queue.
    pub(crate) fn refill(&mut self, context: &mut Context, service: usize) {
        let workers_max = context.conditions.workers_max[service];
        loop {
            let pool = &mut self.pools[service];
            if pool.busy >= pool.workers.min(workers_max) {
                return;
            }
            let Some(next) = pool.queue.pop_front() else { return };
            pool.busy += 1;
            self.proceed(context, next);
        }
    }

    /// Everything a service has cached is gone.
    pub(crate) fn forget(&mut self, service: usize) {
        self.filled_ns.retain(|(place, _), _| place.service != service);
    }

    fn refuse(&mut self, context: &mut Context, mut job: Job) {
        job.status = 503;
        let caller = match job.arrival.caller {
            Caller::Browser(_) => None,
            Caller::Service { service, .. } => Some(service),
        };
        context.truth.hop(caller, job.arrival.place).refused += 1;
        let service = &context.scenario.services[job.arrival.place.service];
        let reply = match service.kind {
            ServiceKind::Http(_) => Reply::Status(503),
            ServiceKind::Database(_) => Reply::Refused,
        };
        self.answer(context, &job, reply);
    }

    fn answer(&mut self, context: &mut Context, job: &Job, reply: Reply) {
        let service = job.arrival.place.service;
        if matches!(context.scenario.services[service].kind, ServiceKind::Http(_)) {
            let span = spans::server(context, job);
            self.emit(context, service, span);
        }
        let event = match job.arrival.caller {
            Caller::Browser(attempt) => Event::AttemptReply(attempt, job.status),
            Caller::Service { send, .. } => Event::CallReply(send, reply),
        };
        context.schedule.after(job.arrival.way_back_ns, event);
        context.calls.release(job.arrival.request);
    }

    fn emit(&mut self, context: &mut Context, service: usize, span: Span) {
        context.truth.service_spans += 1;
        self.pools[service].spans.push(span);
        if self.pools[service].spans.len() >= BATCH_SPANS_MAX {
            self.flush(context, service);
        }
    }

    fn number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }
}
