//! Why a request is refused, and what each protocol says about it.
//!
//! One table ([`Reason`]) is the only place where a reason meets a status code, so the two
//! protocols cannot disagree about whose fault it is and whether to try again.
//!
//! Invariant: whatever may be retried carries a delay, drawn evenly from 1 to 30 s, and whatever
//! must not be retried carries none. Senders drop what they must not retry.

use axum::body::Body;
use bytes::Bytes;
use ethogram_timeline::decode::scan::ScanError;
use ethogram_timeline::log::AppendError;
use http::{HeaderValue, Response, StatusCode, header};
use parking_lot::Mutex;
use prost::Message;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;
use tonic::Code;

use super::Encoding;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Unauthenticated,
    Origin,
    NotFound,
    Method,
    MediaType,
    ContentEncoding,
    TooLarge,
    Undecodable,
    TooMany,
    TooDeep,
    Quota,
    KeyQuota,
    SessionQuota,
    InFlightBytes,
    LogQueue,
    LogBudget,
    DiskFull,
    LogFailed,
    CommitTimeout,
    SlowBody,
    Panic,
}

impl Reason {
    pub(crate) const ALL: [Self; 21] = [
        Self::Unauthenticated,
        Self::Origin,
        Self::NotFound,
        Self::Method,
        Self::MediaType,
        Self::ContentEncoding,
        Self::TooLarge,
        Self::Undecodable,
        Self::TooMany,
        Self::TooDeep,
        Self::Quota,
        Self::KeyQuota,
        Self::SessionQuota,
        Self::InFlightBytes,
        Self::LogQueue,
        Self::LogBudget,
        Self::DiskFull,
        Self::LogFailed,
        Self::CommitTimeout,
        Self::SlowBody,
        Self::Panic,
    ];

    /// The counter's label; the HTTP status; the gRPC code; whether the sender may try again.
    ///
    /// A slow body is 503 and not 408, because OTLP senders drop what is answered with 408. A
    /// panic is not retryable, because the same bytes would panic again.
    fn row(self) -> (&'static str, StatusCode, Code, bool) {
        use StatusCode as Http;
        match self {
            Self::Unauthenticated => {
                ("unauthenticated", Http::UNAUTHORIZED, Code::Unauthenticated, false)
            }
            Self::Origin => ("origin", Http::FORBIDDEN, Code::PermissionDenied, false),
            Self::NotFound => ("not_found", Http::NOT_FOUND, Code::Unimplemented, false),
            Self::Method => ("method", Http::METHOD_NOT_ALLOWED, Code::Unimplemented, false),
            Self::MediaType => {
                ("media_type", Http::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument, false)
            }
            Self::ContentEncoding => {
                ("content_encoding", Http::UNSUPPORTED_MEDIA_TYPE, Code::Unimplemented, false)
            }
            Self::TooLarge => {
                ("too_large", Http::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, false)
            }
            Self::Undecodable => ("undecodable", Http::BAD_REQUEST, Code::InvalidArgument, false),
            Self::TooMany => ("too_many", Http::BAD_REQUEST, Code::InvalidArgument, false),
            Self::TooDeep => ("too_deep", Http::BAD_REQUEST, Code::InvalidArgument, false),
            Self::Quota => ("quota", Http::TOO_MANY_REQUESTS, Code::ResourceExhausted, true),
            Self::KeyQuota => ("key_quota", Http::TOO_MANY_REQUESTS, Code::ResourceExhausted, true),
            Self::SessionQuota => {
                ("session_quota", Http::TOO_MANY_REQUESTS, Code::ResourceExhausted, true)
            }
            Self::InFlightBytes => {
                ("in_flight_bytes", Http::SERVICE_UNAVAILABLE, Code::Unavailable, true)
            }
            Self::LogQueue => ("log_queue", Http::SERVICE_UNAVAILABLE, Code::Unavailable, true),
            Self::LogBudget => ("log_budget", Http::SERVICE_UNAVAILABLE, Code::Unavailable, true),
            Self::DiskFull => ("disk_full", Http::SERVICE_UNAVAILABLE, Code::Unavailable, true),
            Self::LogFailed => ("log_failed", Http::SERVICE_UNAVAILABLE, Code::Unavailable, true),
            Self::CommitTimeout => {
                ("commit_timeout", Http::SERVICE_UNAVAILABLE, Code::Unavailable, true)
            }
            Self::SlowBody => ("slow_body", Http::SERVICE_UNAVAILABLE, Code::Unavailable, true),
            Self::Panic => ("panic", Http::INTERNAL_SERVER_ERROR, Code::Unknown, false),
        }
    }

    /// Whether the bytes of the body are at fault.
    fn is_of_body(self) -> bool {
        matches!(self, Self::Undecodable | Self::TooMany | Self::TooDeep)
    }

    /// The label in counters.
    pub(crate) fn name(self) -> &'static str {
        self.row().0
    }
}

/// A refusal: the reason, and a sentence for the person at the other end.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    message: String,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        Self { reason, message }
    }

    /// The HTTP answer. The body is a `google.rpc.Status` in the request's encoding, or plain
    /// text where the request has none that we speak.
    pub(crate) fn http(&self, encoding: Option<Encoding>, jitter: &Jitter) -> Response<Body> {
        let (_, status, _, retryable) = self.reason.row();
        let (media_type, body) = match encoding {
            Some(Encoding::Json) => (Encoding::Json.media_type(), self.json()),
            Some(Encoding::Protobuf) => (Encoding::Protobuf.media_type(), self.details(None)),
            None => ("text/plain; charset=utf-8", format!("{}\n", self.message).into_bytes()),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        if retryable {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(jitter.seconds()));
        }
        match self.reason {
            Reason::Unauthenticated => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
            }
            Reason::ContentEncoding => {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"))
            }
            _ => None,
        };
        response
    }

    /// The gRPC answer, with `google.rpc.RetryInfo` exactly where a retry is wanted.
    pub(crate) fn grpc(&self, jitter: &Jitter) -> tonic::Status {
        let (_, _, code, retryable) = self.reason.row();
        let details = if retryable { self.details(Some(jitter.seconds())) } else { Vec::new() };
        tonic::Status::with_details(code, self.message.clone(), Bytes::from(details))
    }

    fn json(&self) -> Vec<u8> {
        let mut status = json!({ "code": self.reason.row().2 as i32, "message": self.message });
        if self.reason.is_of_body() {
            let violations = json!([{ "field": "body", "description": self.message }]);
            status["details"] = json!([{ "@type": BAD_REQUEST, "fieldViolations": violations }]);
        }
        status.to_string().into_bytes()
    }

    fn details(&self, retry_after_s: Option<u64>) -> Vec<u8> {
        let mut details = Vec::new();
        if let Some(seconds) = retry_after_s {
            let delay = Duration { seconds: seconds.cast_signed() };
            let info = RetryInfo { retry_delay: Some(delay) };
            details.push(Any { type_url: String::from(RETRY_INFO), value: info.encode_to_vec() });
        }
        if self.reason.is_of_body() {
            let violation =
                FieldViolation { field: String::from("body"), description: self.message.clone() };
            let bad_request = BadRequest { field_violations: vec![violation] };
            details.push(Any {
                type_url: String::from(BAD_REQUEST),
                value: bad_request.encode_to_vec(),
            });
        }
        Status { code: self.reason.row().2 as i32, message: self.message.clone(), details }
            .encode_to_vec()
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        let reason = match error {
            AppendError::QueueFull => Reason::LogQueue,
            AppendError::BudgetExhausted => Reason::LogBudget,
            AppendError::DiskFull => Reason::DiskFull,
            AppendError::TooLarge => Reason::TooLarge,
            AppendError::Failed => Reason::LogFailed,
        };
        Self::new(reason, error.to_string())
    }
}

impl From<ScanError> for Refusal {
    fn from(error: ScanError) -> Self {
        let reason = match error {
            ScanError::Malformed(_) => Reason::Undecodable,
            ScanError::TooMany { .. } => Reason::TooMany,
            ScanError::TooDeep { .. } => Reason::TooDeep,
            ScanError::TooCostly { .. } => Reason::TooLarge,
        };
        Self::new(reason, error.to_string())
    }
}

/// Draws delays. A generator of its own, since the system's would cost a call per refusal, just
/// when there are most of them.
pub(crate) struct Jitter(Mutex<StdRng>);

impl Jitter {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(StdRng::from_os_rng()))
    }

    /// Seconds to wait, 1 to 30: long enough to spread a herd, short enough that a beacon's
    /// queue of a minute survives.
    fn seconds(&self) -> u64 {
        self.0.lock().random_range(1..=30)
    }

    /// A time that is a tenth longer or shorter at most.
    pub(crate) fn around(&self, time: std::time::Duration) -> std::time::Duration {
        time.mul_f64(self.0.lock().random_range(0.9..1.1))
    }
}

/// Messages quote what came in; OTLP asks for small answers.
const MESSAGE_BYTES_MAX: usize = 1024;

const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// `google.rpc.Status` and the details we send, tags as published.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Duration>,
}

#[derive(Clone, PartialEq, Message)]
struct Duration {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

#[derive(Clone, PartialEq, Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
}

/// The seconds of `RetryInfo` in a status's details, where there is one.
#[cfg(test)]
pub(crate) fn retry_info_s(details: &[u8]) -> Option<i64> {
    let status = Status::decode(details).expect("a google.rpc.Status");
    let any = status.details.iter().find(|any| any.type_url == RETRY_INFO)?;
    let info = RetryInfo::decode(&*any.value).expect("a RetryInfo");
    Some(info.retry_delay.expect("a delay").seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_may_be_retried_says_when() {
        let jitter = Jitter::new();
        for reason in Reason::ALL {
            let refusal = Refusal::new(reason, "why");
            let retryable = reason.row().3;
            let response = refusal.http(Some(Encoding::Json), &jitter);
            let http_retries = matches!(response.status().as_u16(), 429 | 502 | 503 | 504);
            assert_eq!(http_retries, retryable, "{reason:?}");
            assert_eq!(
                response.headers().contains_key(header::RETRY_AFTER),
                retryable,
                "{reason:?}"
            );
            let status = refusal.grpc(&jitter);
            assert_eq!(status.details().is_empty(), !retryable, "{reason:?}");
            let code_retries = status.code() == Code::Unavailable || !status.details().is_empty();
            assert_eq!(code_retries, retryable, "{reason:?}");
        }
    }

    #[test]
    fn reasons_are_their_own_index() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }

    #[test]
    fn delays_are_spread() {
        let jitter = Jitter::new();
        let delays: Vec<f64> = (0..1_000).map(|_| jitter.seconds() as f64).collect();
        let mean = delays.iter().sum::<f64>() / 1_000.0;
        let variance = delays.iter().map(|delay| (delay - mean).powi(2)).sum::<f64>() / 1_000.0;
        assert!(delays.iter().all(|delay| (1.0..=30.0).contains(delay)));
        assert!(variance.sqrt() >= 5.0, "{variance}");
    }

    #[test]
    fn a_delay_is_told_in_google_s_words() {
        let status = Refusal::new(Reason::Quota, "slower").grpc(&Jitter::new());
        let delay_s = retry_info_s(status.details()).expect("a RetryInfo");
        assert!((1..=30).contains(&delay_s));
    }
}
