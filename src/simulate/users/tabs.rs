//! Two tabs of one visit, and sessions that are followed by others while their tabs live.
//!
//! Not what users do in a tab: see `deeds`. A user has one tab in front and at most one behind it. Both
//! are of one session, as tabs share their storage, and whichever speaks first when that has ended
//! begins the next one for both. Invariants: nobody waits for what a tab behind asks for; a session is
//! followed only while none of its requests is open, so that each request is of one session.

use super::super::beacon::Seen;
use super::super::browser::{Browser, Carried, Client, Navigation, PageId, Planned};
use super::super::engine::{MILLISECOND_NS, SECOND_NS};
use super::super::scenario::Choice;
use super::super::truth::Trigger;
use super::super::world::{Context, Event};
use super::{ITEMS, Opening, SessionId, UNLOAD, Users, note};
use std::sync::Arc;

/// A tab behind asks for what is new this often: browsers slow its timers down, but not below this.
const POLL_NS: u64 = 4 * SECOND_NS;

/// A session that has open requests when it has become old enough is looked at again after this: most
/// requests are answered by then.
const QUIET_NS: u64 = 250 * MILLISECOND_NS;

/// A tab behind another, as its user left it.
pub(super) struct Tab {
    client: Arc<Client>,
    pub(super) document: PageId,
    page: usize,
    item: u32,
    acted: bool,
}

impl Users {
    /// Some follow a link into a tab of its own, unless they have two. True when this one does.
    pub(super) fn opens_tab(
        &mut self,
        context: &mut Context,
        browser: &mut Browser,
        id: SessionId,
    ) -> bool {
        let opens = self.tabs.chance(context.scenario.browser.second_tabs);
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        if !opens || session.behind.is_some() {
            return false;
        }
        let choices = context.scenario.pages[session.page].choices.iter();
        let links = choices.filter_map(|(_, choice)| match choice {
            Choice::Go(page) => Some(*page),
            _ => None,
        });
        let links: Vec<usize> = links.collect();
        let link = self.tabs.below(links.len() as u32) as usize;
        let Some(page) = links.get(link).copied() else { return false };
        let Some(document) = session.document.take() else { return false };
        let client = Client { tab_id: context.ids.id(), ..Client::clone(&session.client) };
        let client = std::mem::replace(&mut session.client, Arc::new(client));
        let (item, acted) = (session.item, session.acted);
        session.behind = Some(Tab { client, document, page: session.page, item, acted });
        session.turn += 1;
        session.thinking = false;
        (session.asked, session.again) = (None, None);
        browser.see(context, document, Seen::Press);
        browser.see(context, document, Seen::Visible(false));
        let item = self.tabs.popular(ITEMS);
        let (navigation, carried) = (Navigation::Navigate, Carried::default());
        let opening = Opening { page, item, navigation, carried };
        let wait_ns = UNLOAD.draw_ns(&mut self.tabs);
        context.schedule.after(wait_ns, Event::Open(id, Box::new(opening)));
        context.schedule.after(POLL_NS, Event::Poll(id, document));
        true
    }

    /// The tab in front closes, and its user is back at the one behind. False where there is none.
    pub(super) fn comes_back(
        &mut self,
        context: &mut Context,
        browser: &mut Browser,
        id: SessionId,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        let Some(tab) = session.behind.take() else { return false };
        let front = session.document.replace(tab.document);
        session.client = tab.client;
        (session.page, session.item, session.acted) = (tab.page, tab.item, tab.acted);
        (session.asked, session.again) = (None, None);
        session.hidden = false;
        if let Some(front) = front {
            browser.close(context, front, Trigger::Leave);
        }
        browser.see(context, tab.document, Seen::Visible(true));
        self.think(context, id);
        true
    }

    /// A tab behind asks for what is new, if its page shows anything of that kind.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context,
        browser: &mut Browser,
        id: SessionId,
        document: PageId,
    ) {
        if context.closing {
            return;
        }
        let tab = self.sessions.get(&id).and_then(|session| session.behind.as_ref());
        let Some(tab) = tab.filter(|tab| tab.document == document) else { return };
        let mut loads = context.scenario.pages[tab.page].loads.iter();
        let Some(fetch) = loads.find(|fetch| !fetch.awaited).copied() else { return };
        let item = if fetch.itemised { tab.item } else { 0 };
        // What is new since another moment is another question: a poll repeats nothing.
        let query = 1 + self.tabs.below(u32::MAX - 1);
        browser.fetch(context, document, Planned { fetch, item, query });
        context.schedule.after(POLL_NS, Event::Poll(id, document));
    }

    /// The session is as old as one becomes: another follows it in all of its tabs.
    pub(crate) fn aged(&mut self, context: &mut Context, browser: &mut Browser, id: SessionId) {
        if context.closing {
            return;
        }
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let behind = session.behind.as_ref().map(|tab| tab.document);
        let mut documents = behind.into_iter().chain(session.document).peekable();
        if documents.peek().is_none() || documents.any(|document| browser.busy(document)) {
            return context.schedule.after(QUIET_NS, Event::Aged(id));
        }
        let session_id: [u8; 16] = context.ids.id();
        let follow = |client: &Client| {
            let previous = Some(client.session_id);
            Arc::new(Client { session_id, previous, ..client.clone() })
        };
        let mut tabs: Vec<(PageId, Arc<Client>)> = Vec::new();
        if let Some(tab) = &mut session.behind {
            tab.client = follow(&tab.client);
            tabs.push((tab.document, Arc::clone(&tab.client)));
        }
        session.client = follow(&session.client);
        tabs.extend(session.document.map(|document| (document, Arc::clone(&session.client))));
        // The tab behind speaks first: its timers run, while its user only looks at the other.
        for (nth, (document, client)) in tabs.iter().enumerate() {
            browser.renew(context, *document, client, nth == 0);
        }
        context.truth.regions[session.client.region].sessions += 1;
        note(context, &session.client);
        if let Some(age_ms) = context.scenario.browser.session_age_ms {
            context.schedule.after(age_ms * MILLISECOND_NS, Event::Aged(id));
        }
    }
}
