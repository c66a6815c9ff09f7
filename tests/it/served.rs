//! Telemetry that is sent while something else goes on, and how long its acknowledgement takes.

use std::time::{Duration, Instant};

use crate::harness::otlp::server_span;
use crate::harness::{Request, is_held};

/// The service whose spans they are.
pub(crate) const SERVICE: &str = "served";

/// How much longer than in quiet the slowest hundredth may take.
const SLOWER_MAX: u32 = 2;

/// How long each of some requests took, the longest last.
pub(crate) struct Took(Vec<Duration>);

impl Took {
    pub(crate) fn new(mut took: Vec<Duration>) -> Self {
        took.sort();
        Self(took)
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// The time within which 99 of 100 were answered.
    fn p99(&self) -> Duration {
        let place = (self.0.len() * 99 / 100).saturating_sub(1);
        self.0.get(place).copied().unwrap_or_default()
    }
}

/// Posts spans, one after the other, numbered from `first`, as long as it is wanted.
pub(crate) fn posts(address: &str, first: u64, mut is_wanted: impl FnMut(u64) -> bool) -> Took {
    let mut took = Vec::new();
    for number in first.. {
        if !is_wanted(number) {
            break;
        }
        let begun = Instant::now();
        let request = Request::post("/v1/traces").header("Content-Type", "application/json");
        let answer = request.body(server_span(SERVICE, number).to_string()).send(address);
        assert_eq!(answer.status, 200, "{}", answer.text());
        took.push(begun.elapsed());
    }
    Took::new(took)
}

/// Tells how long others took beside something, and holds it to twice what they took without.
pub(crate) fn hold(what: &str, quiet: &Took, beside: &Took) {
    let (without, with) = (quiet.p99(), beside.p99());
    eprintln!(
        "{what}: p99 of others {without:.1?} of {} without and {with:.1?} of {} with it",
        quiet.count(),
        beside.count()
    );
    if is_held() {
        assert!(beside.count() >= 100, "{what}: too few to tell a hundredth from");
        assert!(with <= without * SLOWER_MAX, "{what}: p99 of {with:?} instead of {without:?}");
    }
}
