//! The way from the world to the collector, made worse on purpose.
//!
//! Not a part of the world: what really happened stays what it was, and only what is told of it
//! arrives twice, late, in another order, without annotations or with wrong times. Invariants:
//! nothing is ever lost here; without options everything leaves at once and unchanged; the same
//! seed gives the same troubles to the same output.

use super::engine::SECOND_NS;
use super::random::{Random, scaled_ns};
use super::scenario::{Observer, Scenario, Step};
use super::world::Output;
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use std::collections::BTreeMap;
use std::time::Duration;

/// The stream of chance, beyond those of the world and the senders.
const TROUBLE_STREAM: u64 = 2000;

/// With `--reorder` a batch is held back for up to this long: more than the seconds in which the
/// batches that belong together leave, so that every order among them occurs.
const REORDER_NS_MAX: u64 = 3 * SECOND_NS;

/// What goes wrong with what is sent.
#[derive(Args, Clone, Debug)]
pub(crate) struct Trouble {
    /// Which services number their attempts: all, none, or as the scenario has it
    #[arg(long, value_name = "WHICH", value_enum, default_value_t)]
    pub(crate) annotate: Annotate,
    /// The share of batches that arrive a second time
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(crate) duplicate: f64,
    /// Send batches, and the spans in them, in another order
    #[arg(long)]
    pub(crate) reorder: bool,
    /// Let every sender be late by a time of its own, up to this, such as 20s
    #[arg(long, value_name = "TIME", value_parser = crate::duration)]
    pub(crate) delay: Option<Duration>,
    /// Let users' clocks be wrong by up to this, such as 720h, instead of mostly below a second
    #[arg(long, value_name = "TIME", value_parser = crate::duration)]
    pub(crate) skew: Option<Duration>,
    /// Let users' clocks gain or lose up to so many millionths
    #[arg(long, value_name = "PPM", default_value_t = 0.0, value_parser = drift)]
    pub(crate) drift: f64,
    /// The share of the sessions whose pages tell more than a summary
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, value_parser = share)]
    pub(crate) sample_ratio: f64,
    /// Let pages be observed by a tracing SDK that numbers nothing, instead of by a beacon
    #[arg(long)]
    pub(crate) tracer: bool,
    /// Let services export nothing, as where only pages are observed
    #[arg(long)]
    pub(crate) pages_only: bool,
}

/// Which services' attempts say which attempt they are. The beacon's always do: its wire form has
/// no request without its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Annotate {
    /// Every service's.
    All,
    /// No service's: every retry between services has to be inferred.
    None,
    /// Those of most.
    #[default]
    Default,
}

impl Trouble {
    /// The longest that anything is under way.
    pub(crate) fn late_max(&self) -> Duration {
        let reordered =
            if self.reorder { Duration::from_nanos(REORDER_NS_MAX) } else { Duration::ZERO };
        self.delay.unwrap_or_default() + reordered
    }

    /// Gives the scenario's callers and clocks the troubles that are theirs. What happens in the
    /// world stays the same.
    pub(crate) fn instrument(&self, scenario: &mut Scenario) {
        let skew_ms = |skew: Duration| skew.as_secs_f64() * 1000.0;
        scenario.browser.clock_error_ms = self.skew.map(skew_ms);
        scenario.browser.clock_drift_ppm = self.drift;
        scenario.browser.sample_ratio = self.sample_ratio;
        if self.tracer {
            scenario.browser.observer = Observer::Tracer;
        }
        if self.annotate == Annotate::Default {
            return;
        }
        let annotated = self.annotate == Annotate::All;
        let routes = scenario.services.iter_mut().flat_map(|service| &mut service.routes);
        for step in routes.flat_map(|route| &mut route.steps) {
            let Step::Call(calls) = step else { continue };
            calls.iter_mut().for_each(|call| call.annotated = annotated);
        }
    }
}

/// A quartz of a device is wrong by tens of millionths, a broken one by thousands.
fn drift(text: &str) -> anyhow::Result<f64> {
    let ppm: f64 = text.parse().context("not a number")?;
    anyhow::ensure!((0.0..=100_000.0).contains(&ppm), "not between 0 and 100000");
    Ok(ppm)
}

fn share(text: &str) -> anyhow::Result<f64> {
    let share: f64 = text.parse().context("not a number")?;
    anyhow::ensure!((0.0..=1.0).contains(&share), "not between 0 and 1");
    Ok(share)
}

/// What is on its way.
pub(crate) struct Way {
    trouble: Trouble,
    random: Random,
    seed: u64,
    /// By when they are due, and the order in which they came.
    held: BTreeMap<(u64, u64), Output>,
    entered: u64,
    duplicates: u64,
}

impl Way {
    /// An empty way with these troubles.
    pub(crate) fn new(trouble: Trouble, seed: u64) -> Self {
        let random = Random::new(seed, TROUBLE_STREAM);
        Self { trouble, random, seed, held: BTreeMap::new(), entered: 0, duplicates: 0 }
    }

    /// What leaves the world at `now_ns` begins its way.
    pub(crate) fn enter(&mut self, output: Output, now_ns: u64) {
        for body in output.bodies {
            let source = address_hash(&body.address);
            let copy = self.repeated().then(|| body.copy());
            for body in std::iter::once(body).chain(copy) {
                self.hold(Output { bodies: vec![body], ..Output::default() }, source, now_ns);
            }
        }
        let exports = output.exports.into_iter().filter(|_| !self.trouble.pages_only);
        for mut export in exports.collect::<Vec<_>>() {
            let source = export.service as u64;
            if self.trouble.reorder {
                self.random.shuffle(&mut export.spans);
            }
            let copy = self.repeated().then(|| export.copy());
            for export in std::iter::once(export).chain(copy) {
                self.hold(Output { exports: vec![export], ..Output::default() }, source, now_ns);
            }
        }
    }

    /// What arrives until `now_ns`.
    pub(crate) fn arrived(&mut self, now_ns: u64) -> Output {
        let mut all = Output::default();
        while let Some(first) = self.held.first_entry().filter(|first| first.key().0 <= now_ns) {
            let output = first.remove();
            all.bodies.extend(output.bodies);
            all.exports.extend(output.exports);
        }
        all
    }

    /// When the next of what is on its way arrives.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        self.held.first_key_value().map(|((due_ns, _), _)| *due_ns)
    }

    /// Batches that arrive a second time.
    pub(crate) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    fn repeated(&mut self) -> bool {
        let repeated = self.random.chance(self.trouble.duplicate);
        self.duplicates += u64::from(repeated);
        repeated
    }

    fn hold(&mut self, output: Output, source: u64, now_ns: u64) {
        let late_ns = self.trouble.delay.map_or(0, |delay| {
            let share = Random::new(self.seed ^ source, TROUBLE_STREAM + 1).uniform();
            scaled_ns(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX), share)
        });
        let shuffled_ns = match self.trouble.reorder {
            true => scaled_ns(REORDER_NS_MAX, self.random.uniform()),
            false => 0,
        };
        self.entered += 1;
        self.held.insert((now_ns + late_ns + shuffled_ns, self.entered), output);
    }
}

/// FNV-1a: a sender is known by its address.
fn address_hash(address: &str) -> u64 {
    address.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
