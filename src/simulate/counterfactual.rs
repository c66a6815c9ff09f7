//! The world without something it has: what would have come of it otherwise.
//!
//! Not a disturbance, which comes and goes: a counterfactual holds from the beginning. The streams
//! of chance stay what they are, so that two runs of one seed have the same visitors and differ in
//! what the change makes of them.

use super::random::Distribution;
use super::scenario::{Scenario, Step};
use clap::ValueEnum;

/// What a world can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Without {
    /// Nobody's program sends a request again by itself: browsers and services send once
    Retries,
    /// Users do not ask again for what has failed, and do not reload
    Repeats,
    /// Users wait for as long as it takes
    Impatience,
    /// Nothing is answered from a cache
    Cache,
    /// Nothing goes wrong but what always does
    Disturbances,
}

/// Longer than anything takes, in milliseconds.
const FOREVER: Distribution = Distribution::Between(3_600_000.0, 3_600_000.0);

impl Without {
    /// Takes it away.
    pub(crate) fn change(self, scenario: &mut Scenario) {
        match self {
            Self::Retries => {
                scenario.browser.attempts_max = 1;
                for step in steps(scenario) {
                    let Step::Call(calls) = step else { continue };
                    for call in calls {
                        call.attempts_max = 1;
                        call.proxied_max = call.proxied_max.min(1);
                        call.hedge_after_ms = None;
                    }
                }
            }
            Self::Repeats => {
                for region in &mut scenario.regions {
                    (region.habits.reload, region.habits.repeat) = (0.0, 0.0);
                }
            }
            Self::Impatience => {
                scenario.regions.iter_mut().for_each(|region| region.patience = FOREVER);
            }
            Self::Cache => {
                for step in steps(scenario) {
                    if let Step::UnlessCached { ttl_ms, .. } = step {
                        *ttl_ms = 0;
                    }
                }
            }
            Self::Disturbances => scenario.disturbances.clear(),
        }
    }
}

fn steps(scenario: &mut Scenario) -> impl Iterator<Item = &mut Step> {
    let routes = scenario.services.iter_mut().flat_map(|service| &mut service.routes);
    routes.flat_map(|route| &mut route.steps)
}

#[cfg(test)]
mod tests;
