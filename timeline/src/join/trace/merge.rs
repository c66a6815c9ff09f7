//! One trace of two parts: what came of it while the other part lay on the shelf and could not be taken
//! back.
//!
//! Both parts were said, so what both hold stands twice until they are one. What was said first stays,
//! as it does wherever a row comes twice.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;

use super::{Counted, Trace, event_print, is_known_to_its_page};
use crate::join::change::{Change, Delta, Placed};

impl Trace {
    /// Takes in what came later. Returns what was said of both and goes.
    pub(in crate::join) fn take_in(&mut self, later: Self) -> Vec<Change> {
        let mut gone = Vec::new();
        for (key, held) in later.spans {
            match self.spans.entry(key) {
                Entry::Vacant(free) => {
                    free.insert(held);
                }
                Entry::Occupied(_) => gone.extend(held.said.map(|row| Change::Span(went(row)))),
            }
        }
        let mut known: BTreeSet<u64> = self.events().map(|held| event_print(&held.row)).collect();
        for held in later.events {
            let row = &held.arrived.row;
            let again = !is_known_to_its_page(row) && !known.insert(event_print(row));
            if again {
                gone.extend(held.said.map(|row| Change::Event(went(row))));
            } else {
                self.events.push(held);
            }
        }
        for (id, said) in later.requests {
            match self.requests.entry(id) {
                Entry::Vacant(free) => {
                    free.insert(said);
                }
                Entry::Occupied(_) => gone.push(Change::Request(went(said))),
            }
        }
        self.in_vain.extend(later.in_vain);
        self.counted_sends.take_in(later.counted_sends);
        self.counted_requests.take_in(later.counted_requests);
        self.last_arrival = later.last_arrival;
        (self.settled, self.parents_final, self.changed) = (false, false, true);
        gone
    }
}

impl<K: Ord> Counted<K> {
    /// What both have counted was counted twice: a total does not fall, so it is paid for by what is
    /// new.
    fn take_in(&mut self, later: Self) {
        self.standing.extend(later.standing);
        self.number += later.number;
    }
}

fn went<R>(row: Placed<R>) -> Delta<R> {
    Delta { old: Some(row), new: None }
}
