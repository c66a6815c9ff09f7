//! The scenarios in which one thing goes wrong with the shop.
//!
//! Not the shop: see `shop`. Each scenario is the shop with a few other numbers and its
//! disturbances; what users and callers make of it follows. Each has a signature by which a reader
//! of its telemetry knows it, and `world::signatures` tests that it shows.

use super::super::random::Distribution::{Between, LogNormal};
use super::shop::{CART, CATALOG, SHOP_DATABASE, calm, one_long_attempt};
use super::{Disturbance, Effect, GATEWAY, Scenario, Step, people};

/// A message to all its readers at once. The gateway is too small for the moment and refuses, and
/// a fetch wrapper without jitter brings the refused back in step.
pub(super) fn thundering_herd() -> Scenario {
    let summon = Effect::Summon { sessions: 150, within_ms: 250 };
    let mut scenario = calm(
        "thundering-herd",
        vec![Disturbance { effect: summon, first_s: 5, lasts_s: 1, every_s: Some(30) }],
    );
    let gateway = &mut scenario.services[GATEWAY];
    (gateway.workers, gateway.queue) = (4, 12);
    scenario.browser.back_off = Between(1000.0, 1000.0);
    scenario
}

/// The home page's list of offers is slow to make and cached for five seconds, without anything
/// that would keep two from making it at the same time. Twice the whole cache is lost as well.
pub(super) fn cache_stampede() -> Scenario {
    let flush = Effect::CacheFlush { service: CATALOG };
    let mut scenario = calm(
        "cache-stampede",
        vec![Disturbance { effect: flush, first_s: 8, lasts_s: 1, every_s: Some(20) }],
    );
    scenario.sessions_per_s = 15.0;
    let database = &mut scenario.services[SHOP_DATABASE];
    // Too few connections for a stampede and the others' queries.
    database.workers = 8;
    database.routes[FEATURED].steps = vec![Step::Work(LogNormal(900.0, 0.2))];
    scenario
}

/// The network to one country is down for most: what is not lost hangs, and users leave. There are
/// more of them than usual, and they are patient, so that their tails can be seen. How patient does not
/// depend on what hangs, given the country: those who left would have waited as long as the others.
pub(super) fn region_outage() -> Scenario {
    let region = people::GERMANY;
    let outage = |effect| Disturbance { effect, first_s: 5, lasts_s: 15, every_s: None };
    let mut scenario = calm(
        "region-outage",
        vec![
            outage(Effect::Lose { region, share: 0.3 }),
            outage(Effect::Stall { region, share: 0.9, time: LogNormal(7000.0, 0.3) }),
        ],
    );
    scenario.sessions_per_s = 9.0;
    scenario.regions[region].share = 0.5;
    scenario.regions[region].patience = LogNormal(6000.0, 0.6);
    one_long_attempt(&mut scenario);
    scenario
}

/// Somebody well known has mentioned the shop.
pub(super) fn flash_crowd() -> Scenario {
    let surge = Effect::Surge { factor: 4.0 };
    calm("flash-crowd", vec![Disturbance { effect: surge, first_s: 5, lasts_s: 15, every_s: None }])
}

/// Connections leak until one is left. The queue before it fills; then every query waits for the
/// whole queue, no longer and no shorter, and what finds it full is refused.
pub(super) fn pool_exhaustion() -> Scenario {
    let shrink = Effect::ShrinkPool { service: SHOP_DATABASE, workers: 1 };
    let mut scenario = calm(
        "pool-exhaustion",
        vec![Disturbance { effect: shrink, first_s: 5, lasts_s: 15, every_s: None }],
    );
    let database = &mut scenario.services[SHOP_DATABASE];
    database.queue = 24;
    // A query takes the time of a busy disk: one connection is then too few, and 24 are plenty.
    for route in &mut database.routes {
        route.steps = vec![Step::Work(LogNormal(60.0, 0.3))];
    }
    scenario
}

/// A new version of one service breaks down half of the time, until it is rolled back. The others
/// are as well as ever; their callers and users repeat.
pub(super) fn bad_deploy() -> Scenario {
    let fail = Effect::Fail { service: CART, share: 0.5 };
    calm("bad-deploy", vec![Disturbance { effect: fail, first_s: 6, lasts_s: 15, every_s: None }])
}

/// The index of the query for the home page's offers among the shop database's routes.
const FEATURED: usize = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slow_query_is_the_one_for_the_offers() {
        let route = &cache_stampede().services[SHOP_DATABASE].routes[FEATURED];
        assert_eq!((route.method, route.template), ("SELECT", "featured"));
    }

    #[test]
    fn effects_grow_with_the_world() {
        let Effect::Summon { sessions, .. } = thundering_herd().scaled(2.0).disturbances[0].effect
        else {
            panic!("the herd is summoned");
        };
        assert_eq!(sessions, 300);
    }
}
