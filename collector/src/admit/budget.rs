//! The bytes of bodies in flight.
//!
//! A body reserves what it occupies before it occupies it, and gives it back when it is answered
//! or dropped. What does not fit is refused with 503, so that memory is bounded by configuration
//! and not by how many clients are in a hurry.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Reason, Refusal};

/// The budget all bodies share.
#[derive(Clone)]
pub(crate) struct Budget {
    used: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { used: Arc::new(AtomicUsize::new(0)), bytes_max }
    }

    /// A reservation of nothing, which grows with its body.
    pub(crate) fn reserve(&self) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }

    /// Bytes in flight now.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// One body's share of the budget.
pub(crate) struct Reservation {
    budget: Budget,
    bytes: usize,
}

impl Reservation {
    /// Adds `bytes` to the share, or refuses.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let grown =
            |used: usize| used.checked_add(bytes).filter(|used| *used <= self.budget.bytes_max);
        if self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_err() {
            return Err(Refusal::new(
                Reason::InFlightBytes,
                "too many bytes are in flight; try again later",
            ));
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_given_back() {
        let budget = Budget::new(100);
        let mut first = budget.reserve();
        first.grow(60).expect("fits");
        let mut second = budget.reserve();
        assert_eq!(second.grow(41).expect_err("does not fit").reason, Reason::InFlightBytes);
        second.grow(40).expect("fits exactly");
        assert_eq!(budget.used(), 100);
        drop(first);
        assert_eq!(budget.used(), 40);
        assert!(second.grow(usize::MAX).is_err());
        drop(second);
        assert_eq!(budget.used(), 0);
    }
}
