//! `GET /api/v1/sessions/{id}/timeline`: all of one session, in the order it happened.
//!
//! The rows are those of the view `timeline`. The order is not SQL's: within a page by the
//! beacon's sequence, which needs no clock; between pages by time; service spans below the browser
//! attempt they belong to. [`order`] is that order, and knows neither HTTP nor SQL.

mod order;

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use datafusion::common::ScalarValue;
use ethogram_timeline::store::Snapshot;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::engine::Question;
use crate::error::ApiError;
use crate::format::{self, Format};
use crate::http::Surface;

/// Ids are 32 hex digits from our beacon, and whatever a service calls a session otherwise.
const ID_BYTES_MAX: usize = 256;

const SESSIONS: &str = "SELECT * FROM sessions WHERE session_id = $1 ORDER BY app, \"end\"";

/// The parents are asked apart: the view has one shape for spans and events.
const PARENTS: &str = "SELECT trace_id, span_id, parent_span_id FROM spans \
    WHERE session_id = $1 AND app = $2 AND parent_span_id IS NOT NULL";

/// The same of a session that is cut: of the rows that are kept only, up to the last one's time (`$3`),
/// since a session has any number of spans.
const PARENTS_OF_KEPT: &str = "SELECT s.trace_id, s.span_id, s.parent_span_id FROM spans AS s \
    JOIN (SELECT DISTINCT trace_id, span_id FROM timeline \
    WHERE session_id = $1 AND app = $2 AND CAST(time AS BIGINT) <= $3) AS kept \
    ON kept.trace_id = s.trace_id AND kept.span_id = s.span_id \
    WHERE s.session_id = $1 AND s.app = $2 AND s.parent_span_id IS NOT NULL";

const ROWS: &str = "SELECT CAST(time AS BIGINT) AS time_ns, time, offset_ms, layer, depth, what, \
    status, duration_us, page_id, sequence, trace_id, span_id, request_id, service, attempt \
    FROM timeline WHERE session_id = $1 AND app = $2 ORDER BY time_ns";

/// What may stand behind the question mark.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// The application, needed only where two have a session of this id.
    app: Option<String>,
}

/// Answers with the session and its rows.
pub(crate) async fn get(
    State(surface): State<Arc<Surface>>,
    id: Result<Path<String>, PathRejection>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Path(id) = id.map_err(|wrong| ApiError::plan(wrong.body_text()))?;
    let Query(parameters) = parameters.map_err(|wrong| ApiError::plan(wrong.body_text()))?;
    if id.is_empty() || id.len() > ID_BYTES_MAX {
        return Err(ApiError::plan("a session id has 1 to 256 bytes"));
    }
    let snapshot = Arc::clone(&surface.published().snapshot);
    let session = session(&surface, &snapshot, &id, parameters.app.as_deref()).await?;
    let app = session.get("app").and_then(Value::as_str).unwrap_or_default();
    let of_session = || vec![text(&id), text(app)];
    let limits = surface.engine.limits();
    let rows_max = limits.timeline_rows_max;
    let limited = format!("{ROWS} LIMIT {}", rows_max.saturating_add(1));
    let mut rows = ask(&surface, &snapshot, limited, of_session()).await?;
    let truncated = rows.len() > rows_max;
    rows.truncate(rows_max);
    let mut values = of_session();
    let mut parents = String::from(PARENTS);
    if truncated {
        parents = String::from(PARENTS_OF_KEPT);
        let last_ns = rows.last().and_then(|row| row.get("time_ns")).and_then(Value::as_i64);
        values.push(ScalarValue::Int64(last_ns));
    }
    // Any number of spans may have one time. Whose parent is not known stands by its own time.
    let parents = format!("{parents} LIMIT {}", limits.result_rows_max);
    let parents = ask(&surface, &snapshot, parents, values).await?;
    let body = json!({
        "session": session,
        "rows": order::ordered(rows, &order::parents(&parents)),
        "truncated": truncated,
        "complete_until": format::rfc3339(snapshot.complete_until_ns),
    });
    Ok(Json(body).into_response())
}

/// The one session that is meant.
async fn session(
    surface: &Surface,
    snapshot: &Arc<Snapshot>,
    id: &str,
    app: Option<&str>,
) -> Result<Map<String, Value>, ApiError> {
    let mut found = ask(surface, snapshot, String::from(SESSIONS), vec![text(id)]).await?;
    let app_of = |session: &Map<String, Value>| {
        session.get("app").and_then(Value::as_str).map(String::from).unwrap_or_default()
    };
    if let Some(app) = app {
        found.retain(|session| app_of(session) == app);
    }
    // A session that came back after it was let go has a row for each time; the last is its latest.
    let mut seen = std::collections::BTreeSet::new();
    found.reverse();
    found.retain(|session| seen.insert(app_of(session)));
    if found.len() > 1 {
        let apps: Vec<String> = found.iter().map(app_of).collect();
        return Err(ApiError::plan(format!(
            "the session exists in several apps; add ?app= with one of {}",
            apps.join(", ")
        )));
    }
    found.pop().ok_or_else(|| {
        ApiError::plan(format!(
            "no session {id} is known up to {}",
            format::rfc3339(snapshot.complete_until_ns)
        ))
        .with_status(StatusCode::NOT_FOUND)
    })
}

/// The rows of a statement of ours, as JSON objects.
async fn ask(
    surface: &Surface,
    snapshot: &Arc<Snapshot>,
    sql: String,
    parameters: Vec<ScalarValue>,
) -> Result<Vec<Map<String, Value>>, ApiError> {
    let question = Question::Prepared(sql, parameters);
    let answer = surface.engine.ask(Arc::clone(snapshot), question).await?;
    let mut rows = Vec::with_capacity(answer.rows);
    for chunk in format::chunks(answer, Format::JsonLines)? {
        let chunk = chunk.map_err(|error| ApiError::internal(&error))?;
        for row in serde_json::Deserializer::from_slice(&chunk).into_iter() {
            rows.push(row.map_err(|error| ApiError::internal(&error))?);
        }
    }
    Ok(rows)
}

fn text(value: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(String::from(value)))
}
