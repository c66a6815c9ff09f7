//! Who holds connections, over real sockets.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// The address of a listener that answers `ok`, and what ends it when dropped.
async fn listening(config: HttpConfig) -> (std::net::SocketAddr, tokio::sync::oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let router = Router::new().route("/", axum::routing::get(|| async { "ok" }));
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        serve(listener, router, &config, async { drop(ended.await) }).await;
    });
    (address, end)
}

async fn ask(address: std::net::SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn who_says_nothing_makes_room() {
    let config = HttpConfig { connections_max: 3, header_seconds: 1, ..HttpConfig::default() };
    let (address, _end) = listening(config).await;
    let silent = TcpStream::connect(address).await.expect("a connection");
    let mut begun = TcpStream::connect(address).await.expect("a connection");
    // The beginning of HTTP/2's first words: which protocol it is cannot be told yet.
    begun.write_all(b"PRI * HT").await.expect("it is sent");
    let mut preface = TcpStream::connect(address).await.expect("a connection");
    preface.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("it is sent");
    let answer = tokio::time::timeout(Duration::from_secs(20), ask(address)).await;
    let answer = answer.expect("the three have been cut off");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
    drop((silent, begun, preface));
}
