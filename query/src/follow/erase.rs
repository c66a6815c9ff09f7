//! Carrying out erasures: what is in memory goes with the next publication, what is in files is
//! searched for on another thread while following goes on, and then everything is sealed anew.
//!
//! Signals: an erasure in the log; the end of a search; the first record of a later segment.
//! Conditions: one search runs at a time, over all erasures that wait; no seal is begun or finished
//! meanwhile. A seal is wanted once the log has gone on to another segment, because only then does
//! the seal's position let go of the segment that holds what was erased. The collector ends a
//! segment with each erasure and appends a tick each second, so that is within a second, and all
//! erasures of that second share the seal.
//!
//! A search that fails is counted and tried again later, by the next process too; what it did not
//! find stays visible.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use ethogram_timeline::join::Change;
use ethogram_timeline::log::Position;
use ethogram_timeline::schema::{Erasure, Label, SessionId};
use ethogram_timeline::store::Found;

use super::Follower;

/// A search that failed is tried again after this long, in nanoseconds: whatever the disk has, it
/// does not have it for less. Each further failure doubles it, since a search reads much.
const RETRY_NS: i64 = 10_000_000_000;

/// How often it is doubled, to some ten minutes: as long as nobody who repairs a disk minds.
const DOUBLINGS_MAX: u32 = 6;

/// Erasures on their way.
#[derive(Default)]
pub(super) struct Erasing {
    /// Their files are not searched yet.
    waiting: Vec<Erasure>,
    /// Their files are being searched.
    searching: Option<Searching>,
    /// The segment of the latest erasure, until a seal has passed it.
    segment: Option<u64>,
    retry_ns: Option<i64>,
    /// Searches that failed in a row.
    failures: u32,
}

/// A search on its thread.
struct Searching {
    erasures: Vec<Erasure>,
    began_ns: i64,
    result: Receiver<Found>,
}

impl Erasing {
    /// What an earlier process did not finish.
    pub(super) fn of(unsearched: Vec<Erasure>) -> Self {
        Self { waiting: unsearched, ..Self::default() }
    }

    /// Takes note of an erasure in the log.
    pub(super) fn note(&mut self, position: Position) {
        self.segment = Some(position.segment);
    }

    pub(super) fn is_searching(&self) -> bool {
        self.searching.is_some()
    }

    /// Whether files may hold erased rows that nobody has looked for yet, although they could be.
    pub(super) fn is_busy(&self) -> bool {
        self.is_searching() || (!self.waiting.is_empty() && self.retry_ns.is_none())
    }

    /// How many erasures wait for their files to be searched.
    pub(super) fn pending(&self) -> usize {
        self.waiting.len() + self.searching.as_ref().map_or(0, |search| search.erasures.len())
    }

    /// Whether a seal at `position` would let go of what was erased.
    pub(super) fn wants_seal(&self, position: Position) -> bool {
        self.segment.is_some_and(|segment| position.segment > segment)
    }

    /// A seal at `position` is durable.
    pub(super) fn sealed(&mut self, position: Position) {
        self.segment = self.segment.filter(|segment| position.segment <= *segment);
    }
}

/// The erasures that these changes ask the store for.
pub(super) fn erasures(changes: &[Change]) -> Vec<Erasure> {
    let erasure = |change: &Change| match change {
        Change::Erase(erasure) => Some(erasure.clone()),
        _ => None,
    };
    changes.iter().filter_map(erasure).collect()
}

impl Follower {
    /// Takes erased rows out of memory at once, and has files searched. Returns the sessions that
    /// turned out to be an erased user's.
    pub(super) fn erase(&mut self, erasures: Vec<Erasure>) -> BTreeSet<(Label, SessionId)> {
        let sessions = self.store.erase(&erasures);
        self.erasing.waiting.extend(erasures);
        sessions
    }

    /// Begins to search files for what waits to be erased from them.
    pub(super) fn begin_search(&mut self) {
        let now_ns = self.clock.now_ns();
        let early = self.erasing.retry_ns.is_some_and(|retry_ns| {
            // A clock that was set back must not put it off.
            now_ns < retry_ns && retry_ns - now_ns <= RETRY_NS << DOUBLINGS_MAX
        });
        if self.erasing.waiting.is_empty() || self.erasing.is_searching() || early {
            return;
        }
        let erasures = std::mem::take(&mut self.erasing.waiting);
        self.erasing.retry_ns = None;
        let search = self.store.search(&erasures);
        let (send, receive) = sync_channel(1);
        let searcher = std::thread::Builder::new().name(String::from("erase"));
        // The follower may have stopped meanwhile; the erasure is read from the log again.
        match searcher.spawn(move || drop(send.send(search.run()))) {
            Ok(_) => {
                let (began_ns, result) = (now_ns, receive);
                self.erasing.searching = Some(Searching { erasures, began_ns, result });
            }
            Err(error) => self.search_failed(erasures, &error.to_string()),
        }
    }

    /// Takes what a search found out of the files, for readers at once.
    pub(super) fn finish_search(&mut self) {
        let Some(search) = self.erasing.searching.take() else { return };
        let received = search.result.try_recv();
        let Searching { erasures, began_ns, .. } = &search;
        match received {
            Ok(found) => {
                let us = self.clock.now_ns().saturating_sub(*began_ns).max(0) as u64 / 1_000;
                self.status.erasure_search_us_max = self.status.erasure_search_us_max.max(us);
                let failed = found.failed.as_ref().map(ToString::to_string);
                let sessions = self.store.finish_search(found);
                self.join.bind(sessions);
                match failed {
                    None => {
                        self.erasing.failures = 0;
                        self.status.erasures += erasures.len() as u64;
                    }
                    Some(error) => self.search_failed(search.erasures, &error),
                }
                self.publish();
            }
            Err(TryRecvError::Empty) => self.erasing.searching = Some(search),
            Err(TryRecvError::Disconnected) => {
                self.search_failed(search.erasures, "the search ended without a result");
            }
        }
    }

    fn search_failed(&mut self, erasures: Vec<Erasure>, error: &str) {
        tracing::error!(error, "cannot erase everything that is sealed, trying again later");
        self.status.erasure_failures += 1;
        self.erasing.waiting.extend(erasures);
        let doublings = self.erasing.failures.min(DOUBLINGS_MAX);
        self.erasing.failures += 1;
        self.erasing.retry_ns = Some(self.clock.now_ns() + (RETRY_NS << doublings));
    }
}
