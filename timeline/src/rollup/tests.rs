//! What is counted of summaries, and what keeps its name where there is no room for all.

use prost::Message;

use super::*;
use crate::decode;
use crate::join::RowId;
use crate::record::{Envelope, Source};

/// A body with summaries of so many requests and attempts each, counted.
fn counted(summaries: &[(u32, u32)]) -> Rollup {
    let record = |(requests, attempts): &(u32, u32)| {
        let pair = |key: &str, value: u32| {
            format!(r#"{{"key":"behavior.{key}","value":{{"intValue":"{value}"}}}}"#)
        };
        let pairs = [pair("requests", *requests), pair("attempts", *attempts), pair("hedges", 1)];
        format!(r#"{{"eventName":"behavior.summary","attributes":[{}]}}"#, pairs.join(","))
    };
    let records = summaries.iter().map(record).collect::<Vec<_>>().join(",");
    let body = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#);
    let mut envelope = Envelope::new(Source::Beacon, 1_700_000_000_000_000_000);
    envelope.logs = decode::json::logs(body.as_bytes()).expect("legal JSON").encode_to_vec();
    let events = decode::rows(&envelope).expect("it decodes").events;
    let mut rollup = Rollup::default();
    for event in events {
        let row = Arc::new(event.row);
        rollup.apply(&[
            Change::Event(Delta { old: None, new: Some((RowId(0), Arc::clone(&row))) }),
            // Its session was found: the same row once more.
            Change::Event(Delta {
                old: Some((RowId(0), Arc::clone(&row))),
                new: Some((RowId(1), row)),
            }),
        ]);
    }
    rollup
}

#[test]
fn summaries_of_pages_count_once_each() {
    // Attempts of a minute may be of requests that another minute counts.
    let totals = counted(&[(7, 9), (3, 4), (5, 2), (0, 9)]).view(0).totals;
    let hops: Vec<_> = totals.hops.iter().collect();
    let [(hop, counts)] = hops[..] else { panic!("one hop: {hops:?}") };
    assert_eq!((hop.layer.as_str(), hop.service.as_str()), ("browser", UNKNOWN));
    let found = (counts.sends, counts.first_attempts, counts.logical_calls, counts.hedges);
    assert_eq!(found, (24, 15, 15, 4));
    assert_eq!(totals.dropped, BTreeMap::new());
}

#[test]
fn a_summary_counts_no_more_than_a_page_can_do() {
    let mut rollup = counted(&[(10, u32::MAX), (u32::MAX, 10), (1, 1)]);
    let totals = rollup.view(0).totals;
    let counts: Vec<_> =
        totals.hops.values().map(|counts| (counts.sends, counts.logical_calls)).collect();
    assert_eq!(counts, [(3_011, 3_011)]);
    let rest = 2 * (u64::from(u32::MAX) - 3_000);
    assert_eq!(totals.dropped.get(SUMMARY_EXCESS), Some(&rest));
    // The join's own counters come and go beside it, and it survives them.
    let of_join = BTreeMap::from([(String::from("late"), 4)]);
    rollup.set_dropped(&of_join);
    let totals = rollup.view(0).totals;
    let found = (totals.dropped.len(), totals.dropped.get(SUMMARY_EXCESS));
    assert_eq!(found, (2, Some(&rest)));
    assert_eq!(rollup.dropped(), of_join);
}

/// Hops kept in these tests.
const HOPS_MAX: usize = 20;

fn hop(number: usize) -> Hop {
    // The later it comes, the earlier its name.
    let service = format!("s{:05}", 99_999 - number);
    Hop { service, route: String::from("/"), layer: String::from("service") }
}

#[test]
fn who_came_first_keeps_its_name_across_a_restart() {
    let mut totals = Totals::default();
    let settle = |totals: &mut Totals, number: usize| {
        let hop = bounded(&totals.hops, hop(number), HOPS_MAX);
        let one = HopCounts { sends: 1, ..HopCounts::default() };
        add(totals.hops.entry(hop).or_default(), &one, 1);
    };
    (0..HOPS_MAX + 5).for_each(|number| settle(&mut totals, number));
    // What a checkpoint keeps is what a restart has.
    let packed = postcard::to_allocvec(&totals).expect("it packs");
    let mut after: Totals = postcard::from_bytes(&packed).expect("it unpacks");
    (0..HOPS_MAX + 5).for_each(|number| settle(&mut after, number));
    assert_eq!(after.hops.len(), HOPS_MAX + 1);
    for (hop, counts) in &totals.hops {
        assert_eq!(after.hops[hop].sends, 2 * counts.sends, "{hop:?}");
    }
    assert_eq!(after.hops[&Hop::overflow("service")].sends, 10);
}

#[test]
fn every_country_has_a_place_in_both_layers() {
    let (mut places, places_max) = (BTreeMap::new(), Config::default().places_max);
    let countries = (0..250).map(|number| format!("c{number}"));
    for region in countries {
        for layer in ["browser", "service"] {
            let place = Place { region: region.clone(), layer: String::from(layer) };
            places.insert(bounded_place(&places, place, places_max), ());
        }
    }
    assert_eq!(places.len(), 500);
    for number in 0..1_000 {
        let place = Place { region: format!("r{number}"), layer: String::from("service") };
        places.insert(bounded_place(&places, place, places_max), ());
    }
    assert_eq!(places.len(), places_max + 1);
}

#[test]
fn the_window_has_the_room_that_settled_hops_leave() {
    let one = HopCounts { sends: 1, logical_calls: 1, ..HopCounts::default() };
    let settled = (0..HOPS_MAX - 1).map(|number| (hop(number), one)).collect();
    let window = (HOPS_MAX - 3..HOPS_MAX + 2).map(|number| (hop(number), one)).collect();
    let view = RollupView {
        totals: Arc::new(Totals { hops: settled, ..Totals::default() }),
        window: WindowView { seconds: 300, hops: Arc::new(window) },
        hops_max: HOPS_MAX,
    };
    // Two are settled, one has room, and two have not.
    let hops = view.window_hops();
    assert_eq!(hops.len(), 4);
    assert_eq!(hops[&Hop::overflow("service")].sends, 2);
    assert!(hops.contains_key(&hop(HOPS_MAX - 3)) && hops.contains_key(&hop(HOPS_MAX - 2)));
}
