//! Connections that want to stay: slow ones, idle ones, old ones. Each ends in its time, and who has
//! something to say is heard meanwhile.
//!
//! Times are printed, and held in the long form: elsewhere how long an answer takes is the machine's affair.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::descriptors;
use crate::frames::Connection;
use crate::harness::otlp::server_span;
use crate::harness::{Ethogram, is_held, wait_for};
use crate::served::{self, SERVICE, Took, posts};
use crate::watch::Watch;

/// Two thousand connections that drip their head and five hundred that drip their body.
const SLOW: u64 = 2_500;

/// The longest life of a connection that says nothing of use: ten seconds for its first request or
/// fifteen for a body, and what a full machine adds.
const LIFE_MAX: Duration = Duration::from_secs(20);

/// Connections that say nothing, all of one address.
const IDLE: u64 = 10_000;

/// One connection that drips: a byte in its body or its head, now and then, for as long as it may.
/// Answers how long that was.
async fn drip(address: String, is_body: bool, connected: Arc<AtomicU64>) -> Duration {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    connected.fetch_add(1, Ordering::Relaxed);
    let begun = Instant::now();
    let head: &[u8] = if is_body {
        b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
          Content-Length: 60000\r\n\r\n"
    } else {
        b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nX: "
    };
    drop(stream.write_all(head).await);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut answer = [0; 1024];
    loop {
        tokio::select! {
            read = stream.read(&mut answer) => if matches!(read, Ok(0) | Err(_)) {
                return begun.elapsed();
            },
            _ = second.tick() => if stream.write_all(b" ").await.is_err() {
                return begun.elapsed();
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_ones_end_and_others_are_served() {
    let _room = descriptors::for_connections(SLOW).await;
    let ethogram = Ethogram::start(&[]);
    let address = &ethogram.at.otlp_http;
    let watch = Watch::role(&ethogram, "collector");
    // Held to a factor, what goes on beside them must be the same: a follower that has thousands of spans
    // to read, too.
    let quiet_posts = if is_held() { 10_000 } else { 500 };
    let quiet = posts(address, 1, |number| number <= quiet_posts);
    let connected = Arc::<AtomicU64>::default();
    let mut drips = JoinSet::new();
    for index in 0..SLOW {
        drips.spawn(drip(address.clone(), index % 5 == 0, Arc::clone(&connected)));
    }
    let all = tokio::spawn(tokio::time::timeout(Duration::from_secs(120), drips.join_all()));
    // To connect so many is this test's own work; what is compared begins after it.
    let next = 1 + quiet.count();
    let meanwhile = posts(address, next, |_| connected.load(Ordering::Relaxed) < SLOW);
    let busy = posts(address, next + meanwhile.count(), |_| !all.is_finished());
    let lived = all.await.expect("no panic").expect("all of them end");
    let longest = lived.into_iter().max().expect("some");
    eprintln!(
        "{SLOW} slow connections: the last ended after {longest:.1?}; {} KiB more resident, {} ms of CPU",
        watch.grown_bytes() >> 10,
        watch.used_ms()
    );
    served::hold("slow connections", &quiet, &busy);
    assert!(!is_held() || longest <= LIFE_MAX, "a slow connection lived for {longest:?}");
    let grown = watch.grown_bytes();
    assert!(grown <= 128 << 20, "{grown} bytes for {SLOW} connections");
    let metrics = ethogram.get(&ethogram.at.admin, "/metrics").text();
    let bodies = SLOW / 5;
    for (sample, expected) in [
        ("connections_ended_total{reason=\"first_request\",door=\"otlp_http\"}", SLOW - bodies),
        ("refused_total{reason=\"slow_body\",door=\"otlp_http\"}", bodies),
    ] {
        let line = format!("ethogram_collector_{sample} {expected}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    let posted = quiet.count() + meanwhile.count() + busy.count();
    let sql = format!("SELECT count(*) FROM spans WHERE service = '{SERVICE}'");
    ethogram.wait_for_value(&sql, posted);
}

/// Posts a span from another address of this machine.
async fn post_from(source: Ipv4Addr, address: &str) -> String {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((source, 0))).expect("all of 127/8 is ours");
    let address = address.parse().expect("an address");
    let mut stream = socket.connect(address).await.expect("it listens");
    let body = server_span("other", 1).to_string();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.expect("it is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer.lines().next().unwrap_or_default().to_owned()
}

/// Posts from another address, one after the other, each over a connection of its own.
async fn posts_from(source: Ipv4Addr, address: &str, count: usize) -> Took {
    let mut took = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        assert_eq!(post_from(source, address).await, "HTTP/1.1 200 OK");
        took.push(begun.elapsed());
    }
    Took::new(took)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_take_every_connection() {
    let _room = descriptors::for_connections(IDLE).await;
    let ethogram = Ethogram::start(&[
        "--collector-proxy-trusted=[]",
        "--collector-limits-first-request-s=600",
    ]);
    let address = &ethogram.at.otlp_http;
    let other = Ipv4Addr::new(127, 0, 0, 2);
    let quiet = posts_from(other, address, 300).await;
    let watch = Watch::role(&ethogram, "collector");
    let before = watch.descriptors();
    let (mut idle, mut highest) = (Vec::new(), 0);
    for index in 0..IDLE {
        idle.push(TcpStream::connect(address).await.expect("the system accepts for it"));
        if index % 1_000 == 0 {
            assert_eq!(post_from(other, address).await, "HTTP/1.1 200 OK");
            highest = highest.max(watch.descriptors());
        }
    }
    let refused = format!(
        "ethogram_collector_connections_refused_total{{reason=\"address\",door=\"otlp_http\"}} {}\n",
        IDLE - 64
    );
    let open = "ethogram_collector_connections{door=\"otlp_http\"} 64\n";
    wait_for("all but 64 to be refused", || {
        let metrics = ethogram.get(&ethogram.at.admin, "/metrics").text();
        (metrics.contains(&refused) && metrics.contains(open)).then_some(())
    });
    highest = highest.max(watch.descriptors());
    let busy = posts_from(other, address, 300).await;
    served::hold("idle connections", &quiet, &busy);
    eprintln!(
        "{IDLE} idle connections of one address: {before} descriptors before, {highest} at most; \
         {} KiB more resident, {} ms of CPU",
        watch.grown_bytes() >> 10,
        watch.used_ms()
    );
    // Those being closed just now count as well: some hundreds where the machine is busy.
    assert!(highest < before + 64 + 1_000, "{before} {highest}");
    drop(idle);
}

/// A client that answers every ping but asks nothing is told to leave, and so is one that is old; what
/// it asked for by then is answered.
#[tokio::test(flavor = "multi_thread")]
async fn idle_and_old_connections_are_told_to_leave() {
    let idle = Ethogram::start(&["--collector-limits-idle-s=2"]);
    let mut connection = Connection::open(&idle.at.beacon, &[]).await;
    let number = connection.number();
    let ask = crate::frames::frame(1, 5, number, &crate::frames::head("/ethogram.js"));
    connection.stream.write_all(&ask).await.expect("it is read");
    assert_eq!(connection.until_its_end().await, Some(0), "GOAWAY without an error");

    let old = Ethogram::start(&["--collector-limits-connection-age-s=2"]);
    let stream = TokioIo::new(TcpStream::connect(&old.at.beacon).await.expect("it listens"));
    let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await;
    let (mut sender, connection) = shaken.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let mut answered = 0;
    while sender.ready().await.is_ok() {
        let request = http::Request::post("http://localhost/v1/ethogram?key=local");
        let request = request.body(Full::new(Bytes::from("{}"))).expect("a request");
        // Whatever comes after the server's goodbye is the client's to send elsewhere.
        let Ok(response) = sender.send_request(request).await else { break };
        assert_eq!(response.status(), 204);
        answered += 1;
    }
    eprintln!("{answered} requests over one connection until it was old");
    drop(connection.await.expect("no panic"));
    let metrics = old.get(&old.at.admin, "/metrics").text();
    let begun = format!("ethogram_collector_requests_total{{door=\"beacon\"}} {answered}\n");
    assert!(metrics.contains(&begun), "what is begun is answered, {answered}: {metrics}");
    for (ethogram, reason) in [(&idle, "idle"), (&old, "age")] {
        let metrics = ethogram.get(&ethogram.at.admin, "/metrics").text();
        let sample = format!(
            "ethogram_collector_connections_ended_total{{reason=\"{reason}\",door=\"beacon\"}} 1\n"
        );
        assert!(metrics.contains(&sample), "{sample}{metrics}");
    }
}
