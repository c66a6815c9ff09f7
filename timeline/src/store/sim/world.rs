//! One simulated store and its oracle: what stood at each position that a seal was begun at.
//!
//! What must hold whenever the store was opened again:
//! * it goes on from a position at which a seal was begun, and not from one before the last seal
//!   that was finished;
//! * the rows that stand are those that stood at that position;
//! * what could be taken from the shelf there can be taken from it, equal, or is said to be lost, which
//!   it is only where the disk failed meanwhile;
//! * every file that is named is there and whole, and no other file is left.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::disk::sim::Random;
use crate::join::{Change, Delta, Join, RowId, print};
use crate::log::{LogId, Position};
use crate::rollup::Rollup;

/// What stood at a position: the rows by their place, the next place, and the shelf.
#[derive(Clone, Debug, Default)]
struct Moment {
    alive: BTreeMap<u64, u64>,
    next: u64,
    /// Entries laid away so far, whether they lie there still or not.
    laid: u64,
    /// Those that could be taken back, by their number.
    shelved: BTreeMap<u64, Vec<u8>>,
}

/// Log time between two entries: ten minutes, so that a segment is complete after an hour.
const ENTRY_NS: i64 = 600_000_000_000;

/// The entry of a number, which no two have in common and which hardly gets smaller.
fn entry(number: u64) -> Vec<u8> {
    (0..10).flat_map(|part: u64| print(&(number, part)).to_le_bytes()).collect()
}

impl Moment {
    /// Log time of the latest entry.
    fn time(&self) -> Time {
        Time(self.laid as i64 * ENTRY_NS)
    }

    /// Everything that can be taken from the shelf now. An entry that is found is whole.
    fn look(&self, store: &Store) -> BTreeMap<u64, Vec<u8>> {
        let mut shelf = store.shelf();
        let mut found = BTreeMap::new();
        for number in 0..self.laid {
            if let Some(bytes) = shelf.get(self.time(), print(&number)) {
                assert_eq!(bytes, entry(number), "another entry than was laid away");
                found.insert(number, bytes);
            }
        }
        found
    }
}

/// What a simulation met, so that a test can say that it met everything.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Met {
    pub(super) seals: u64,
    pub(super) failed_seals: u64,
    pub(super) failed_opens: u64,
    pub(super) power_cuts: u64,
    pub(super) kills: u64,
    /// Openings that found a seal of which its writer was never told that it had succeeded.
    pub(super) unfinished: u64,
    pub(super) rows: u64,
    /// Entries of the shelf that were found after an opening.
    pub(super) entries: u64,
}

impl Met {
    fn counts(&mut self) -> [&mut u64; 8] {
        [
            &mut self.seals,
            &mut self.failed_seals,
            &mut self.failed_opens,
            &mut self.power_cuts,
            &mut self.kills,
            &mut self.unfinished,
            &mut self.rows,
            &mut self.entries,
        ]
    }

    pub(super) fn add(&mut self, other: &Self) {
        let mut other = *other;
        for (count, more) in self.counts().into_iter().zip(other.counts()) {
            *count += *more;
        }
    }

    pub(super) fn is_everything(mut self) -> bool {
        self.counts().iter().all(|count| **count > 0)
    }
}

/// A machine, its store, and what stood when.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) storage: Arc<SimStorage>,
    store: Option<Store>,
    now: Moment,
    /// By the offset of the position.
    moments: BTreeMap<u64, Moment>,
    finished: u64,
    next_offset: u64,
    pub(super) met: Met,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random(seed.wrapping_mul(0xd134_2543_de82_ef95) | 1),
            storage: SimStorage::new(seed),
            store: None,
            now: Moment::default(),
            moments: BTreeMap::from([(0, Moment::default())]),
            finished: 0,
            next_offset: 1,
            met: Met::default(),
        }
    }

    /// Opens the store and checks it; false where the machine failed or stopped meanwhile.
    pub(super) fn open(&mut self) -> bool {
        let opened = open(&self.storage);
        if self.storage.is_stopped() {
            return false;
        }
        let (mut store, resume) = match opened {
            Ok(opened) => opened,
            Err(StoreError::Io { .. }) if self.storage.has_faults() => {
                self.met.failed_opens += 1;
                return false;
            }
            Err(error) => panic!("cannot open: {error}"),
        };
        let is_calm = !self.storage.has_faults();
        // What is looked at now is looked at by the test.
        self.storage.pause(|| {
            let offset = resume.and_then(|resume| resume.position).map_or(0, |at| at.offset);
            assert!(offset >= self.finished, "a finished seal is lost");
            self.met.unfinished += u64::from(offset > self.finished);
            self.finished = offset;
            self.now = self.moments.get(&offset).expect("a seal was begun there").clone();
            self.moments.retain(|at, _| *at == offset);
            let expected: Vec<u64> = self.now.alive.values().copied().collect();
            assert_eq!(standing(&mut store), expected, "other rows than at {offset}");
            let (shelved, lost) = (self.now.look(&store), store.take_shelf_losses());
            if is_calm || lost.is_empty() {
                assert_eq!(shelved, self.now.shelved, "other entries than at {offset}");
            }
            self.met.entries += shelved.len() as u64;
            self.now.shelved = shelved;
            // Removing is tried once at a start, and again at the next.
            if is_calm {
                assert_eq!(orphans(&self.storage, &store), Vec::<String>::new());
            }
        });
        self.store = Some(store);
        true
    }

    /// Rows come and go.
    pub(super) fn change(&mut self, come: u64, go: u64) {
        let Some(store) = self.store.as_mut() else { return };
        for _ in 0..come {
            let (id, value) = (self.now.next, self.now.next * 3);
            let new = Some((RowId(id), Arc::new(row(value))));
            store.apply(vec![Change::Loss(Delta { old: None, new })]);
            self.now.alive.insert(id, value);
            self.now.next += 1;
            let number = self.now.laid;
            self.now.laid += 1;
            store.shelf().put(self.now.time(), &[print(&number)], &entry(number));
        }
        for _ in 0..go.min(self.now.alive.len() as u64) {
            let index = self.random.below(self.now.alive.len() as u64) as usize;
            let (id, value) = self.now.alive.iter().nth(index).expect("within the map");
            let (id, old) = (*id, Some((RowId(*id), Arc::new(row(*value)))));
            store.apply(vec![Change::Loss(Delta { old, new: None })]);
            self.now.alive.remove(&id);
        }
    }

    /// Seals, while some more rows come and go; false where it failed.
    pub(super) fn seal(&mut self, meanwhile: (u64, u64)) -> bool {
        let offset = self.next_offset;
        self.next_offset += 1;
        let Some(store) = self.store.as_mut() else { return false };
        let position = Position { log_id: LogId(1), epoch: 1, segment: 1, offset };
        let sealing = store.begin_seal(&Join::default(), &Rollup::default(), position);
        let sealing = sealing.expect("a state can be packed");
        self.now.shelved = self.storage.pause(|| self.now.look(store));
        self.moments.insert(offset, self.now.clone());
        self.change(meanwhile.0, meanwhile.1);
        let written = sealing.write();
        let Some(store) = self.store.as_mut() else { return false };
        match written {
            Ok(sealed) => {
                assert!(!self.storage.is_stopped(), "a stopped machine sealed");
                store.finish_seal(sealed);
                self.finished = offset;
                self.met.seals += 1;
                true
            }
            Err(_) => {
                self.met.failed_seals += 1;
                false
            }
        }
    }

    /// What stands is what should, in the running process.
    pub(super) fn check(&mut self) {
        if self.storage.is_stopped() {
            return;
        }
        let Some(store) = self.store.as_mut() else { return };
        let expected: Vec<u64> = self.now.alive.values().copied().collect();
        self.met.rows += expected.len() as u64;
        let found = self.storage.pause(|| standing(store));
        assert_eq!(found, expected, "the running process shows other rows");
    }

    /// How many of the entries can be taken from the shelf, and how many were laid there.
    pub(super) fn shelved(&self) -> (u64, u64) {
        let store = self.store.as_ref().expect("it is open");
        let found = self.storage.pause(|| self.now.look(store));
        (found.len() as u64, self.now.laid)
    }

    /// The process ends, by a power cut or by itself.
    pub(super) fn end(&mut self, power_is_cut: bool) {
        self.store = None;
        if power_is_cut {
            self.met.power_cuts += 1;
            self.storage.cut_power();
        } else {
            self.met.kills += 1;
            self.storage.restart();
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.store.is_some() && !self.storage.is_stopped()
    }

    /// Every file is named.
    pub(super) fn no_orphans(&self, what: &str) {
        let store = self.store.as_ref().expect("it is open");
        assert_eq!(orphans(&self.storage, store), Vec::<String>::new(), "{what}");
    }

    /// Without further trouble the store opens, seals, and leaves nothing behind.
    pub(super) fn recover(&mut self, what: &str) {
        assert!(self.open(), "{what}: it does not open");
        self.change(2, 1);
        assert!(self.seal((0, 0)), "{what}: it does not seal again");
        self.check();
        self.no_orphans(what);
    }
}
