//! Counts that stay small: settled totals that never fall, and the last minutes as they look now.
//!
//! Two kinds of truth, kept apart. [`Totals`] take settled facts only, each once, survive restarts
//! in the checkpoint and never fall: they feed counters that are polled. [`Window`] takes every
//! change at once, signed, and may fall when a fact is taken back: it feeds gauges.
//!
//! It is not a table on disk; tiers by minute, hour and day stand on the same signed changes.

pub mod buckets;
mod config;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use buckets::Buckets;
pub use config::Config;
pub use window::{Window, WindowView};

use crate::join::{Change, Delta};
use crate::schema::{EventRow, RequestRow, SessionRow, SpanRow, UNKNOWN};

/// The reason under which is counted what a page's summary claims beyond what a page can do.
const SUMMARY_EXCESS: &str = "summary_excess";

/// What stands for a name that there was no room for.
const OVERFLOW: &str = "overflow";

/// Where a send went and who sent it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hop {
    /// The callee.
    pub service: String,
    /// The callee's route.
    pub route: String,
    /// Who sends: browser | service.
    pub layer: String,
}

impl Hop {
    /// All hops of a layer that there was no room for.
    fn overflow(layer: &str) -> Self {
        let overflow = || String::from(OVERFLOW);
        Self { service: overflow(), route: overflow(), layer: String::from(layer) }
    }
}

/// What is counted of a hop. Amplification = sends ÷ logical calls = (sends ÷ first attempts) ×
/// (first attempts ÷ logical calls).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopCounts {
    /// Every send whose place in its call is known.
    pub sends: i64,
    /// Sends that begin a call, the implied ones included.
    pub first_attempts: i64,
    /// Logical calls, by their originals.
    pub logical_calls: i64,
    /// Sends while an earlier one was awaited.
    pub hedges: i64,
    /// Calls whose first attempt was never seen.
    pub implied: i64,
    /// Attempts that were inferred rather than said.
    pub inferred: i64,
}

/// Where a request came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The operator's region.
    pub region: String,
    /// browser | service.
    pub layer: String,
}

/// What is counted of a place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCounts {
    /// Requests that succeeded.
    pub ok: i64,
    /// Requests that failed.
    pub failed: i64,
    /// Requests that their user left.
    pub abandoned: i64,
    /// Requests that their program aborted.
    pub cancelled: i64,
    /// Sum of `total_us` of finished requests.
    pub sum_us: i64,
    /// `total_us` of finished requests.
    pub h: Buckets,
}

/// Settled facts since the log began. Nothing in it ever falls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// By callee, route and layer.
    pub hops: BTreeMap<Hop, HopCounts>,
    /// By region and layer.
    pub requests: BTreeMap<Place, RequestCounts>,
    /// Reloads.
    pub refreshes: i64,
    /// Rows dropped or set apart, by reason, and what summaries claim beyond what a page can do.
    pub dropped: BTreeMap<String, u64>,
}

/// Both kinds of counts, as they are published.
#[derive(Clone, Debug, Default)]
pub struct RollupView {
    /// Settled, monotone.
    pub totals: Arc<Totals>,
    /// Provisional.
    pub window: WindowView,
    /// Hops that may have names in both together.
    pub hops_max: usize,
}

impl RollupView {
    /// The window's hops. Those that are not settled yet have the room that the settled ones leave: all
    /// that is kept is exposed, since a choice made later would be another one after a restart.
    pub fn window_hops(&self) -> BTreeMap<Hop, HopCounts> {
        let mut room = self.hops_max.saturating_sub(self.totals.hops.len());
        let mut bounded: BTreeMap<Hop, HopCounts> = BTreeMap::new();
        for (hop, counts) in self.window.hops.iter() {
            let hop = if self.totals.hops.contains_key(hop) {
                hop.clone()
            } else if room > 0 {
                room -= 1;
                hop.clone()
            } else {
                Hop::overflow(&hop.layer)
            };
            add(bounded.entry(hop).or_default(), counts, 1);
        }
        bounded
    }
}

/// Both kinds of counts, as they grow.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rollup {
    totals: Arc<Totals>,
    window: Window,
    #[serde(skip)]
    config: Config,
}

impl Rollup {
    /// Applies the configuration of this start, to a state that an earlier one may have written.
    pub fn configure(&mut self, config: Config) {
        self.config = config;
    }

    /// Takes changes in.
    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Span(delta) => self.window.apply(delta, self.config.hops_max),
                Change::Session(delta) => self.count_refreshes(delta),
                Change::SettledSend(row) => self.settle_send(row),
                Change::SettledRequest(row) => self.settle_request(row),
                Change::Event(delta) => self.count_summary(delta),
                Change::Metric(_) | Change::Request(_) | Change::Loss(_) | Change::Erase(_) => {}
            }
        }
    }

    /// Takes the join's drop counters over, beside its own.
    pub fn set_dropped(&mut self, dropped: &BTreeMap<String, u64>) {
        let own = self.totals.dropped.get_key_value(SUMMARY_EXCESS);
        let mut all = dropped.clone();
        all.extend(own.map(|(reason, count)| (reason.clone(), *count)));
        if self.totals.dropped != all {
            Arc::make_mut(&mut self.totals).dropped = all;
        }
    }

    /// The drop counters that it took over last.
    pub fn dropped(&self) -> BTreeMap<String, u64> {
        let mut dropped = self.totals.dropped.clone();
        dropped.remove(SUMMARY_EXCESS);
        dropped
    }

    /// What to publish at log time `now_ns`.
    pub fn view(&mut self, now_ns: i64) -> RollupView {
        RollupView {
            totals: Arc::clone(&self.totals),
            window: self.window.view(now_ns),
            hops_max: self.config.hops_max,
        }
    }

    fn settle_send(&mut self, row: &SpanRow) {
        let counts = counts(row);
        if counts == HopCounts::default() {
            return;
        }
        let totals = Arc::make_mut(&mut self.totals);
        let hop = bounded(&totals.hops, hop(row), self.config.hops_max);
        add(totals.hops.entry(hop).or_default(), &counts, 1);
    }

    fn settle_request(&mut self, row: &RequestRow) {
        let totals = Arc::make_mut(&mut self.totals);
        let place = Place { region: row.region.to_string(), layer: row.layer.to_string() };
        let place = bounded_place(&totals.requests, place, self.config.places_max);
        let counts = totals.requests.entry(place).or_default();
        match row.outcome.as_str() {
            "ok" => counts.ok += 1,
            "failed" => counts.failed += 1,
            "abandoned" => counts.abandoned += 1,
            "cancelled" => counts.cancelled += 1,
            _ => {}
        }
        if let Some(total_us) = row.total_us {
            // A sender may claim any duration; the sum must neither overflow nor fall.
            let total_us = total_us.clamp(0, buckets::VALUE_US_LIMIT as i64);
            counts.sum_us = counts.sum_us.saturating_add(total_us);
            counts.h.record(total_us.unsigned_abs(), 1);
        }
    }

    /// Adds what pages that were not sampled have summed up: they send no rows that could be counted.
    fn count_summary(&mut self, delta: &Delta<EventRow>) {
        let (None, Some((_, row))) = (&delta.old, &delta.new) else { return };
        if row.event_name != "behavior.summary" || row.layer != "browser" {
            return;
        }
        let (mut excess, most) = (0_u64, i64::from(self.config.summary_count_max));
        let mut count = |name: &str| -> i64 {
            let said = row.attributes.get(name).and_then(|text| text.parse().ok());
            let said = i64::from(said.unwrap_or(0_u32));
            let counted = said.min(most);
            excess += (said - counted).unsigned_abs();
            counted
        };
        // A minute may hold the retries of requests that began in the one before.
        let (requests, attempts) = (count("behavior.requests"), count("behavior.attempts"));
        let hedges = count("behavior.hedges");
        let totals = Arc::make_mut(&mut self.totals);
        let layer = row.layer.to_string();
        let hop = Hop { service: String::from(UNKNOWN), route: String::from(UNKNOWN), layer };
        let hop = bounded(&totals.hops, hop, self.config.hops_max);
        let counts = HopCounts {
            sends: attempts,
            first_attempts: requests,
            logical_calls: requests,
            hedges,
            ..HopCounts::default()
        };
        add(totals.hops.entry(hop).or_default(), &counts, 1);
        if excess > 0 {
            let dropped = totals.dropped.entry(String::from(SUMMARY_EXCESS)).or_default();
            *dropped = dropped.saturating_add(excess);
        }
    }

    /// A session's reloads only grow, so the difference is a settled fact.
    fn count_refreshes(&mut self, delta: &Delta<SessionRow>) {
        let refreshes = |placed: &Option<crate::join::Placed<SessionRow>>| {
            placed.as_ref().map_or(0, |(_, row)| row.refreshes)
        };
        let grown = refreshes(&delta.new) - refreshes(&delta.old);
        if grown > 0 {
            Arc::make_mut(&mut self.totals).refreshes += grown;
        }
    }
}

/// The hop of a send.
fn hop(row: &SpanRow) -> Hop {
    Hop {
        service: row.callee.to_string(),
        route: row.route.to_string(),
        layer: row.caller_layer.to_string(),
    }
}

/// The hop itself, or its layer's overflow where the map is full.
fn bounded<V>(hops: &BTreeMap<Hop, V>, hop: Hop, hops_max: usize) -> Hop {
    if hops.len() < hops_max || hops.contains_key(&hop) {
        return hop;
    }
    Hop::overflow(&hop.layer)
}

/// The same for places.
fn bounded_place<V>(places: &BTreeMap<Place, V>, place: Place, places_max: usize) -> Place {
    if places.len() < places_max || places.contains_key(&place) {
        return place;
    }
    Place { region: String::from(OVERFLOW), layer: place.layer }
}

/// What one send adds.
fn counts(row: &SpanRow) -> HopCounts {
    let original = row.original == Some(row.span_id);
    let implied = original && row.attempt > 1;
    HopCounts {
        // What has no place that is known is in no factor, and so not in what factors are made of.
        sends: i64::from(row.attempt_kind != "unknown"),
        first_attempts: i64::from(row.attempt == 1 || implied),
        logical_calls: i64::from(original),
        hedges: i64::from(row.attempt_kind == "hedge"),
        implied: i64::from(implied),
        inferred: i64::from(row.retry_evidence == "inferred"),
    }
}

fn add(counts: &mut HopCounts, more: &HopCounts, sign: i64) {
    counts.sends += sign * more.sends;
    counts.first_attempts += sign * more.first_attempts;
    counts.logical_calls += sign * more.logical_calls;
    counts.hedges += sign * more.hedges;
    counts.implied += sign * more.implied;
    counts.inferred += sign * more.inferred;
}

#[cfg(test)]
mod tests;
