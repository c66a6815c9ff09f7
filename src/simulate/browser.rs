//! The browsers: documents, fetches with their retries, and what the beacon sees of them.
//!
//! Not the user (see `users`) and not the wire (see `beacon`). A fetch that is abandoned stays
//! known as a ghost until its send is answered, only so that the truth can say how long the
//! answer would have taken. Invariants: a request ends exactly once; nothing of a closed document
//! is sent again.

mod ghosts;
mod pages;

use super::beacon::Seen;
use super::engine::{MILLISECOND_NS, SECOND_NS};
use super::logical::{Logical, RequestId};
use super::random::{Random, scaled_ns};
use super::scenario::{Fetch, GATEWAY, Observer, Place};
use super::services::{Arrival, Caller};
use super::truth::{Outcome, RequestDetail, SendDetail, Trigger};
use super::users::SessionId;
use super::wire::{SpanId, TraceId};
use super::world::{Context, Event};
use ghosts::Ghost;
pub(crate) use pages::{Carried, Navigation, Page, PageId};
use std::collections::HashMap;
use std::sync::Arc;

/// The beacon reports a request that is still pending after these waits.
const SIGHTED_AFTER_S: [u64; 3] = [3, 10, 30];

/// A lost connection shows after about this many round trips (a handshake and its repetition).
const LOST_ROUND_TRIPS: f64 = 3.0;

/// Identifies one send of a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AttemptId(u64);

/// A user's device and place, constant over a session in one tab.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) session_id: [u8; 16],
    /// The session that this one follows in the same visit.
    pub(crate) previous: Option<[u8; 16]>,
    pub(crate) tab_id: [u8; 8],
    pub(crate) region: usize,
    /// The public IPv4 address.
    pub(crate) address: String,
    pub(crate) user_agent: &'static str,
    pub(crate) mobile: bool,
    pub(crate) language: &'static str,
    pub(crate) user_id: Option<String>,
    /// How far the device's clock is ahead of the truth when the visit begins.
    pub(crate) skew_ns: i64,
    /// How much it gains since, in millionths.
    pub(crate) drift_ppm: f64,
    pub(crate) began_ns: u64,
    /// Whether its pages tell more than a summary.
    pub(crate) sampled: bool,
}

impl Client {
    /// What the device's clock says at `at_ns` of the world, which began `epoch_ns` after the Unix
    /// epoch.
    pub(crate) fn clock_ns(&self, epoch_ns: i64, at_ns: u64) -> i64 {
        epoch_ns + at_ns as i64 + self.ahead_ns(at_ns)
    }

    /// How far the device's clock is ahead of the truth at `at_ns` of the world.
    pub(crate) fn ahead_ns(&self, at_ns: u64) -> i64 {
        let gained_ns = (at_ns as f64 - self.began_ns as f64) * self.drift_ppm / 1e6;
        self.skew_ns + gained_ns as i64
    }
}

/// A fetch with its parameters: the same value again is the same request again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    pub(crate) fetch: Fetch,
    pub(crate) item: u32,
    /// What was typed: on the wire only where a page's SDK keeps queries, and never by a beacon.
    pub(crate) query: u32,
}

impl Planned {
    /// What makes two requests the same to the beacon: method and address.
    pub(crate) fn key(&self) -> (&'static str, &'static str, u32, u32) {
        let item = if self.fetch.template.contains("{id}") { self.item } else { 0 };
        (self.fetch.method, self.fetch.template, item, self.query)
    }
}

/// A request that failed or was abandoned, for when it is asked for again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remembered {
    key: (&'static str, &'static str, u32, u32),
    intent_id: TraceId,
    repeat: u32,
    /// Whether it comes from the document before a reload.
    refreshed: bool,
}

/// A request a user waits for, over all its sends.
pub(crate) struct Request {
    pub(crate) page: PageId,
    pub(crate) planned: Planned,
    pub(crate) trace_id: TraceId,
    pub(crate) intent_id: TraceId,
    pub(crate) repeat: u32,
    pub(crate) refreshed: bool,
    /// The number of the latest send, 1 for the first.
    pub(crate) attempt: u32,
    pub(crate) began_ns: u64,
    pub(crate) span_id: SpanId,
    pub(crate) attempt_began_ns: u64,
    /// The send in flight; none during a back-off.
    current: Option<AttemptId>,
    last_ended_ns: u64,
}

/// How a browser's send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    Status(u16),
    Timeout,
    Network,
    /// Aborted by the application, without abandonment.
    Abort,
}

impl AttemptEnd {
    fn ok(self) -> bool {
        matches!(self, Self::Status(status) if status < 500)
    }
}

enum Attempt {
    Live(RequestId),
    Ghost(Ghost),
}

/// All browsers.
pub(crate) struct Browser {
    pages: HashMap<PageId, Page>,
    requests: HashMap<RequestId, Request>,
    attempts: HashMap<AttemptId, Attempt>,
    random: Random,
    /// How long bodies travel, which changes nothing of what happens.
    ways: Random,
    numbered: u64,
}

impl Browser {
    /// No browser is open yet.
    pub(crate) fn new(random: Random, ways: Random) -> Self {
        Self {
            pages: HashMap::new(),
            requests: HashMap::new(),
            attempts: HashMap::new(),
            random,
            ways,
            numbered: 0,
        }
    }

    /// Whether nothing is open and nothing in flight.
    pub(crate) fn idle(&self) -> bool {
        self.pages.is_empty() && self.requests.is_empty() && self.attempts.is_empty()
    }

    /// Asks the gateway for something. The page's wait includes it when it is `awaited`.
    pub(crate) fn fetch(&mut self, context: &mut Context, page_id: PageId, planned: Planned) {
        let id = RequestId(self.number());
        let now_ns = context.schedule.now_ns();
        let trace_id = context.ids.id();
        let Some(page) = self.pages.get_mut(&page_id) else { return };
        let known = page.recall(planned.key());
        page.expect(id, planned.fetch.awaited);
        let region = &mut context.truth.regions[page.client.region];
        region.requests += 1;
        match known {
            None => region.intents += 1,
            Some(known) if known.refreshed => region.repeats_refresh += 1,
            Some(_) => region.repeats_user += 1,
        }
        let place = Place { service: GATEWAY, route: planned.fetch.route };
        let hop = context.truth.hop(None, place);
        hop.first_attempts += 1;
        hop.logical_calls += 1;
        context.calls.hold(id);
        let request = Request {
            page: page_id,
            planned,
            trace_id,
            intent_id: known.map_or(trace_id, |known| known.intent_id),
            repeat: known.map_or(0, |known| known.repeat + 1),
            refreshed: known.is_some_and(|known| known.refreshed),
            attempt: 0,
            began_ns: now_ns,
            span_id: [0; 8],
            attempt_began_ns: now_ns,
            current: None,
            last_ended_ns: now_ns,
        };
        self.requests.insert(id, request);
        self.send(context, id);
    }

    /// Sends a request once more, unless it is over.
    pub(crate) fn resend(&mut self, context: &mut Context, id: RequestId) {
        if self.requests.contains_key(&id) {
            self.send(context, id);
        }
    }

    /// A send has ended. The first to say so is right; whatever comes later is ignored.
    pub(crate) fn attempt_ended(&mut self, context: &mut Context, id: AttemptId, end: AttemptEnd) {
        match self.attempts.remove(&id) {
            None => {}
            Some(Attempt::Ghost(ghost)) => ghost.answered(context, end),
            Some(Attempt::Live(request)) => self.live_ended(context, request, end),
        }
    }

    /// Reports a send that is still pending.
    pub(crate) fn sight(&mut self, context: &mut Context, id: AttemptId, nth: usize) {
        let Some(Attempt::Live(request_id)) = self.attempts.get(&id) else { return };
        let Some(request) = self.requests.get(request_id) else { return };
        if let Some(page) = self.pages.get_mut(&request.page) {
            page.see(context, Seen::Pending(request));
        }
        if let Some(next_s) = SIGHTED_AFTER_S.get(nth + 1) {
            let wait_ns = (next_s - SIGHTED_AFTER_S[nth]) * SECOND_NS;
            context.schedule.after(wait_ns, Event::Sight(id, nth + 1));
        }
    }

    fn send(&mut self, context: &mut Context, request_id: RequestId) {
        let id = AttemptId(self.number());
        let request = self.requests.get_mut(&request_id).expect("the caller has just seen it");
        let page = self.pages.get(&request.page).expect("requests end with their page");
        request.attempt += 1;
        request.span_id = context.ids.id();
        if request.attempt > 1 && context.scenario.browser.observer == Observer::Tracer {
            request.trace_id = context.ids.id();
        }
        request.attempt_began_ns = context.schedule.now_ns();
        request.current = Some(id);
        self.attempts.insert(id, Attempt::Live(request_id));
        let place = Place { service: GATEWAY, route: request.planned.fetch.route };
        let region_index = page.client.region;
        context.truth.regions[region_index].attempts += 1;
        let region = &context.scenario.regions[region_index];
        let round_trip_ns = region.round_trip.draw_ns(&mut self.random);
        let loss = region.loss.max(context.conditions.loss[region_index]);
        let lost = self.random.chance(loss);
        let hop = context.truth.hop(None, place);
        hop.sends += 1;
        hop.retries += u64::from(request.attempt > 1);
        hop.lost += u64::from(lost);
        let detail = SendDetail {
            trace_id: request.trace_id,
            span_id: request.span_id,
            caller: None,
            session_id: Some(page.client.session_id),
            place,
            request: request_id,
            logical: Logical::ROOT.number(),
            attempt: request.attempt,
            resend: false,
            repeats: request.repeat > 0,
            lost,
        };
        context.truth.details.send(&context.scenario, &detail);
        if lost {
            let shown_ns = scaled_ns(round_trip_ns, LOST_ROUND_TRIPS);
            context.schedule.after(shown_ns, Event::AttemptLost(id));
        } else {
            let stalled = context.conditions.stalled[region_index];
            let stalled = stalled.filter(|(share, _)| self.random.chance(*share));
            let stalled_ns = stalled.map_or(0, |(_, time)| time.draw_ns(&mut self.random));
            context.calls.hold(request_id);
            // Pages that are not sampled name no trace, and the gateway begins one of its own.
            let sampled = page.client.sampled;
            let arrival = Arrival {
                place,
                request: request_id,
                logical: Logical::ROOT,
                trace_id: if sampled { request.trace_id } else { context.ids.id() },
                parent: sampled.then_some(request.span_id),
                caller: Caller::Browser(id),
                item: request.planned.item,
                proxied: None,
                stale: false,
                client: Some(Arc::clone(&page.client)),
                way_back_ns: round_trip_ns / 2,
            };
            let way_ns = round_trip_ns / 2 + stalled_ns;
            context.schedule.after(way_ns, Event::Arrive(Box::new(arrival)));
        }
        let timeout_ns = context.scenario.browser.timeout_ms * MILLISECOND_NS;
        context.schedule.after(timeout_ns, Event::AttemptTimeout(id));
        context.schedule.after(SIGHTED_AFTER_S[0] * SECOND_NS, Event::Sight(id, 0));
    }

    fn live_ended(&mut self, context: &mut Context, id: RequestId, end: AttemptEnd) {
        let request = self.requests.get_mut(&id).expect("a live send has its request");
        request.current = None;
        request.last_ended_ns = context.schedule.now_ns();
        if let Some(page) = self.pages.get_mut(&request.page) {
            page.see(context, Seen::Attempt(request, end));
        }
        let policy = context.scenario.browser;
        if end == AttemptEnd::Abort {
            self.end(context, id, Outcome::Cancelled);
        } else if end.ok() {
            self.end(context, id, Outcome::Ok);
        } else if request.attempt >= policy.attempts_max {
            self.end(context, id, Outcome::Failed);
        } else {
            let doubled = f64::from(1_u32 << (request.attempt - 1).min(16));
            let back_off_ns = scaled_ns(policy.back_off.draw_ns(&mut self.random), doubled);
            context.schedule.after(back_off_ns, Event::Resend(id));
        }
    }

    /// Gives a request up: abandoned if a send is in flight, failed if it was between two.
    fn give_up(
        &mut self,
        context: &mut Context,
        id: RequestId,
        trigger: Trigger,
        word: &'static str,
    ) {
        let Some(request) = self.requests.get(&id) else { return };
        let Some(page) = self.pages.get_mut(&request.page) else { return };
        let region = page.client.region;
        let Some(current) = request.current else {
            context.truth.regions[region].left_in_back_off += 1;
            return self.end(context, id, Outcome::Failed);
        };
        page.see(context, Seen::Abandoned(request, word));
        let ghost = Ghost::of(context, request, region, true);
        self.attempts.insert(current, Attempt::Ghost(ghost));
        self.end(context, id, Outcome::Abandoned(trigger));
    }

    fn end(&mut self, context: &mut Context, id: RequestId, outcome: Outcome) {
        let request = self.requests.remove(&id).expect("a request ends once");
        let page = self.pages.get_mut(&request.page).expect("requests end with their page");
        let until_ns = match outcome {
            // Left during a back-off: the last thing that happened is the end of the last send.
            Outcome::Failed => request.last_ended_ns,
            _ => context.schedule.now_ns(),
        };
        let total_us = (until_ns - request.began_ns) / 1000;
        context.truth.regions[page.client.region].ended(outcome, total_us);
        let detail = RequestDetail {
            trace_id: request.trace_id,
            region: page.client.region,
            place: Place { service: GATEWAY, route: request.planned.fetch.route },
            outcome: Some(outcome),
            total_us,
        };
        context.truth.details.request(&context.scenario, &detail);
        context.calls.release(id);
        page.settle(context, id, &request, outcome);
    }

    fn number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }
}

/// The session a page belongs to is told when its wait is over.
pub(crate) type Waiter = SessionId;
