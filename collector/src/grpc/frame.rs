//! The frame of a gRPC message, and of the answer to it.
//!
//! Invariant: a unary call's body is exactly one message; more, less or another flag is the sender's
//! error.

use axum::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body_util::{BodyExt, Full};
use prost::Message;

use crate::admit::{Coding, Reason, Refusal};
use crate::http::ExportResponse;

/// A flag for compression and four bytes of length.
pub(super) const PREFIX_BYTES: usize = 5;

/// Where a server says which encodings it reads, and those we read.
pub(super) const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
pub(super) const ENCODINGS: HeaderValue = HeaderValue::from_static("identity,gzip,zstd");

/// The encoding that the call names for its compressed messages.
pub(super) fn coding(headers: &HeaderMap) -> Result<Coding, Refusal> {
    let Some(value) = headers.get("grpc-encoding") else { return Ok(Coding::Identity) };
    let coding = value.to_str().ok().and_then(Coding::named);
    coding.ok_or_else(|| {
        Refusal::new(Reason::ContentEncoding, "the grpc-encoding must be gzip, zstd or identity")
    })
}

/// The one message of a call's body, and how it is compressed.
pub(super) fn message(framed: &Bytes, named: Coding) -> Result<(Coding, Bytes), Refusal> {
    let wrong = |what: &str| Err(Refusal::new(Reason::Undecodable, what));
    let Some((&[flag, length @ ..], message)) = framed.split_first_chunk::<PREFIX_BYTES>() else {
        return wrong("the call holds no message");
    };
    if u32::from_be_bytes(length) as usize != message.len() {
        return wrong("the call does not hold exactly one message of the length it states");
    }
    let coding = match (flag, named) {
        (0, _) => Coding::Identity,
        (1, Coding::Gzip | Coding::Zstd) => named,
        (1, Coding::Identity) => {
            return wrong("the message is compressed, but no encoding is named");
        }
        _ => return wrong("the message's flag is neither 0 nor 1"),
    };
    Ok((coding, framed.slice(PREFIX_BYTES..)))
}

/// The answer to a successful call.
pub(super) fn answer(export: &ExportResponse) -> Response<Body> {
    let length = u32::try_from(export.encoded_len()).expect("a sentence and a number");
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(length);
    export.encode(&mut framed).expect("the buffer grows");
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(framed.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(Body::new(body));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
