//! Clients of HTTP/2 and gRPC that say what they are told to.

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::Status;

/// The traces' method.
pub(crate) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: HeaderMap,
}

/// Posts `body` over a connection of its own.
pub(crate) async fn post<S>(
    stream: S,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<Answer, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await?;
    let driver = tokio::spawn(connection);
    let mut request = http::Request::post(format!("http://localhost{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body))).expect("a request");
    let response = sender.send_request(request).await?;
    let (parts, body) = response.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    driver.abort();
    Ok(Answer { headers: parts.headers, trailers })
}

/// A gRPC message in its frame.
pub(crate) fn framed(is_compressed: bool, message: &[u8]) -> Vec<u8> {
    let mut framed = vec![u8::from(is_compressed)];
    framed.extend(u32::try_from(message.len()).expect("below 4 GiB").to_be_bytes());
    framed.extend(message);
    framed
}

impl Answer {
    /// The gRPC status, wherever it stands.
    pub(crate) fn grpc(&self) -> Status {
        let status = Status::from_header_map(&self.headers);
        status.or_else(|| Status::from_header_map(&self.trailers)).expect("a gRPC status")
    }
}
