//! OTLP over HTTP: `/v1/traces`, `/v1/logs`, `/v1/metrics`, in protobuf or JSON.
//!
//! It says what the OTLP specification says and nothing more: 200 with an export response in the
//! request's encoding, or a `google.rpc.Status`. Browsers' `text/plain` belongs to the beacon's
//! door.
//!
//! Invariant: whatever status is retryable by OTLP (429, 502, 503, 504) is so by our table too;
//! the table is `admit::Reason`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::any;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde_json::json;

use crate::admit::{
    Admitted, Coding, Collector, Delivery, Encoding, Pace, Payload, Reason, Refusal, Sender,
    discard, handle, read,
};
use crate::counters::Door;
use crate::cross_origin::{self, Origins, Stated};

/// The paths of this door.
pub(crate) fn router(collector: &Arc<Collector>) -> Router {
    let router = Router::new()
        .route("/v1/traces", any(export::<ExportTraceServiceRequest>))
        .route("/v1/logs", any(export::<ExportLogsServiceRequest>))
        .route("/v1/metrics", any(export::<ExportMetricsServiceRequest>))
        .fallback(unknown_path);
    let origins = collector.config.otlp.cors_origins.clone();
    // Where none is listed no request has to pass by.
    let router = if origins.is_empty() {
        router
    } else {
        router.layer(from_fn_with_state(Arc::new(Origins::Listed(origins)), share))
    };
    router.with_state(Arc::clone(collector))
}

async fn export<P: Payload>(
    State(collector): State<Arc<Collector>>,
    request: Request,
) -> Response<Body> {
    collector.counters.request(Door::Http);
    let (parts, mut body) = request.into_parts();
    if parts.method != Method::POST {
        let refusal = Refusal::new(Reason::Method, "only POST is allowed here");
        let mut response = refuse(&collector, &refusal, None);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    let encoding = encoding_of(&parts.headers);
    match receive::<P>(&collector, &parts.headers, encoding, &mut body).await {
        Ok((encoding, admitted)) => answer(encoding, &admitted),
        Err(refusal) => {
            if !parts.headers.contains_key(header::EXPECT) {
                discard(&mut body, collector.config.otlp.body_bytes_max).await;
            }
            refuse(&collector, &refusal, encoding)
        }
    }
}

async fn receive<P: Payload>(
    collector: &Arc<Collector>,
    headers: &HeaderMap,
    encoding: Option<Encoding>,
    body: &mut Body,
) -> Result<(Encoding, Vec<Admitted>), Refusal> {
    let sender = Sender::service(collector, headers)?;
    collector.quota.take_token(sender.key_id(), collector.clock.wall_ns())?;
    let encoding = encoding.ok_or_else(|| {
        Refusal::new(
            Reason::MediaType,
            "the content type must be application/x-protobuf or application/json",
        )
    })?;
    let coding = coding_of(headers)?;
    let mut held = collector.budget.reserve();
    let bytes_max = collector.config.otlp.body_bytes_max;
    let pace = Pace::new(&collector.config.limits);
    let wire = read(body, bytes_max, pace, &mut held).await?;
    let delivery = Delivery {
        door: Door::Http,
        sender,
        encoding,
        coding,
        wire,
        inflated_bytes_max: bytes_max,
        is_exempt: true,
        held,
    };
    Ok((encoding, handle::<P>(collector, delivery).await?))
}

/// The encoding that the content type names; parameters such as `charset` are of no importance.
fn encoding_of(headers: &HeaderMap) -> Option<Encoding> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    match media_type(value).as_str() {
        "application/x-protobuf" => Some(Encoding::Protobuf),
        "application/json" => Some(Encoding::Json),
        _ => None,
    }
}

/// A media type without its parameters, in lower case.
pub(crate) fn media_type(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn coding_of(headers: &HeaderMap) -> Result<Coding, Refusal> {
    let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(Coding::Identity) };
    let coding = value.to_str().ok().and_then(Coding::named);
    coding.ok_or_else(|| {
        Refusal::new(Reason::ContentEncoding, "the content encoding must be gzip, zstd or identity")
    })
}

fn refuse(collector: &Collector, refusal: &Refusal, encoding: Option<Encoding>) -> Response<Body> {
    collector.counters.refuse(Door::Http, refusal.reason);
    refusal.http(encoding, &collector.jitter)
}

fn answer(encoding: Encoding, admitted: &[Admitted]) -> Response<Body> {
    let body = match encoding {
        Encoding::Protobuf => ExportResponse::of(admitted).encode_to_vec(),
        Encoding::Json => json_answer(admitted).to_string().into_bytes(),
    };
    let mut response = Response::new(Body::from(body));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(encoding.media_type()));
    response
}

fn json_answer(admitted: &[Admitted]) -> serde_json::Value {
    match remarkable(admitted) {
        None => json!({}),
        Some(Admitted { kind, rejected, .. }) => json!({ "partialSuccess": {
            // A 64-bit number is a string in ProtoJSON.
            kind.rejected_field(): rejected.count.to_string(),
            "errorMessage": rejected.message,
        }}),
    }
}

/// The answer to an export. The three signals' messages have the same tags, so one serves all.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

impl ExportResponse {
    /// Full success has no partial success at all, not one with zeros.
    pub(crate) fn of(admitted: &[Admitted]) -> Self {
        let partial_success =
            remarkable(admitted).map(|Admitted { rejected, .. }| PartialSuccess {
                rejected: i64::try_from(rejected.count).unwrap_or(i64::MAX),
                error_message: rejected.message.clone(),
            });
        Self { partial_success }
    }
}

/// What the sender should know although its request succeeded: records rejected, or, with a count
/// of zero, parts cut from records.
fn remarkable(admitted: &[Admitted]) -> Option<&Admitted> {
    admitted
        .iter()
        .find(|admitted| admitted.rejected.count > 0 || !admitted.rejected.message.is_empty())
}

async fn unknown_path(State(collector): State<Arc<Collector>>) -> Response<Body> {
    let message =
        "there is nothing here; this is OTLP/HTTP: POST /v1/traces, /v1/logs or /v1/metrics";
    refuse(&collector, &Refusal::new(Reason::NotFound, message), None)
}

/// CORS around every path. It is off unless origins are configured.
async fn share(
    State(origins): State<Arc<Origins>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let origin = match cross_origin::stated(request.headers()) {
        Stated::One(origin) => Some(origin).filter(|origin| origins.allows(origin)).cloned(),
        Stated::None | Stated::Several => None,
    };
    let Some(origin) = origin else { return next.run(request).await };
    let mut response = if cross_origin::is_preflight(request.method(), request.headers()) {
        cross_origin::preflight(cross_origin::OTLP_HEADERS)
    } else {
        next.run(request).await
    };
    cross_origin::expose(&mut response, origin);
    response
}

#[cfg(test)]
mod tests;
