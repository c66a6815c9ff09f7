//! What really happened, counted where it was decided.
//!
//! Not measured from what was sent: every number comes from the loop of the caller that made the
//! decision, so that what a reader of the timeline finds can be compared with it. Invariants:
//! `requests = ok + failed + abandoned + cancelled + pending`;
//! `sends = first_attempts + retries + hedges`, and `first_attempts >= logical_calls`.

mod details;

use super::scenario::{Place, Scenario};
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

pub(crate) use details::{RequestDetail, SendDetail, SessionDetail};

/// Durations above this count as this: 2^36 us is 19 hours, the ceiling of the product's own
/// histograms.
const DURATION_US_MAX: u64 = 1 << 36;

/// Three significant digits: finer than anything the truth is compared with.
const DIGITS: u8 = 3;

/// How a logical request ended for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Failed,
    Abandoned(Trigger),
    Cancelled,
}

/// Why a page was left, or a request aborted, while it was pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trigger {
    Reload,
    Navigate,
    Leave,
    Abort,
}

impl Trigger {
    /// The word on the wire.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Navigate => "navigate",
            Self::Leave => "leave",
            Self::Abort => "abort",
        }
    }
}

/// The sends of one caller to one place.
#[derive(Clone, Debug, Default, Serialize, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) sends: u64,
    pub(crate) first_attempts: u64,
    pub(crate) logical_calls: u64,
    pub(crate) retries: u64,
    /// Sends beside one that was still awaited.
    pub(crate) hedges: u64,
    /// What answered a challenge: neither sends nor attempts.
    pub(crate) resends: u64,
    /// Sends whose caller stopped waiting.
    pub(crate) timeouts: u64,
    /// Sends the network lost.
    pub(crate) lost: u64,
    /// Sends refused by a full queue.
    pub(crate) refused: u64,
}

/// The users of one region.
#[derive(Clone)]
pub(crate) struct RegionTruth {
    pub(crate) sessions: u64,
    /// Tabs in which a document was opened.
    pub(crate) tabs: u64,
    pub(crate) pages: u64,
    pub(crate) reloads: u64,
    pub(crate) requests: u64,
    pub(crate) intents: u64,
    pub(crate) attempts: u64,
    pub(crate) repeats_user: u64,
    pub(crate) repeats_refresh: u64,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    abandoned_by_trigger: BTreeMap<Trigger, u64>,
    /// Failed requests whose page was left before the next attempt: nothing was in flight.
    pub(crate) left_in_back_off: u64,
    /// Response times of ok and failed requests, from the first send.
    finished_us: Histogram<u64>,
    /// The waits of abandoned requests when they were abandoned, from the first send.
    abandoned_waited_us: Histogram<u64>,
    /// The response times abandoned requests would have had, where their last send decides it.
    abandoned_would_have_us: Histogram<u64>,
    /// Abandoned requests whose send in flight then failed although attempts were left.
    pub(crate) abandoned_unknown: u64,
}

impl Default for RegionTruth {
    fn default() -> Self {
        let histogram = || {
            Histogram::new_with_bounds(1, DURATION_US_MAX, DIGITS).expect("the bounds are valid")
        };
        Self {
            sessions: 0,
            tabs: 0,
            pages: 0,
            reloads: 0,
            requests: 0,
            intents: 0,
            attempts: 0,
            repeats_user: 0,
            repeats_refresh: 0,
            ok: 0,
            failed: 0,
            cancelled: 0,
            abandoned_by_trigger: BTreeMap::new(),
            left_in_back_off: 0,
            finished_us: histogram(),
            abandoned_waited_us: histogram(),
            abandoned_would_have_us: histogram(),
            abandoned_unknown: 0,
        }
    }
}

/// The caller's name of the browsers in hops.
pub(crate) const BROWSER: &str = "browser";

/// Everything counted.
#[derive(Default)]
pub(crate) struct Truth {
    /// By caller (`None` is the browser) and place.
    pub(crate) hops: BTreeMap<(Option<usize>, Place), Hop>,
    pub(crate) regions: Vec<RegionTruth>,
    /// Server-side and client-side spans of services that were emitted.
    pub(crate) service_spans: u64,
    pub(crate) browser_spans: u64,
    pub(crate) browser_events: u64,
    pub(crate) bodies: u64,
    /// Sessions that did not begin since too many were open.
    pub(crate) sessions_turned_away: u64,
    /// Everything one by one, where somebody asked for it.
    pub(crate) details: details::Details,
}

impl Truth {
    /// The counters of one hop.
    pub(crate) fn hop(&mut self, caller: Option<usize>, place: Place) -> &mut Hop {
        self.hops.entry((caller, place)).or_default()
    }

    /// Sums of a service's hops from all callers.
    #[cfg(test)]
    pub(crate) fn service(&self, service: usize) -> Hop {
        let mut sum = Hop::default();
        for ((_, _), hop) in self.hops.iter().filter(|((_, place), _)| place.service == service) {
            sum.sends += hop.sends;
            sum.first_attempts += hop.first_attempts;
            sum.logical_calls += hop.logical_calls;
            sum.retries += hop.retries;
            sum.hedges += hop.hedges;
        }
        sum
    }

    /// The whole as JSON.
    pub(crate) fn json(&self, scenario: &Scenario) -> Json {
        let hops: Vec<Json> = self
            .hops
            .iter()
            .map(|((caller, place), hop)| {
                let service = &scenario.services[place.service];
                let route = scenario.route(*place);
                json!({
                    "caller": caller.map_or(BROWSER, |caller| scenario.services[caller].name),
                    "service": service.name,
                    "kind": service.kind.word(),
                    "method": route.method,
                    "route": route.template,
                    "counts": hop,
                })
            })
            .collect();
        let regions: Vec<Json> = scenario
            .regions
            .iter()
            .zip(&self.regions)
            .map(|(region, truth)| truth.json(region.country))
            .collect();
        json!({
            "hops": hops,
            "regions": regions,
            "emitted": {
                "bodies": self.bodies,
                "browser_spans": self.browser_spans,
                "browser_events": self.browser_events,
                "service_spans": self.service_spans,
            },
            "sessions_turned_away": self.sessions_turned_away,
        })
    }
}

impl RegionTruth {
    /// Counts the end of a request, `total_us` after its first send.
    pub(crate) fn ended(&mut self, outcome: Outcome, total_us: u64) {
        match outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Cancelled => self.cancelled += 1,
            Outcome::Abandoned(trigger) => {
                *self.abandoned_by_trigger.entry(trigger).or_default() += 1;
                self.abandoned_waited_us.saturating_record(total_us);
            }
        }
        if matches!(outcome, Outcome::Ok | Outcome::Failed) {
            self.finished_us.saturating_record(total_us);
        }
    }

    /// Counts the answer an abandoned request would have had.
    pub(crate) fn would_have(&mut self, total_us: u64) {
        self.abandoned_would_have_us.saturating_record(total_us);
    }

    /// All abandoned requests.
    pub(crate) fn abandoned(&self) -> u64 {
        self.abandoned_by_trigger.values().sum()
    }

    /// Requests without an outcome.
    pub(crate) fn pending(&self) -> u64 {
        self.requests - self.ok - self.failed - self.cancelled - self.abandoned()
    }

    fn json(&self, country: &str) -> Json {
        let mut complete_us = self.finished_us.clone();
        complete_us.add(&self.abandoned_would_have_us).expect("the bounds are equal");
        let triggers: BTreeMap<&str, u64> = self
            .abandoned_by_trigger
            .iter()
            .map(|(trigger, count)| (trigger.word(), *count))
            .collect();
        json!({
            "region": country,
            "sessions": self.sessions,
            "tabs": self.tabs,
            "pages": self.pages,
            "reloads": self.reloads,
            "intents": self.intents,
            "requests": self.requests,
            "attempts": self.attempts,
            "retries": {
                "browser": self.attempts - self.requests,
                "user": self.repeats_user,
                "refresh": self.repeats_refresh,
            },
            "ok": self.ok,
            "failed": self.failed,
            "abandoned": self.abandoned(),
            "cancelled": self.cancelled,
            "pending": self.pending(),
            "abandoned_by_trigger": triggers,
            "left_in_back_off": self.left_in_back_off,
            "abandoned_unknown": self.abandoned_unknown,
            "finished": summary(&self.finished_us),
            "abandoned_waited": summary(&self.abandoned_waited_us),
            "abandoned_would_have": summary(&self.abandoned_would_have_us),
            "finished_and_would_have": summary(&complete_us),
        })
    }
}

/// Order statistics as midpoints of their buckets, in microseconds.
fn summary(histogram: &Histogram<u64>) -> Json {
    let at = |quantile| histogram.median_equivalent(histogram.value_at_quantile(quantile));
    json!({
        "count": histogram.len(),
        "p50_us": at(0.5),
        "p90_us": at(0.9),
        "p99_us": at(0.99),
        "p999_us": at(0.999),
        "max_us": histogram.max(),
    })
}
