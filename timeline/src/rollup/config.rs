//! How much the rollups keep apart, and how much of one page's word they take.
//!
//! It is no part of their state: a start with other limits goes on from the same totals. What has a name
//! of its own keeps it, since a counter that went on under another one would seem to have fallen.

use serde::{Deserialize, Serialize};

/// The limits of the rollups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Distinct hops kept, and exposed by `/metrics`. A route that is an id would otherwise grow the map
    /// for ever; what comes beyond is counted under `overflow`, once per layer. Together 2,000, which is
    /// what OpenTelemetry's SDKs expose of one metric and what a scrape every second can afford.
    pub hops_max: usize,
    /// Distinct places kept, for the same reason: every country of ISO 3166 and `unknown` in both layers,
    /// and fifty regions of an operator's own. Each is a histogram of seventeen series. A service may
    /// name any region.
    pub places_max: usize,
    /// What is counted of one number of a page's summary. A page sums up a minute; fifty a second is what
    /// `collector.beacon.session_records_per_second` takes of one session, and five times a retry storm.
    /// A body is anybody's, and may claim four billion; the rest is counted as `summary_excess`.
    pub summary_count_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { hops_max: 1_998, places_max: 600, summary_count_max: 3_000 }
    }
}
