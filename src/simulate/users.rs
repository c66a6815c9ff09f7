//! The users: they look, wait, lose patience, come back or leave.
//!
//! Not browsers: a user sees only whether what was asked for came. What users do in trouble
//! follows from how long they wait and how patient they are, so an overload changes the load.
//! Invariants: a session has one tab in front and in it at most one document; every timer of what a
//! user does there carries the turn it belongs to, and is void when the user has done something since.

mod deeds;
mod tabs;

use super::beacon::Seen;
use super::browser::{Browser, Carried, Client, Navigation, PageId, Planned};
use super::engine::{MILLISECOND_NS, SECOND_NS};
use super::random::{Distribution, Random, scaled_ns};
use super::scenario::{Fetch, Region};
use super::truth::{SessionDetail, Trigger};
use super::world::{Context, Event};
use std::collections::HashMap;
use std::sync::Arc;
use tabs::Tab;

/// Open sessions at most: an overloaded world must stay in memory. More are turned away, counted.
const SESSIONS_MAX: usize = 50_000;

/// The share of the patience after which some users begin to click about.
const CLICKS_AT: f64 = 0.45;

/// The share of users who do.
const CLICKING: f64 = 0.35;

/// How long it takes to see a failure and to do something about it, in milliseconds.
const REACTION: Distribution = Distribution::LogNormal(900.0, 0.5);

/// How long the next document takes to begin, in milliseconds.
const UNLOAD: Distribution = Distribution::Between(40.0, 160.0);

/// The items of the shop.
const ITEMS: u32 = 2000;

/// A visitor of the first second often looks at one page only, at this share of the usual time:
/// then the first complete sessions are there within a few seconds.
const GLANCE: f64 = 0.3;

/// Identifies a session in this world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionId(u64);

/// How a user comes to the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coming {
    /// Within the first second, so that a newcomer sees rows at once.
    Early,
    /// One of the stream; the next one follows.
    Steadily,
    /// Called, with many others.
    Summoned,
}

/// How the next document of a session begins.
#[derive(Debug)]
pub(crate) struct Opening {
    page: usize,
    item: u32,
    navigation: Navigation,
    carried: Carried,
}

struct Session {
    client: Arc<Client>,
    document: Option<PageId>,
    /// The tab that the user has left open behind this one.
    behind: Option<Tab>,
    /// The kind of page shown, and its item.
    page: usize,
    item: u32,
    turn: u64,
    /// What the user asked for by a button, while it is awaited.
    asked: Option<Planned>,
    /// What has to be asked for again after the reload.
    again: Option<Planned>,
    /// Whether the page's button has done its work.
    acted: bool,
    /// Disappointments in a row.
    tries: u32,
    /// Leaves after one page.
    glances: bool,
    hidden: bool,
    /// Whether the user waits for nothing and is about to act.
    thinking: bool,
    patience: f64,
}

/// All users.
pub(crate) struct Users {
    sessions: HashMap<SessionId, Session>,
    random: Random,
    /// What the devices differ in that changes nothing of what happens.
    devices: Random,
    /// What happens of tabs, so that who has only one is the same user as without any of it.
    tabs: Random,
    numbered: u64,
}

impl Users {
    /// Nobody is here yet.
    pub(crate) fn new(random: Random, devices: Random, tabs: Random) -> Self {
        Self { sessions: HashMap::new(), random, devices, tabs, numbered: 0 }
    }

    /// Lets the first users in, and the stream of the others begin.
    pub(crate) fn start(&mut self, context: &mut Context) {
        for _ in 0..context.scenario.early_sessions {
            let wait_ns = scaled_ns(SECOND_NS, self.random.uniform());
            context.schedule.after(wait_ns, Event::Arrival(Coming::Early));
        }
        context.schedule.after(0, Event::Arrival(Coming::Steadily));
    }

    /// Whether nobody is here.
    pub(crate) fn idle(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Whoever only looks at a page goes within a second; the others when they have what they
    /// wait for.
    pub(crate) fn close(&mut self, context: &mut Context) {
        let thinking = self.sessions.iter().filter(|(_, session)| session.thinking);
        let mut last: Vec<_> = thinking.map(|(id, session)| (id.0, session.turn)).collect();
        // The map has no order of its own.
        last.sort_unstable();
        for (id, turn) in last {
            let wait_ns = scaled_ns(SECOND_NS, self.random.uniform());
            context.schedule.after(wait_ns, Event::Act(SessionId(id), turn));
        }
    }

    /// A user comes.
    pub(crate) fn arrive(&mut self, context: &mut Context, coming: Coming) {
        if context.closing {
            return;
        }
        if coming == Coming::Steadily {
            let sessions_per_s = context.scenario.sessions_per_s * context.conditions.surge;
            let wait_ns = self.random.next_arrival_ns(sessions_per_s);
            context.schedule.after(wait_ns, Event::Arrival(Coming::Steadily));
        }
        if self.sessions.len() >= SESSIONS_MAX {
            context.truth.sessions_turned_away += 1;
            return;
        }
        self.numbered += 1;
        let id = SessionId(self.numbered);
        let region =
            self.random.weighted(context.scenario.regions.iter().map(|region| region.share));
        context.truth.regions[region].sessions += 1;
        let session = Session {
            client: Arc::new(self.client(context, region)),
            document: None,
            behind: None,
            page: 0,
            item: 0,
            turn: 0,
            asked: None,
            again: None,
            acted: false,
            tries: 0,
            glances: coming == Coming::Early && self.random.chance(0.5),
            hidden: false,
            thinking: false,
            // Some are patient by nature, others never.
            patience: 0.6 + 0.8 * self.random.uniform(),
        };
        self.sessions.insert(id, session);
        let item = self.random.popular(ITEMS);
        let page = self.random.weighted(context.scenario.entries.iter().copied());
        let (navigation, carried) = (Navigation::Navigate, Carried::default());
        let opening = Opening { page, item, navigation, carried };
        context.schedule.after(0, Event::Open(id, Box::new(opening)));
        if let Some(age_ms) = context.scenario.browser.session_age_ms {
            context.schedule.after(age_ms * MILLISECOND_NS, Event::Aged(id));
        }
    }

    /// The next document of a session begins.
    pub(crate) fn open(
        &mut self,
        context: &mut Context,
        browser: &mut Browser,
        id: SessionId,
        opening: Opening,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if context.closing {
            return self.go_home(context, browser, id);
        }
        let first = session.turn == 0;
        (session.page, session.item, session.acted) = (opening.page, opening.item, false);
        let scenario = Arc::clone(&context.scenario);
        let page = &scenario.pages[opening.page];
        let path = super::spans::concrete(page.path, opening.item);
        let how = (opening.navigation, opening.carried, first);
        let document = browser.open(context, id, &session.client, path, how);
        session.document = Some(document);
        self.load(context, browser, id, &page.loads);
    }

    /// What the user waited for is there, or has failed for good.
    pub(crate) fn wait_over(
        &mut self,
        context: &mut Context,
        id: SessionId,
        turn: u64,
        failed: bool,
    ) {
        let Some(session) = self.current(id, turn) else { return };
        session.turn += 1;
        let turn = session.turn;
        if failed {
            let wait_ns = REACTION.draw_ns(&mut self.random);
            return context.schedule.after(wait_ns, Event::Disappointed(id, turn));
        }
        session.tries = 0;
        session.acted |= session.asked.take().is_some();
        if session.again.is_some() {
            let wait_ns = REACTION.draw_ns(&mut self.random);
            return context.schedule.after(wait_ns, Event::AskAgain(id, turn));
        }
        self.think(context, id);
    }

    /// Part of the patience is gone: some click about.
    pub(crate) fn click(
        &mut self,
        context: &mut Context,
        browser: &mut Browser,
        id: SessionId,
        turn: u64,
    ) {
        let clicks = 3 + self.random.below(8);
        let Some(session) = self.current(id, turn) else { return };
        if let Some(document) = session.document {
            browser.see(context, document, Seen::Clicks(clicks));
        }
    }

    /// Fetches what a page shows and waits for it.
    fn load(
        &mut self,
        context: &mut Context,
        browser: &mut Browser,
        id: SessionId,
        loads: &[Fetch],
    ) {
        let session = self.sessions.get(&id).expect("the caller has the session");
        let item = session.item;
        let planned: Vec<Planned> = loads
            .iter()
            .map(|fetch| Planned {
                fetch: *fetch,
                item: if fetch.itemised { item } else { 0 },
                query: 0,
            })
            .collect();
        self.ask(context, browser, id, &planned);
    }

    /// Fetches and begins to wait; without anything to wait for the user thinks at once.
    fn ask(
        &mut self,
        context: &mut Context,
        browser: &mut Browser,
        id: SessionId,
        all: &[Planned],
    ) {
        let session = self.sessions.get_mut(&id).expect("the caller has the session");
        let Some(document) = session.document else { return };
        session.turn += 1;
        session.thinking = false;
        let turn = session.turn;
        let region = &context.scenario.regions[session.client.region];
        let patience = session.patience;
        let patience_ns = scaled_ns(region.patience.draw_ns(&mut self.random), patience);
        browser.begin_wait(document, turn);
        for planned in all {
            browser.fetch(context, document, *planned);
        }
        if !browser.waits(document) {
            return self.think(context, id);
        }
        context.schedule.after(patience_ns, Event::PatienceOver(id, turn));
        if self.random.chance(CLICKING) {
            context.schedule.after(scaled_ns(patience_ns, CLICKS_AT), Event::Click(id, turn));
        }
    }

    /// A satisfied user looks at the page for a while.
    fn think(&mut self, context: &mut Context, id: SessionId) {
        let session = self.sessions.get_mut(&id).expect("the caller has the session");
        session.turn += 1;
        session.thinking = true;
        let page = &context.scenario.pages[session.page];
        let haste = if session.glances { GLANCE } else { 1.0 };
        let mut think_ns = scaled_ns(page.think.draw_ns(&mut self.random), haste);
        if context.closing {
            think_ns = think_ns.min(SECOND_NS);
        }
        context.schedule.after(think_ns, Event::Act(id, session.turn));
    }

    /// The session, if the timer of `turn` still means something.
    fn current(&mut self, id: SessionId, turn: u64) -> Option<&mut Session> {
        self.sessions.get_mut(&id).filter(|session| session.turn == turn)
    }

    /// Draws a user's device.
    fn client(&mut self, context: &mut Context, region: usize) -> Client {
        let random = &mut self.random;
        let policy = context.scenario.browser;
        let place = &context.scenario.regions[region];
        let mobile = random.chance(0.55);
        let known = random.chance(0.3);
        let client = Client {
            session_id: context.ids.id(),
            previous: None,
            tab_id: context.ids.id(),
            region,
            address: address(random, place),
            user_agent: if mobile { MOBILE } else { DESKTOP },
            mobile,
            language: place.language,
            user_id: known.then(|| format!("u{:05}", random.below(100_000))),
            skew_ns: skew_ns(random, policy.clock_error_ms),
            drift_ppm: (self.devices.uniform() * 2.0 - 1.0) * policy.clock_drift_ppm,
            began_ns: context.schedule.now_ns(),
            sampled: self.devices.chance(policy.sample_ratio),
        };
        note(context, &client);
        client
    }
}

/// Writes down that a session begins.
fn note(context: &mut Context, client: &Client) {
    let detail = SessionDetail {
        session_id: client.session_id,
        previous: client.previous,
        region: client.region,
        sampled: client.sampled,
        offset_us: -client.ahead_ns(context.schedule.now_ns()) / 1000,
        drift_ppm: client.drift_ppm,
    };
    context.truth.details.session(&context.scenario, &detail);
}

/// An address of the region that a provider would give to a customer.
fn address(random: &mut Random, region: &Region) -> String {
    let network = random.below(region.networks.len() as u32) as usize;
    let (first, second, width) = region.networks[network];
    let second = u32::from(second) + random.below(u32::from(width) + 1);
    format!("{first}.{second}.{}.{}", random.below(256), 1 + random.below(254))
}

/// Most devices are right within a second; one in twelve is wrong by minutes. The draws are the
/// same when all are wrong by more, so that nothing else changes.
fn skew_ns(random: &mut Random, clock_error_ms: Option<f64>) -> i64 {
    let usual_ms = if random.chance(1.0 / 12.0) { 240_000.0 } else { 800.0 };
    let widest_ms = clock_error_ms.unwrap_or(usual_ms);
    ((random.uniform() * 2.0 - 1.0) * widest_ms) as i64 * MILLISECOND_NS as i64
}

const MOBILE: &str = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) \
                      Chrome/140.0.0.0 Mobile Safari/537.36";

const DESKTOP: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                       Chrome/140.0.0.0 Safari/537.36";
