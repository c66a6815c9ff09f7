//! Documents: what is open in a tab, what it waits for, and what it remembers.
//!
//! Not the requests themselves: see the parent module. Invariants: a document flushes its beacon
//! every five seconds and once more when it closes; closing it ends every request it has open.

use super::super::beacon::{Beacon, Seen};
use super::super::engine::SECOND_NS;
use super::super::logical::RequestId;
use super::super::truth::{Outcome, Trigger};
use super::super::world::{Context, Event};
use super::{Attempt, AttemptEnd, Browser, Client, Ghost, Planned, Remembered, Request, Waiter};
use std::sync::Arc;

/// The beacon's period.
const FLUSH_NS: u64 = 5 * SECOND_NS;

/// The share of reloads that the beacon recognises while the document goes; of the others it
/// learns from the next document.
const RELOADS_RECOGNISED: f64 = 0.3;

/// Identifies a document in this world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PageId(u64);

/// How a document came to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Navigation {
    Navigate,
    Reload,
}

/// What a document leaves to the next one in its tab.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carried {
    /// The identifier of the document on the wire.
    pub(crate) page: Option<[u8; 8]>,
    pub(crate) pending: u32,
    /// Only across a reload.
    remembered: Vec<Remembered>,
}

/// A document.
pub(crate) struct Page {
    pub(crate) client: Arc<Client>,
    waiter: Waiter,
    beacon: Beacon,
    open: Vec<RequestId>,
    remembered: Vec<Remembered>,
    wait: Wait,
}

/// What the user waits for.
#[derive(Default)]
struct Wait {
    turn: u64,
    left: Vec<RequestId>,
    failed: Vec<Planned>,
}

impl Page {
    /// Adds something to the beacon.
    pub(crate) fn see(&mut self, context: &mut Context, seen: Seen<'_>) {
        self.beacon.see(context, &self.client, seen);
    }

    pub(super) fn recall(&self, key: (&'static str, &'static str, u32, u32)) -> Option<Remembered> {
        self.remembered.iter().find(|known| known.key == key).copied()
    }

    pub(super) fn expect(&mut self, request: RequestId, awaited: bool) {
        self.open.push(request);
        if awaited {
            self.wait.left.push(request);
        }
    }

    /// Books the end of a request: memory, and the user's wait.
    pub(super) fn settle(
        &mut self,
        context: &mut Context,
        id: RequestId,
        request: &Request,
        outcome: Outcome,
    ) {
        self.open.retain(|open| *open != id);
        let key = request.planned.key();
        if outcome != Outcome::Cancelled {
            self.remembered.retain(|known| known.key != key);
        }
        let disappointed = matches!(outcome, Outcome::Failed | Outcome::Abandoned(_));
        if disappointed {
            let (intent_id, repeat) = (request.intent_id, request.repeat);
            self.remembered.push(Remembered { key, intent_id, repeat, refreshed: false });
        }
        let before = self.wait.left.len();
        self.wait.left.retain(|left| *left != id);
        if self.wait.left.len() == before {
            return;
        }
        if disappointed {
            self.wait.failed.push(request.planned);
        }
        if self.wait.left.is_empty() {
            let failed = !self.wait.failed.is_empty();
            context.schedule.after(0, Event::WaitOver(self.waiter, self.wait.turn, failed));
        }
    }
}

impl Browser {
    /// Opens a document. `first` says that it begins the session.
    pub(crate) fn open(
        &mut self,
        context: &mut Context,
        waiter: Waiter,
        client: &Arc<Client>,
        path: String,
        (navigation, carried, first): (Navigation, Carried, bool),
    ) -> PageId {
        let id = PageId(self.number());
        let remembered = match navigation {
            Navigation::Reload => carried.remembered,
            Navigation::Navigate => Vec::new(),
        };
        let mut page = Page {
            client: Arc::clone(client),
            waiter,
            beacon: Beacon::new(context.ids.id(), path),
            open: Vec::new(),
            remembered,
            wait: Wait::default(),
        };
        let region = &mut context.truth.regions[client.region];
        region.pages += 1;
        // Every later document of a tab knows the one before.
        region.tabs += u64::from(carried.page.is_none());
        if first {
            page.see(context, Seen::Start);
        }
        page.see(context, Seen::Navigation(navigation, carried.page));
        if let (Navigation::Reload, Some(previous)) = (navigation, carried.page) {
            context.truth.regions[client.region].reloads += 1;
            page.see(context, Seen::Refresh(previous, carried.pending));
        }
        self.pages.insert(id, page);
        context.schedule.after(FLUSH_NS, Event::Flush(id));
        id
    }

    /// Closes a document because of `trigger`; what is in flight is abandoned.
    pub(crate) fn close(&mut self, context: &mut Context, id: PageId, trigger: Trigger) -> Carried {
        let Some(page) = self.pages.get(&id) else { return Carried::default() };
        let recognised = trigger != Trigger::Reload || self.random.chance(RELOADS_RECOGNISED);
        let word = if recognised { trigger.word() } else { Trigger::Leave.word() };
        let open = page.open.clone();
        let in_flight = |id: &&RequestId| {
            self.requests.get(*id).is_some_and(|request| request.current.is_some())
        };
        let pending = open.iter().filter(in_flight).count() as u32;
        for request in open {
            self.give_up(context, request, trigger, word);
        }
        let mut page = self.pages.remove(&id).expect("the page was just seen");
        page.see(context, Seen::Leave);
        self.deliver(context, &mut page);
        let refreshed = |known: Remembered| Remembered { refreshed: true, ..known };
        Carried {
            page: Some(page.beacon.page_id),
            pending,
            remembered: page.remembered.into_iter().map(refreshed).collect(),
        }
    }

    /// Whether a document has requests open.
    pub(crate) fn busy(&self, id: PageId) -> bool {
        self.pages.get(&id).is_some_and(|page| !page.open.is_empty())
    }

    /// Another session goes on in a document; what it has told until now is the old one's. `begins`:
    /// it is the document that says so.
    pub(crate) fn renew(
        &mut self,
        context: &mut Context,
        id: PageId,
        client: &Arc<Client>,
        begins: bool,
    ) {
        let Some(mut page) = self.pages.remove(&id) else { return };
        self.deliver(context, &mut page);
        page.client = Arc::clone(client);
        if begins {
            page.see(context, Seen::Start);
        }
        self.pages.insert(id, page);
    }

    /// Begins a wait: the requests fetched from now on belong to it.
    pub(crate) fn begin_wait(&mut self, id: PageId, turn: u64) {
        if let Some(page) = self.pages.get_mut(&id) {
            page.wait = Wait { turn, ..Wait::default() };
        }
    }

    /// Whether the current wait has something to wait for.
    pub(crate) fn waits(&self, id: PageId) -> bool {
        self.pages.get(&id).is_some_and(|page| !page.wait.left.is_empty())
    }

    /// What failed in the current wait.
    pub(crate) fn failed(&self, id: PageId) -> Vec<Planned> {
        self.pages.get(&id).map(|page| page.wait.failed.clone()).unwrap_or_default()
    }

    /// The user presses cancel: everything awaited is aborted, and abandoned.
    pub(crate) fn cancel(&mut self, context: &mut Context, id: PageId) {
        let Some(page) = self.pages.get_mut(&id) else { return };
        // The wait ends by the user's hand; nobody has to be told.
        for request in std::mem::take(&mut page.wait.left) {
            self.give_up(context, request, Trigger::Abort, Trigger::Abort.word());
        }
    }

    /// The application aborts what it has open of this address, since something newer replaces
    /// it.
    pub(crate) fn replace(&mut self, context: &mut Context, id: PageId, template: &'static str) {
        let Some(page) = self.pages.get(&id) else { return };
        let region = page.client.region;
        let same = |request: &RequestId| {
            let request = self.requests.get(request)?;
            (request.planned.fetch.template == template).then_some(request.current)?
        };
        let attempts: Vec<_> = page.open.iter().filter_map(same).collect();
        for attempt in attempts {
            let Some(Attempt::Live(request)) = self.attempts.get(&attempt) else { continue };
            let ghost = self.requests.get(request);
            let ghost = ghost.map(|request| Ghost::of(context, request, region, false));
            self.attempt_ended(context, attempt, AttemptEnd::Abort);
            self.attempts.extend(ghost.map(|ghost| (attempt, Attempt::Ghost(ghost))));
        }
    }

    /// Adds something to a document's beacon.
    pub(crate) fn see(&mut self, context: &mut Context, id: PageId, seen: Seen<'_>) {
        if let Some(page) = self.pages.get_mut(&id) {
            page.see(context, seen);
        }
    }

    /// Sends what the beacon has gathered, and comes back.
    pub(crate) fn flush(&mut self, context: &mut Context, id: PageId) {
        let Some(mut page) = self.pages.remove(&id) else { return };
        self.deliver(context, &mut page);
        self.pages.insert(id, page);
        context.schedule.after(FLUSH_NS, Event::Flush(id));
    }

    fn deliver(&mut self, context: &mut Context, page: &mut Page) {
        let Some(body) = page.beacon.body(context, &page.client) else { return };
        let region = &context.scenario.regions[page.client.region];
        let way_ns = region.round_trip.draw_ns(&mut self.ways) / 2;
        context.travelling += 1;
        context.schedule.after(way_ns, Event::Deliver(Box::new(body)));
    }
}
