//! One connection to the collector and its manner of speaking.
//!
//! Not the decision to try again: see the parent module. Invariants: a try ends within
//! [`TRY_MAX`]; only codes that OTLP calls retryable give [`Answer::Later`].

use super::super::scenario;
use super::super::wire::{self, Attribute};
use super::{Answer, Body, Export, Parcel, Targets};
use anyhow::Context as _;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, ORIGIN, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use std::io::Write;
use std::time::Duration;
use tonic::Code;
use tonic::transport::Channel;

/// OTLP's default export timeout.
const TRY_MAX: Duration = Duration::from_secs(10);

/// Answers are small; more is not read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The instrumentation that the services' spans claim.
const SCOPE: &str = "ethogram.simulate";

/// Browsers name the origin of the page with every POST.
const ORIGIN_OF_PAGES: &str = "https://shop.example";

type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// A connection.
pub(crate) enum Transport {
    Beacon { client: HttpClient, uri: Uri },
    Grpc { client: TraceServiceClient<Channel>, resource: Vec<Attribute> },
    Http { client: HttpClient, uri: Uri, json: bool, resource: Vec<Attribute> },
}

impl Transport {
    /// The door for beacons.
    pub(crate) fn beacon(targets: &Targets) -> anyhow::Result<Self> {
        let uri = format!("{}/v1/ethogram?key={}", targets.beacon, targets.write_key);
        let uri = uri.parse().with_context(|| format!("{:?} is no address", targets.beacon))?;
        Ok(Self::Beacon { client: http_client(), uri })
    }

    /// The door for services, by the kind of their SDK.
    pub(crate) fn service(
        targets: &Targets,
        kind: scenario::Transport,
        resource: Vec<Attribute>,
    ) -> anyhow::Result<Self> {
        if kind == scenario::Transport::Grpc {
            let channel = Channel::from_shared(targets.otlp_grpc.clone())
                .with_context(|| format!("{:?} is no address", targets.otlp_grpc))?
                .connect_lazy();
            return Ok(Self::Grpc { client: TraceServiceClient::new(channel), resource });
        }
        let uri = format!("{}/v1/traces", targets.otlp_http);
        let uri = uri.parse().with_context(|| format!("{:?} is no address", targets.otlp_http))?;
        let json = kind == scenario::Transport::HttpJsonGzip;
        Ok(Self::Http { client: http_client(), uri, json, resource })
    }

    /// One try. A collector that cannot be reached may be there later.
    pub(crate) async fn send(&mut self, parcel: &Parcel) -> Answer {
        let answer = async {
            match (self, parcel) {
                (Self::Beacon { client, uri }, Parcel::Body(body)) => {
                    post(client, beacon_request(uri, body), false).await
                }
                (Self::Grpc { client, resource }, Parcel::Export(export)) => {
                    call(client, resource, export).await
                }
                (Self::Http { client, uri, json, resource }, Parcel::Export(export)) => {
                    post(client, export_request(uri, *json, resource, export), *json).await
                }
                _ => Answer::Refused,
            }
        };
        tokio::time::timeout(TRY_MAX, answer).await.unwrap_or(Answer::Later(None))
    }
}

fn http_client() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

/// A beacon's POST.
pub(crate) fn beacon_request(uri: &Uri, body: &Body) -> http::Result<Request<Full<Bytes>>> {
    Request::post(uri.clone())
        .header(CONTENT_TYPE, "text/plain;charset=UTF-8")
        .header(ORIGIN, ORIGIN_OF_PAGES)
        .header(USER_AGENT, body.user_agent)
        .header("x-forwarded-for", &body.address)
        .body(Full::new(Bytes::from(body.bytes.clone())))
}

/// A service's POST.
pub(crate) fn export_request(
    uri: &Uri,
    json: bool,
    resource: &[Attribute],
    export: &Export,
) -> http::Result<Request<Full<Bytes>>> {
    let (kind, bytes) = if json {
        (
            "application/json",
            wire::request_json(resource, SCOPE, &export.spans).to_string().into_bytes(),
        )
    } else {
        (
            "application/x-protobuf",
            wire::request_proto(resource, SCOPE, &export.spans).encode_to_vec(),
        )
    };
    let request = Request::post(uri.clone()).header(CONTENT_TYPE, kind);
    match gzip(&bytes).filter(|_| json) {
        Some(packed) => {
            request.header(CONTENT_ENCODING, "gzip").body(Full::new(Bytes::from(packed)))
        }
        None => request.body(Full::new(Bytes::from(bytes))),
    }
}

fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

/// Posts, and reads OTLP's answer (a beacon's is empty).
async fn post(
    client: &HttpClient,
    request: http::Result<Request<Full<Bytes>>>,
    json: bool,
) -> Answer {
    let Ok(request) = request else { return Answer::Refused };
    let Ok(response) = client.request(request).await else { return Answer::Later(None) };
    let (parts, body) = response.into_parts();
    // Read to the end in every case, so that the connection can be used again.
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    understood(parts.status, &parts.headers, &body, json)
}

/// What an answer over HTTP means.
pub(crate) fn understood(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    json: bool,
) -> Answer {
    let named = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let named = named.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    match status.as_u16() {
        200..300 if json => Answer::Accepted { rejected: rejected_json(body) },
        200..300 => Answer::Accepted { rejected: rejected_proto(body) },
        408 | 429 | 502 | 503 | 504 => Answer::Later(named),
        _ => Answer::Refused,
    }
}

async fn call(
    client: &mut TraceServiceClient<Channel>,
    resource: &[Attribute],
    export: &Export,
) -> Answer {
    let request = wire::request_proto(resource, SCOPE, &export.spans);
    match client.export(request).await {
        Ok(response) => Answer::Accepted { rejected: rejected(response.get_ref()) },
        Err(status) => match status.code() {
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
            | Code::ResourceExhausted
            | Code::Unknown => Answer::Later(retry_delay(status.details())),
            _ => Answer::Refused,
        },
    }
}

fn rejected(response: &ExportTraceServiceResponse) -> u64 {
    let partial = response.partial_success.as_ref();
    partial.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0))
}

fn rejected_proto(body: &[u8]) -> u64 {
    ExportTraceServiceResponse::decode(body).map_or(0, |response| rejected(&response))
}

fn rejected_json(body: &[u8]) -> u64 {
    let Ok(answer) = serde_json::from_slice::<serde_json::Value>(body) else { return 0 };
    let count = &answer["partialSuccess"]["rejectedSpans"];
    count.as_u64().or_else(|| count.as_str()?.parse().ok()).unwrap_or(0)
}

/// `google.rpc.Status`, as far as it is needed.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<RpcDetail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct RpcDetail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<RpcDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct RpcDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// The pause that a gRPC status asks for.
pub(super) fn retry_delay(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let detail =
        status.details.iter().find(|detail| detail.type_url.ends_with("google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(detail.value.as_slice()).ok()?.retry_delay?;
    let (seconds, nanos) = (u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?);
    Some(Duration::from_secs(seconds) + Duration::from_nanos(u64::from(nanos)))
}
