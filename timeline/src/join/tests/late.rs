//! Late by up to a day, twice at any distance, and through any number of crashes: the rows are
//! those of all at once.
//!
//! Left out are the column that tells of the arrival itself (`time_received`), and the two of a
//! session's clock: a bound that was taken from a pair of spans which a late one parts is not taken
//! back. Everything else is equal, row by row.

mod linked;

use std::path::Path;

use proptest::prelude::*;

use super::order;
use super::world::{
    Arrival, Spec, Standing, T0_NS, beacon_attempt, event, join, record, span, standing,
};
use crate::decode::Rows;
use crate::join::{Change, Config, Join};
use crate::schema::{Label, PageId, Span, Time};
use crate::store::{FileShelf, Limits, Mark};

const SECOND_NS: i64 = 1_000_000_000;
const DAY_S: i64 = 24 * 60 * 60;

/// Everything that a restart goes on from.
struct Kept {
    state: Vec<u8>,
    mark: Mark,
    changes: usize,
    next: usize,
}

/// A join with its shelf in files, and what it has said.
struct Life<'a> {
    directory: &'a Path,
    join: Join,
    shelf: FileShelf,
    changes: Vec<Change>,
    kept: Option<Kept>,
}

fn shelf(directory: &Path, mark: Mark) -> FileShelf {
    // Small pieces, so that few rows fill several files.
    let limits =
        Limits { chunk_bytes: 1_000, segment_bytes: 4_000, ..Limits::new(90_000, 1 << 30) };
    FileShelf::at(directory, limits, mark)
}

impl<'a> Life<'a> {
    fn new(directory: &'a Path, config: Config) -> Self {
        let shelf = shelf(directory, Mark::default());
        let mut join = Join::new(config);
        join.shelve_on(Box::new(shelf.clone()));
        Self { directory, join, shelf, changes: Vec::new(), kept: None }
    }

    fn take(&mut self, received_s: i64, arrival: Option<&Arrival>) {
        self.join.push(record(received_s, arrival));
        self.join.assert_weight();
    }

    /// Lets log time pass by the minute, as the ticks of a collector do.
    fn wait_until(&mut self, received_s: i64) {
        let now_s = ((self.join.now().0 - T0_NS) / SECOND_NS).max(0);
        for minute in now_s / 60 + 1..=received_s / 60 {
            self.take(minute * 60, None);
        }
    }

    fn seal(&mut self, next: usize) {
        self.changes.extend(self.join.emit());
        let mut state = Vec::new();
        self.join.write(&mut state).expect("writes");
        let (mark, files) = self.shelf.mark();
        self.shelf.finish(&files);
        self.kept = Some(Kept { state, mark, changes: self.changes.len(), next });
    }

    /// Forgets everything since the last seal; returns where to go on.
    fn crash(&mut self) -> usize {
        let kept = self.kept.take().expect("sealed at the start");
        self.join = Join::read(Join::FORM, &kept.state).expect("reads");
        self.shelf = shelf(self.directory, kept.mark.clone());
        self.join.shelve_on(Box::new(self.shelf.clone()));
        self.changes.truncate(kept.changes);
        let next = kept.next;
        self.kept = Some(kept);
        next
    }
}

/// Joins the arrivals, each at its second, with a seal or a crash after some of them.
fn late(arrivals: &[(i64, Arrival)], batch: usize, faults: &[(usize, bool)]) -> (Standing, Join) {
    late_within(None, arrivals, batch, faults)
}

/// As [`late`], where so many spans may be taken back in a minute, and minutes pass one by one.
fn late_within(
    budget: Option<usize>,
    arrivals: &[(i64, Arrival)],
    batch: usize,
    faults: &[(usize, bool)],
) -> (Standing, Join) {
    let directory = tempfile::tempdir().expect("a directory");
    let default = Config::default();
    let recall_spans_per_minute = budget.unwrap_or(default.recall_spans_per_minute);
    let mut life = Life::new(directory.path(), Config { recall_spans_per_minute, ..default });
    life.seal(0);
    let (mut at, mut faults) = (0, faults.to_vec());
    while let Some((received_s, arrival)) = arrivals.get(at) {
        if budget.is_some() {
            life.wait_until(*received_s);
        }
        life.take(*received_s, Some(arrival));
        at += 1;
        if at % batch == 0 {
            life.changes.extend(life.join.emit());
        }
        if let Some(found) = faults.iter().position(|(fault, _)| *fault == at) {
            match faults.remove(found).1 {
                true => at = life.crash(),
                false => life.seal(at),
            }
        }
    }
    let end = arrivals.last().map_or(0, |(received_s, _)| *received_s);
    life.changes.extend(life.join.emit());
    if budget.is_some() {
        // An hour for what waits, and as much for the sessions that it reopens.
        life.wait_until(end + 2 * 3_600);
    }
    for seconds in [30, 400, 3_000, 20_000] {
        life.take(end + seconds, None);
        life.changes.extend(life.join.emit());
    }
    (standing(life.changes), life.join)
}

/// Without the columns that depend on the arrival.
fn of_the_facts(mut standing: Standing) -> Standing {
    for row in standing.spans.values_mut() {
        row.time_received = Time::default();
    }
    for row in standing.requests.values_mut() {
        row.time_received = Time::default();
    }
    for row in standing.sessions.values_mut() {
        row.time_received = Time::default();
        (row.clock_offset_us, row.clock_error_us) = (None, None);
    }
    standing
}

/// Documents that follow each other, so that a navigation decides what became of what was left.
pub(super) fn navigations() -> Vec<Arrival> {
    (1..4)
        .map(|page| {
            let mut event = event("browser.navigation", &format!("n{page}"), 0, 0, 0, page * 500);
            event.hints.navigation_type =
                Some(Label::new(["reload", "navigate"][page as usize % 2]));
            event.hints.previous_page_id = PageId::new(&format!("n{}", page - 1));
            Arrival::Event(Box::new(event))
        })
        .chain((0..3).map(|page| {
            let mut event = event("behavior.abandon", &format!("n{page}"), 1, 1, 40 + page, 400);
            event.hints.waited_us = Some(1_000);
            event.hints.previous_attempts = Some(0);
            Arrival::Event(Box::new(event))
        }))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_day_late_twice_and_through_crashes_is_all_at_once(
        some in order::arrivals(),
        delays_s in prop::collection::vec(0..DAY_S, 120),
        near_s in prop::collection::vec(0..300_i64, 120),
        twice in prop::collection::vec(any::<(bool, bool)>(), 60),
        batch in 1_usize..9,
        faults in prop::collection::vec((1_usize..60, any::<bool>()), 0..8),
    ) {
        let mut world = some;
        world.extend(navigations());
        let mut arrivals: Vec<(i64, Arrival)> = Vec::new();
        for (at, arrival) in world.iter().enumerate() {
            let (again, late) = twice[at % twice.len()];
            let delay_s = if late { delays_s[at] } else { near_s[at] };
            arrivals.push((delay_s, arrival.clone()));
            if again {
                arrivals.push((delays_s[60 + at % 60], arrival.clone()));
            }
        }
        arrivals.sort_by_key(|(received_s, _)| *received_s);
        let expected = of_the_facts(join(&world, usize::MAX));
        let (found, joined) = late(&arrivals, batch, &faults);
        let found = of_the_facts(found);
        prop_assert_eq!(&found.spans, &expected.spans);
        prop_assert_eq!(&found.requests, &expected.requests);
        prop_assert_eq!(&found.sessions, &expected.sessions);
        prop_assert_eq!(&found.events, &expected.events);
        prop_assert_eq!(joined.counters().get("late_span"), None);
        // A total never falls: what was counted before a late row showed that it was none stays.
        prop_assert!(found.settled_sends.len() >= expected.settled_sends.len());
        prop_assert!(found.settled_requests.len() >= expected.settled_requests.len());
        prop_assert_eq!(joined.open(), (0, 0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn beyond_the_budget_it_is_all_at_once_within_the_hour(
        some in order::arrivals(),
        budget in 1_usize..12,
        moments_s in prop::collection::vec(0..DAY_S, 4),
        picks in prop::collection::vec((0_usize..4, prop::option::of(0_usize..4)), 60),
        batch in 1_usize..9,
        faults in prop::collection::vec((1_usize..60, any::<bool>()), 0..5),
    ) {
        let mut world = some;
        world.extend(navigations());
        world.extend((10..14).flat_map(shop_request));
        let mut arrivals: Vec<(i64, Arrival)> = Vec::new();
        for (at, arrival) in world.iter().enumerate() {
            let (first, again) = picks[at % picks.len()];
            for moment in std::iter::once(first).chain(again) {
                arrivals.push((moments_s[moment] + at as i64 * 7 % 50, arrival.clone()));
            }
        }
        arrivals.sort_by_key(|(received_s, _)| *received_s);
        let expected = of_the_facts(join(&world, usize::MAX));
        let (found, joined) = late_within(Some(budget), &arrivals, batch, &faults);
        let found = of_the_facts(found);
        prop_assert_eq!(&found.spans, &expected.spans);
        prop_assert_eq!(&found.requests, &expected.requests);
        prop_assert_eq!(&found.sessions, &expected.sessions);
        prop_assert_eq!(&found.events, &expected.events);
        prop_assert_eq!(joined.counters().get("recall_given_up"), None);
        prop_assert_eq!(joined.open(), (0, 0, 0));
    }
}

/// A page's request and what it caused, of trace `trace`.
fn shop_request(trace: u8) -> Vec<Arrival> {
    let spec = |id, parent, kind, service| {
        let spec = Spec {
            trace,
            id: u64::from(trace) * 10 + id,
            parent: if parent == 0 { 0 } else { u64::from(trace) * 10 + parent },
            kind,
            service,
            target: "http://shop/x",
            start_ms: id as i64 * 10,
            ms: 400 - id as i64 * 50,
            status: 200,
        };
        Arrival::Span(Box::new(span(spec)))
    };
    let mut page = spec(1, 0, "client", "web");
    if let Arrival::Span(span) = &mut page {
        span.hints.beacon_previous_attempts = Some(0);
    }
    vec![
        page,
        spec(2, 1, "server", "shop"),
        spec(3, 2, "client", "shop"),
        spec(4, 3, "server", "stock"),
    ]
}

/// Requests of `hops` spans each, late by up to a day. A span deep in a trace that comes hours before
/// those above it was a request by itself then, and a total does not fall.
fn check_totals(hops: usize, sends: usize, orphans_are_requests: bool) {
    let requests = (1..40).map(shop_request);
    let world: Vec<Arrival> = requests.flat_map(|request| request.into_iter().take(hops)).collect();
    let expected = join(&world, usize::MAX);
    assert_eq!((expected.settled_sends.len(), expected.settled_requests.len()), (sends, 39));
    for stride in [1, 7, 31, 101] {
        let arrivals = world
            .iter()
            .enumerate()
            .map(|(at, arrival)| ((at as i64 * 7_919 * stride) % DAY_S, arrival.clone()));
        let mut arrivals: Vec<(i64, Arrival)> = arrivals.collect();
        arrivals.sort_by_key(|(received_s, _)| *received_s);
        let (found, joined) = late(&arrivals, 3, &[(40, false), (60, true), (120, true)]);
        let found = of_the_facts(found);
        assert_eq!(found.settled_sends.len(), sends, "by {stride}");
        let requests = found.settled_requests.len();
        assert!(requests == 39 || (requests > 39 && orphans_are_requests), "by {stride}");
        assert_eq!(found.requests, of_the_facts(expected.clone()).requests, "by {stride}");
        assert!(joined.recalled().0 > 30, "most came late");
    }
}

#[test]
fn totals_count_each_once_however_late() {
    check_totals(2, 39, false);
    check_totals(4, 78, true);
}

#[test]
fn beyond_the_limits_it_is_a_timeline_by_itself_and_counted() {
    let world: Vec<Arrival> = (1..5).flat_map(shop_request).collect();
    let refused = |config: Config| {
        let mut join = Join::new(config);
        // Within each trace the last two come half an hour late.
        let late =
            |late: bool| world.iter().enumerate().filter(move |(at, _)| (at % 4 < 2) != late);
        let arrivals =
            late(false).map(|one| (0, one.1)).chain(late(true).map(|one| (1_800, one.1)));
        for (late_s, arrival) in arrivals {
            let mut rows = Rows { received_ns: T0_NS + late_s * SECOND_NS, ..Rows::default() };
            let Arrival::Span(span) = arrival else { continue };
            rows.spans.push(span.as_ref().clone());
            join.push(rows);
        }
        join.push(Rows { received_ns: T0_NS + 7_200 * SECOND_NS, ..Rows::default() });
        join.counters().clone()
    };
    let at_once = refused(Config::default());
    assert!(at_once.is_empty(), "{at_once:?}");
    let none = refused(Config { recall_spans_per_minute: 0, ..Config::default() });
    assert_eq!(none.get("recall_refused"), Some(&4));
    assert_eq!(none.get("recall_given_up"), Some(&4), "after an hour");
    let small = refused(Config { recall_trace_spans_max: 1, ..Config::default() });
    assert_eq!(small.get("too_large_to_recall"), Some(&8));
}

#[test]
fn more_in_a_minute_than_the_budget_ends_with_none_doubled() {
    let world: Vec<Arrival> = (1..40).flat_map(shop_request).collect();
    let expected = join(&world, usize::MAX);
    let (settled_sends, settled_requests) = (expected.settled_sends.len(), 39);
    let expected = of_the_facts(expected);
    // Almost a day later everything comes again, within one minute of log time.
    let minute_s = (DAY_S - T0_NS / SECOND_NS % 60) - 7_200;
    let again = world.iter().enumerate().map(|(at, one)| (minute_s + at as i64 / 4, one.clone()));
    let first = world.iter().map(|one| (0, one.clone()));
    let arrivals: Vec<(i64, Arrival)> = first.chain(again).collect();
    for faults in [&[][..], &[(170, false), (200, true), (290, false), (310, true)][..]] {
        let (found, joined) = late_within(Some(20), &arrivals, 3, faults);
        let count = |reason: &str| joined.counters().get(reason).copied();
        assert_eq!(count("recall_refused"), Some(34), "five traces of four spans are the budget");
        assert_eq!((count("recall_given_up"), count("late_span")), (None, None));
        assert_eq!(count("duplicate_span"), Some(world.len() as u64));
        assert_eq!(joined.recalled().0, 39);
        assert_eq!(found.settled_sends.len(), settled_sends, "no total counts twice");
        assert_eq!(found.settled_requests.len(), settled_requests);
        let found = of_the_facts(found);
        assert_eq!(found.spans, expected.spans);
        assert_eq!(found.requests, expected.requests);
        assert_eq!(found.sessions, expected.sessions);
    }
}

#[test]
fn what_grew_too_large_is_not_taken_back_as_it_was() {
    let mut join = Join::new(Config { recall_trace_spans_max: 3, ..Config::default() });
    let (mut changes, world) = (Vec::new(), shop_request(1));
    let told = [(0, 0..3), (1_800, 3..4), (3_000, 0..0), (5_000, 0..1), (9_000, 0..0)];
    for (second, arrivals) in told {
        let mut rows = Rows { received_ns: T0_NS + second * SECOND_NS, ..Rows::default() };
        for arrival in &world[arrivals] {
            if let Arrival::Span(span) = arrival {
                rows.spans.push(span.as_ref().clone());
            }
        }
        join.push(rows);
        changes.extend(join.emit());
    }
    assert_eq!(join.recalled().0, 1);
    assert_eq!(join.counters().get("too_large_to_recall"), Some(&1));
    // Nothing goes that does not stand, which is looked at here.
    assert_eq!(standing(changes).spans.len(), 4);
}
