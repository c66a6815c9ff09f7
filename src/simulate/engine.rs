//! The clockwork: what happens next.
//!
//! Not a simulation of anything: it orders events by time, and events of one time by the order in
//! which they were scheduled, so that a run depends on nothing but its seed. Invariant: time never
//! goes back; an event scheduled for the past happens now.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Nanoseconds in a second of the world.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// Nanoseconds in a millisecond of the world.
pub(crate) const MILLISECOND_NS: u64 = 1_000_000;

/// The events to come, and the world's time.
pub(crate) struct Schedule<E> {
    now_ns: u64,
    scheduled: u64,
    heap: BinaryHeap<Entry<E>>,
}

impl<E> Schedule<E> {
    /// An empty schedule at time 0.
    pub(crate) fn new() -> Self {
        Self { now_ns: 0, scheduled: 0, heap: BinaryHeap::new() }
    }

    /// Nanoseconds since the world began.
    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Makes `event` happen `delay_ns` from now.
    pub(crate) fn after(&mut self, delay_ns: u64, event: E) {
        let at_ns = self.now_ns.saturating_add(delay_ns);
        self.scheduled += 1;
        self.heap.push(Entry { at_ns, order: self.scheduled, event });
    }

    /// The next event that happens at or before `until_ns`, with the time moved to it. Without
    /// one the time moves to `until_ns`.
    pub(crate) fn next(&mut self, until_ns: u64) -> Option<E> {
        if self.heap.peek().is_some_and(|entry| entry.at_ns <= until_ns) {
            let entry = self.heap.pop().expect("an entry was just seen");
            self.now_ns = self.now_ns.max(entry.at_ns);
            return Some(entry.event);
        }
        self.now_ns = self.now_ns.max(until_ns);
        None
    }

    /// When the next event happens.
    pub(crate) fn next_at_ns(&self) -> Option<u64> {
        self.heap.peek().map(|entry| entry.at_ns)
    }
}

struct Entry<E> {
    at_ns: u64,
    order: u64,
    event: E,
}

impl<E> Ord for Entry<E> {
    /// Reversed, since the heap gives the greatest first and the earliest is wanted.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_ns, other.order).cmp(&(self.at_ns, self.order))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_by_order() {
        let mut schedule = Schedule::new();
        for (delay_ns, name) in [(30, "d"), (10, "a"), (20, "b"), (20, "c")] {
            schedule.after(delay_ns, name);
        }
        let mut seen = Vec::new();
        while let Some(name) = schedule.next(25) {
            seen.push((schedule.now_ns(), name));
        }
        assert_eq!(seen, [(10, "a"), (20, "b"), (20, "c")]);
        assert_eq!((schedule.now_ns(), schedule.next_at_ns()), (25, Some(30)));
    }
}
