//! Time as a parameter.
//!
//! Nothing below the root asks the machine what time it is; it asks a [`Clock`]. That is what
//! makes replay and the tests deterministic.

mod log_time;

use std::sync::atomic::{AtomicI64, Ordering};

pub use log_time::{LogClock, Steps};

/// A source of wall-clock time.
pub trait Clock: Send + Sync + 'static {
    /// Nanoseconds since the Unix epoch, UTC.
    fn now_ns(&self) -> i64;
}

/// A clock that stands still until it is told otherwise.
#[derive(Debug, Default)]
pub struct FixedClock(AtomicI64);

impl FixedClock {
    /// A clock that says `ns` nanoseconds since the Unix epoch.
    pub fn new(ns: i64) -> Self {
        Self(AtomicI64::new(ns))
    }

    /// Moves the clock to `ns`.
    pub fn set(&self, ns: i64) {
        self.0.store(ns, Ordering::SeqCst);
    }

    /// Moves the clock forward by `ns`.
    pub fn advance(&self, ns: i64) {
        self.0.fetch_add(ns, Ordering::SeqCst);
    }
}

impl Clock for FixedClock {
    fn now_ns(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}
