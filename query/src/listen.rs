//! Connections: accepting them, limiting them, and letting them end.
//!
//! A client that dawdles over its header or asks nothing is cut off; one connection too many waits to be
//! accepted. At the end no new connection is taken, open requests may finish, and what does not is
//! dropped.
//!
//! It is not the router: it does not know what is asked.

mod life;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use crate::config::HttpConfig;
use life::{Counted, Life, Times};

/// The least that a buffer of HTTP/1 may have: the library reads that much at once.
const BUFFER_BYTES_MIN: usize = 8 << 10;

/// Seconds between HTTP/2 pings: a peer that is gone is noticed within two of them.
const PING_SECONDS: u64 = 30;

/// How long accepting rests after it failed: running out of file descriptors ends only when
/// connections end, and trying again at once would burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Time for a client to say goodbye once it has been told to: a round trip round the world, twice.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves `router` until `shutdown`, then lets open requests end.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    config: &HttpConfig,
    shutdown: impl Future<Output = ()> + Send,
) {
    let connections_max = config.connections_max.clamp(1, Semaphore::MAX_PERMITS >> 3);
    let open = Arc::new(Semaphore::new(connections_max));
    let builder = builder(config);
    let times = Times {
        first_request: Duration::from_secs(config.header_seconds),
        // Whoever receives an answer asks nothing meanwhile.
        idle: Duration::from_secs(config.idle_seconds.max(config.answer_seconds)),
    };
    let (stop, stopping) = watch::channel(false);
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept(&listener, &open) => accepted,
        };
        let Some((stream, permit)) = accepted else { continue };
        let life = Life::new(Instant::now(), times);
        let counted = Counted::new(router.clone(), Arc::clone(&life));
        let connection = connection(builder.clone(), stream, counted, life, stopping.clone());
        tokio::spawn(async move {
            connection.await;
            drop(permit);
        });
    }
    drop(listener);
    stop.send_replace(true);
    let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
    let drained =
        tokio::time::timeout(Duration::from_secs(config.drain_seconds), open.acquire_many(all));
    if drained.await.is_err() {
        tracing::warn!("requests were still open at the end");
    }
}

fn builder(config: &HttpConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let buffer_bytes = usize::try_from(config.header_bytes_max).unwrap_or(usize::MAX);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(config.header_seconds))
        .max_headers(config.headers_max)
        .max_buf_size(buffer_bytes.max(BUFFER_BYTES_MIN));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.streams_max)
        .max_header_list_size(config.header_bytes_max)
        .keep_alive_interval(Duration::from_secs(PING_SECONDS));
    builder
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    open: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(open).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _peer)) => Some((stream, permit)),
        Err(error) => {
            tracing::warn!(%error, "a connection was not accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(
    builder: auto::Builder<TokioExecutor>,
    stream: TcpStream,
    router: Counted,
    life: Arc<Life>,
    mut stopping: watch::Receiver<bool>,
) {
    // Answers are small and somebody waits for them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // What `wait_for` answers holds a lock; it must not live on while the connection ends.
    let told_to_stop = async { drop(stopping.wait_for(|stop| *stop).await) };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told_to_stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = life.over() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(FAREWELL, connection).await {
                Ok(ended) => ended,
                Err(_elapsed) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests;
