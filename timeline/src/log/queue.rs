//! Records that wait for a commit. Not a place to wait for room: what does not fit is refused.
//!
//! Invariants: at most `bytes_max` record bytes are waiting or being committed, except that one
//! record alone is always let in; order is kept.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::error::AppendError;
use super::position::Position;

/// Called exactly once with what became of a record.
pub(super) type Done = Box<dyn FnOnce(Result<Position, AppendError>) + Send>;

/// A record, and whom to tell.
pub(super) struct Pending {
    pub(super) record: Vec<u8>,
    /// The commit that holds it is the last of its segment.
    pub(super) ends_segment: bool,
    pub(super) done: Done,
}

/// Records from many threads to the one writer.
pub(super) struct Queue {
    bytes_max: u64,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Pending>,
    /// Bytes waiting and bytes being committed.
    bytes: u64,
    closed: bool,
}

impl Queue {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, state: Mutex::new(State::default()), wake: Condvar::new() }
    }

    /// Adds a record, or gives it back with the reason.
    pub(super) fn push(&self, pending: Pending) -> Result<(), (Pending, AppendError)> {
        let len = pending.record.len() as u64;
        let mut state = self.state.lock();
        if state.closed {
            return Err((pending, AppendError::Failed));
        }
        if state.bytes > 0 && state.bytes + len > self.bytes_max {
            return Err((pending, AppendError::QueueFull));
        }
        state.bytes += len;
        state.waiting.push_back(pending);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Waits for records; takes all that fit in `bytes_max`, at least one. Empty: closed, and
    /// nothing is left.
    pub(super) fn take(&self, bytes_max: u64) -> Vec<Pending> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() && !state.closed {
            self.wake.wait(&mut state);
            // Who was woken on the processor of who appends lets it go on first: it may have more, and one
            // sync serves all. Where a processor is free this is nothing.
            MutexGuard::unlocked(&mut state, std::thread::yield_now);
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(next) = state.waiting.front() {
            bytes += next.record.len() as u64;
            if !taken.is_empty() && bytes > bytes_max {
                break;
            }
            taken.extend(state.waiting.pop_front());
        }
        taken
    }

    /// Says that taken records left the writer.
    pub(super) fn release(&self, bytes: u64) {
        self.state.lock().bytes -= bytes;
    }

    /// Refuses records from now on; those waiting can still be taken.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_all();
    }

    /// Closes, and gives back everything that waits.
    pub(super) fn fail(&self) -> Vec<Pending> {
        let mut state = self.state.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        state.bytes -= waiting.iter().map(|pending| pending.record.len() as u64).sum::<u64>();
        waiting.into()
    }

    /// Whether [`Self::take`] would not wait.
    #[cfg(test)]
    pub(super) fn has_waiting(&self) -> bool {
        !self.state.lock().waiting.is_empty()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.state.lock().bytes
    }
}
