//! Which pages may read an answer, and what browsers are told about it (CORS).
//!
//! The matching origin is echoed, never `*`: `sendBeacon` sends with credentials, for which a
//! star does not count. Credentials themselves are never allowed, since no door reads cookies.
//!
//! It is not access control: scripts outside a browser send any origin they like. Keys, tokens
//! and quotas are.

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

/// The origins a door answers to.
#[derive(Clone, Debug)]
pub(crate) enum Origins {
    /// Any, which only a door on loopback has.
    Any,
    /// Those listed; `https://*.example.com` stands for one or more labels.
    Listed(Vec<String>),
}

impl Origins {
    /// Whether pages of `origin` may send here.
    pub(crate) fn allows(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(patterns) => origin
                .to_str()
                .is_ok_and(|origin| patterns.iter().any(|pattern| matches(pattern, origin))),
        }
    }
}

fn matches(pattern: &str, origin: &str) -> bool {
    let Some((scheme, suffix)) = pattern.split_once("*.") else { return pattern == origin };
    let labels = origin.strip_prefix(scheme).and_then(|host| host.strip_suffix(suffix));
    labels.is_some_and(|labels| {
        let labels = labels.strip_suffix('.').unwrap_or_default();
        !labels.is_empty() && labels.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
    })
}

/// The one origin that a request states. Two are none: browsers state one, and whoever reads the other of
/// them than we do would let a page in that we do not.
pub(crate) fn stated(headers: &HeaderMap) -> Stated<'_> {
    let mut all = headers.get_all(header::ORIGIN).iter();
    match (all.next(), all.next()) {
        (None, _) => Stated::None,
        (Some(origin), None) => Stated::One(origin),
        (Some(_), Some(_)) => Stated::Several,
    }
}

/// What a request says about where it is from.
pub(crate) enum Stated<'a> {
    /// Nothing.
    None,
    /// One origin.
    One(&'a HeaderValue),
    /// More than one.
    Several,
}

/// What a page may send to an OTLP door.
pub(crate) const OTLP_HEADERS: &str = "authorization, content-type, content-encoding, traceparent, tracestate, baggage, x-requested-with";

/// What a page may send to the beacon's door. Ours sends nothing that would need asking.
pub(crate) const BEACON_HEADERS: &str = "content-type, traceparent, tracestate, baggage";

/// Seconds a browser may remember the answer: Chromium's cap; without it, it asks every 5 s.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("7200");

/// Whether the request is a browser asking for permission.
pub(crate) fn is_preflight(method: &http::Method, headers: &HeaderMap) -> bool {
    method == http::Method::OPTIONS && headers.contains_key(header::ORIGIN)
}

/// Permission to post with `headers`.
pub(crate) fn preflight(headers: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let answers: [(HeaderName, HeaderValue); 3] = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST")),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(headers)),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_S),
    ];
    response.headers_mut().extend(answers);
    response
}

/// Lets pages of `origin` read the answer, and in it when to try again and what it exposes itself.
pub(crate) fn expose(response: &mut Response<Body>, origin: HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let check = |pattern: &str, origin: &str, expected: bool| {
            let origins = Origins::Listed(vec![String::from(pattern)]);
            let origin = HeaderValue::from_str(origin).expect("a header value");
            assert_eq!(origins.allows(&origin), expected, "{pattern} {origin:?}");
        };
        check("https://shop.example", "https://shop.example", true);
        check("https://shop.example", "http://shop.example", false);
        check("https://shop.example", "https://shop.example:8443", false);
        check("https://shop.example", "https://shop.example.evil.test", false);
        check("https://shop.example", "null", false);
        check("https://*.shop.example", "https://a.shop.example", true);
        check("https://*.shop.example", "https://a.b.shop.example", true);
        check("https://*.shop.example", "https://shop.example", false);
        check("https://*.shop.example", "https://.shop.example", false);
        check("https://*.shop.example", "https://evilshop.example", false);
        check("https://*.shop.example", "https://evil.test/.shop.example", false);
        check("https://*.shop.example", "https://evil.test:80.shop.example", false);
    }
}
