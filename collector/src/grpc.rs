//! OTLP over gRPC: the three `Export` methods.
//!
//! The framing is our own ([`frame`]): a unary call is one message in one body, and tonic would inflate
//! it whole before anybody could look at it. So the message goes as it came to the one path behind all
//! doors, where inflation is scanned, large bodies leave the shared threads, and a panic is caught.
//!
//! Invariant: codes follow OTLP's table of what senders retry; the table is `admit::Reason`.

mod frame;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::any;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::SERVICE_NAME as LOGS;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::SERVICE_NAME as METRICS;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::SERVICE_NAME as TRACES;
use tonic::Status;

use crate::admit::{
    Admitted, Collector, Delivery, Encoding, Pace, Payload, Reason, Refusal, Sender, handle, read,
};
use crate::counters::Door;
use crate::http::ExportResponse;

/// The methods of this door.
pub(crate) fn router(collector: &Arc<Collector>) -> Router {
    Router::new()
        .route(&format!("/{TRACES}/Export"), any(export::<ExportTraceServiceRequest>))
        .route(&format!("/{LOGS}/Export"), any(export::<ExportLogsServiceRequest>))
        .route(&format!("/{METRICS}/Export"), any(export::<ExportMetricsServiceRequest>))
        .fallback(unknown_method)
        .with_state(Arc::clone(collector))
}

async fn export<P: Payload>(
    State(collector): State<Arc<Collector>>,
    request: Request,
) -> Response<Body> {
    collector.counters.request(Door::Grpc);
    if !is_grpc(request.headers()) {
        let refusal = Refusal::new(
            Reason::MediaType,
            "this port speaks gRPC; OTLP/HTTP has a port of its own",
        );
        collector.counters.refuse(Door::Grpc, refusal.reason);
        return refusal.http(None, &collector.jitter);
    }
    match receive::<P>(&collector, request).await {
        Ok(admitted) => frame::answer(&ExportResponse::of(&admitted)),
        Err(refusal) => {
            let mut response = refuse(&collector, &refusal).into_http();
            if refusal.reason == Reason::ContentEncoding {
                response.headers_mut().insert(frame::ACCEPT_ENCODING, frame::ENCODINGS);
            }
            response
        }
    }
}

async fn receive<P: Payload>(
    collector: &Arc<Collector>,
    request: Request,
) -> Result<Vec<Admitted>, Refusal> {
    let (parts, mut body) = request.into_parts();
    let sender = Sender::service(collector, &parts.headers)?;
    collector.quota.take_token(sender.key_id(), collector.clock.wall_ns())?;
    let named = frame::coding(&parts.headers)?;
    let mut held = collector.budget.reserve();
    let bytes_max = collector.config.otlp.body_bytes_max;
    let pace = Pace::new(&collector.config.limits);
    let framed_max = bytes_max.saturating_add(frame::PREFIX_BYTES);
    let framed = read(&mut body, framed_max, pace, &mut held).await?;
    let (coding, wire) = frame::message(&framed, named)?;
    let delivery = Delivery {
        door: Door::Grpc,
        sender,
        encoding: Encoding::Protobuf,
        coding,
        inflated_bytes_max: bytes_max,
        is_exempt: true,
        wire,
        held,
    };
    handle::<P>(collector, delivery).await
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    value.is_some_and(|value| {
        value.starts_with(b"application/grpc") && !value.starts_with(b"application/grpc-web")
    })
}

fn refuse(collector: &Collector, refusal: &Refusal) -> Status {
    collector.counters.refuse(Door::Grpc, refusal.reason);
    refusal.grpc(&collector.jitter)
}

async fn unknown_method(
    State(collector): State<Arc<Collector>>,
    request: Request,
) -> Response<Body> {
    let message =
        "this is OTLP/gRPC: TraceService, LogsService and MetricsService, each with Export";
    let status = refuse(&collector, &Refusal::new(Reason::NotFound, message));
    if is_grpc(request.headers()) {
        return status.into_http();
    }
    let mut response = Response::new(Body::from(format!("{message}\n")));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

#[cfg(test)]
mod tests;
