//! `requests`: one row per logical request, what a user waited for.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, Int32Builder, Int64Builder, ListBuilder, StringBuilder, StructBuilder,
    TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields};
use serde::{Deserialize, Serialize};

use super::column::columns;
use super::{Column, Label, PageId, SessionId, SpanId, TabId, Time, TraceId};

columns! {
    /// One logical request with all its automatic attempts. A repetition by the user is another
    /// row with the same `intent_id`.
    pub struct RequestRow / RequestBuilders {
        /// When the first attempt was sent.
        pub time: Time,
        /// When the collector received the latest piece of it.
        pub time_received: Time,
        /// The application.
        pub app: Label,
        /// deployment.environment.name.
        pub environment: Label,
        /// Who sent it: the browser's service, or the service of a root SERVER span.
        pub service: Label,
        /// browser | service.
        pub layer: Label,
        /// The session; NULL for a trace without one.
        pub session_id: Option<SessionId>,
        /// The user.
        pub user_id: Option<String>,
        /// The page that sent it.
        pub page_id: Option<PageId>,
        /// The tab that sent it.
        pub tab_id: Option<TabId>,
        /// The request's id: the trace id of its attempts.
        pub request_id: TraceId,
        /// The trace of its attempts.
        pub trace_id: TraceId,
        /// http.request.method.
        pub method: Label,
        /// The callee's route, else the templated path.
        pub route: Label,
        /// The service that answered.
        pub callee: Label,
        /// ISO 3166-1 alpha-2.
        pub country: Label,
        /// ISO 3166-2 with its country prefix; of a flat database the name instead of the code.
        pub subdivision: Label,
        /// The operator's region, by default the country.
        pub region: Label,
        /// cloud.region of the service that answered.
        pub cloud_region: Label,
        /// True for bots and tests.
        pub synthetic: bool,
        /// True where the sender was authenticated.
        pub verified: bool,
        /// How many requests this one stands for under sampling.
        pub sample_weight: f64,
        /// Automatic attempts known, hedges included.
        pub attempts: i32,
        /// Attempts sent while an earlier one was still awaited.
        pub hedges: i32,
        /// ok | failed | abandoned | cancelled | pending.
        pub outcome: Label,
        /// False while a later event may still change the outcome.
        pub outcome_final: bool,
        /// Status of the first attempt that ended.
        pub first_status: Option<i32>,
        /// Status of the last attempt that ended.
        pub final_status: Option<i32>,
        /// error.type of the last attempt that ended.
        pub error_type: Option<Label>,
        /// Duration of the first attempt, in microseconds.
        pub first_us: Option<i64>,
        /// First send to final outcome, back-off included; NULL unless the outcome is ok or failed.
        pub total_us: Option<i64>,
        /// How long the user waited, whatever the outcome.
        pub waited_us: i64,
        /// The server's duration of the last attempt that has one.
        pub server_us: Option<i64>,
        /// The client's minus the server's duration of that attempt: needs no common clock.
        pub network_us: Option<i64>,
        /// Server time of attempts whose answer nobody used.
        pub wasted_us: i64,
        /// Why there was more than one attempt: the status or error of the first that failed.
        pub cause: Option<Label>,
        /// reload | navigate | leave | abort, of an abandoned request; of an inferred one, what gave
        /// it away: silence (of its page) | disconnect (seen by the server alone).
        pub abandon_trigger: Option<Label>,
        /// The first request of the user's intent.
        pub intent_id: TraceId,
        /// How many requests of the same intent came before.
        pub repeat: i32,
        /// user | refresh, of a repeat.
        pub repeat_cause: Option<Label>,
        /// The attempts in order.
        pub attempt_list: Vec<AttemptItem>,
        /// `matched`, or why no server span stands under it: pending | not_answered (no status
        /// came back) | not_received (a status did, and no span).
        pub coverage: Label,
        /// observed (its page said so) | inferred, of an abandoned request.
        pub abandon_evidence: Option<Label>,
    }
}

/// One attempt of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptItem {
    /// Its place: the first is 1.
    pub attempt: i32,
    /// first | retry | hedge | overlap | resend.
    pub kind: Label,
    /// Its span, which may never arrive (an abandoned attempt has only an event).
    pub span_id: SpanId,
    /// When it was sent.
    pub time: Time,
    /// How long it took by the client's clock; NULL while pending.
    pub duration_us: Option<i64>,
    /// Its HTTP status.
    pub status_code: Option<i32>,
    /// Its error.type.
    pub error_type: Option<Label>,
    /// The server's duration of it.
    pub server_us: Option<i64>,
}

fn attempt_fields() -> Fields {
    vec![
        i32::field("attempt"),
        Field::new("kind", DataType::Utf8, false),
        SpanId::field("span_id"),
        Time::field("time"),
        Option::<i64>::field("duration_us"),
        Option::<i32>::field("status_code"),
        Field::new("error_type", DataType::Utf8, true),
        Option::<i64>::field("server_us"),
    ]
    .into()
}

impl Column for Vec<AttemptItem> {
    type Builder = ListBuilder<StructBuilder>;
    const NULLABLE: bool = false;

    fn data_type() -> DataType {
        DataType::List(Arc::new(Field::new("item", DataType::Struct(attempt_fields()), false)))
    }

    fn builder() -> Self::Builder {
        let builders: Vec<Box<dyn ArrayBuilder>> = vec![
            Box::new(Int32Builder::new()),
            Box::new(StringBuilder::new()),
            Box::new(StringBuilder::new()),
            Box::new(Time::builder()),
            Box::new(Int64Builder::new()),
            Box::new(Int32Builder::new()),
            Box::new(StringBuilder::new()),
            Box::new(Int64Builder::new()),
        ];
        ListBuilder::new(StructBuilder::new(attempt_fields(), builders)).with_field(Field::new(
            "item",
            DataType::Struct(attempt_fields()),
            false,
        ))
    }

    fn append(&self, builder: &mut Self::Builder) {
        const KNOWN: &str = "the builders stand in the order of the fields";
        for item in self {
            let row = builder.values();
            row.field_builder::<Int32Builder>(0).expect(KNOWN).append_value(item.attempt);
            row.field_builder::<StringBuilder>(1).expect(KNOWN).append_value(item.kind.as_str());
            item.span_id.append(row.field_builder::<StringBuilder>(2).expect(KNOWN));
            row.field_builder::<TimestampNanosecondBuilder>(3)
                .expect(KNOWN)
                .append_value(item.time.0);
            row.field_builder::<Int64Builder>(4).expect(KNOWN).append_option(item.duration_us);
            row.field_builder::<Int32Builder>(5).expect(KNOWN).append_option(item.status_code);
            row.field_builder::<StringBuilder>(6)
                .expect(KNOWN)
                .append_option(item.error_type.as_ref().map(Label::as_str));
            row.field_builder::<Int64Builder>(7).expect(KNOWN).append_option(item.server_us);
            row.append(true);
        }
        builder.append(true);
    }

    fn finish(builder: &mut Self::Builder) -> ArrayRef {
        Arc::new(builder.finish())
    }
}
