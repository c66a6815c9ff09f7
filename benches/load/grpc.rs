//! The same as [`crate::client`] over gRPC: its answers cannot be read without a library.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::client::{HEAD_START, Outcome, Seen, due, wait_until};

const EXPORT: &str = "http://localhost/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Sends so many calls a second for so long.
pub(crate) async fn load(
    address: &str,
    bodies: &Arc<Vec<Bytes>>,
    connections: usize,
    rate: f64,
    time: Duration,
) -> Seen {
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now() + HEAD_START;
    let mut senders = JoinSet::new();
    for _ in 0..connections {
        let (bodies, next) = (Arc::clone(bodies), Arc::clone(&next));
        senders.spawn(send(address.to_string(), bodies, next, rate, began, time));
    }
    let mut seen = Seen::default();
    while let Some(own) = senders.join_next().await {
        seen.add(own.unwrap());
    }
    seen
}

async fn send(
    address: String,
    bodies: Arc<Vec<Bytes>>,
    next: Arc<AtomicU64>,
    rate: f64,
    began: Instant,
    time: Duration,
) -> Seen {
    let mut seen = Seen::default();
    let mut kept = None;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let (due, until) = (due(began, number, Some(rate)), began + time);
        wait_until(due.min(until)).await;
        let sent = Instant::now();
        if due.max(sent) >= until {
            return seen;
        }
        seen.late_us.push(sent.saturating_duration_since(due).as_micros() as u64);
        let body = bodies[number as usize % bodies.len()].clone();
        let outcome = match exchange(&mut kept, &address, body).await {
            Ok(status) if status.code() == Code::Ok => Outcome::Accepted,
            Ok(status) => delay_s(&status).map_or(Outcome::Wrong, Outcome::Refused),
            Err(_) => {
                kept = None;
                Outcome::Broken
            }
        };
        seen.note(outcome, sent, began);
    }
}

/// `RetryInfo{1: Duration{1: seconds}}` ends the details, with seconds below 128.
fn delay_s(status: &Status) -> Option<u64> {
    let details = String::from_utf8_lossy(status.details());
    let is_there = details.contains("google.rpc.RetryInfo");
    status.details().last().filter(|_| is_there).map(|seconds| u64::from(*seconds))
}

/// One call and its status.
async fn exchange(
    kept: &mut Option<SendRequest<Full<Bytes>>>,
    address: &str,
    body: Bytes,
) -> anyhow::Result<Status> {
    // A connection that the server ended meanwhile, as it does with old ones, is replaced.
    let is_usable = match kept.as_mut() {
        Some(sender) => sender.ready().await.is_ok(),
        None => false,
    };
    if !is_usable {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        drop(tokio::spawn(connection));
        *kept = Some(sender);
    }
    let sender = kept.as_mut().context("just connected")?;
    let request = http::Request::post(EXPORT)
        .header("content-type", "application/grpc")
        .header("grpc-encoding", "gzip")
        .body(Full::new(body))?;
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let status = Status::from_header_map(&parts.headers);
    status.or_else(|| Status::from_header_map(&trailers)).context("an answer without a status")
}
