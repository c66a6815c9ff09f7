//! Which attributes hold personal data or secrets, by their wire names.

use super::Trust;

/// What happens to an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays, but for what is personal in its text.
    Keep,
    /// It stays as it is: the name of a thing, or of a user as the operator calls them.
    Name,
    /// Of a user agent, family and major version stay.
    Agent,
    /// It goes.
    Remove,
    /// It loses credentials, query and fragment.
    Url,
    /// It loses the part that tells one household from the next.
    Address,
    /// Of what callers passed on, the session stays.
    Baggage,
}

/// Names a client may not set, because the collector or the key says so: place, network, identity
/// of the service and of what it runs on.
const BROWSER_FORBIDDEN: &[&str] =
    &["behavior.region", "service.name", "service.namespace", "service.instance.id"];

/// The same, as whole namespaces.
const BROWSER_FORBIDDEN_PREFIXES: &[&str] =
    &["geo.", "client.", "source.", "cloud.", "host.", "k8s.", "container.", "process."];

/// Direct identifiers that no table needs (`user.id` names the user well enough), and the parts of
/// a URL where forms put what people typed.
const REMOVED: &[&str] =
    &["user.email", "user.full_name", "user.name", "url.query", "url.fragment"];

/// The last part of a name, `_` read as `-`: credentials, and headers with the full address.
const REMOVED_ENDINGS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "password",
    "x-api-key",
    "x-auth-token",
    "x-csrf-token",
    "x-xsrf-token",
    "forwarded",
    "x-forwarded-for",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
];

/// Names of URLs and paths.
const URLS: &[&str] = &["url.full", "url.path", "url.original", "http.target"];

/// The last part of a name that holds a URL, in whatever namespace: `http.url`,
/// `http.request.header.referer`, `location.href`, `browser.document.url.full`.
const URL_ENDINGS: &[&str] = &["url", "uri", "href", "referer", "referrer", "location"];

/// The user's own address.
const CLIENT_ADDRESSES: &[&str] = &["client.address", "http.client_ip", "source.address"];

/// The other end of a connection: a user's where a service was called, a server's where it called.
const PEER_ADDRESSES: &[&str] =
    &["network.peer.address", "net.peer.ip", "net.sock.peer.addr", "net.sock.peer.name"];

/// Names of things, whose numbers and addresses are nobody's. `user.id` and `session.id` are what
/// the operator calls a user, and what an erasure is asked for by.
const NAMES: &[&str] = &["user.id", "enduser.id", "session.id", "session.previous_id"];

/// The same, as whole namespaces: the operator's own machines.
const NAME_PREFIXES: &[&str] = &[
    "host.",
    "server.",
    "cloud.",
    "k8s.",
    "container.",
    "telemetry.",
    "net.host.",
    "net.sock.host.",
];

/// Who is called, which is a machine of the operator's as well.
const CALLEES: &[&str] = &["net.peer.name", "peer.service", "service.peer.name"];

/// Names of what a browser says it is; so does a header `user-agent`.
const AGENTS: &[&str] = &["user_agent.original", "http.user_agent"];

/// What happens to the attribute `key`; `calls` says that the record is a call to another service.
pub(super) fn verdict(key: &str, trust: Trust, calls: bool) -> Verdict {
    let ending = key.rsplit('.').next().unwrap_or(key).replace('_', "-").to_ascii_lowercase();
    let has = |names: &[&str], name: &str| names.contains(&name);
    let forbidden = trust == Trust::Browser
        && (has(BROWSER_FORBIDDEN, key)
            || key == "http.client_ip"
            || BROWSER_FORBIDDEN_PREFIXES.iter().any(|prefix| key.starts_with(prefix)));
    if forbidden || has(REMOVED, key) || has(REMOVED_ENDINGS, &ending) {
        Verdict::Remove
    } else if ending == "baggage" {
        Verdict::Baggage
    } else if has(CLIENT_ADDRESSES, key) || (!calls && has(PEER_ADDRESSES, key)) {
        Verdict::Address
    } else if has(URLS, key) || has(URL_ENDINGS, &ending) || key.ends_with(".url.full") {
        Verdict::Url
    } else if has(AGENTS, key) || ending == "user-agent" {
        Verdict::Agent
    } else if has(NAMES, key)
        || ending == "version"
        || NAME_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
        || (calls && (has(CALLEES, key) || has(PEER_ADDRESSES, key)))
    {
        Verdict::Name
    } else {
        Verdict::Keep
    }
}
