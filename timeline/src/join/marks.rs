//! What a session's user did between two requests, as far as a page's SDK tells of it.
//!
//! A program that sends again needs nobody; a user clicks, or loads the page again. Signals: spans of
//! OpenTelemetry's document-load and user-interaction instrumentations, and what others make of them
//! (`documentLoad`, whose `documentFetch` begins at the same time and says less; `Navigation: /path`
//! and `routeChange` within a document; `event_type` of what was done by hand). Condition: the *deed* of
//! a send is the latest of these before it, a click only where it came shortly before. Result: a send
//! whose deed came after a failure is no retry of it; where the page is still the same it is its
//! repetition. Which page it is is known by the path: one that is loaded twice in a row was reloaded.
//!
//! Invariant: the deed of a send is a function of the set of marks held, of which the latest stay.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::links::INFERRED_GAP_NS_MAX;
use super::prints::fingerprint;
use crate::schema::{Span, SpanId, TraceId};

/// Within this time after a click its handler asks for what was clicked for. A handler that asks does
/// so in its own task or a few frames later; a second would take in the back-offs of most retry loops,
/// whose users click in the meantime.
const CLICK_NS_MAX: i64 = 250_000_000;

/// Clicks that follow each other as fast as this are one: those after the first are impatience.
const CLICKS_APART_NS_MIN: i64 = 500_000_000;

/// What users do by hand that a page may ask something for. Moving and scrolling are not among it.
const BY_HAND: [&str; 10] = [
    "click",
    "dblclick",
    "keydown",
    "keypress",
    "mousedown",
    "mouseup",
    "pointerdown",
    "pointerup",
    "submit",
    "touchend",
];

/// One thing that a user did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mark {
    /// A document was loaded, at this place.
    Load(u64),
    /// The page went to this place within its document.
    Route(u64),
    /// Something was clicked.
    Click,
}

impl Mark {
    /// What a span tells that its user did.
    pub(super) fn of(span: &Span) -> Option<Self> {
        let row = &span.row;
        if row.layer != "browser" || row.kind != "internal" {
            return None;
        }
        let url = || {
            let mut keys = ["http.url", "url.full", "location.href"].into_iter();
            keys.find_map(|key| row.attributes.get(key)).unwrap_or_default()
        };
        match row.name.as_str() {
            "documentLoad" => Some(Self::Load(place(url()))),
            "routeChange" => Some(Self::Route(place(url()))),
            name => match name.strip_prefix("Navigation:") {
                Some(path) => Some(Self::Route(place(path.trim()))),
                None => {
                    let done = row.attributes.get("event_type");
                    done.is_some_and(|done| BY_HAND.contains(&done)).then_some(Self::Click)
                }
            },
        }
    }
}

/// A page, by the path of its URL.
fn place(url: &str) -> u64 {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => url,
    };
    let path = path.split(['?', '#']).next().unwrap_or(path);
    fingerprint(&path)
}

/// What a user did before a send: the times of the latest deeds of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Deed {
    at_ns: i64,
    reloaded_ns: i64,
    /// Another page was loaded.
    elsewhere_ns: i64,
}

impl Deed {
    /// Whether it came after something that ended at `end_ns`.
    pub(super) fn is_after(&self, end_ns: i64) -> bool {
        self.at_ns > end_ns
    }

    /// Why what had ended in vain at `end_ns` was asked for again, if it was by this.
    pub(super) fn repeats(&self, end_ns: i64) -> Option<&'static str> {
        let on_this_page = self.is_after(end_ns) && self.elsewhere_ns <= end_ns;
        on_this_page.then_some(if self.reloaded_ns > end_ns { "refresh" } else { "user" })
    }
}

type Place = (i64, TraceId, SpanId);

/// The marks of one session.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Marks {
    /// By when it was done; and whether the trace that told of it is open.
    of: BTreeMap<Place, (Mark, bool)>,
}

impl Marks {
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Takes a mark in. Of more than `marks_max` the earliest give way; returns the time of the latest of
    /// those that did.
    pub(super) fn put(&mut self, place: Place, mark: Mark, marks_max: usize) -> Option<i64> {
        self.of.insert(place, (mark, true));
        let mut gone_ns = None;
        while self.of.len() > marks_max
            && let Some(((at_ns, ..), _)) = self.of.pop_first()
        {
            gone_ns = Some(at_ns);
        }
        gone_ns
    }

    /// Takes the marks of a trace back.
    pub(super) fn take_back(&mut self, trace: TraceId) {
        self.of.retain(|(_, of, _), _| *of != trace);
    }

    /// Its trace is let go; what it told holds for the others.
    pub(super) fn close(&mut self, trace: TraceId) {
        for (_, (_, open)) in self.of.iter_mut().filter(|((_, of, _), _)| *of == trace) {
            *open = false;
        }
    }

    /// Nobody asks for the marks of traces that were let go any more.
    pub(super) fn drop_closed(&mut self) {
        self.of.retain(|_, (_, open)| *open);
    }

    /// What was done before a send that began at `start_ns`.
    pub(super) fn deed(&self, start_ns: i64) -> Option<Deed> {
        let least = |at_ns| (at_ns, TraceId([0; 16]), SpanId([0; 8]));
        let from = least(start_ns.saturating_sub(INFERRED_GAP_NS_MAX));
        let to = least(start_ns.saturating_add(1));
        let place_of = |mark: &Mark| match mark {
            Mark::Load(place) | Mark::Route(place) => Some(*place),
            Mark::Click => None,
        };
        let mut page = self.of.range(..from).rev().find_map(|(_, (mark, _))| place_of(mark));
        let (mut loaded_ns, mut clicked_ns) = (None, None);
        let none = Deed { at_ns: i64::MIN, reloaded_ns: i64::MIN, elsewhere_ns: i64::MIN };
        let mut deed = none;
        for ((at_ns, ..), (mark, _)) in self.of.range(from..to) {
            let at_ns = *at_ns;
            match mark {
                // Two instrumentations may tell of one load.
                Mark::Load(_) if loaded_ns == Some(at_ns) => continue,
                Mark::Load(place) if page == Some(*place) => deed.reloaded_ns = at_ns,
                Mark::Load(_) => deed.elsewhere_ns = at_ns,
                Mark::Route(_) => {}
                Mark::Click => {
                    let before = clicked_ns.replace(at_ns);
                    let first = before.is_none_or(|before| at_ns - before >= CLICKS_APART_NS_MIN);
                    if !first || start_ns - at_ns > CLICK_NS_MAX {
                        continue;
                    }
                }
            }
            if let Mark::Load(_) = mark {
                loaded_ns = Some(at_ns);
            }
            page = place_of(mark).or(page);
            deed.at_ns = at_ns;
        }
        (deed != none).then_some(deed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    /// The deed before a send at `start_ms`, of marks at these milliseconds.
    fn deed(marks: &[(i64, Mark)], start_ms: i64) -> Option<Deed> {
        let mut all = Marks::default();
        for (number, (at_ms, mark)) in marks.iter().enumerate() {
            let place = (at_ms * MS, TraceId([number as u8 + 1; 16]), SpanId([1; 8]));
            all.put(place, *mark, marks.len());
        }
        all.deed(start_ms * MS)
    }

    #[test]
    fn a_deed_says_why_something_is_asked_again() {
        let (home, cart) = (place("https://shop.example/"), place("/cart?x=1"));
        let again = |marks: &[(i64, Mark)], end_ms: i64, start_ms: i64| {
            deed(marks, start_ms).and_then(|deed| deed.repeats(end_ms * MS))
        };
        assert_eq!(again(&[], 0, 1_000), None);
        assert_eq!(again(&[(900, Mark::Click)], 0, 1_000), Some("user"));
        // Too long ago, before the failure, and after the send.
        assert_eq!(again(&[(700, Mark::Click)], 0, 1_000), None);
        assert_eq!(again(&[(900, Mark::Click)], 950, 1_000), None);
        assert_eq!(again(&[(1_001, Mark::Click)], 0, 1_000), None);
        // Of many clicks only the first asks for something.
        assert_eq!(again(&[(500, Mark::Click), (900, Mark::Click)], 0, 1_000), None);
        let twice = [(0, Mark::Load(home)), (500, Mark::Load(home))];
        assert_eq!(again(&twice, 400, 1_000), Some("refresh"));
        assert_eq!(again(&twice, 600, 1_000), None);
        let reloaded_and_pressed = [twice[0], twice[1], (900, Mark::Click)];
        assert_eq!(again(&reloaded_and_pressed, 400, 1_000), Some("refresh"));
        let elsewhere = [(0, Mark::Load(home)), (500, Mark::Load(cart))];
        assert_eq!(again(&elsewhere, 400, 1_000), None);
        assert!(deed(&elsewhere, 1_000).is_some_and(|deed| deed.is_after(400 * MS)));
        let routed = [(0, Mark::Load(home)), (500, Mark::Route(cart)), (700, Mark::Load(cart))];
        assert_eq!(again(&routed[..2], 400, 1_000), Some("user"));
        assert_eq!(again(&routed, 400, 1_000), Some("refresh"));
        // Whoever went elsewhere and came back to ask the same asks it anew.
        let there_and_reloaded = [elsewhere[0], elsewhere[1], (700, Mark::Load(cart))];
        assert_eq!(again(&there_and_reloaded, 400, 1_000), None);
        assert_eq!(again(&there_and_reloaded, 600, 1_000), Some("refresh"));
    }

    #[test]
    fn the_latest_marks_stay() {
        let mut marks = Marks::default();
        let place = |at_ns: i64| (at_ns, TraceId([1; 16]), SpanId([1; 8]));
        for at_ns in (0..200).rev() {
            marks.put(place(at_ns), Mark::Click, 128);
        }
        let first_ns = |marks: &Marks| marks.of.first_key_value().map(|((at_ns, ..), _)| *at_ns);
        assert_eq!((marks.of.len(), first_ns(&marks)), (128, Some(72)));
        // A start with a smaller limit lets go of what is over it, and says up to when.
        assert_eq!(marks.put(place(200), Mark::Click, 100), Some(100));
        assert_eq!((marks.of.len(), first_ns(&marks)), (100, Some(101)));
    }
}
