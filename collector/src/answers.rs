//! What senders are told, cell by cell, over real sockets and by both protocols of OTLP: the status, and
//! whether and when to try again. Senders drop what they must not retry, so each cell is a promise.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::admit::Coding;
use crate::counters::Door;
use crate::listen::listen;
use crate::stand::{SPAN, Stand, bomb, traces};
use crate::{grpc, http as http_door};

/// Answers per protocol that are asked for where a delay is told: that eight drawn from thirty are one
/// and the same happens once in twenty thousand million times.
const ASKED: usize = 8;

/// One cell of the table.
struct Cell {
    what: &'static str,
    config: &'static str,
    /// What is wrong with the collector. What is returned keeps it wrong until it is dropped.
    trouble: fn(&Stand) -> Trouble,
    token: Option<&'static str>,
    coding: Coding,
    message: Vec<u8>,
    status: u16,
    code: Code,
    is_retried: bool,
}

/// Lets the log's writer go when dropped.
type Trouble = Option<mpsc::Sender<()>>;

impl Cell {
    fn new(what: &'static str, config: &'static str, status: u16, code: Code) -> Self {
        Self {
            what,
            config,
            trouble: |_| None,
            token: None,
            coding: Coding::Identity,
            message: message(&[SPAN]),
            status,
            code,
            is_retried: false,
        }
    }

    fn sends(self, coding: Coding, message: Vec<u8>) -> Self {
        Self { coding, message, ..self }
    }

    fn shows(self, token: &'static str) -> Self {
        Self { token: Some(token), ..self }
    }

    fn retried(self, trouble: fn(&Stand) -> Trouble) -> Self {
        Self { trouble, is_retried: true, ..self }
    }
}

fn message(spans: &[&str]) -> Vec<u8> {
    let decoded = ethogram_timeline::decode::json::traces(traces(spans).as_bytes());
    decoded.expect("right JSON").encode_to_vec()
}

/// A writer that is held up, as a disk in trouble holds it up: the record before says that it is done
/// only when the test lets it.
fn held_up(stand: &Stand) -> Trouble {
    let (release, released) = mpsc::channel();
    let (reached, holds) = mpsc::channel::<()>();
    stand.collector.log.append(vec![1], move |_| {
        drop(reached);
        released.recv().ok();
    });
    holds.recv().ok();
    Some(release)
}

fn held_up_with_a_queue(stand: &Stand) -> Trouble {
    let release = held_up(stand);
    stand.collector.log.append(vec![1; 64], |_| {});
    release
}

fn filled(stand: &Stand) -> Trouble {
    let is_refused = |bytes: usize| {
        let (told, refused) = mpsc::channel();
        stand.collector.log.append(vec![1; bytes], move |result| {
            told.send(result.is_err()).ok();
        });
        refused.recv().expect("every append is answered")
    };
    for bytes in [64 << 10, 1 << 10, 8] {
        while !is_refused(bytes) {}
    }
    None
}

fn cells() -> Vec<Cell> {
    let small = r#"{"otlp": {"body_bytes_max": 4096}}"#;
    let tokens = r#"{"tokens": [{"id": "team", "token": "right"}]}"#;
    let zeros = || vec![0; 1 << 20];
    let (too_large, bad) = ((413, Code::ResourceExhausted), (400, Code::InvalidArgument));
    let large = |what| Cell::new(what, small, too_large.0, too_large.1);
    let wrong = |what, config| Cell::new(what, config, bad.0, bad.1);
    let known = |what, status, code| Cell::new(what, tokens, status, code);
    let unwell = |what, config| Cell::new(what, config, 503, Code::Unavailable);
    let bad_span = r#"{"traceId":"","spanId":"","name":"bad"}"#;
    vec![
        large("larger than the limit").sends(Coding::Identity, vec![0; 5000]),
        large("larger when inflated").sends(Coding::Gzip, bomb::gzip(&zeros())),
        large("larger when inflated").sends(Coding::Zstd, bomb::zstd(&zeros())),
        Cell::new("costly", r#"{"limits": {"decoded_bytes_max": 100}}"#, too_large.0, too_large.1),
        wrong("not protobuf", "{}").sends(Coding::Identity, vec![0xff; 9]),
        wrong("not gzip", "{}").sends(Coding::Gzip, vec![7; 9]),
        wrong("not zstd", "{}").sends(Coding::Zstd, vec![7; 9]),
        wrong("too many", r#"{"limits": {"records_max": 3}}"#)
            .sends(Coding::Identity, message(&[SPAN; 4])),
        wrong("too deep", "{}").sends(Coding::Identity, bomb::deep_value(33)),
        Cell::new("right", "{}", 200, Code::Ok),
        Cell::new("some bad", "{}", 200, Code::Ok)
            .sends(Coding::Identity, message(&[SPAN, bad_span, bad_span])),
        known("no token", 401, Code::Unauthenticated),
        known("a wrong token", 401, Code::Unauthenticated).shows("wrong"),
        known("a right token", 200, Code::Ok).shows("right"),
        Cell::new(
            "a token's quota",
            r#"{"tokens": [{"id": "team", "token": "right"}],
                "otlp": {"token_bodies_per_second": 1, "token_burst": 1}}"#,
            429,
            Code::ResourceExhausted,
        )
        .shows("right")
        .retried(|stand| {
            // The clock stands still, so the allowance stays used up.
            stand.collector.quota.take_token("team", crate::stand::NOW_NS).expect("the first");
            None
        }),
        unwell("no memory", r#"{"limits": {"in_flight_bytes_max": 10}}"#).retried(|_| None),
        unwell("a full queue", r#"{"log": {"queue_bytes_max": 64}}"#).retried(held_up_with_a_queue),
        unwell(
            "a full log",
            r#"{"log": {"segment_bytes": 1048576, "budget_bytes": 4194304,
            "record_bytes_max": 524288, "frame_bytes_max": 65536}}"#,
        )
        .retried(filled),
        unwell("a log that has ended", "{}").retried(|stand| {
            stand.collector.log.close();
            None
        }),
        unwell("no confirmation", r#"{"limits": {"commit_s": 1}}"#).retried(held_up),
    ]
}

/// One answer, whichever protocol it came by.
#[derive(Debug)]
struct Told {
    status: u16,
    headers: HeaderMap,
    trailers: HeaderMap,
    body: Bytes,
}

impl Told {
    fn grpc(&self) -> Status {
        let status = Status::from_header_map(&self.headers);
        status.or_else(|| Status::from_header_map(&self.trailers)).expect("a gRPC status")
    }

    /// The seconds of `Retry-After`, or those of `RetryInfo`.
    fn delay_s(&self) -> Option<i64> {
        let header = self.headers.get(http::header::RETRY_AFTER);
        let header = header.map(|value| value.to_str().expect("text").parse().expect("a number"));
        header.or_else(|| {
            let status = Status::from_header_map(&self.headers)?;
            crate::admit::retry_info_s(status.details())
        })
    }
}

/// The OTLP doors of a stand on real sockets.
struct Doors {
    http: SocketAddr,
    grpc: SocketAddr,
    running: JoinSet<()>,
    _stop: watch::Sender<bool>,
}

async fn open(stand: &Stand) -> Doors {
    let bind = async || TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (http, grpc) = (bind().await, bind().await);
    let address = |listener: &TcpListener| listener.local_addr().expect("it is bound");
    let addresses = (address(&http), address(&grpc));
    let (stop, stopped) = watch::channel(false);
    let mut running = JoinSet::new();
    let shared = || Arc::clone(&stand.collector);
    let router = http_door::router(&stand.collector);
    running.spawn(listen(Door::Http, http, None, router, shared(), stopped.clone()));
    let router = grpc::router(&stand.collector);
    running.spawn(listen(Door::Grpc, grpc, None, router, shared(), stopped));
    Doors { http: addresses.0, grpc: addresses.1, running, _stop: stop }
}

async fn ask(
    address: SocketAddr,
    is_grpc: bool,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
) -> Told {
    let stream = TokioIo::new(TcpStream::connect(address).await.expect("it listens"));
    let path = if is_grpc { GRPC_PATH } else { "/v1/traces" };
    let mut request = http::Request::post(format!("http://localhost{path}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::from(body))).expect("a request");
    let response = if is_grpc {
        let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await;
        let (mut sender, connection) = shaken.expect("HTTP/2");
        tokio::spawn(connection);
        sender.send_request(request).await
    } else {
        let shaken = hyper::client::conn::http1::handshake(stream).await;
        let (mut sender, connection) = shaken.expect("HTTP/1.1");
        tokio::spawn(connection);
        sender.send_request(request).await
    };
    let (parts, body) = response.expect("an answer").into_parts();
    let collected = body.collect().await.expect("a whole answer");
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let (status, headers) = (parts.status.as_u16(), parts.headers);
    Told { status, headers, trailers, body: collected.to_bytes() }
}

const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Asks at both doors, `times` each and all at once.
async fn ask_both(doors: &Doors, cell: &Cell, times: usize) -> [Vec<Told>; 2] {
    let coding = match cell.coding {
        Coding::Identity => "identity",
        Coding::Gzip => "gzip",
        Coding::Zstd => "zstd",
    };
    let headers = |is_grpc: bool| {
        let (media_type, encoding) = if is_grpc {
            ("application/grpc", "grpc-encoding")
        } else {
            ("application/x-protobuf", "content-encoding")
        };
        let mut headers = vec![("content-type", String::from(media_type))];
        headers.push((encoding, String::from(coding)));
        headers.extend(cell.token.map(|token| ("authorization", format!("Bearer {token}"))));
        headers
    };
    let mut framed = vec![u8::from(cell.coding != Coding::Identity)];
    framed.extend(u32::try_from(cell.message.len()).expect("small").to_be_bytes());
    framed.extend(&cell.message);
    let mut asked = JoinSet::new();
    for _ in 0..times {
        let http = ask(doors.http, false, headers(false), cell.message.clone());
        asked.spawn(async move { (false, http.await) });
        let grpc = ask(doors.grpc, true, headers(true), framed.clone());
        asked.spawn(async move { (true, grpc.await) });
    }
    let (grpc, http): (Vec<_>, Vec<_>) =
        asked.join_all().await.into_iter().partition(|(is_grpc, _)| *is_grpc);
    [http, grpc].map(|told| told.into_iter().map(|(_, told)| told).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cell_by_both_protocols() {
    for cell in cells() {
        let stand = Stand::new(cell.config);
        let trouble = (cell.trouble)(&stand);
        let doors = open(&stand).await;
        let times = if cell.is_retried { ASKED } else { 1 };
        let answers = ask_both(&doors, &cell, times).await;
        for (protocol, answers) in ["HTTP", "gRPC"].into_iter().zip(&answers) {
            let case = format!("{} by {protocol}: {answers:?}", cell.what);
            for told in answers {
                let status = if protocol == "HTTP" { cell.status } else { 200 };
                assert_eq!(told.status, status, "{case}");
                assert!(protocol == "HTTP" || told.grpc().code() == cell.code, "{case}");
                assert_eq!(told.delay_s().is_some(), cell.is_retried, "{case}");
            }
            let delays: Vec<i64> = answers.iter().filter_map(Told::delay_s).collect();
            assert!(delays.iter().all(|delay| (1..=30).contains(delay)), "{case}");
            let different = BTreeSet::from_iter(&delays).len();
            assert!(!cell.is_retried || different > 1, "{case}");
        }
        if cell.what == "some bad" {
            let [http, grpc] = answers;
            for body in [&http[0].body[..], &grpc[0].body[5..]] {
                let answer = ExportTraceServiceResponse::decode(body).expect("an answer");
                assert_eq!(answer.partial_success.map(|some| some.rejected_spans), Some(2));
            }
        }
        drop(trouble);
        drop(doors.running);
    }
}

/// A body of which nothing comes.
struct Silent;

impl http_body::Body for Silent {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }
}

/// A body that stops coming is answered as one that may be sent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops_coming_may_be_sent_again() {
    let stand = Stand::new(r#"{"limits": {"body_grace_s": 1}}"#);
    let doors = open(&stand).await;
    let mut stream = TcpStream::connect(doors.http).await.expect("it listens");
    let head = "POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                Content-Length: 900000\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.expect("it is read");
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(answer.starts_with("http/1.1 503"), "{answer}");
    assert!(answer.contains("\r\nretry-after: "), "{answer}");

    let stream = TokioIo::new(TcpStream::connect(doors.grpc).await.expect("it listens"));
    let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await;
    let (mut sender, connection) = shaken.expect("HTTP/2");
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://localhost{GRPC_PATH}"))
        .header("content-type", "application/grpc");
    let response = sender.send_request(request.body(Silent).expect("a request")).await;
    let status = Status::from_header_map(response.expect("an answer").headers()).expect("a status");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(crate::admit::retry_info_s(status.details()).is_some(), "{status}");
}
