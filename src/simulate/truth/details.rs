//! The truth one by one: every send, request and session, for those who compare rows with it.
//!
//! Not the counters, which are always kept: details are kept only where somebody asked for them,
//! as lines of JSON, and taken away as the world moves, so that memory does not grow with it.

use super::super::logical::RequestId;
use super::super::scenario::{Place, Scenario};
use super::super::wire::{SpanId, TraceId, hex};
use super::{BROWSER, Outcome};
use serde_json::{Value as Json, json};

/// One send, as its caller counts it.
#[derive(Debug)]
pub(crate) struct SendDetail {
    /// The caller's CLIENT span, or what it would have been; the callee's SERVER span where a proxy
    /// has sent again, which has no other.
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    /// `None` is the browser.
    pub(crate) caller: Option<usize>,
    /// A browser's; a service's sends are of that of their trace.
    pub(crate) session_id: Option<[u8; 16]>,
    pub(crate) place: Place,
    pub(crate) request: RequestId,
    /// Names the logical call within the request.
    pub(crate) logical: u32,
    /// 1 is the first of its caller's loop.
    pub(crate) attempt: u32,
    /// Whether it answers a challenge, and is no attempt of its own.
    pub(crate) resend: bool,
    /// Whether a user has asked for the same before, in vain.
    pub(crate) repeats: bool,
    /// Whether the network lost it, so that nobody was reached.
    pub(crate) lost: bool,
}

/// One request that has ended for its user, or the answer it would have had.
#[derive(Debug)]
pub(crate) struct RequestDetail {
    pub(crate) trace_id: TraceId,
    pub(crate) region: usize,
    pub(crate) place: Place,
    /// `None`: the answer of a request that had been given up.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) total_us: u64,
}

/// One session that begins.
#[derive(Debug)]
pub(crate) struct SessionDetail {
    pub(crate) session_id: [u8; 16],
    /// The session that it follows in the same visit.
    pub(crate) previous: Option<[u8; 16]>,
    pub(crate) region: usize,
    /// Whether its pages tell more than a summary.
    pub(crate) sampled: bool,
    /// Server clock minus the device's when it begins.
    pub(crate) offset_us: i64,
    /// How much the device's clock gains on the server's, in millionths.
    pub(crate) drift_ppm: f64,
}

/// What is kept until it is taken.
#[derive(Debug, Default)]
pub(crate) struct Details {
    lines: Option<Vec<String>>,
}

impl Details {
    /// Keeps details from now on.
    pub(crate) fn keep(&mut self) {
        self.lines.get_or_insert_default();
    }

    /// What was kept since the last call.
    pub(crate) fn take(&mut self) -> Vec<String> {
        self.lines.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn send(&mut self, scenario: &Scenario, send: &SendDetail) {
        self.note(|| {
            json!({
                "what": "send",
                "trace_id": hex(&send.trace_id),
                "span_id": hex(&send.span_id),
                "session_id": send.session_id.map(|session| hex(&session)),
                "caller": send.caller.map_or(BROWSER, |caller| scenario.services[caller].name),
                "service": scenario.services[send.place.service].name,
                "route": scenario.route(send.place).template,
                "call": format!("{}.{}", send.request.0, send.logical),
                "attempt": send.attempt,
                "resend": send.resend,
                "repeats": send.repeats,
                "lost": send.lost,
            })
        });
    }

    pub(crate) fn request(&mut self, scenario: &Scenario, request: &RequestDetail) {
        let outcome = match request.outcome {
            None => "would_have",
            Some(Outcome::Ok) => "ok",
            Some(Outcome::Failed) => "failed",
            Some(Outcome::Cancelled) => "cancelled",
            Some(Outcome::Abandoned(_)) => "abandoned",
        };
        let trigger = match request.outcome {
            Some(Outcome::Abandoned(trigger)) => Some(trigger.word()),
            _ => None,
        };
        self.note(|| {
            json!({
                "what": "request",
                "trace_id": hex(&request.trace_id),
                "region": scenario.regions[request.region].country,
                "route": scenario.route(request.place).template,
                "outcome": outcome,
                "trigger": trigger,
                "total_us": request.total_us,
            })
        });
    }

    pub(crate) fn session(&mut self, scenario: &Scenario, session: &SessionDetail) {
        self.note(|| {
            json!({
                "what": "session",
                "session_id": hex(&session.session_id),
                "previous": session.previous.map(|before| hex(&before)),
                "region": scenario.regions[session.region].country,
                "sampled": session.sampled,
                "offset_us": session.offset_us,
                "drift_ppm": session.drift_ppm,
            })
        });
    }

    fn note(&mut self, line: impl FnOnce() -> Json) {
        if let Some(lines) = &mut self.lines {
            lines.push(line().to_string());
        }
    }
}
