//! Log time: a wall clock that may be stepped, made fit to stamp records with.
//!
//! Signals: the wall clock, at each reading (the collector's tick reads it each second). Rules:
//! * Log time never goes back. Where the wall clock is set back, log time stands still until the
//!   wall clock has caught up; what arrives meanwhile has one time.
//! * A step forward of up to a day is followed at once: a machine slept, or its clock was set right.
//! * A longer one is followed only after the clock has stood by it for a minute. A clock that was
//!   wrong by years for a moment would otherwise settle every trace, and let every file's retention
//!   end. Until then log time goes on as if the step had not been.
//!
//! What it cannot know: whether the first reading of a process is right.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;

use super::Clock;

/// Between two readings a second apart, more than this is a step and not the scheduler, in
/// nanoseconds.
const STEP_NS: i64 = 60_000_000_000;

/// Setting the clock back by less is what NTP does every day, and is not counted.
const BACK_NS: i64 = 1_000_000_000;

/// A longer step has to be confirmed. A laptop's weekend is followed a minute late.
const CONFIRMED_NS: i64 = 24 * 60 * 60 * 1_000_000_000;

/// How long a clock has to stand by it: a glitch at boot is mended by NTP within seconds.
const CONFIRM_FOR_NS: i64 = 60_000_000_000;

/// What the wall clock did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Steps {
    /// How often it went back by more than a second.
    pub back: u64,
    /// How often it went forward by more than a minute between two readings.
    pub forward: u64,
    /// Nanoseconds by which log time is ahead of the wall clock, waiting for it.
    pub ahead_ns: i64,
    /// Nanoseconds of a step forward that is not confirmed yet.
    pub held_back_ns: i64,
}

/// A clock that never goes back and follows no implausible step before it is confirmed.
pub struct LogClock {
    wall: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    wall_ns: Option<i64>,
    time_ns: i64,
    /// When an unconfirmed step was seen.
    held_since_ns: i64,
    steps: Steps,
}

impl LogClock {
    /// Log time by this wall clock.
    pub fn new(wall: Arc<dyn Clock>) -> Self {
        Self { wall, state: Mutex::new(State::default()) }
    }

    /// Log time has been at `ns` before, says an earlier process. Believed where the wall clock is
    /// behind it by less than a day: then it was set back meanwhile.
    pub fn not_before(&self, ns: i64) {
        if ns.saturating_sub(self.wall.now_ns()) < CONFIRMED_NS {
            let mut state = self.state.lock();
            state.time_ns = state.time_ns.max(ns);
        }
    }

    /// Log time, in nanoseconds since the epoch.
    pub fn now_ns(&self) -> i64 {
        let mut state = self.state.lock();
        // Read under the lock: two threads must not turn an order into a step back.
        let wall_ns = self.wall.now_ns();
        state.read(wall_ns)
    }

    /// What the wall clock says, steps and all: for allowances, which must not stand still while log
    /// time waits for a clock that was set back.
    pub fn wall_ns(&self) -> i64 {
        self.wall.now_ns()
    }

    /// What the wall clock did since this process began.
    pub fn steps(&self) -> Steps {
        self.state.lock().steps
    }
}

impl State {
    fn read(&mut self, wall_ns: i64) -> i64 {
        let step_ns = self.wall_ns.map_or(0, |before| wall_ns.saturating_sub(before));
        self.wall_ns = Some(wall_ns);
        self.steps.forward += u64::from(step_ns > STEP_NS);
        self.steps.back += u64::from(step_ns < -BACK_NS);
        let held_ns = self.steps.held_back_ns;
        if step_ns > CONFIRMED_NS {
            self.steps.held_back_ns = held_ns.saturating_add(step_ns);
            self.held_since_ns = wall_ns;
        } else if held_ns > 0 && step_ns < -BACK_NS {
            // It was a glitch, or a part of one. What is left of it by less than a step is the time
            // between the readings.
            let left_ns = held_ns.saturating_add(step_ns);
            self.steps.held_back_ns = if left_ns > STEP_NS { left_ns } else { 0 };
            self.held_since_ns = wall_ns;
        } else if held_ns > 0 && wall_ns.saturating_sub(self.held_since_ns) >= CONFIRM_FOR_NS {
            self.steps.held_back_ns = 0;
        }
        let plausible_ns = wall_ns.saturating_sub(self.steps.held_back_ns);
        self.time_ns = self.time_ns.max(plausible_ns);
        self.steps.ahead_ns = self.time_ns - plausible_ns;
        self.time_ns
    }
}

#[cfg(test)]
mod tests {
    use super::super::FixedClock;
    use super::*;

    const S: i64 = 1_000_000_000;
    const DAY: i64 = 86_400 * S;

    /// Seconds on the wall, and the log's seconds they become.
    fn check(readings: &[(i64, i64)], (back, forward): (u64, u64)) {
        let wall = Arc::new(FixedClock::default());
        let clock = LogClock::new(Arc::<FixedClock>::clone(&wall));
        for (at, (seen, expected)) in readings.iter().enumerate() {
            wall.set(seen * S);
            assert_eq!(clock.now_ns() / S, *expected, "reading {at} of {readings:?}");
        }
        let steps = clock.steps();
        assert_eq!((steps.back, steps.forward), (back, forward), "{readings:?}");
    }

    #[test]
    fn time_by_what_the_wall_clock_does() {
        let (day, years) = (DAY / S, 64 * 365 * DAY / S);
        check(&[(100, 100), (101, 101), (101, 101)], (0, 0));
        // Set back: it waits.
        check(&[(5_000, 5_000), (1_400, 5_000), (4_999, 5_000), (5_001, 5_001)], (1, 1));
        // Forward within a day: a laptop's night.
        check(&[(100, 100), (30_000, 30_000)], (0, 1));
        // A glitch of decades leaves no trace.
        check(&[(100, 100), (years, 100), (years + 5, 105), (110, 110), (111, 111)], (1, 1));
        // A clock that was wrong at boot is followed a minute after it was set right.
        let now = 20_000 * day;
        check(&[(10, 10), (now, 10), (now + 30, 40), (now + 59, 69), (now + 60, now + 60)], (0, 1));
    }

    #[test]
    fn an_earlier_process_is_believed_within_a_day() {
        let check = |before_ns: i64, expected_ns: i64| {
            let clock = LogClock::new(Arc::new(FixedClock::new(10 * DAY)));
            clock.not_before(before_ns);
            assert_eq!(clock.now_ns(), expected_ns);
        };
        check(9 * DAY, 10 * DAY);
        check(10 * DAY + 3_600 * S, 10 * DAY + 3_600 * S);
        check(30 * DAY, 10 * DAY);
    }
}
