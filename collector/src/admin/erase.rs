//! `DELETE` of a session or a user: an erasure is a record of the log like any other.
//!
//! It is durable when it is answered, binds what is there and what arrives later, and is carried
//! out by whoever follows the log. The segment ends behind it: when the follower has passed that,
//! the segments that hold what was erased are removed whole.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use ethogram_timeline::record::{Envelope, Source};
use http::{Response, StatusCode};
use serde_json::json;

use super::{Admin, text, typed};

/// An id longer than this is not one of ours; longer ones would only fill the log.
const ID_BYTES_MAX: usize = 1024;

/// Erases one session of an application.
pub(super) async fn session(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response<Body> {
    erase(&admin, "session_id", id, query).await
}

/// Erases one user of an application, with the user's sessions.
pub(super) async fn user(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response<Body> {
    erase(&admin, "user_id", id, query).await
}

async fn erase(
    admin: &Admin,
    what: &'static str,
    id: String,
    mut query: HashMap<String, String>,
) -> Response<Body> {
    if id.is_empty() || id.len() > ID_BYTES_MAX {
        let line = format!("the {what} must have 1 to {ID_BYTES_MAX} bytes");
        return text(StatusCode::BAD_REQUEST, &line);
    }
    let collector = &admin.collector;
    let mut envelope = Envelope::new(Source::Erasure, collector.clock.now_ns());
    if let Some(app) = query.remove("app") {
        envelope.app = app;
    }
    let app = envelope.app.clone();
    match what {
        "session_id" => envelope.erase_session.clone_from(&id),
        _ => envelope.erase_user.clone_from(&id),
    }
    if let Err(refusal) = collector.commit_last(envelope.encode()).await {
        return refusal.http(None, &collector.jitter);
    }
    let answer = json!({
        "erased": { "app": app, what: id },
        "durable": true,
        "rows": "gone from SQL within a second; from the tables' files and the log within seconds, \
                 as soon as the query role has sealed; later arrivals are dropped",
        "remains": "aggregated counts, which name nobody; and the id itself, so that later arrivals \
                    can be told",
    });
    typed(StatusCode::OK, "application/json", answer.to_string())
}
