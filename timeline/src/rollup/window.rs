//! The last hour in steps of ten seconds: a system can collapse in thirty.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Hop, HopCounts, add, bounded, counts, hop};
use crate::join::Delta;
use crate::schema::SpanRow;

/// Nanoseconds in a step.
const STEP_NS: i64 = 10_000_000_000;

/// Steps kept: one hour.
const STEPS_MAX: i64 = 360;

/// Steps in a published window: five minutes, what alerting rules of the field look back.
const STEPS_PUBLISHED: i64 = 30;

/// Signed counts of every step of the last hour.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Window {
    steps: BTreeMap<i64, BTreeMap<Hop, HopCounts>>,
}

/// The sum of the last steps.
#[derive(Clone, Debug, Default)]
pub struct WindowView {
    /// How far it looks back.
    pub seconds: u32,
    /// By callee, route and layer; may fall from one view to the next.
    pub hops: Arc<BTreeMap<Hop, HopCounts>>,
}

impl Window {
    /// Subtracts what went and adds what came; each step has `hops_max` hops of a name of their own.
    pub(super) fn apply(&mut self, delta: &Delta<SpanRow>, hops_max: usize) {
        for (placed, sign) in [(&delta.old, -1), (&delta.new, 1)] {
            let Some((_, row)) = placed.as_ref().filter(|(_, row)| row.is_send) else { continue };
            let counts = counts(row);
            // What is in no factor takes no room from what is.
            if counts != HopCounts::default() {
                let step = self.steps.entry(row.time_received.0.div_euclid(STEP_NS)).or_default();
                let hop = bounded(step, hop(row), hops_max);
                add(step.entry(hop).or_default(), &counts, sign);
            }
        }
    }

    /// The last five minutes before `now_ns`; forgets what is older than the hour.
    pub(super) fn view(&mut self, now_ns: i64) -> WindowView {
        let now = now_ns.div_euclid(STEP_NS);
        self.steps = self.steps.split_off(&(now - STEPS_MAX));
        let mut hops: BTreeMap<Hop, HopCounts> = BTreeMap::new();
        for step in self.steps.range(now - STEPS_PUBLISHED + 1..).map(|(_, step)| step) {
            for (hop, counts) in step {
                add(hops.entry(hop.clone()).or_default(), counts, 1);
            }
        }
        hops.retain(|_, counts| counts.sends != 0);
        WindowView {
            seconds: (STEPS_PUBLISHED * STEP_NS / 1_000_000_000) as u32,
            hops: Arc::new(hops),
        }
    }
}
