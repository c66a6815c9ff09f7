//! What the disturbances amount to now.
//!
//! Not their consequences: a condition says that a pool is smaller or a network slower, and what
//! comes of it is up to those who use them. Invariants: without a disturbance every condition is
//! neutral; no part of the world draws from its stream of chance for a neutral one, so that a
//! scenario without an effect is the same world as before the effect was invented.

use super::random::Distribution;
use super::scenario::{Effect, Scenario};

/// The conditions of all services, regions and of the crowd.
pub(crate) struct Conditions {
    /// By service: how many times as long its work takes.
    pub(crate) slow: Vec<f64>,
    /// By service: the share of the runs that end in an error of their own.
    pub(crate) failing: Vec<f64>,
    /// By service: how many of its workers are left.
    pub(crate) workers_max: Vec<usize>,
    /// By region: the share of sends lost, if above the usual.
    pub(crate) loss: Vec<f64>,
    /// By region: the share of sends held up on their way, and for how long.
    pub(crate) stalled: Vec<Option<(f64, Distribution)>>,
    /// How many times as many sessions begin.
    pub(crate) surge: f64,
}

impl Conditions {
    /// Nothing is disturbed.
    pub(crate) fn calm(scenario: &Scenario) -> Self {
        Self {
            slow: vec![1.0; scenario.services.len()],
            failing: vec![0.0; scenario.services.len()],
            workers_max: vec![usize::MAX; scenario.services.len()],
            loss: vec![0.0; scenario.regions.len()],
            stalled: vec![None; scenario.regions.len()],
            surge: 1.0,
        }
    }

    /// A lasting effect begins or ends. Effects of a moment change no condition.
    pub(crate) fn set(&mut self, effect: Effect, begins: bool) {
        match effect {
            Effect::Slow { service, factor } => {
                self.slow[service] = if begins { factor } else { 1.0 };
            }
            Effect::Fail { service, share } => {
                self.failing[service] = if begins { share } else { 0.0 };
            }
            Effect::ShrinkPool { service, workers } => {
                self.workers_max[service] = if begins { workers } else { usize::MAX };
            }
            Effect::Lose { region, share } => {
                self.loss[region] = if begins { share } else { 0.0 };
            }
            Effect::Stall { region, share, time } => {
                self.stalled[region] = begins.then_some((share, time));
            }
            Effect::Surge { factor } => self.surge = if begins { factor } else { 1.0 },
            Effect::CacheFlush { .. } | Effect::Summon { .. } => {}
        }
    }
}
