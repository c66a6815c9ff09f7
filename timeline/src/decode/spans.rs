//! Spans → rows of `spans`, with what the join reads beside them.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::hints;
use super::names::{Known, Name};
use super::route;
use super::sender::{Labels, Sender, attributes};
use super::value::cut;
use crate::record::Envelope;
use crate::schema::{Label, Span, SpanId, SpanRow, TraceId};

/// The longest `method`: the longest registered one is `UPDATEREDIRECTREF`, and a browser may send
/// any text.
const METHOD_BYTES_MAX: usize = 32;

/// The longest `error_type`: a qualified class name fits.
const ERROR_TYPE_BYTES_MAX: usize = 256;

/// One in a million: a smaller sampling share is a mistake or an attack on the sums.
const SAMPLE_WEIGHT_MAX: f64 = 1e6;

/// The rows of a request that has been admitted.
pub(super) fn rows(
    request: &ExportTraceServiceRequest,
    envelope: &Envelope,
    labels: &Labels,
) -> Vec<Span> {
    let mut rows = Vec::new();
    for resource in &request.resource_spans {
        let sender = Sender::new(envelope, resource.resource.as_ref(), labels);
        for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
            rows.extend(row(span, &sender));
        }
    }
    rows
}

/// The row of one span; `None` where an id is invalid, which admission has refused before.
fn row(span: &otlp::Span, sender: &Sender<'_>) -> Option<Span> {
    let known = Known::of(&span.attributes);
    let labels = sender.labels;
    let time_client = sender.client_time(span.start_time_unix_nano);
    let [country, subdivision, region] = sender.place(&known);
    let kind = SpanKind::try_from(span.kind).unwrap_or(SpanKind::Unspecified);
    let status_code = status_code(&known);
    let none = labels.get("none");
    let row = SpanRow {
        time: sender.time(time_client),
        time_client,
        time_received: sender.received,
        duration_us: duration_us(span),
        trace_id: TraceId::from_bytes(&span.trace_id)?,
        span_id: SpanId::from_bytes(&span.span_id)?,
        parent_span_id: SpanId::from_bytes(&span.parent_span_id),
        app: sender.app.clone(),
        environment: sender.environment.clone(),
        service: sender.service.clone(),
        service_version: sender.service_version.clone(),
        name: labels.get(&span.name),
        kind: labels.get(kind_text(kind)),
        layer: sender.layer.clone(),
        method: labels.or_unknown(
            known.text(Name::Method).map(|method| cut(&method, METHOD_BYTES_MAX).to_owned().into()),
        ),
        route: labels.or_unknown(route::of(&known).map(Into::into)),
        status_code,
        error_type: error_type(&known, kind, status_code, sender),
        session_id: sender.session(&known),
        user_id: sender.user(&known),
        country,
        subdivision,
        region,
        cloud_region: sender.cloud_region.clone(),
        synthetic: sender.synthetic(&known),
        verified: sender.verified,
        sample_weight: if sender.is_browser { 1.0 } else { sample_weight(&span.trace_state) },
        request_id: None,
        is_send: false,
        callee: labels.or_unknown(None),
        attempt: 0,
        attempt_kind: none.clone(),
        retry_evidence: none,
        original: None,
        retry_depth: 0,
        attributes: attributes(&span.attributes),
        resource: sender.resource.clone(),
        status: labels.get(status_text(span)),
        caller: labels.or_unknown(None),
        depth: 0,
        page_id: sender.page(&known),
        sequence: known.integer(Name::Sequence),
        caller_layer: sender.layer.clone(),
        wasted: false,
    };
    Some(Span { row, hints: hints::of_span(&known, kind, sender) })
}

/// Never negative: a clock that was set back in between says nothing about the duration.
fn duration_us(span: &otlp::Span) -> i64 {
    if span.start_time_unix_nano == 0 {
        return 0;
    }
    let ns = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
    i64::try_from(ns / 1_000).unwrap_or(i64::MAX)
}

fn kind_text(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified | SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}

fn status_text(span: &otlp::Span) -> &'static str {
    let code = span.status.as_ref().map_or(0, |status| status.code);
    match StatusCode::try_from(code).unwrap_or(StatusCode::Unset) {
        StatusCode::Unset => "unset",
        StatusCode::Ok => "ok",
        StatusCode::Error => "error",
    }
}

/// No status is zero: SDKs in browsers write that when there was no answer.
fn status_code(known: &Known<'_>) -> Option<i32> {
    let code = known.integer(Name::StatusCode).and_then(|code| i32::try_from(code).ok());
    code.filter(|code| *code > 0)
}

/// What the sender says, or the status of its remote procedure call; and of a browser's request without an answer `network`, since browser
/// SDKs leave the status unset and give no type when a request was aborted or its connection died.
/// Our beacon says where there was an answer without a status.
fn error_type(
    known: &Known<'_>,
    kind: SpanKind,
    status_code: Option<i32>,
    sender: &Sender<'_>,
) -> Option<Label> {
    let is_request = sender.is_browser && kind == SpanKind::Client;
    if let Some(said) = known.text(Name::ErrorType) {
        let said = cut(&said, ERROR_TYPE_BYTES_MAX);
        // The names that browsers give to what the beacon calls so: who aborted is no failure.
        let word = match said {
            "AbortError" if is_request => "abort",
            "TimeoutError" if is_request => "timeout",
            _ => said,
        };
        return Some(sender.labels.get(word));
    }
    if let Some(status) = rpc_error(known, kind) {
        return Some(sender.labels.get(&status));
    }
    let is_opaque = known.text(Name::Opaque).is_some_and(|said| said == "true");
    let unanswered = is_request && status_code.is_none() && !is_opaque;
    (unanswered && known.text(Name::Method).is_some()).then(|| sender.labels.get("network"))
}

/// The status of a remote procedure call that failed, in lower case: gRPC's instrumentations wrote its
/// number, and write its name now. A server has failed only where the conventions call it an error, and
/// whom its own caller cancelled, not at all.
fn rpc_error(known: &Known<'_>, kind: SpanKind) -> Option<String> {
    let said = known.text(Name::RpcStatus)?;
    let number = said.parse().ok().and_then(|number: usize| GRPC_CODES.get(number).copied());
    let status = cut(number.unwrap_or(&said), ERROR_TYPE_BYTES_MAX).to_ascii_lowercase();
    let failed = match kind {
        SpanKind::Server => OF_SERVERS.contains(&status.as_str()),
        _ => !matches!(status.as_str(), "" | "ok" | "cancelled" | "canceled"),
    };
    failed.then_some(status)
}

/// What a server is at fault for.
const OF_SERVERS: [&str; 6] =
    ["unknown", "deadline_exceeded", "unimplemented", "internal", "unavailable", "data_loss"];

/// The names of gRPC's status codes, by their numbers.
const GRPC_CODES: [&str; 17] = [
    "ok",
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

/// How many spans one stands for, by the consistent probability sampling of OpenTelemetry: of the
/// `tracestate` member `ot=th:T`, with T the share of 2^56 that was dropped.
fn sample_weight(trace_state: &str) -> f64 {
    const DIGITS: usize = 14;
    const WHOLE: f64 = (1_u64 << 56) as f64;
    let members = trace_state.split(',').map(str::trim);
    let threshold = members
        .filter_map(|member| member.strip_prefix("ot="))
        .flat_map(|member| member.split(';'))
        .find_map(|part| part.strip_prefix("th:"))
        .filter(|digits| (1..=DIGITS).contains(&digits.len()) && !digits.starts_with('+'))
        .and_then(|digits| u64::from_str_radix(digits, 16).ok().map(|value| (digits.len(), value)))
        .map(|(digits, value)| value << (4 * (DIGITS - digits)));
    match threshold {
        Some(dropped) => (WHOLE / (WHOLE - dropped as f64)).min(SAMPLE_WEIGHT_MAX),
        None => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sampled_span_stands_for_more() {
        for (trace_state, weight) in [
            ("", 1.0),
            ("ot=th:0", 1.0),
            ("ot=th:8", 2.0),
            ("vendor=x, ot=rv:123;th:c", 4.0),
            ("ot=th:ffffffffffffff", SAMPLE_WEIGHT_MAX),
            ("ot=th:fffffffffffffff", 1.0),
            ("ot=th:", 1.0),
            ("ot=th:+8", 1.0),
            ("ot=th:xyz", 1.0),
        ] {
            assert_eq!(sample_weight(trace_state), weight, "{trace_state}");
        }
    }

    #[test]
    fn durations_saturate() {
        for (start, end, expected) in [
            (1_000, 3_999, 2),
            (3_000, 1_000, 0),
            (0, u64::MAX, 0),
            (1, u64::MAX, 18_446_744_073_709_551),
        ] {
            let span = otlp::Span {
                start_time_unix_nano: start,
                end_time_unix_nano: end,
                ..otlp::Span::default()
            };
            assert_eq!(duration_us(&span), expected, "{start} {end}");
        }
    }
}
