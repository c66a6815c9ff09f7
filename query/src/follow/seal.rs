//! When the head is sealed, and what is done when it is.
//!
//! The head is frozen on the follower's thread, where nothing read is unsaid, and written by
//! another. One seal runs at a time; rows go on coming meanwhile, up to as many again: then the
//! log waits, so that a backlog of any length is followed in bounded memory.
//!
//! A seal that fails (a full disk, most likely) changes nothing: rows stay in memory and in the
//! log, and it is tried again with growing patience. Queries go on. What arrives stays in the log,
//! whose budget then limits. On a full disk the oldest rows make room for new ones.

use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use ethogram_timeline::log::Position;
use ethogram_timeline::log::link::LinkClient;
use ethogram_timeline::store::{Sealed, StoreError};

use super::Follower;

/// The head may grow to this many times the size at which it is sealed before reading pauses: one
/// part is being written while another fills.
const HEADS_MAX: usize = 2;

/// The first wait after a failed seal, in nanoseconds, and the longest. It doubles in between: a
/// disk that was full for a moment is tried soon, one that stays full is not kept busy.
const RETRY_NS: (i64, i64) = (1_000_000_000, 60_000_000_000);

/// Seals begun, running and failed.
#[derive(Default)]
pub(super) struct Seals {
    running: Option<(Position, Receiver<Result<Sealed, StoreError>>)>,
    /// Log time of the last seal begun.
    sealed_ns: i64,
    /// When that was by the clock, or when the follower began.
    began_ns: i64,
    /// When to try again after a failure, by the clock, and how long that wait is.
    retry: Option<(i64, i64)>,
}

impl Seals {
    /// None begun since the store was opened at `now_ns`, whose last seal was at that log time.
    pub(super) fn since(sealed_ns: i64, now_ns: i64) -> Self {
        Self { sealed_ns, began_ns: now_ns, ..Self::default() }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }
}

impl Follower {
    /// Whether so many rows wait to be sealed that no more are read.
    pub(super) fn is_full(&self) -> bool {
        self.store.head_bytes() >= HEADS_MAX * self.store.config().seal_bytes.max(1)
    }

    pub(super) fn begin_seal_when_due(&mut self) {
        let Some(position) = self.status.position else { return };
        if self.seals.is_running()
            || self.store.sealed_position() == Some(&position)
            || self.must_wait()
        {
            return;
        }
        if self.seals.sealed_ns == 0 {
            self.seals.sealed_ns = self.join.now().0;
        }
        let config = self.store.config();
        let seal_ns = i64::from(config.seal_s) * 1_000_000_000;
        // By the machine's clock as well: at the log's budget nothing is appended, so log time
        // stands still until this seal lets segments go.
        let waited_ns = self.clock.now_ns() - self.seals.began_ns;
        let due = self.join.now().0 - self.seals.sealed_ns >= seal_ns
            || waited_ns >= seal_ns
            || waited_ns < 0
            || self.store.head_bytes() >= config.seal_bytes
            || self.erasing.wants_seal(position)
            || self.seals.retry.is_some();
        if !due {
            return;
        }
        // The frozen head and the state must be of one position: nothing read may be unsaid.
        self.publish();
        if self.erasing.is_busy() {
            // Something was erased by what was just said: files are searched first.
            return;
        }
        self.begin_seal(position);
    }

    /// Whether a failed seal is not yet to be tried again, or files are being searched.
    fn must_wait(&self) -> bool {
        let now_ns = self.clock.now_ns();
        self.erasing.is_busy()
            // A clock that was set back must not put it off.
            || self.seals.retry.is_some_and(|(at_ns, wait_ns)| {
                now_ns < at_ns && at_ns - now_ns <= wait_ns
            })
    }

    fn begin_seal(&mut self, position: Position) {
        self.seals.began_ns = self.clock.now_ns();
        let sealing = match self.store.begin_seal(&self.join, &self.rollup, position) {
            Ok(sealing) => sealing,
            Err(error) => return self.seal_failed(&error.to_string()),
        };
        let (send, receive) = sync_channel(1);
        let writer = std::thread::Builder::new().name(String::from("seal"));
        let spawned = writer.spawn(move || {
            // The follower may have stopped meanwhile; the next start removes what is not named.
            drop(send.send(sealing.write()));
        });
        match spawned {
            Ok(_) => self.seals.running = Some((position, receive)),
            Err(error) => self.seal_failed(&error.to_string()),
        }
    }

    pub(super) fn finish_seal(&mut self, link: &mut LinkClient) {
        if self.erasing.is_searching() {
            return;
        }
        let Some((position, result)) = self.seals.running.take() else { return };
        match result.try_recv() {
            Ok(Ok(sealed)) => {
                self.store.finish_seal(sealed);
                self.seals.sealed_ns = self.store.sealed_ns();
                self.seals.retry = None;
                self.erasing.sealed(position);
                self.status.seals += 1;
                self.status.seal_error = None;
                self.suspects.forget_before(position);
                self.unpublished = true;
                link.acknowledge(position);
            }
            Ok(Err(error)) => {
                self.seal_failed(&error.to_string());
                if error.is_full() {
                    self.make_room();
                }
            }
            Err(TryRecvError::Empty) => self.seals.running = Some((position, result)),
            Err(TryRecvError::Disconnected) => self.seal_failed("a seal ended without a result"),
        }
    }

    fn seal_failed(&mut self, error: &str) {
        tracing::error!(error, "cannot seal, keeping the rows in memory and trying again");
        let wait_ns = self.seals.retry.map_or(RETRY_NS.0, |(_, wait_ns)| 2 * wait_ns);
        let wait_ns = wait_ns.min(RETRY_NS.1);
        self.seals.retry = Some((self.clock.now_ns() + wait_ns, wait_ns));
        self.status.seal_failures += 1;
        self.status.seal_error = Some(String::from(error));
        self.unpublished = true;
    }

    /// Lets the oldest rows go on a full disk, so that the next seal fits; `losses` tells of it.
    fn make_room(&mut self) {
        match self.store.make_room(self.store.config().seal_bytes as u64) {
            Ok(0) => {}
            Ok(files) => {
                tracing::error!(files, "the disk is full: the oldest rows are let go");
                self.status.files_let_go += files as u64;
                if let Some(position) = self.status.position {
                    let detail = format!("the disk is full: the oldest {files} files were let go");
                    self.lose("disk_full", position, &detail);
                }
            }
            Err(error) => tracing::error!(%error, "cannot make room on a full disk"),
        }
    }

    /// Lists what of the shelf was lost: it comes before the seal that names it no more.
    pub(super) fn lose_shelved(&mut self) {
        for detail in self.store.take_shelf_losses() {
            tracing::error!(detail, "what was let go cannot be taken back");
            let at = self.status.position.map(|at| at.to_string()).unwrap_or_default();
            self.join.lose("state", at.clone(), at, detail);
        }
    }

    /// Waits for a running seal: its thread must not outlive the lock on the directory.
    pub(super) fn stop_sealing(&mut self) {
        if let Some((_, result)) = self.seals.running.take() {
            drop(result.recv());
        }
    }
}
