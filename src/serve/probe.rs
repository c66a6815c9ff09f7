//! Whether a role answers yet. A bound port accepts connections before anybody reads them, so
//! only an answer proves that the role serves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// Between two attempts. A role starts in tens of milliseconds.
const PAUSE: Duration = Duration::from_millis(10);

/// How long one attempt may take: a role that is starting accepts and says nothing.
const ATTEMPT: Duration = Duration::from_secs(1);

/// Waits until `/healthz` at `address` answers, whatever it says: that a role is not healthy is
/// said by the role, not by its absence.
pub(crate) async fn until_it_answers(address: SocketAddr) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let uri: http::Uri = format!("http://{}/healthz", reachable(address))
        .parse()
        .expect("an address makes a valid URI");
    while !matches!(tokio::time::timeout(ATTEMPT, client.get(uri.clone())).await, Ok(Ok(_))) {
        tokio::time::sleep(PAUSE).await;
    }
}

/// The address by which this machine reaches a listener: one on all interfaces is on loopback.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
