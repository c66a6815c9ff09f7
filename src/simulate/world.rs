//! The world: users, browsers and services under one clock.
//!
//! Not real time and not a network: time moves when it is told to, and what leaves the world is
//! left in [`Output`] for somebody else to send. Invariant: given scenario, seed and the times of
//! `close`, the truth is always the same; what becomes of the output changes nothing here. Only
//! identifiers also depend on the epoch, so that two runs over one data directory do not collide.

use super::beacon::Body;
use super::browser::{AttemptEnd, AttemptId, Browser, PageId};
use super::conditions::Conditions;
use super::engine::{MILLISECOND_NS, SECOND_NS, Schedule};
use super::logical::{LogicalCalls, RequestId};
use super::random::Random;
use super::scenario::{Effect, Fetch, Scenario};
use super::services::{Arrival, Export, Fleet, JobId, Reply, SendId, Site};
use super::truth::{RegionTruth, Truth};
use super::users::{Coming, Opening, SessionId, Users};
use std::sync::Arc;

/// Streams of chance, one for each part.
const USERS_STREAM: u64 = 1;
const BROWSER_STREAM: u64 = 2;
const SERVICES_STREAM: u64 = 3;
const IDS_STREAM: u64 = 4;
const DEVICES_STREAM: u64 = 5;
const WAYS_STREAM: u64 = 6;
const TABS_STREAM: u64 = 7;
const FURTHER_STREAM: u64 = 8;

/// What can happen.
#[derive(Debug)]
pub(crate) enum Event {
    Disturbance { index: usize, begins: bool },
    Arrival(Coming),
    Open(SessionId, Box<Opening>),
    WaitOver(SessionId, u64, bool),
    PatienceOver(SessionId, u64),
    Click(SessionId, u64),
    Act(SessionId, u64),
    Key(SessionId, u64, Fetch, u32),
    Disappointed(SessionId, u64),
    AskAgain(SessionId, u64),
    Poll(SessionId, PageId),
    Aged(SessionId),
    Flush(PageId),
    Deliver(Box<Body>),
    Resend(RequestId),
    Sight(AttemptId, usize),
    AttemptReply(AttemptId, u16),
    AttemptTimeout(AttemptId),
    AttemptLost(AttemptId),
    Arrive(Box<Arrival>),
    WorkDone(JobId),
    CallReply(SendId, Reply),
    CallTimeout(SendId),
    CallResend(Site, u32),
    CallReplay(Site, u32),
    CallHedge(SendId),
    ProxyResend(SendId),
    Export(usize),
}

/// What leaves the world.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) bodies: Vec<Body>,
    pub(crate) exports: Vec<Export>,
}

/// What every part of the world may use.
pub(crate) struct Context {
    pub(crate) scenario: Arc<Scenario>,
    /// The beginning of the world in nanoseconds since the Unix epoch.
    pub(crate) epoch_ns: i64,
    pub(crate) schedule: Schedule<Event>,
    pub(crate) ids: Random,
    pub(crate) truth: Truth,
    pub(crate) calls: LogicalCalls,
    pub(crate) conditions: Conditions,
    pub(crate) output: Output,
    /// Nobody comes any more, and everybody goes after what they are doing.
    pub(crate) closing: bool,
    /// Bodies that have left their browser and not yet the world.
    pub(crate) travelling: u64,
}

/// Everything.
pub(crate) struct World {
    context: Context,
    users: Users,
    browser: Browser,
    fleet: Fleet,
}

impl World {
    /// A world at its beginning, which is `epoch_ns` after the Unix epoch.
    pub(crate) fn new(scenario: Scenario, seed: u64, epoch_ns: i64) -> Self {
        let scenario = Arc::new(scenario);
        let truth = Truth {
            regions: vec![RegionTruth::default(); scenario.regions.len()],
            ..Truth::default()
        };
        let context = Context {
            epoch_ns,
            schedule: Schedule::new(),
            ids: Random::new(seed ^ epoch_ns.unsigned_abs(), IDS_STREAM),
            truth,
            calls: LogicalCalls::default(),
            conditions: Conditions::calm(&scenario),
            output: Output::default(),
            closing: false,
            travelling: 0,
            scenario: Arc::clone(&scenario),
        };
        let mut world = Self {
            context,
            users: Users::new(
                Random::new(seed, USERS_STREAM),
                Random::new(seed, DEVICES_STREAM),
                Random::new(seed, TABS_STREAM),
            ),
            browser: Browser::new(
                Random::new(seed, BROWSER_STREAM),
                Random::new(seed, WAYS_STREAM),
            ),
            fleet: Fleet::new(
                &scenario,
                Random::new(seed, SERVICES_STREAM),
                Random::new(seed, FURTHER_STREAM),
            ),
        };
        for (index, disturbance) in scenario.disturbances.iter().enumerate() {
            let event = Event::Disturbance { index, begins: true };
            world.context.schedule.after(disturbance.first_s * SECOND_NS, event);
        }
        world.fleet.start(&mut world.context);
        world.users.start(&mut world.context);
        world
    }

    /// Lets everything up to `until_ns` after the beginning happen.
    pub(crate) fn advance(&mut self, until_ns: u64) {
        while let Some(event) = self.context.schedule.next(until_ns) {
            self.happen(event);
        }
    }

    /// The machine stood still for `ns`: the world did too, and its clocks are set.
    pub(crate) fn stood_still(&mut self, ns: u64) {
        self.context.epoch_ns = self.context.epoch_ns.saturating_add_unsigned(ns);
    }

    /// When something happens next, in nanoseconds after the beginning.
    pub(crate) fn next_at_ns(&self) -> Option<u64> {
        self.context.schedule.next_at_ns()
    }

    /// Nobody comes any more; whoever is here finishes what they wait for and goes.
    pub(crate) fn close(&mut self) {
        self.context.closing = true;
        self.users.close(&mut self.context);
    }

    /// Whether everybody has gone and everything is finished. Only then is the truth final.
    pub(crate) fn drained(&self) -> bool {
        let idle = self.users.idle() && self.browser.idle() && self.fleet.idle();
        idle && self.context.calls.len() == 0 && self.context.travelling == 0
    }

    /// What has left the world since the last call.
    pub(crate) fn take_output(&mut self) -> Output {
        std::mem::take(&mut self.context.output)
    }

    /// Hands over what services would have exported later.
    pub(crate) fn flush(&mut self) {
        self.fleet.flush_all(&mut self.context);
    }

    /// Keeps every send, request and session from now on, for [`Self::take_details`].
    pub(crate) fn keep_details(&mut self) {
        self.context.truth.details.keep();
    }

    /// The sends, requests and sessions since the last call, as lines of JSON.
    pub(crate) fn take_details(&mut self) -> Vec<String> {
        self.context.truth.details.take()
    }

    /// What has really happened so far.
    pub(crate) fn truth(&self) -> &Truth {
        &self.context.truth
    }

    fn happen(&mut self, event: Event) {
        let context = &mut self.context;
        let (users, browser, fleet) = (&mut self.users, &mut self.browser, &mut self.fleet);
        match event {
            Event::Disturbance { index, begins } => self.disturb(index, begins),
            Event::Arrival(coming) => users.arrive(context, coming),
            Event::Open(session, opening) => users.open(context, browser, session, *opening),
            Event::WaitOver(session, turn, failed) => {
                users.wait_over(context, session, turn, failed)
            }
            Event::PatienceOver(session, turn) => users.impatient(context, browser, session, turn),
            Event::Click(session, turn) => users.click(context, browser, session, turn),
            Event::Act(session, turn) => users.act(context, browser, session, turn),
            Event::Key(session, turn, fetch, left) => {
                users.key(context, browser, session, (turn, fetch, left));
            }
            Event::Disappointed(session, turn) => {
                users.disappointed(context, browser, session, turn)
            }
            Event::AskAgain(session, turn) => users.ask_again(context, browser, session, turn),
            Event::Poll(session, page) => users.poll(context, browser, session, page),
            Event::Aged(session) => users.aged(context, browser, session),
            Event::Flush(page) => browser.flush(context, page),
            Event::Deliver(body) => {
                context.travelling -= 1;
                context.output.bodies.push(*body);
            }
            Event::Resend(request) => browser.resend(context, request),
            Event::Sight(attempt, nth) => browser.sight(context, attempt, nth),
            Event::AttemptReply(attempt, status) => {
                browser.attempt_ended(context, attempt, AttemptEnd::Status(status));
            }
            Event::AttemptTimeout(attempt) => {
                browser.attempt_ended(context, attempt, AttemptEnd::Timeout);
            }
            Event::AttemptLost(attempt) => {
                browser.attempt_ended(context, attempt, AttemptEnd::Network);
            }
            Event::Arrive(arrival) => fleet.arrive(context, *arrival),
            Event::WorkDone(job) => fleet.work_done(context, job),
            Event::CallReply(send, reply) => fleet.reply(context, send, reply),
            Event::CallTimeout(send) => fleet.timed_out(context, send),
            Event::CallResend(site, attempt) => fleet.resend(context, site, attempt),
            Event::CallReplay(site, attempt) => fleet.replay(context, site, attempt),
            Event::CallHedge(send) => fleet.hedge(context, send),
            Event::ProxyResend(send) => fleet.proxy_resend(context, send),
            Event::Export(service) => fleet.export(context, service),
        }
    }

    /// A disturbance begins or ends.
    fn disturb(&mut self, index: usize, begins: bool) {
        let context = &mut self.context;
        let disturbance = context.scenario.disturbances[index];
        context.conditions.set(disturbance.effect, begins);
        match disturbance.effect {
            Effect::CacheFlush { service } if begins => self.fleet.forget(service),
            Effect::ShrinkPool { service, .. } if !begins => self.fleet.refill(context, service),
            Effect::Summon { sessions, within_ms } if begins => {
                let within_ns = within_ms * MILLISECOND_NS;
                for nth in 0..sessions as u64 {
                    let wait_ns = within_ns * nth / sessions as u64;
                    context.schedule.after(wait_ns, Event::Arrival(Coming::Summoned));
                }
            }
            _ => {}
        }
        if begins {
            let ends = Event::Disturbance { index, begins: false };
            context.schedule.after(disturbance.lasts_s * SECOND_NS, ends);
            if let Some(every_s) = disturbance.every_s {
                let again = Event::Disturbance { index, begins: true };
                context.schedule.after(every_s * SECOND_NS, again);
            }
        }
    }
}

#[cfg(test)]
mod signatures;
#[cfg(test)]
pub(crate) mod tests;
