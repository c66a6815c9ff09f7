//! Where the join lays what it has let go of, and takes it from again when somebody speaks of it.
//!
//! An entry is bytes under one or more prints (see [`super::prints`]); the newest entry under a print
//! counts, so nothing is ever changed in place. What an entry means is [`super::recall`]'s. The store
//! keeps entries in files; [`MemoryShelf`] is for a join without one.
//!
//! Invariant: what is found is a function of what was put and of log time, never of a clock.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use crate::schema::Time;

/// Keeps entries for as long as its limits allow.
pub trait Shelf: Send {
    /// Keeps `entry` under each of `prints`, in the place of what they named before.
    fn put(&mut self, now: Time, prints: &[u64], entry: &[u8]);

    /// The newest entry under `print` that is still kept.
    fn get(&mut self, now: Time, print: u64) -> Option<Vec<u8>>;

    /// Log time of the oldest entry kept; `None` where there is none.
    fn oldest(&self) -> Option<Time>;

    /// Bytes at rest.
    fn bytes(&self) -> u64;
}

/// The join's shelf: one in memory until a store gives it a better one.
pub(super) struct Lent(Box<dyn Shelf>);

impl Lent {
    pub(super) fn new(shelf: Box<dyn Shelf>) -> Self {
        Self(shelf)
    }
}

impl Default for Lent {
    fn default() -> Self {
        Self(Box::new(MemoryShelf::default()))
    }
}

impl std::ops::Deref for Lent {
    type Target = dyn Shelf;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref()
    }
}

impl std::ops::DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.0.as_mut()
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes on a shelf", self.0.bytes())
    }
}

/// Bytes that a shelf in memory keeps: what a small join needs, and no danger to a large one. No role has
/// one, since the store's takes its place, so there is nothing to choose.
const MEMORY_BYTES_MAX: u64 = 64 << 20;

/// A shelf in memory; the oldest entries go first.
#[derive(Debug, Default)]
pub struct MemoryShelf {
    entries: VecDeque<(Time, Vec<u64>, Arc<[u8]>)>,
    newest: BTreeMap<u64, Arc<[u8]>>,
    bytes: u64,
}

impl Shelf for MemoryShelf {
    fn put(&mut self, now: Time, prints: &[u64], entry: &[u8]) {
        let entry: Arc<[u8]> = Arc::from(entry);
        self.bytes += entry.len() as u64;
        for print in prints {
            self.newest.insert(*print, Arc::clone(&entry));
        }
        self.entries.push_back((now, prints.to_vec(), entry));
        while self.bytes > MEMORY_BYTES_MAX
            && let Some((_, prints, old)) = self.entries.pop_front()
        {
            self.bytes -= old.len() as u64;
            for print in prints {
                if self.newest.get(&print).is_some_and(|newest| Arc::ptr_eq(newest, &old)) {
                    self.newest.remove(&print);
                }
            }
        }
    }

    fn get(&mut self, _now: Time, print: u64) -> Option<Vec<u8>> {
        self.newest.get(&print).map(|entry| entry.to_vec())
    }

    fn oldest(&self) -> Option<Time> {
        self.entries.front().map(|(time, _, _)| *time)
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }
}
