//! `spans`: one row per OTLP span, and what the join has found out about it.

use serde::{Deserialize, Serialize};

use super::column::columns;
use super::{Attributes, Label, PageId, SessionId, SpanId, TabId, Time, TraceId};

columns! {
    /// One span. The columns from `request_id` to `retry_depth`, `caller` and `depth` are derived:
    /// the decoder leaves them empty, the join fills them.
    pub struct SpanRow / SpanBuilders {
        /// Start, on the server's clock as far as it is known.
        pub time: Time,
        /// Start, as the sender said.
        pub time_client: Time,
        /// When the collector received it.
        pub time_received: Time,
        /// Duration by the sender's own clock, in microseconds.
        pub duration_us: i64,
        /// W3C trace id.
        pub trace_id: TraceId,
        /// W3C span id.
        pub span_id: SpanId,
        /// The parent's span id, NULL for a root.
        pub parent_span_id: Option<SpanId>,
        /// The application, from the key.
        pub app: Label,
        /// deployment.environment.name.
        pub environment: Label,
        /// service.name; of a browser row, from the write key.
        pub service: Label,
        /// service.version.
        pub service_version: Label,
        /// The span's name.
        pub name: Label,
        /// internal | server | client | producer | consumer.
        pub kind: Label,
        /// browser | service.
        pub layer: Label,
        /// http.request.method.
        pub method: Label,
        /// http.route, url.template, or the path with ids replaced; of a call, its callee's route.
        pub route: Label,
        /// http.response.status_code.
        pub status_code: Option<i32>,
        /// error.type; else of a browser span without a status, `network`, and of a remote procedure call
        /// that failed, its status in lower case.
        pub error_type: Option<Label>,
        /// The session, own or found through the trace.
        pub session_id: Option<SessionId>,
        /// The user, own or found through the session.
        pub user_id: Option<String>,
        /// ISO 3166-1 alpha-2.
        pub country: Label,
        /// ISO 3166-2 with its country prefix; of a flat database the name instead of the code.
        pub subdivision: Label,
        /// The operator's region, by default the country.
        pub region: Label,
        /// cloud.region.
        pub cloud_region: Label,
        /// True for bots and tests (user_agent.synthetic.type).
        pub synthetic: bool,
        /// True where the sender was authenticated.
        pub verified: bool,
        /// How many spans this one stands for under sampling.
        pub sample_weight: f64,
        /// The logical request this span belongs to: the trace id of what a user waited for.
        pub request_id: Option<TraceId>,
        /// True for the one span that stands for a send: the caller's, else the callee's.
        pub is_send: bool,
        /// The service that a send went to.
        pub callee: Label,
        /// Which attempt of its logical call a send is; the first is 1. 0 is no send, or one of which nobody
        /// knows it.
        pub attempt: i32,
        /// first | retry | hedge | overlap | resend | unknown | none.
        pub attempt_kind: Label,
        /// none | beacon | resend_count | grpc | envoy | idempotency_key | inferred.
        pub retry_evidence: Label,
        /// The earliest known send of the same logical call; NULL where nobody knows which one.
        pub original: Option<SpanId>,
        /// How many sends on the way from the root to this one were retries.
        pub retry_depth: i32,
        /// The span's attributes in the sender's names.
        pub attributes: Attributes,
        /// The resource's attributes in the sender's names.
        pub resource: Attributes,
        /// unset | ok | error.
        pub status: Label,
        /// The service that a send came from.
        pub caller: Label,
        /// Levels below the root of the trace.
        pub depth: i32,
        /// The page, of browser rows.
        pub page_id: Option<PageId>,
        /// The beacon's count within the page.
        pub sequence: Option<i64>,
        /// browser | service: who sent a send, whichever side's row stands for it.
        pub caller_layer: Label,
        /// True of a send whose answer nobody used: it failed, another attempt had won, its user had
        /// left, or the work that it was part of was for nothing.
        pub wasted: bool,
    }
}

/// A decoded span: its row and what the join needs beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// The row, derived columns still empty.
    pub row: SpanRow,
    /// What only the join reads.
    pub hints: SpanHints,
}

/// What a sender said about attempts, intents and targets, in one convention each.
///
/// Every count is the number of *earlier* sends: the first send is 0, whatever the source's own
/// convention (`http.request.resend_count` and `grpc-previous-rpc-attempts` start so,
/// `x-envoy-attempt-count` and `behavior.attempt` start at 1).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpanHints {
    /// `http.request.resend_count`: counts redirects and challenges too.
    pub resend_count: Option<i32>,
    /// `grpc-previous-rpc-attempts`.
    pub grpc_previous_attempts: Option<i32>,
    /// `x-envoy-attempt-count` minus one.
    pub envoy_previous_attempts: Option<i32>,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// `behavior.attempt` minus one.
    pub beacon_previous_attempts: Option<i32>,
    /// `behavior.attempt_kind`.
    pub beacon_attempt_kind: Option<Label>,
    /// `behavior.intent_id`.
    pub intent_id: Option<TraceId>,
    /// `behavior.repeat`.
    pub repeat: i32,
    /// `behavior.repeat_cause`.
    pub repeat_cause: Option<Label>,
    /// The tab of a browser row.
    pub tab_id: Option<TabId>,
    /// Whom a caller's span says it calls: `service.peer.name`, the database, the address.
    pub callee: Option<Label>,
    /// The concrete thing called: the URL with a tag for its query, the RPC's method, the
    /// statement's summary. Two sends of one call name the same target.
    pub target: Option<String>,
    /// The browser's clock when it sent the body (`behavior.sent_at`).
    pub sent_at: Option<Time>,
    /// The callee's word that its caller closed the connection before it had the answer.
    pub hung_up: bool,
    /// The caller named itself a browser.
    pub browser_made: bool,
}
