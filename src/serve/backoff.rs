//! How long to wait before a child that died is started again. Pure.
//!
//! The first restart is quick, because most deaths are single events and a collector that is
//! away refuses data. One that keeps dying is started ever more rarely, so that it does not eat
//! the machine and its messages stay readable.

use std::time::Duration;

/// A dead collector costs its clients one retry; nearly all of them wait longer than this.
const FIRST: Duration = Duration::from_millis(100);

/// Longer than this and an operator who mended the cause would think it did not help.
const LONGEST: Duration = Duration::from_secs(5);

/// A child that lived so long had started; its death is a new event.
const STEADY: Duration = Duration::from_secs(30);

/// The waits of one child.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    /// No death yet.
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The wait after a life of `alive`. `jitter`, from 0 to 1, takes up to half of it away, so that
    /// two children that died of one cause do not come back in step.
    pub(crate) fn after(&mut self, alive: Duration, jitter: f64) -> Duration {
        if alive >= STEADY {
            self.next = FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        wait.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_the_longest_and_starts_anew_after_a_steady_life() {
        let mut backoff = Backoff::new();
        let mut check = |alive_s, jitter, expected_ms| {
            let wait = backoff.after(Duration::from_secs(alive_s), jitter);
            assert_eq!(wait, Duration::from_millis(expected_ms));
        };
        for expected_ms in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            check(0, 0.0, expected_ms);
        }
        check(29, 1.0, 2500);
        check(30, 0.0, 100);
        check(0, 0.5, 150);
    }
}
