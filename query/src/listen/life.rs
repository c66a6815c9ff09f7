//! How long one connection may do nothing.
//!
//! A client that connects and says nothing, or stops to ask, holds one of few connections. The HTTP
//! library has a time for heads, but none before it knows which protocol is spoken, and none between
//! requests of HTTP/2. Here what counts is requests: whatever else passes keeps no connection alive.
//!
//! Invariant: a connection is not over while a request of it is being answered; the time in which the
//! answer is sent is for the caller to add to `idle`.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::HttpBody;
use axum::response::Response;
use axum::{BoxError, Router};
use bytes::Bytes;
use http::Request;
use parking_lot::Mutex;
use tokio::time::Instant;

/// The times of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// From its beginning to its first request.
    pub(super) first_request: Duration,
    /// Without a request.
    pub(super) idle: Duration,
}

/// What one connection has done so far.
#[derive(Debug)]
pub(super) struct Life {
    times: Times,
    running: AtomicUsize,
    /// When it is over, unless a request comes.
    over_at: Mutex<Instant>,
}

impl Life {
    /// A connection that begins.
    pub(super) fn new(begun: Instant, times: Times) -> Arc<Self> {
        let over_at = Mutex::new(begun + times.first_request);
        Arc::new(Self { times, running: AtomicUsize::new(0), over_at })
    }

    /// Completes when the connection has done nothing for too long.
    pub(super) async fn over(&self) {
        loop {
            let now = Instant::now();
            let over_at = if self.running.load(Ordering::SeqCst) > 0 {
                now + self.times.idle
            } else {
                *self.over_at.lock()
            };
            if over_at <= now {
                return;
            }
            tokio::time::sleep_until(over_at).await;
        }
    }

    /// A request begins. It has ended when what is returned is dropped.
    fn request(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::SeqCst);
        Running(Arc::clone(self))
    }
}

/// A request that is being answered.
struct Running(Arc<Life>);

impl Drop for Running {
    fn drop(&mut self) {
        // In this order: who sees that none runs must see the new time.
        *self.0.over_at.lock() = Instant::now() + self.0.times.idle;
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A router whose requests are counted as one connection's.
#[derive(Clone)]
pub(super) struct Counted {
    router: Router,
    life: Arc<Life>,
}

impl Counted {
    pub(super) fn new(router: Router, life: Arc<Life>) -> Self {
        Self { router, life }
    }
}

impl<B> tower::Service<Request<B>> for Counted
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A router is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let running = self.life.request();
        let answer = tower::Service::call(&mut self.router, request);
        Box::pin(async move {
            let answer = answer.await;
            drop(running);
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times =
        Times { first_request: Duration::from_secs(10), idle: Duration::from_secs(150) };

    async fn is_over_within(life: &Life, seconds: u64) -> bool {
        tokio::time::timeout(Duration::from_secs(seconds), life.over()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_nothing_is_over_soon() {
        let life = Life::new(Instant::now(), TIMES);
        assert!(!is_over_within(&life, 9).await);
        assert!(is_over_within(&life, 2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_is_over_long_after_the_answer() {
        let life = Life::new(Instant::now(), TIMES);
        let running = life.request();
        assert!(!is_over_within(&life, 1_000).await, "it is being answered");
        let other = life.request();
        drop(running);
        assert!(!is_over_within(&life, 1_000).await, "another one is");
        drop(other);
        assert!(!is_over_within(&life, 149).await);
        assert!(is_over_within(&life, 2).await);
    }
}
