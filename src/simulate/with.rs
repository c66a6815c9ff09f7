//! The world with something that its scenario does not have: habits that every shop meets and that
//! would blur what a scenario is about.
//!
//! Not a disturbance, which comes and goes: what is added holds from the beginning. Invariant: what is
//! not asked for draws from no stream of chance that anything else draws from, so that a scenario is
//! the same world as before.

use super::scenario::{CART, CATALOG, GATEWAY, Scenario};
use clap::ValueEnum;

/// What a world can have beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum With {
    /// Users open a second tab of the same session, and sessions are followed by others meanwhile
    Tabs,
    /// A proxy before the cart service sends again what failed there, below one span of the gateway's
    Proxies,
    /// The gateway asks the catalog a second time when the first answer is late
    Hedges,
    /// The gateway's token for the cart service expires: what it asks then is challenged and sent again
    Challenges,
}

/// One step in three leads into a second tab: then about half of the visitors have one.
const SECOND_TABS: f64 = 0.3;

/// Real sessions are followed after hours. Nine seconds are about half of a visit here, so that many
/// visits have two sessions and few have three.
const SESSION_AGE_MS: u64 = 9000;

/// The first and two more, as Istio's proxies do by default.
const PROXIED_MAX: u32 = 3;

/// Beyond the 95th percentile of the catalog when all is well, wherever it is asked: the usual place.
const HEDGE_AFTER_MS: u64 = 120;

/// Real tokens are good for minutes or hours. Here about two calls in ten find theirs expired.
const TOKEN_MS: u64 = 300;

impl With {
    /// Adds it.
    pub(crate) fn change(self, scenario: &mut Scenario) {
        match self {
            Self::Tabs => {
                scenario.browser.second_tabs = SECOND_TABS;
                scenario.browser.session_age_ms = Some(SESSION_AGE_MS);
            }
            Self::Proxies => {
                let calls = scenario.calls_between(GATEWAY, CART);
                calls.for_each(|call| call.proxied_max = PROXIED_MAX);
            }
            Self::Hedges => {
                for call in scenario.calls_between(GATEWAY, CATALOG) {
                    call.hedge_after_ms = Some(HEDGE_AFTER_MS);
                    // A hedge takes a place among the attempts, and none that the caller had before.
                    call.attempts_max += 1;
                }
            }
            Self::Challenges => {
                let calls = scenario.calls_between(GATEWAY, CART);
                calls.for_each(|call| call.token_ms = Some(TOKEN_MS));
            }
        }
    }
}

#[cfg(test)]
mod tests;
