//! The whole role over real sockets.

use std::path::Path;

use ethogram_timeline::clock::FixedClock;
use ethogram_timeline::decode;
use ethogram_timeline::log::{LogConfig, LogReader};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::codec::CompressionEncoding;

use super::*;
use crate::stand::{EVENT, NOW_NS, SPAN, logs, traces};

struct Running {
    admin: SocketAddr,
    beacon: SocketAddr,
    otlp_grpc: SocketAddr,
    stop: oneshot::Sender<()>,
    role: JoinHandle<Result<(), CollectorError>>,
}

async fn listener(address: &str) -> TcpListener {
    TcpListener::bind(address).await.expect("a free port")
}

async fn start(config: Config, directory: &Path, services: &str) -> Running {
    let listeners = Listeners {
        admin: listener("127.0.0.1:0").await,
        beacon: listener("127.0.0.1:0").await,
        otlp_grpc: listener(services).await,
        otlp_http: listener("127.0.0.1:0").await,
    };
    let address = |listener: &TcpListener| listener.local_addr().expect("a bound listener");
    let (admin, beacon) = (address(&listeners.admin), address(&listeners.beacon));
    let otlp_grpc = address(&listeners.otlp_grpc);
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move {
        stopped.await.ok();
    };
    let clock = Arc::new(FixedClock::new(NOW_NS));
    let role = tokio::spawn(serve(
        config,
        directory.to_path_buf(),
        listeners,
        clock,
        Pressure::default(),
        shutdown,
    ));
    Running { admin, beacon, otlp_grpc, stop, role }
}

/// Sends `request` and reads until the other end closes.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the listener is open");
    stream.write_all(request.as_bytes()).await.expect("the request is small");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    String::from_utf8(answer).expect("text")
}

fn envelopes(directory: &Path) -> Vec<Envelope> {
    let path = directory.join("log");
    let (log, _) =
        LogWriter::open(&path, LogConfig::default()).expect("nobody holds the log any more");
    let mut reader = LogReader::open(&path, None).expect("the log can be read");
    let records = reader.read(log.committed(), u64::MAX).expect("the log is whole");
    records.iter().map(|record| Envelope::decode(&record.payload).expect("our record")).collect()
}

#[tokio::test]
async fn what_is_answered_is_in_the_log_after_the_role_has_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = start(Config::default(), directory.path(), "127.0.0.1:0").await;
    let answer =
        exchange(running.admin, "GET /readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let body = logs(&[EVENT]);
    let request = format!(
        "POST /v1/ethogram?key=local HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: text/plain\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(running.beacon, &request).await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    // A connection that sends nothing does not hold up the end.
    let silent = TcpStream::connect(running.beacon).await.expect("the listener is open");
    running.stop.send(()).expect("the role waits for it");
    running.role.await.expect("no panic").expect("an orderly end");
    drop(silent);
    let envelopes = envelopes(directory.path());
    assert_eq!(envelopes.iter().filter(|envelope| envelope.source == Source::Beacon).count(), 1);
    let tick = envelopes
        .iter()
        .find(|envelope| envelope.source == Source::Tick)
        .expect("a tick at the start");
    assert_eq!(tick.received_ns, NOW_NS);
    assert!(tick.counters.iter().any(|(name, _)| name == "requests.beacon"));
}

/// Our framing, judged by a client that is not ours.
#[tokio::test]
async fn a_grpc_client_understands_the_answers() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = start(Config::default(), directory.path(), "127.0.0.1:0").await;
    let address = format!("http://{}", running.otlp_grpc);
    for coding in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
        let client = TraceServiceClient::connect(address.clone()).await.expect("a connection");
        let mut client = match coding {
            Some(coding) => client.send_compressed(coding),
            None => client,
        };
        let bad = r#"{"traceId":"","spanId":"","name":"bad"}"#;
        let batch = |spans: &[&str]| decode::json::traces(traces(spans).as_bytes()).expect("JSON");
        let answer = client.export(batch(&[SPAN])).await.expect("success").into_inner();
        assert_eq!(answer.partial_success, None, "{coding:?}");
        let answer = client.export(batch(&[SPAN, bad])).await.expect("success").into_inner();
        assert_eq!(answer.partial_success.expect("a bad one").rejected_spans, 1, "{coding:?}");
        let group = ResourceSpans {
            scope_spans: vec![ScopeSpans::default(); 65_537],
            ..ResourceSpans::default()
        };
        let many = ExportTraceServiceRequest { resource_spans: vec![group] };
        let refusal = client.export(many).await.expect_err("too many");
        assert_eq!(refusal.code(), tonic::Code::InvalidArgument, "{refusal}");
        assert!(refusal.message().contains("scopes"), "{refusal}");
    }
    running.stop.send(()).expect("the role waits for it");
    running.role.await.expect("no panic").expect("an orderly end");
    let stored = envelopes(directory.path());
    assert_eq!(stored.iter().filter(|envelope| envelope.source == Source::Otlp).count(), 6);
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = Config::default();
    config.limits.first_request_s = 1;
    let running = start(config, directory.path(), "127.0.0.1:0").await;
    assert_eq!(exchange(running.beacon, "POST /v1/bea").await, "");
    running.stop.send(()).expect("the role waits for it");
    running.role.await.expect("no panic").expect("an orderly end");
}

/// Loopback is exempt as the default proxy; without that it is an address like any other.
#[tokio::test]
async fn one_address_cannot_take_every_connection() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = Config::default();
    config.limits.connections_per_address_max = 3;
    config.limits.first_request_s = 600;
    config.proxy.trusted.clear();
    let running = start(config, directory.path(), "127.0.0.1:0").await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(running.beacon).await.expect("the listener is open"));
    }
    let mut fourth = TcpStream::connect(running.beacon).await.expect("the listener is open");
    let closed = fourth.read_to_end(&mut Vec::new()).await;
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    // Each listener counts for itself, and this one says what happened.
    let request = "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let page = exchange(running.admin, request).await;
    let sample =
        "ethogram_collector_connections_refused_total{reason=\"address\",door=\"beacon\"} 1\n";
    assert!(page.contains(sample), "{page}");
    drop(silent);
    running.stop.send(()).expect("the role waits for it");
    running.role.await.expect("no panic").expect("an orderly end");
}

#[tokio::test]
async fn open_services_without_tokens_do_not_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = start(Config::default(), directory.path(), "0.0.0.0:0").await;
    let error = running.role.await.expect("no panic").expect_err("tokens are missing");
    assert!(error.to_string().contains("--otlp-grpc-listen"), "{error}");
}
