//! What goes wrong, told to whom it concerns.
//!
//! A client reads one of three kinds: `plan` (the statement is wrong: change it), `limit` (it asks
//! for too much, or too much is asked at once: ask for less, or later) and `internal` (ours: the
//! message says nothing about files or machines, the log does). [`QueryError`] is what ends the
//! role.

use std::hash::{BuildHasher, RandomState};
use std::io;

use axum::Json;
use axum::response::{IntoResponse, Response};
use datafusion::error::DataFusionError;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde_json::json;
use thiserror::Error;

use crate::follow::FollowError;

/// Half of the time that a statement may take by default.
const RETRY_AFTER_SECONDS_MAX: u64 = 15;

/// Why the query role ended.
#[derive(Debug, Error)]
pub enum QueryError {
    /// The log cannot be followed, or the store cannot be opened. Nobody but the operator can help.
    #[error("cannot follow the log: {0}")]
    Follow(#[from] FollowError),
    /// The store's directory cannot be used.
    #[error("cannot use the store's directory: {0}")]
    Store(#[source] io::Error),
    /// The thread that follows the log has ended; what it was doing is in the log file.
    #[error("the follower has ended by itself")]
    FollowerEnded,
    /// A statement did not stop; only a new process is rid of it.
    #[error("a statement did not stop when its time was over")]
    Wedged,
    /// The SQL engine cannot be set up from this configuration.
    #[error("cannot set up the SQL engine: {0}")]
    Engine(#[source] Box<DataFusionError>),
}

/// Whose fault an error is, and with it what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request is wrong; repeating it is no use.
    Plan,
    /// A limit was reached.
    Limit,
    /// Our fault.
    Internal,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Plan, Self::Limit, Self::Internal];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Limit => "limit",
            Self::Internal => "internal",
        }
    }
}

/// An error as a client reads it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// Whose fault it is.
    pub kind: Kind,
    /// One or two sentences for a person.
    pub message: String,
}

impl ApiError {
    /// The statement is wrong: 400.
    pub fn plan(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: Kind::Plan, message: message.into() }
    }

    /// The statement asks for too much: 422.
    pub fn limit(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            kind: Kind::Limit,
            message: message.into(),
        }
    }

    /// Ours: 500. `cause` goes to the log and not to the client.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            kind: Kind::Internal,
            message: String::from("the server failed to answer; its log says why"),
        }
    }

    /// The path is right and the method is not: 405. Which are right is in `Allow`.
    pub fn wrong_method() -> Self {
        Self::plan("this path does not answer this method; Allow names those it answers")
            .with_status(StatusCode::METHOD_NOT_ALLOWED)
    }

    /// The same error under another status.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }
}

impl From<DataFusionError> for ApiError {
    fn from(error: DataFusionError) -> Self {
        let root = error.find_root();
        match root {
            DataFusionError::SQL(parser, _) => Self::plan(parser.to_string()),
            DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..)
            | DataFusionError::NotImplemented(_)
            | DataFusionError::Configuration(_)
            | DataFusionError::Execution(_)
            | DataFusionError::ArrowError(..) => Self::plan(readable(root)),
            DataFusionError::ResourcesExhausted(_) => Self::limit(
                "the statement needs more memory than it may use; aggregate or filter more",
            ),
            DataFusionError::Collection(errors) => match errors.first() {
                Some(first) => Self::plan(readable(first.find_root())),
                None => Self::internal(&error),
            },
            DataFusionError::External(inner) => match inner.downcast_ref::<ApiError>() {
                Some(ours) => ours.clone(),
                None => Self::internal(&error),
            },
            _ => Self::internal(&error),
        }
    }
}

/// The engine's words without the layers they passed and without a back trace.
fn readable(root: &DataFusionError) -> String {
    let message = root.message();
    message.split(DataFusionError::BACK_TRACE_SEP).next().map(String::from).unwrap_or_default()
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"error": {"kind": self.kind.name(), "message": self.message}});
        let mut response = (self.status, Json(body)).into_response();
        // By this it is counted on its way out.
        response.extensions_mut().insert(self.kind);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = HeaderValue::from(retry_after_seconds());
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

/// When to ask again, differently each time: clients that were refused together must not come back
/// together. A place is free after half of the longest statement, on average.
fn retry_after_seconds() -> u64 {
    // Each state of the standard library's hash tables has keys of its own.
    1 + RandomState::new().hash_one(()) % RETRY_AFTER_SECONDS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_whose_fault_it_is() {
        let path = "/srv/data/store/1.parquet";
        for (error, kind, status) in [
            (DataFusionError::Plan(String::from("table 'x' not found")), Kind::Plan, 400),
            (DataFusionError::Execution(String::from("Divide by zero")), Kind::Plan, 400),
            (DataFusionError::ResourcesExhausted(String::from("pool")), Kind::Limit, 422),
            (DataFusionError::Internal(String::from(path)), Kind::Internal, 500),
            (DataFusionError::IoError(io::Error::other(path)), Kind::Internal, 500),
            (DataFusionError::External(Box::new(ApiError::limit("rows"))), Kind::Limit, 422),
            (DataFusionError::Plan(String::from("p")).context("while planning"), Kind::Plan, 400),
        ] {
            let answer = ApiError::from(error);
            assert_eq!((answer.kind, answer.status.as_u16()), (kind, status), "{answer}");
            assert!(!answer.message.contains("/srv"), "{answer}");
        }
    }

    #[test]
    fn who_may_ask_again_is_told_when() {
        let full = || ApiError::limit("full").with_status(StatusCode::SERVICE_UNAVAILABLE);
        let after = |error: ApiError| {
            let response = error.into_response();
            let header = response.headers().get(RETRY_AFTER).cloned();
            header.map(|value| value.to_str().expect("ASCII").parse::<u64>().expect("a number"))
        };
        let told: Vec<u64> = (0..100).map(|_| after(full()).expect("it is told")).collect();
        assert!(told.iter().all(|seconds| (1..=RETRY_AFTER_SECONDS_MAX).contains(seconds)));
        assert!(told.iter().any(|seconds| *seconds != told[0]), "{told:?}");
        assert_eq!(after(ApiError::limit("large")), None);
    }
}
