//! OTLP over gRPC: the three `Export` methods.
//!
//! tonic does the protocol (framing, compression, limits, trailers); the message itself is taken
//! as bytes, so that decoding happens on the one path behind all doors, where large bodies
//! leave the shared threads, and where a panic is caught.
//!
//! Invariant: codes follow OTLP's table of what senders retry. tonic answers an oversized message
//! with OUT_OF_RANGE, which senders retry for ever, and a damaged one with INTERNAL; no answer
//! of ours uses either code, so both are translated on the way out.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::any;
use bytes::{Buf, BufMut, Bytes};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::SERVICE_NAME as LOGS;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::SERVICE_NAME as METRICS;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::SERVICE_NAME as TRACES;
use prost::Message;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::Grpc;
use tonic::{Code, Status};

use crate::admit::{
    Coding, Collector, Delivery, Encoding, Payload, Reason, Refusal, Reservation, Sender, handle,
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
    let sender = match Sender::service(&collector, request.headers()) {
        Ok(sender) => sender,
        Err(refusal) => return refuse(&collector, &refusal).into_http(),
    };
    let limits = &collector.config.limits;
    let time_max = Duration::from_secs(limits.body_s + limits.commit_s);
    let whole = tokio::time::timeout(time_max, unary::<P>(&collector, sender, request)).await;
    whole.unwrap_or_else(|_| {
        let refusal = Refusal::new(Reason::SlowBody, "the message did not arrive in time");
        refuse(&collector, &refusal).into_http()
    })
}

async fn unary<P: Payload>(
    collector: &Arc<Collector>,
    sender: Sender,
    request: Request,
) -> Response<Body> {
    let service = tower::service_fn(|message: tonic::Request<Bytes>| {
        let (collector, sender) = (Arc::clone(collector), sender.clone());
        async move {
            let answer = receive::<P>(&collector, sender, message.into_inner()).await;
            answer.map(tonic::Response::new).map_err(|refusal| refuse(&collector, &refusal))
        }
    });
    let response = Grpc::new(BytesCodec)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(collector.config.otlp.body_bytes_max)
        .unary(service, request.map(|body| Counted::new(body, collector)))
        .await;
    translate(collector, response.map(Body::new))
}

async fn receive<P: Payload>(
    collector: &Arc<Collector>,
    sender: Sender,
    message: Bytes,
) -> Result<Bytes, Refusal> {
    let mut held = collector.budget.reserve();
    held.grow(message.len())?;
    let delivery = Delivery {
        door: Door::Grpc,
        sender,
        encoding: Encoding::Protobuf,
        coding: Coding::Identity,
        inflated_bytes_max: message.len(),
        wire: message,
        held,
    };
    let admitted = handle::<P>(collector, delivery).await?;
    Ok(Bytes::from(ExportResponse::of(&admitted).encode_to_vec()))
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

/// Puts our words for tonic's own refusals, and counts them.
fn translate(collector: &Collector, response: Response<Body>) -> Response<Body> {
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    let reason = match status.code() {
        Code::OutOfRange => Reason::TooLarge,
        Code::Internal => Reason::Undecodable,
        // These two codes are also ours; tonic's have no details and name their cause.
        Code::ResourceExhausted if status.message().starts_with("Error decompressing") => {
            Reason::TooLarge
        }
        Code::Unimplemented => {
            collector.counters.refuse(Door::Grpc, Reason::ContentEncoding);
            return response; // It carries the list of encodings we accept.
        }
        _ => return response,
    };
    refuse(collector, &Refusal::new(reason, status.message())).into_http()
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

/// A body that reserves its bytes as they arrive, so that many large messages on their way
/// cannot hold more than the budget.
struct Counted {
    body: Body,
    held: Reservation,
    collector: Arc<Collector>,
}

impl Counted {
    fn new(body: Body, collector: &Arc<Collector>) -> Self {
        Self { body, held: collector.budget.reserve(), collector: Arc::clone(collector) }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else {
            return Poll::Ready(None);
        };
        let frame = frame.map_err(|error| Status::cancelled(error.to_string())).and_then(|frame| {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            self.held.grow(bytes).map_err(|refusal| refuse(&self.collector, &refusal))?;
            Ok(frame)
        });
        Poll::Ready(Some(frame))
    }
}

/// Messages as the bytes they are.
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

#[cfg(test)]
mod tests;
