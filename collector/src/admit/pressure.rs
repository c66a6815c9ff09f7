//! Requests that gather for a moment while bodies are refused for want of processors.
//!
//! A thread that wakes for each request takes the processor each time from a body that is being decoded,
//! and its caches with it: under ten times the load that was a tenth of all that could be accepted. Network
//! cards know the same trouble and moderate their interrupts the same way: while there is too much, what
//! comes is looked at every so often and all at once.
//!
//! Without refusals nothing waits. With them a thread that has nothing more to do sleeps for [`GATHER`],
//! so that what else is answered then, as a body that was accepted, may be answered that much later. Where
//! the runtime has several threads one of them sleeps and another may go on, singly as before.
//!
//! Invariant: who is told of pressure sleeps once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether bodies are refused because all processors decode. Shared by the role and the runtime it is
/// run on.
#[derive(Clone, Debug, Default)]
pub struct Pressure(Arc<AtomicBool>);

/// How long requests gather. At ten times the load some twenty do in that time, so that waking costs them a
/// twentieth each; to gather for longer brings nothing more. For a body it is a small part of the tenth of
/// a second that it may wait for its turn.
const GATHER: Duration = Duration::from_millis(4);

impl Pressure {
    /// To be called whenever a thread of the runtime has nothing more to do and will look at the network
    /// next: sleeps for a moment where a body has been refused since the last time.
    pub fn let_gather(&self) {
        // Read first: most of the time there is nothing to write.
        if self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed) {
            std::thread::sleep(GATHER);
        }
    }

    #[cfg(test)]
    pub(super) fn has_risen(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// A body is refused at once because the processors have too much to do.
    pub(super) fn rise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_waits_once_for_each_time_it_was_told() {
        let pressure = Pressure::default();
        let waits = || {
            let begun = Instant::now();
            pressure.let_gather();
            // Sleeping is never shorter than asked for; doing nothing may be, on a busy machine, as long.
            (begun.elapsed() >= GATHER, pressure.has_risen())
        };
        pressure.rise();
        pressure.rise();
        assert_eq!(waits(), (true, false));
        assert!((0..10).any(|_| waits() == (false, false)), "nothing was refused since");
    }
}
