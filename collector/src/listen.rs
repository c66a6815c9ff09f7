//! Connections: accepting them, bounding them, and letting them finish.
//!
//! hyper is driven directly instead of through `axum::serve`, because its timers do nothing
//! unless they are given a clock, and then a client that never finishes its head holds a connection
//! for ever.
//!
//! Invariants: a listener has at most `connections_max` connections, and of one client address at
//! most `connections_per_address_max`; a connection that has not
//! sent a whole request head in time is closed; when told to stop, no new connection is accepted
//! and each open one ends after the requests it has begun.

mod seats;

use std::any::Any;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::Service;
use tower_http::catch_panic::CatchPanicLayer;

use crate::admit::Collector;
use crate::config::LimitsConfig;
use crate::counters::{Door, Full};
use seats::{Seat, Seats};

/// The address at the other end of the connection, an extension of every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Serves `router` on `listener` until `stop` turns true and the open connections have finished.
/// Dropping the future closes them where they are.
pub(crate) async fn listen(
    door: Door,
    listener: TcpListener,
    router: Router,
    collector: Arc<Collector>,
    mut stop: watch::Receiver<bool>,
) {
    let limits = &collector.config.limits;
    let router = router.layer(CatchPanicLayer::custom(panicked));
    let builder = Arc::new(builder(door, limits));
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let seats = Arc::new(Seats::new(limits.connections_per_address_max));
    let first_request_max = Duration::from_secs(limits.first_request_s);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: some close soon, until then do not spin.
                tracing::warn!(door = door.name(), %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // What is refused is closed as it goes out of scope.
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            collector.counters.refuse_connection(door, Full::Listener);
            continue;
        };
        let is_exempt = collector.proxies.trusts(peer.ip());
        let Some(seat) = Seat::take(&seats, peer.ip(), is_exempt) else {
            collector.counters.refuse_connection(door, Full::Address);
            continue;
        };
        let connection =
            Connection { builder: Arc::clone(&builder), first_request_max, stop: stop.clone() };
        let (router, collector) = (router.clone(), Arc::clone(&collector));
        connections.spawn(async move {
            let open = Open::new(&collector, door);
            connection.serve(stream, Peer(peer), router).await;
            drop((open, permit, seat));
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// A tenth of a second: descriptors come back when connections end, which takes about that long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Request heads beyond this are refused: a traceparent, a token and cookies fit ten times over.
const HEAD_BYTES_MAX: u32 = 64 << 10;

fn builder(door: Door, limits: &LimitsConfig) -> Builder<TokioExecutor> {
    let idle = Duration::from_secs(limits.idle_s);
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_buf_size(HEAD_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(idle)
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(HEAD_BYTES_MAX);
    if door == Door::Grpc { builder.http2_only() } else { builder }
}

struct Connection {
    builder: Arc<Builder<TokioExecutor>>,
    first_request_max: Duration,
    stop: watch::Receiver<bool>,
}

impl Connection {
    async fn serve(mut self, stream: TcpStream, peer: Peer, router: Router) {
        // Answers are single small writes; waiting to fill a segment only delays them. Where it
        // cannot be set the connection is gone already.
        stream.set_nodelay(true).ok();
        let has_begun = Arc::new(AtomicBool::new(false));
        let begun = Arc::clone(&has_begun);
        let service = service_fn(move |request: Request<Incoming>| {
            begun.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            router.clone().call(request)
        });
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        let mut patience = pin!(tokio::time::sleep(self.first_request_max));
        let (mut is_patient, mut is_stopping) = (true, false);
        loop {
            tokio::select! {
                // Errors of a connection are its client's: it broke off, or does not speak HTTP.
                _ = connection.as_mut() => return,
                () = patience.as_mut(), if is_patient => {
                    is_patient = false;
                    if !has_begun.load(Ordering::Relaxed) {
                        return;
                    }
                }
                _ = self.stop.wait_for(|stop| *stop), if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Counts a connection for as long as it lives.
struct Open<'a> {
    collector: &'a Collector,
    door: Door,
}

impl<'a> Open<'a> {
    fn new(collector: &'a Collector, door: Door) -> Self {
        collector.counters.connection(door, 1);
        Self { collector, door }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.collector.counters.connection(self.door, -1);
    }
}

/// The last resort: panics of decoding are caught, counted and answered on the path behind the
/// doors. gRPC clients read this status as UNKNOWN, which is not retried.
fn panicked(_: Box<dyn Any + Send>) -> Response<Body> {
    tracing::error!("a request could not be handled because of a defect");
    let mut response = Response::new(Body::from("a defect in the collector\n"));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
