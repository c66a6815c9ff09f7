//! Counts by reason: nothing disappears in this module without one of these.

/// How often each reason applied, in the order of first appearance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts(Vec<(&'static str, u64)>);

impl Counts {
    /// Counts `times` more of `reason`.
    pub(super) fn add(&mut self, reason: &'static str, times: u64) {
        if times == 0 {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += times,
            None => self.0.push((reason, times)),
        }
    }

    /// The sum over all reasons.
    pub(super) fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// The reasons as a sentence's tail: `invalid_trace_id 2, no_event_name 1`.
    pub(super) fn describe(&self) -> String {
        let reasons: Vec<String> =
            self.0.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        reasons.join(", ")
    }

    /// The reasons and their counts.
    pub(super) fn into_pairs(self) -> Vec<(&'static str, u64)> {
        self.0
    }
}
