//! The query role over HTTP: which path leads where, and what every answer carries.
//!
//! `/` the page · `POST /api/v1/sql` · `GET /api/v1/sessions/{id}/timeline` · `/metrics` ·
//! `/healthz` (the process answers) · `/readyz` (there is a snapshot and it is kept fresh) ·
//! `/status` (for people).
//!
//! It is not the listener ([`crate::listen`]), and knows no one: authentication is a later layer in
//! front of the router, and until then the listener is bound to loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::Guard;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use ethogram_timeline::clock::Clock;
use http::header::{CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use parking_lot::Mutex;
use tower_http::catch_panic::CatchPanicLayer;

use crate::config::Config;
use crate::engine::Engine;
use crate::error::{ApiError, Kind};
use crate::follow::Handle;
use crate::published::{Published, Shared};
use crate::{metrics, page, sql, status, timeline};

/// Scripts and styles are files of ours: text that was recorded can never run on the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// What handlers share.
pub(crate) struct Surface {
    pub(crate) config: Config,
    pub(crate) engine: Engine,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) started_ns: i64,
    pub(crate) refused: Refused,
    shared: Shared,
    /// Taken when the role ends.
    follower: Mutex<Option<Handle>>,
}

impl Surface {
    pub(crate) fn new(
        config: Config,
        engine: Engine,
        (shared, follower): (Shared, Handle),
        clock: Arc<dyn Clock>,
    ) -> Self {
        let started_ns = clock.now_ns();
        let follower = Mutex::new(Some(follower));
        let refused = Refused::default();
        Self { config, engine, clock, started_ns, refused, shared, follower }
    }

    /// What the follower published last. Do not hold it over an await.
    pub(crate) fn published(&self) -> Guard<Arc<Published>> {
        self.shared.load()
    }

    /// True while new records become visible.
    pub(crate) fn follower_alive(&self) -> bool {
        self.follower.lock().as_ref().is_some_and(Handle::is_alive)
    }

    /// Why pollers should not be answered; `None` where they may. SQL answers all the same, and says
    /// how far it is complete.
    pub(crate) fn unready(&self) -> Option<&'static str> {
        if !self.follower_alive() {
            return Some("the follower has ended");
        }
        (!self.published().follower.caught_up).then_some("still reading what was committed before")
    }

    /// The follower, to be stopped; `None` the second time.
    pub(crate) fn take_follower(&self) -> Option<Handle> {
        self.follower.lock().take()
    }
}

/// Requests that were refused since the process began, by whose fault it was.
#[derive(Default)]
pub(crate) struct Refused([AtomicU64; Kind::ALL.len()]);

impl Refused {
    fn count(&self, kind: Kind) {
        self.0[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize].load(Ordering::Relaxed)
    }
}

/// The router of the query role.
pub(crate) fn router(surface: Arc<Surface>) -> Router {
    let routes = Router::new()
        .route("/api/v1/sql", post(sql::post))
        .route("/api/v1/sessions/{id}/timeline", get(timeline::get))
        .route("/metrics", get(metrics::get))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/status", get(status::get))
        .method_not_allowed_fallback(wrong_method)
        .fallback(page::get)
        .layer(axum::middleware::map_response_with_state(Arc::clone(&surface), counted))
        .with_state(surface);
    guarded(routes)
}

/// A panic in a handler ends its own request, and every answer says what browsers must not do with it.
fn guarded(routes: Router) -> Router {
    routes.layer(CatchPanicLayer::custom(panicked)).layer(axum::middleware::map_response(secured))
}

/// Whatever is refused is counted, whichever path refuses it.
async fn counted(State(surface): State<Arc<Surface>>, response: Response) -> Response {
    if let Some(kind) = response.extensions().get::<Kind>() {
        surface.refused.count(*kind);
    }
    response
}

/// The router adds which methods there are.
async fn wrong_method() -> ApiError {
    ApiError::wrong_method()
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(surface): State<Arc<Surface>>) -> Response {
    match surface.unready() {
        None => "ok\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

/// One request's panic is one request's answer.
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message");
    ApiError::internal(&format!("a handler panicked: {message}")).into_response()
}

async fn secured(mut response: Response) -> Response {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // Another site may not read our answers as scripts or images.
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
