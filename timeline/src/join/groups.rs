//! Which traces are derived together, by what was inferred: each group's list is held once.
//!
//! Every member finds the list of its group. Lists of their own would cost a group of n members n²
//! in memory, and again in a checkpoint, whose encoding knows nothing of what is shared.
//!
//! Invariant: a trace has one group at most, and a group has two members at least.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::TraceKey;

/// The groups; a trace by itself has no entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    of: BTreeMap<TraceKey, Arc<[TraceKey]>>,
}

impl Groups {
    /// The members of a trace's group; none where it is by itself.
    pub(super) fn of(&self, trace: &TraceKey) -> &[TraceKey] {
        match self.of.get(trace) {
            Some(members) => &members[..],
            None => &[],
        }
    }

    /// Makes these, in order and each once, one group; returns those whose group was another.
    pub(super) fn set(&mut self, members: Vec<TraceKey>) -> Vec<TraceKey> {
        let alone = members.len() < 2;
        let now: &[TraceKey] = if alone { &[] } else { &members[..] };
        let is_new = |trace: &TraceKey| self.of(trace) != now;
        let changed: Vec<TraceKey> =
            members.iter().filter(|trace| is_new(trace)).cloned().collect();
        if changed.is_empty() {
            return changed;
        }
        if alone {
            for trace in &members {
                self.of.remove(trace);
            }
        } else {
            let members: Arc<[TraceKey]> = Arc::from(members);
            for trace in members.iter() {
                self.of.insert(trace.clone(), Arc::clone(&members));
            }
        }
        changed
    }

    /// Lets go of a trace. The others of its group go with it, or go on without noticing.
    pub(super) fn forget(&mut self, trace: &TraceKey) {
        self.of.remove(trace);
    }
}

/// The lists, and which of them each trace has.
type Stored = (Vec<Arc<[TraceKey]>>, Vec<(TraceKey, u32)>);

impl Serialize for Groups {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut lists: Vec<&[TraceKey]> = Vec::new();
        let mut places: BTreeMap<&[TraceKey], u32> = BTreeMap::new();
        let mut of: Vec<(&TraceKey, u32)> = Vec::new();
        for (trace, members) in &self.of {
            let members: &[TraceKey] = &members[..];
            let next = lists.len() as u32;
            let place = *places.entry(members).or_insert(next);
            if place == next {
                lists.push(members);
            }
            of.push((trace, place));
        }
        (lists, of).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Groups {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (lists, of) = <Stored as Deserialize<'de>>::deserialize(deserializer)?;
        let list_of = |(trace, place): (TraceKey, u32)| {
            let members = lists.get(place as usize)?;
            Some((trace, Arc::clone(members)))
        };
        Ok(Self { of: of.into_iter().filter_map(list_of).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Label, TraceId};

    fn trace(number: u16) -> TraceKey {
        let [high, low] = number.to_be_bytes();
        let mut id = [1; 16];
        (id[0], id[1]) = (high, low);
        (TraceId(id), Label::new("default"))
    }

    #[test]
    fn a_list_is_held_and_written_once() {
        let mut groups = Groups::default();
        let all: Vec<TraceKey> = (0..512).map(trace).collect();
        assert_eq!(groups.set(all.clone()).len(), 512);
        assert!(groups.set(all.clone()).is_empty());
        assert!(all.iter().all(|one| Arc::ptr_eq(&groups.of[one], &groups.of[&all[0]])));
        let bytes = postcard::to_allocvec(&groups).expect("it encodes");
        assert!(bytes.len() < 2 * 512 * 30, "{} bytes", bytes.len());
        let read: Groups = postcard::from_bytes(&bytes).expect("it decodes");
        assert!(all.iter().all(|one| read.of(one) == &all[..]));
        assert!(all.iter().all(|one| Arc::ptr_eq(&read.of[one], &read.of[&all[0]])));
    }

    #[test]
    fn who_left_is_told_apart_from_who_stayed() {
        let mut groups = Groups::default();
        groups.set(vec![trace(1), trace(2), trace(3)]);
        assert_eq!(groups.set(vec![trace(1)]), [trace(1)]);
        assert_eq!(groups.set(vec![trace(2), trace(3)]), [trace(2), trace(3)]);
        assert_eq!(groups.of(&trace(1)), &[] as &[TraceKey]);
        groups.forget(&trace(2));
        assert_eq!(groups.of(&trace(3)).len(), 2);
    }
}
