//! What remains of a URL and of an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::free;

/// The URL (or path) without credentials, query, fragment, session parameter, and what names
/// somebody in its path.
pub(super) fn url(text: &str) -> String {
    if text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
        return String::from("data:"); // The rest is content, not a place.
    }
    let text = &text[..text.find(['?', '#']).unwrap_or(text.len())];
    let text = &text[..find_session_parameter(text).unwrap_or(text.len())];
    let Some(scheme_end) = text.find("://").map(|at| at + 3) else { return free::path(text) };
    let path = text[scheme_end..].find('/').map_or(text.len(), |at| scheme_end + at);
    let host = text[scheme_end..path].rfind('@').map_or(scheme_end, |at| scheme_end + at + 1);
    format!("{}{}{}", &text[..scheme_end], &text[host..path], free::path(&text[path..]))
}

/// The query of a URL, where it has one.
pub(super) fn query(url: &str) -> Option<&str> {
    let url = url.split('#').next().unwrap_or(url);
    url.split_once('?').map(|(_, query)| query).filter(|query| !query.is_empty())
}

/// Where `;jsessionid=` begins: with it anyone takes over the user's session.
fn find_session_parameter(text: &str) -> Option<usize> {
    text.to_ascii_lowercase().find(";jsessionid=")
}

/// The members of a `tracestate` that are read: how the trace was sampled. Others are notes of a
/// vendor to itself.
pub(super) fn trace_state(text: &mut String) {
    if !text.is_empty() {
        let members = text.split(',').map(str::trim);
        *text = members.filter(|member| member.starts_with("ot=")).collect::<Vec<_>>().join(",");
    }
}

/// The member of a `baggage` header that is read: whose session it is. Others are notes of the
/// operator's services, of which nobody knows what they say.
pub(super) fn baggage(text: &mut String) {
    let members = text.split(',').map(str::trim);
    let is_session = |member: &&str| member.split('=').next().map(str::trim) == Some("session.id");
    *text = members.filter(is_session).collect::<Vec<_>>().join(",");
}

/// The IP address in a text that may have a port, brackets or a zone.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let bare = bare.split('%').next().unwrap_or(bare);
    let address =
        bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

/// The network of an address: the /24 of IPv4, the /48 of IPv6, which is what one site gets.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (!0 << 8)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (!0 << 80)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_keep_host_and_path() {
        for (text, expected) in [
            ("https://shop.example/a/b?q=1#x", "https://shop.example/a/b"),
            ("https://user:secret@shop.example/a@b", "https://shop.example/a@b"),
            ("https://shop.example:8443", "https://shop.example:8443"),
            ("https://shop.example?q=a@b", "https://shop.example"),
            ("/a/b?email=x@y.example", "/a/b"),
            ("/a/b;JSESSIONID=12?x", "/a/b"),
            ("data:text/plain,hello", "data:"),
            ("ünï://ü@ö/é?é", "ünï://ö/é"),
            ("", ""),
        ] {
            assert_eq!(url(text), expected, "{text}");
        }
    }

    #[test]
    fn a_query_stands_between_two_signs() {
        for (text, expected) in [
            ("https://shop.example/a?q=1#x?y", Some("q=1")),
            ("/a?q=1?2", Some("q=1?2")),
            ("/a?", None),
            ("/a#x?y", None),
            ("/a", None),
        ] {
            assert_eq!(query(text), expected, "{text}");
        }
    }

    #[test]
    fn of_a_trace_state_sampling_stays() {
        for (text, expected) in
            [("", ""), ("v=jane@shop.example, ot=th:8,x=1", "ot=th:8"), ("v=1", "")]
        {
            let mut state = String::from(text);
            trace_state(&mut state);
            assert_eq!(state, expected, "{text}");
        }
    }

    #[test]
    fn addresses_are_cut_to_their_network() {
        for (text, expected) in [
            ("203.0.113.77", Some("203.0.113.0")),
            (" 203.0.113.77:4711 ", Some("203.0.113.0")),
            ("::ffff:203.0.113.77", Some("203.0.113.0")),
            ("2001:db8:1:2:3:4:5:6", Some("2001:db8:1::")),
            ("[2001:db8:1:2::6]:443", Some("2001:db8:1::")),
            ("[2001:db8:1:2::6]", Some("2001:db8:1::")),
            ("fe80::1%eth0", Some("fe80::")),
            ("laptop-of-jane.example", None),
            ("", None),
        ] {
            let cut = address(text).map(|address| network(address).to_string());
            assert_eq!(cut.as_deref(), expected, "{text}");
        }
    }
}
