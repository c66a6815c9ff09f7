//! The receive times of bodies that are not answered yet.
//!
//! A body gets its receive time when it is complete, and reaches the log later: a large one much
//! later than its neighbours. A tick promises that everything received before it is in the log, so
//! it may not claim more than the oldest body that is still on its way.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Receive times of bodies on their way to the log, with how many share each.
#[derive(Default)]
pub(crate) struct InFlight(Mutex<BTreeMap<i64, u32>>);

/// One body on its way; it has arrived when this is dropped.
pub(crate) struct OnItsWay<'a> {
    in_flight: &'a InFlight,
    received_ns: i64,
}

impl InFlight {
    /// Takes note of a body that was complete at `received_ns`.
    pub(crate) fn enter(&self, received_ns: i64) -> OnItsWay<'_> {
        *self.0.lock().entry(received_ns).or_default() += 1;
        OnItsWay { in_flight: self, received_ns }
    }

    /// The latest time before which everything received is in the log; `now_ns` where nothing is on
    /// its way.
    pub(crate) fn complete_until_ns(&self, now_ns: i64) -> i64 {
        self.0.lock().keys().next().map_or(now_ns, |oldest| now_ns.min(*oldest))
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        let mut times = self.in_flight.0.lock();
        if let Some(count) = times.get_mut(&self.received_ns) {
            *count -= 1;
            if *count == 0 {
                times.remove(&self.received_ns);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_body_bounds_the_promise() {
        let in_flight = InFlight::default();
        assert_eq!(in_flight.complete_until_ns(100), 100);
        let (first, second, third) =
            (in_flight.enter(40), in_flight.enter(40), in_flight.enter(70));
        assert_eq!(in_flight.complete_until_ns(100), 40);
        drop(first);
        assert_eq!(in_flight.complete_until_ns(100), 40);
        drop(second);
        assert_eq!(in_flight.complete_until_ns(100), 70);
        drop(third);
        assert_eq!(in_flight.complete_until_ns(100), 100);
    }
}
