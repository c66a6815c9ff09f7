//! Connections: accepting them, bounding them, and letting them finish.
//!
//! hyper is driven directly instead of through `axum::serve`, because its timers do nothing
//! unless they are given a clock, and then a client that never finishes its head holds a connection
//! for ever.
//!
//! Invariants: a listener has at most `connections_max` connections, and of one client address at
//! most `connections_per_address_max`, those included that still shake hands; a connection that has not
//! sent a whole request head in time is closed, and so is one that is idle, old, or breaks off what it
//! begins (`life`); nothing a client does reaches the loop that accepts; when told to stop, no new
//! connection is accepted and each open one ends after the requests it has begun.

mod heard;
mod life;
mod seats;
mod tls;

pub(crate) use life::Cut;
pub(crate) use tls::Tls;
pub use tls::TlsError;

use std::any::Any;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tower::Service;
use tower_http::catch_panic::CatchPanicLayer;

use crate::admit::Collector;
use crate::config::LimitsConfig;
use crate::counters::{Door, Full};
use heard::Heard;
use life::{Life, Times, Verdict};
use seats::{Seat, Seats};

/// The address at the other end of the connection, an extension of every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Serves `router` on `listener` until `stop` turns true and the open connections have finished.
/// Dropping the future closes them where they are.
pub(crate) async fn listen(
    door: Door,
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    collector: Arc<Collector>,
    mut stop: watch::Receiver<bool>,
) {
    let limits = &collector.config.limits;
    let router = router.layer(CatchPanicLayer::custom(panicked));
    let builder = Arc::new(builder(door, limits));
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let seats = Arc::new(Seats::new(limits.connections_per_address_max));
    let tls = tls.map(Arc::new);
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
        let connection = Connection {
            door,
            builder: Arc::clone(&builder),
            tls: tls.clone(),
            times: times(&collector),
            broken_off_max: limits.broken_off_max,
            stop: stop.clone(),
            collector: Arc::clone(&collector),
        };
        let router = router.clone();
        connections.spawn(async move {
            connection.run(stream, Peer(peer), router).await;
            drop((permit, seat));
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// A tenth of a second: descriptors come back when connections end, which takes about that long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

fn builder(door: Door, limits: &LimitsConfig) -> Builder<TokioExecutor> {
    let idle = Duration::from_secs(limits.idle_s);
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_buf_size(limits.head_bytes_max as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(idle)
        .max_pending_accept_reset_streams(limits.resets_unseen_max)
        .max_local_error_reset_streams(limits.resets_by_error_max)
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(limits.head_bytes_max);
    if door == Door::Grpc { builder.http2_only() } else { builder }
}

fn times(collector: &Collector) -> Times {
    let limits = &collector.config.limits;
    Times {
        first_request: Duration::from_secs(limits.first_request_s),
        idle: Duration::from_secs(limits.idle_s),
        // Connections that began together, after a restart, must not end together.
        age: collector.jitter.around(Duration::from_secs(limits.connection_age_s)),
        // What a request can take at most, and a second for its answer to leave.
        leave: Duration::from_secs(limits.body_s + limits.commit_s + 1),
    }
}

struct Connection {
    door: Door,
    builder: Arc<Builder<TokioExecutor>>,
    tls: Option<Arc<Tls>>,
    times: Times,
    broken_off_max: u64,
    stop: watch::Receiver<bool>,
    collector: Arc<Collector>,
}

impl Connection {
    async fn run(mut self, stream: TcpStream, peer: Peer, router: Router) {
        let collector = Arc::clone(&self.collector);
        let _open = Open::new(&collector, self.door);
        let begun = Instant::now();
        // Answers are single small writes; waiting to fill a segment only delays them. Where it
        // cannot be set the connection is gone already.
        stream.set_nodelay(true).ok();
        let Some(tls) = self.tls.take() else {
            return self.serve(stream, begun, peer, router).await;
        };
        let handshake = timeout_at(begun + self.times.first_request, tls.accept(stream));
        let shaken = tokio::select! {
            shaken = handshake => shaken,
            _ = self.stop.wait_for(|stop| *stop) => return,
        };
        match shaken {
            Ok(Ok(stream)) => self.serve(stream, begun, peer, router).await,
            Ok(Err(_)) => self.count(Cut::Handshake),
            Err(_) => self.count(Cut::SlowHandshake),
        }
    }

    async fn serve<S>(self, stream: S, begun: Instant, peer: Peer, router: Router)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let life = Life::new(begun, self.times, self.broken_off_max);
        let of_requests = Arc::clone(&life);
        let service = service_fn(move |request: Request<Incoming>| {
            let running = of_requests.request(request.version());
            let mut request = request.map(|body| running.watch(body));
            request.extensions_mut().insert(peer);
            let answer = router.clone().call(request);
            async move {
                let answer = answer.await;
                running.answered();
                answer
            }
        });
        let builder = Arc::clone(&self.builder);
        let stream = Heard::new(stream, Arc::clone(&life));
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut left = None;
        // At once, for the first look says when the next one is due.
        let mut alarm = pin!(tokio::time::sleep_until(begun));
        let (mut stop, mut is_stopping) = (self.stop.clone(), false);
        loop {
            tokio::select! {
                // Errors of a connection are its client's: it broke off, or does not speak HTTP.
                _ = connection.as_mut() => return,
                () = life.abused() => return self.count(Cut::BrokenOff),
                () = alarm.as_mut() => match life.verdict(Instant::now(), left) {
                    Verdict::Wait(until) => alarm.as_mut().reset(until),
                    Verdict::Leave(cut) => {
                        self.count(cut);
                        left = Some(Instant::now());
                        connection.as_mut().graceful_shutdown();
                        alarm.as_mut().reset(Instant::now());
                    }
                    Verdict::End(cut) => return cut.map_or((), |cut| self.count(cut)),
                },
                _ = stop.wait_for(|stop| *stop), if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    fn count(&self, cut: Cut) {
        self.collector.counters.cut(self.door, cut);
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
