//! `events`: one row per OTLP log record with an event name.

use serde::{Deserialize, Serialize};

use super::column::columns;
use super::{Attributes, Label, PageId, SessionId, SpanId, TabId, Time, TraceId};

columns! {
    /// One event of a browser or a service.
    pub struct EventRow / EventBuilders {
        /// When it happened, on the server's clock as far as it is known.
        pub time: Time,
        /// When it happened, as the sender said.
        pub time_client: Time,
        /// When the collector received it.
        pub time_received: Time,
        /// The application, from the key.
        pub app: Label,
        /// deployment.environment.name.
        pub environment: Label,
        /// service.name; of a browser row, from the write key.
        pub service: Label,
        /// service.version.
        pub service_version: Label,
        /// The event's name.
        pub event_name: Label,
        /// browser | service.
        pub layer: Label,
        /// The session, own or found through the trace.
        pub session_id: Option<SessionId>,
        /// The user.
        pub user_id: Option<String>,
        /// ISO 3166-1 alpha-2.
        pub country: Label,
        /// ISO 3166-2 with its country prefix; of a flat database the name instead of the code.
        pub subdivision: Label,
        /// The operator's region, by default the country.
        pub region: Label,
        /// cloud.region.
        pub cloud_region: Label,
        /// True for bots and tests.
        pub synthetic: bool,
        /// True where the sender was authenticated.
        pub verified: bool,
        /// How many events this one stands for under sampling.
        pub sample_weight: f64,
        /// The trace it belongs to.
        pub trace_id: Option<TraceId>,
        /// The span it belongs to.
        pub span_id: Option<SpanId>,
        /// The page.
        pub page_id: Option<PageId>,
        /// The tab.
        pub tab_id: Option<TabId>,
        /// The beacon's count within the page.
        pub sequence: Option<i64>,
        /// The event's one number, where it has one.
        pub value: Option<f64>,
        /// The record's body as text.
        pub body: Option<String>,
        /// The event's attributes in the sender's names.
        pub attributes: Attributes,
        /// The resource's attributes in the sender's names.
        pub resource: Attributes,
        /// The route of the URL that it names.
        pub route: Label,
    }
}

/// A decoded event: its row and what the join needs beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The row; its session may still be found through the trace.
    pub row: EventRow,
    /// What only the join reads.
    pub hints: EventHints,
}

/// What the join reads of an event beside its row; decoded from the attributes once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventHints {
    /// `behavior.waited_us`.
    pub waited_us: Option<i64>,
    /// `behavior.total_waited_us`: since the first attempt of the request.
    pub total_waited_us: Option<i64>,
    /// `behavior.abandon_target`.
    pub abandon_target: Option<Label>,
    /// `behavior.abandon_trigger`.
    pub abandon_trigger: Option<Label>,
    /// `http.request.method`.
    pub method: Option<Label>,
    /// Whom the attempt that it tells of asks, as its span would say.
    pub callee: Option<Label>,
    /// The URL that it asks for, without the query.
    pub target: Option<String>,
    /// The templated path of `url.full`.
    pub route: Option<Label>,
    /// `behavior.attempt` minus one.
    pub previous_attempts: Option<i32>,
    /// `behavior.intent_id`.
    pub intent_id: Option<TraceId>,
    /// `behavior.repeat`.
    pub repeat: i32,
    /// `behavior.repeat_cause`.
    pub repeat_cause: Option<Label>,
    /// `browser.navigation.type`.
    pub navigation_type: Option<Label>,
    /// `behavior.previous_page_id`.
    pub previous_page_id: Option<PageId>,
    /// `session.previous_id`.
    pub previous_session_id: Option<SessionId>,
    /// The browser's clock when it sent the body (`behavior.sent_at`).
    pub sent_at: Option<Time>,
    /// Whether the page says that it is in the background.
    pub hidden: Option<bool>,
}
