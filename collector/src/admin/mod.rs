//! What the role says about itself: health, status, metrics. On loopback, for operators.
//!
//! What is read here never waits for the disk: an operator must get an answer when the disk does
//! not. Only an erasure does, since it is answered when it is durable.

mod erase;
mod metrics;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::routing::{delete, get};
use ethogram_timeline::log::Recovery;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::admit::Collector;
use metrics::Format;

/// Whether the role takes in data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It does.
    Serving,
    /// It has been told to stop, and finishes what it has begun.
    Draining,
}

/// What the admin's door can tell.
pub(crate) struct Admin {
    collector: Arc<Collector>,
    recovery: Recovery,
    phase: watch::Receiver<Phase>,
}

impl Admin {
    pub(crate) fn new(
        collector: &Arc<Collector>,
        recovery: Recovery,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        Self { collector: Arc::clone(collector), recovery, phase }
    }

    /// Why the role is not ready; `None` where it is.
    fn obstacle(&self) -> Option<&'static str> {
        if self.collector.log.stats().failed {
            return Some("the log has failed; the process is about to end");
        }
        (*self.phase.borrow() == Phase::Draining)
            .then_some("stopping; no new connections are accepted")
    }

    fn status(&self) -> Value {
        let Collector { config, log, geo, budget, clock, .. } = &*self.collector;
        let obstacle = self.obstacle();
        let stats = log.stats();
        json!({
            "role": "collector",
            "version": env!("CARGO_PKG_VERSION"),
            "ready": obstacle.is_none(),
            "obstacle": obstacle,
            "committed": log.committed(),
            "log": &stats,
            "log_budget": {
                "bytes": stats.bytes,
                "bytes_max": config.log.budget_bytes,
                "used": stats.bytes as f64 / config.log.budget_bytes as f64,
            },
            "clock": {
                "log_time_ns": clock.now_ns(),
                "steps": clock.steps(),
            },
            "recovery": self.recovery,
            "geo": {
                "sources": geo.sources().collect::<Vec<_>>(),
                "embedded": config.geo.embedded && config.geo.databases.is_empty(),
                "regions": config.geo.regions.len(),
            },
            "counts": self.counts(),
            "in_flight_bytes": budget.used(),
            "limits": {
                "all": config.limits,
                "beacon": config.beacon,
                "otlp": config.otlp,
                "log": config.log,
            },
            "keys": config.keys.iter().map(|key| &key.id).collect::<Vec<_>>(),
            "tokens": config.tokens.iter().map(|token| &token.id).collect::<Vec<_>>(),
        })
    }

    /// What came in, what was accepted, and what was not and why, as one tree.
    fn counts(&self) -> Value {
        let values = self.collector.counters.read();
        let mut refused = Map::new();
        for (reason, door, count) in &values.refused {
            refused.entry(reason.name()).or_insert_with(|| json!({}))[door.name()] = json!(count);
        }
        let (mut rejected, mut shortened) = (Map::new(), Map::new());
        for (tree, cells) in
            [(&mut rejected, &values.rejected), (&mut shortened, &values.shortened)]
        {
            for (kind, reason, count) in cells {
                tree.entry(kind.name()).or_insert_with(|| json!({}))[*reason] = json!(count);
            }
        }
        let accepted: Map<_, _> = values
            .accepted
            .iter()
            .map(|(kind, count)| (String::from(kind.name()), json!(count)))
            .collect();
        let mut doors = Map::new();
        for (index, (door, requests)) in values.requests.iter().enumerate() {
            let refused = values.connections_refused[index].1;
            let connections_refused: u64 = refused.iter().map(|(_, count)| count).sum();
            let door_counts = json!({
                "requests": requests,
                "connections": values.connections[index].1,
                "connections_refused": connections_refused,
            });
            doors.insert(String::from(door.name()), door_counts);
        }
        json!({
            "doors": doors,
            "records_accepted": accepted,
            "records_rejected": rejected,
            "records_shortened": shortened,
            "requests_refused": refused,
            "body_bytes": values.body_bytes,
            "ticks_refused": values.ticks_refused,
        })
    }
}

/// The paths of this door.
pub(crate) fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/healthz", get(async || text(StatusCode::OK, "ok")))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .route("/metrics", get(metrics_page))
        .route("/api/v1/sessions/{id}", delete(erase::session))
        .route("/api/v1/users/{id}", delete(erase::user))
        .fallback(unknown_path)
        .layer(from_fn(allowed_only))
        .with_state(admin)
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response<Body> {
    match admin.obstacle() {
        None => text(StatusCode::OK, "ready"),
        Some(obstacle) => text(StatusCode::SERVICE_UNAVAILABLE, obstacle),
    }
}

async fn status(State(admin): State<Arc<Admin>>) -> Response<Body> {
    typed(StatusCode::OK, "application/json", admin.status().to_string())
}

async fn metrics_page(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response<Body> {
    let accept =
        headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    typed(StatusCode::OK, format.media_type(), metrics::page(&admin.collector, format))
}

async fn unknown_path() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "there is nothing here; try /healthz, /readyz, /status, /metrics")
}

/// The paths that are read.
const READ: [&str; 4] = ["/healthz", "/readyz", "/status", "/metrics"];

/// Below these stands what can be erased.
const ERASED: [&str; 2] = ["/api/v1/sessions/", "/api/v1/users/"];

/// Whether this may be what stands behind one of [`ERASED`].
fn is_id(rest: &str) -> bool {
    !rest.is_empty() && !rest.contains('/')
}

/// What a path does not allow is said with what it does, and whoever tries should read why.
async fn allowed_only(request: Request, next: Next) -> Response<Body> {
    let (path, method) = (request.uri().path(), request.method());
    let (is_allowed, allowed, why) = if READ.contains(&path) {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        (reads, "GET, HEAD", "only GET is allowed here")
    } else if ERASED.iter().filter_map(|erased| path.strip_prefix(erased)).any(is_id) {
        (*method == Method::DELETE, "DELETE", "only DELETE is allowed here, which erases")
    } else {
        (true, "", "")
    };
    if is_allowed {
        return next.run(request).await;
    }
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, why);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

fn text(status: StatusCode, line: &str) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", format!("{line}\n"))
}

fn typed(status: StatusCode, media_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
