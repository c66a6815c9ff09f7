//! The machine's wall clock, handed to the roles as a parameter.
//!
//! This is the only place that reads it. It is not monotone: the operator or NTP may set it back,
//! and whoever needs an order uses log positions instead.

use std::time::{SystemTime, UNIX_EPOCH};

use ethogram_timeline::clock::Clock;

/// The wall clock of this machine.
#[derive(Debug, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now_ns(&self) -> i64 {
        // A machine whose clock stands before 1970 has lost it; the epoch is as wrong as any time
        // and keeps every later subtraction in range.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_later_than_the_year_2020() {
        assert!(SystemClock.now_ns() > 1_577_836_800_000_000_000);
    }
}
