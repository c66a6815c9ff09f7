//! Whose address a request comes from.
//!
//! A proxy appends the address it saw to a header. The header is walked from the right, from
//! the peer towards the client, as long as each address is a trusted proxy; the first that is not
//! is the client. What stands to the left of it was written by the client and counts for nothing.
//!
//! It is not authentication: an address decides a place and a quota, never a right.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header::FORWARDED};
use ipnet::IpNet;

use crate::config::{ConfigError, ProxyConfig};

/// The proxies whose word counts.
pub(crate) struct Proxies {
    trusted: Vec<IpNet>,
    client_header: HeaderName,
}

impl Proxies {
    pub(crate) fn new(config: &ProxyConfig) -> Result<Self, ConfigError> {
        let client_header = config.client_header.parse();
        Ok(Self {
            trusted: config.networks()?,
            client_header: client_header.map_err(|_| {
                crate::config::invalid("proxy.client_header", "is not a header name")
            })?,
        })
    }

    /// Whether `peer` may speak for somebody else.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted.iter().any(|network| network.contains(&peer))
    }

    /// The client's address; `None` where a trusted proxy hides it (`for=_hidden`). Where every
    /// address is trusted, the farthest is the client: it is inside the operator's own network.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        let mut nearest = peer.to_canonical();
        if !self.trusts(nearest) {
            return Some(nearest);
        }
        let values: Vec<&str> = headers
            .get_all(&self.client_header)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let hops = values.iter().rev().flat_map(|value| value.rsplit(','));
        for hop in hops.take(HOPS_MAX) {
            let text = if self.client_header == FORWARDED { forwarded_for(hop)? } else { hop };
            nearest = address_of(text)?;
            if !self.trusts(nearest) {
                break;
            }
        }
        Some(nearest)
    }
}

/// No chain of one's own proxies is longer; a header of 16 KiB holds two thousand. The last one looked at
/// is the client then, as it is where all are trusted.
const HOPS_MAX: usize = 16;

/// An address as it is written in such headers and in attributes: bare, in brackets, with a port,
/// in quotes.
pub(super) fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address =
        bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// The value of `for` in one element of `Forwarded` (RFC 7239).
fn forwarded_for(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(header: &str, peer: &str, values: &[&str]) -> Option<String> {
        let config = ProxyConfig {
            trusted: vec![String::from("10.0.0.0/8"), String::from("2001:db8::/32")],
            client_header: String::from(header),
        };
        let proxies = Proxies::new(&config).expect("a right configuration");
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(proxies.client_header.clone(), value.parse().expect("a header value"));
        }
        proxies
            .client(peer.parse().expect("an address"), &headers)
            .map(|address| address.to_string())
    }

    #[test]
    fn x_forwarded_for() {
        let check = |peer: &str, values: &[&str], expected: Option<&str>| {
            assert_eq!(
                client("x-forwarded-for", peer, values).as_deref(),
                expected,
                "{peer} {values:?}"
            );
        };
        check("192.0.2.1", &[], Some("192.0.2.1"));
        check("192.0.2.1", &["198.51.100.7"], Some("192.0.2.1")); // Nobody trusts this peer.
        check("10.0.0.1", &[], Some("10.0.0.1"));
        check("10.0.0.1", &["198.51.100.7"], Some("198.51.100.7"));
        check("::ffff:10.0.0.1", &["198.51.100.7"], Some("198.51.100.7"));
        check("10.0.0.1", &["203.0.113.9, 198.51.100.7"], Some("198.51.100.7")); // The left is forged.
        check("10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.0.0.2"], Some("198.51.100.7"));
        check("10.0.0.1", &["203.0.113.9", "198.51.100.7", "10.0.0.2"], Some("198.51.100.7"));
        check("10.0.0.1", &["10.1.1.1,10.0.0.2"], Some("10.1.1.1")); // All inside.
        check("10.0.0.1", &["198.51.100.7:51234"], Some("198.51.100.7"));
        check("10.0.0.1", &["2a00::7"], Some("2a00::7"));
        check("10.0.0.1", &["[2a00::7]:443"], Some("2a00::7"));
        check("10.0.0.1", &["::ffff:198.51.100.7"], Some("198.51.100.7"));
        check("2001:db8::1", &["198.51.100.7, 2001:db8::2"], Some("198.51.100.7"));
        check("10.0.0.1", &["198.51.100.7, unknown"], None);
        check("10.0.0.1", &["garbage"], None);
        check("10.0.0.1", &[""], None);
    }

    #[test]
    fn forwarded() {
        let check = |values: &[&str], expected: Option<&str>| {
            assert_eq!(client("forwarded", "10.0.0.1", values).as_deref(), expected, "{values:?}");
        };
        check(&["for=198.51.100.7"], Some("198.51.100.7"));
        check(&["For=\"198.51.100.7:80\";proto=https;by=10.0.0.1"], Some("198.51.100.7"));
        check(
            &["for=203.0.113.9, proto=https;for=\"[2a00::7]:4711\", for=10.0.0.2"],
            Some("2a00::7"),
        );
        check(&["for=203.0.113.9", "for=198.51.100.7"], Some("198.51.100.7"));
        check(&["for=_hidden"], None);
        check(&["proto=https"], None);
    }

    #[test]
    fn only_the_named_header_counts() {
        assert_eq!(
            client("cf-connecting-ip", "10.0.0.1", &["198.51.100.7"]).as_deref(),
            Some("198.51.100.7")
        );
        let proxies = Proxies::new(&ProxyConfig {
            trusted: vec!["10.0.0.0/8".into()],
            ..ProxyConfig::default()
        });
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED, "for=203.0.113.9".parse().expect("a header value"));
        let client =
            proxies.expect("right").client("10.0.0.1".parse().expect("an address"), &headers);
        assert_eq!(client, Some("10.0.0.1".parse().expect("an address")));
    }
}
