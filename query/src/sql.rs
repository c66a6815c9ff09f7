//! `POST /api/v1/sql`: a statement in, an answer out.
//!
//! `{"sql": "SELECT …"}` as `application/json`; the answer by `Accept`. Errors say whose fault they
//! are ([`crate::error`]). It is not the engine: what a statement may use is decided there.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::engine::Question;
use crate::error::{ApiError, Kind};
use crate::format::{self, Format};
use crate::http::Surface;

/// What JSON's escapes may add to a text: `\u0041` is six bytes for one.
const ESCAPES_FACTOR: usize = 6;

/// Room for the object around the text.
const OBJECT_BYTES: usize = 1 << 10;

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    sql: String,
}

/// Answers a statement.
pub(crate) async fn post(
    State(surface): State<Arc<Surface>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    check_media_type(&headers)?;
    let format = Format::negotiate(&headers).ok_or_else(|| ApiError {
        status: StatusCode::NOT_ACCEPTABLE,
        kind: Kind::Plan,
        message: String::from(
            "answers are application/json, application/x-ndjson, text/csv or \
             application/vnd.apache.arrow.stream",
        ),
    })?;
    let request = read(&surface, body).await?;
    let snapshot = Arc::clone(&surface.published().snapshot);
    let answer = surface.engine.ask(snapshot, Question::Statement(request.sql)).await?;
    let patience = Duration::from_secs(surface.config.http.answer_seconds);
    format::response(answer, format, patience)
}

fn check_media_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let sent = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    if sent.is_some_and(|sent| sent.eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    // Also what keeps another site's form from asking: a form cannot send this type unasked.
    Err(ApiError::plan("send application/json: {\"sql\": \"SELECT …\"}")
        .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

async fn read(surface: &Surface, body: Body) -> Result<Request, ApiError> {
    let bytes_max = surface.engine.limits().text_bytes_max * ESCAPES_FACTOR + OBJECT_BYTES;
    let seconds = Duration::from_secs(surface.config.http.body_seconds);
    let bytes = tokio::time::timeout(seconds, to_bytes(body, bytes_max))
        .await
        .map_err(|_elapsed| {
            ApiError::limit("the statement took too long to arrive")
                .with_status(StatusCode::REQUEST_TIMEOUT)
        })?
        .map_err(|_too_large| {
            ApiError::limit(format!("the body is larger than {bytes_max} bytes"))
                .with_status(StatusCode::PAYLOAD_TOO_LARGE)
        })?;
    let request: Request = serde_json::from_slice(&bytes).map_err(|error| {
        ApiError::plan(format!("the body is not {{\"sql\": \"SELECT …\"}}: {error}"))
    })?;
    if request.sql.len() > surface.engine.limits().text_bytes_max {
        return Err(ApiError::limit(format!(
            "the statement has {} bytes; at most {} are read",
            request.sql.len(),
            surface.engine.limits().text_bytes_max
        ))
        .with_status(StatusCode::PAYLOAD_TOO_LARGE));
    }
    Ok(request)
}
