//! What users do: go on when satisfied, react when not.
//!
//! Not how they wait: see the parent module. Invariant: whatever a user does begins a new turn,
//! so that the timers of what was before are void.

use super::super::beacon::Seen;
use super::super::browser::{Browser, Navigation, Planned};
use super::super::random::Distribution;
use super::super::scenario::{Choice, Fetch};
use super::super::world::{Context, Event};
use super::{ITEMS, Opening, SessionId, Trigger, UNLOAD, Users, scaled_ns};
use std::sync::Arc;

/// The pause between two keys, in milliseconds.
const KEY: Distribution = Distribution::Between(90.0, 260.0);

/// How long a tab stays in the background, in milliseconds.
const AWAY: Distribution = Distribution::LogNormal(4000.0, 0.8);

/// The share of steps before which the user looks at another tab.
const LOOKS_AWAY: f64 = 0.06;

/// Each disappointment in a row makes leaving this much more likely than before.
const DISCOURAGEMENT: f64 = 0.6;

/// Who decides to wait on is less patient the second time.
const SECOND_PATIENCE: f64 = 0.7;

impl Users {
    /// A satisfied user takes the next step.
    pub(crate) fn act(
        &mut self,
        context: &mut Context,
        browser: &mut Browser,
        id: SessionId,
        turn: u64,
    ) {
        let closing = context.closing;
        let away = self.random.chance(LOOKS_AWAY);
        let Some(session) = self.current(id, turn) else { return };
        let Some(document) = session.document else { return };
        if closing || session.glances {
            return self.leave(context, browser, id);
        }
        if session.hidden || away {
            session.hidden = !session.hidden;
            browser.see(context, document, Seen::Visible(!session.hidden));
            let wait_ns = AWAY.draw_ns(&mut self.random);
            return context.schedule.after(wait_ns, Event::Act(id, turn));
        }
        if self.opens_tab(context, browser, id) {
            return;
        }
        let Some(session) = self.current(id, turn) else { return };
        let acted = session.acted;
        let scenario = Arc::clone(&context.scenario);
        let choices = &scenario.pages[session.page].choices;
        let weights = choices.iter().map(|(weight, choice)| match choice {
            Choice::Act(_) if acted => 0.0,
            _ => *weight,
        });
        session.thinking = false;
        match choices[self.random.weighted(weights)].1 {
            Choice::Go(page) => self.go(context, browser, id, page),
            Choice::Push(page) => self.push(context, browser, id, page),
            Choice::Act(fetch) => self.press(context, browser, id, fetch),
            Choice::Type(fetch) => {
                let keys = 2 + self.random.below(4);
                self.key(context, browser, id, (turn, fetch, keys));
            }
            Choice::Leave => self.leave(context, browser, id),
        }
    }

    /// One key in a search field; the last one's answer is awaited.
    pub(crate) fn key(
        &mut self,
        context: &mut Context,
        browser: &mut Browser,
        id: SessionId,
        (turn, fetch, left): (u64, Fetch, u32),
    ) {
        let query = 1 + self.random.below(u32::MAX - 1);
        let pause_ns = KEY.draw_ns(&mut self.random);
        let Some(session) = self.current(id, turn) else { return };
        let Some(document) = session.document else { return };
        browser.replace(context, document, fetch.template);
        let planned = Planned { fetch, item: 0, query };
        if left == 0 {
            session.asked = Some(planned);
            return self.ask(context, browser, id, &[planned]);
        }
        let unawaited = Fetch { awaited: false, ..fetch };
        browser.fetch(context, document, Planned { fetch: unawaited, ..planned });
        context.schedule.after(pause_ns, Event::Key(id, turn, fetch, left - 1));
    }

    /// What was asked for has failed: ask again, reload, go on without it, or leave.
    pub(crate) fn disappointed(
        &mut self,
        context: &mut Context,
        browser: &mut Browser,
        id: SessionId,
        turn: u64,
    ) {
        let closing = context.closing;
        let Some(session) = self.current(id, turn) else { return };
        let Some(document) = session.document else { return };
        let habits = context.scenario.regions[session.client.region].habits;
        let leave = habits.leave * (1.0 + DISCOURAGEMENT * f64::from(session.tries));
        session.tries += 1;
        let weights = [habits.repeat, habits.reload, habits.stay, leave];
        let deed = self.random.weighted(weights.into_iter());
        match deed {
            _ if closing => self.leave(context, browser, id),
            0 => {
                let failed = browser.failed(document);
                browser.see(context, document, Seen::Press);
                self.ask(context, browser, id, &failed);
            }
            1 => self.reload(context, browser, id),
            2 => self.think(context, id),
            _ => self.leave(context, browser, id),
        }
    }

    /// The patience is over and something is still pending.
    pub(crate) fn impatient(
        &mut self,
        context: &mut Context,
        browser: &mut Browser,
        id: SessionId,
        turn: u64,
    ) {
        let Some(session) = self.current(id, turn) else { return };
        let Some(document) = session.document else { return };
        let region = &context.scenario.regions[session.client.region];
        let (habits, tries) = (region.habits, f64::from(session.tries));
        session.tries += 1;
        let leave = habits.leave * (1.0 + DISCOURAGEMENT * tries);
        let weights = [habits.stay, habits.reload, habits.navigate, habits.cancel, leave];
        let patience_ns = region.patience.draw_ns(&mut self.random);
        match self.random.weighted(weights.into_iter()) {
            0 => {
                let wait_ns = scaled_ns(patience_ns, SECOND_PATIENCE);
                context.schedule.after(wait_ns, Event::PatienceOver(id, turn));
            }
            1 => self.reload(context, browser, id),
            2 => self.go(context, browser, id, 0),
            3 => {
                browser.see(context, document, Seen::Press);
                browser.cancel(context, document);
                self.think(context, id);
            }
            _ => self.leave(context, browser, id),
        }
    }

    /// After a reload the user presses the same button again.
    pub(crate) fn ask_again(
        &mut self,
        context: &mut Context,
        browser: &mut Browser,
        id: SessionId,
        turn: u64,
    ) {
        let Some(session) = self.current(id, turn) else { return };
        let Some(planned) = session.again.take() else { return };
        session.asked = Some(planned);
        if let Some(document) = session.document {
            browser.see(context, document, Seen::Press);
        }
        self.ask(context, browser, id, &[planned]);
    }

    /// Presses the page's button.
    fn press(&mut self, context: &mut Context, browser: &mut Browser, id: SessionId, fetch: Fetch) {
        let session = self.sessions.get_mut(&id).expect("the caller has the session");
        let planned = Planned { fetch, item: session.item, query: 0 };
        session.asked = Some(planned);
        if let Some(document) = session.document {
            browser.see(context, document, Seen::Press);
        }
        self.ask(context, browser, id, &[planned]);
    }

    /// Opens another document in place of this one.
    fn go(&mut self, context: &mut Context, browser: &mut Browser, id: SessionId, page: usize) {
        if let Some(document) = self.sessions.get(&id).and_then(|session| session.document) {
            browser.see(context, document, Seen::Press);
        }
        let item = self.next_item(id, page);
        self.replace(context, browser, id, (page, item, Navigation::Navigate));
    }

    /// Opens the same document again.
    fn reload(&mut self, context: &mut Context, browser: &mut Browser, id: SessionId) {
        let session = self.sessions.get_mut(&id).expect("the caller has the session");
        session.again = session.asked;
        let (page, item) = (session.page, session.item);
        self.replace(context, browser, id, (page, item, Navigation::Reload));
    }

    /// Shows another page within the document.
    fn push(&mut self, context: &mut Context, browser: &mut Browser, id: SessionId, page: usize) {
        let item = self.next_item(id, page);
        let session = self.sessions.get_mut(&id).expect("the caller has the session");
        let Some(document) = session.document else { return };
        (session.page, session.item, session.acted) = (page, item, false);
        let scenario = Arc::clone(&context.scenario);
        let path = super::super::spans::concrete(scenario.pages[page].path, item);
        browser.see(context, document, Seen::Push(path));
        self.load(context, browser, id, &scenario.pages[page].loads);
    }

    /// Closes the tab; without another one that ends the visit.
    fn leave(&mut self, context: &mut Context, browser: &mut Browser, id: SessionId) {
        if context.closing || !self.comes_back(context, browser, id) {
            self.go_home(context, browser, id);
        }
    }

    /// Closes whatever is open.
    pub(super) fn go_home(&mut self, context: &mut Context, browser: &mut Browser, id: SessionId) {
        let Some(session) = self.sessions.remove(&id) else { return };
        let behind = session.behind.map(|tab| tab.document);
        for document in session.document.into_iter().chain(behind) {
            browser.close(context, document, Trigger::Leave);
        }
    }

    fn replace(
        &mut self,
        context: &mut Context,
        browser: &mut Browser,
        id: SessionId,
        (page, item, navigation): (usize, u32, Navigation),
    ) {
        let session = self.sessions.get_mut(&id).expect("the caller has the session");
        session.turn += 1;
        session.thinking = false;
        session.asked = None;
        if navigation == Navigation::Navigate {
            session.again = None;
        }
        let trigger = match navigation {
            Navigation::Reload => Trigger::Reload,
            Navigation::Navigate => Trigger::Navigate,
        };
        let Some(document) = session.document.take() else { return };
        let carried = browser.close(context, document, trigger);
        let opening = Opening { page, item, navigation, carried };
        let wait_ns = UNLOAD.draw_ns(&mut self.random);
        context.schedule.after(wait_ns, Event::Open(id, Box::new(opening)));
    }

    /// A list leads to another item; every other page is about the item the user has.
    fn next_item(&mut self, id: SessionId, page: usize) -> u32 {
        let item = self.random.popular(ITEMS);
        match self.sessions.get(&id) {
            Some(session) if page > 1 => session.item,
            _ => item,
        }
    }
}
