//! What a sender says about attempts, intents and targets: the join's evidence.
//!
//! Conventions differ by one: `http.request.resend_count` and gRPC count the sends before, Envoy
//! and our beacon number them from one. Here all count the sends before.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::names::{Known, Name};
use super::route;
use super::scrub;
use super::sender::{Sender, page_id};
use super::value::cut;
use crate::schema::{EventHints, Label, SessionId, SpanHints, TraceId};

/// The longest key or hint that is compared; a UUID has 36 letters.
const HINT_BYTES_MAX: usize = 256;

/// The hints of a span.
pub(super) fn of_span(known: &Known<'_>, kind: SpanKind, sender: &Sender<'_>) -> SpanHints {
    let calls = matches!(kind, SpanKind::Client | SpanKind::Producer);
    let serves = matches!(kind, SpanKind::Server | SpanKind::Consumer);
    SpanHints {
        resend_count: count(known, Name::ResendCount),
        grpc_previous_attempts: count(known, Name::GrpcPreviousAttempts),
        envoy_previous_attempts: count(known, Name::EnvoyAttempt).map(before),
        idempotency_key: idempotency_key(known),
        beacon_previous_attempts: count(known, Name::Attempt).map(before),
        beacon_attempt_kind: label(known, Name::AttemptKind, sender),
        intent_id: trace_id(known),
        repeat: count(known, Name::Repeat).unwrap_or(0),
        repeat_cause: label(known, Name::RepeatCause, sender),
        tab_id: sender.tab(known),
        callee: if calls { callee(known, sender) } else { None },
        target: if calls || serves { route::target(known) } else { None },
        sent_at: sender.sent_at,
        hung_up: serves && hung_up(known),
        browser_made: serves && is_browser(known),
    }
}

/// The hints of an event.
pub(super) fn of_event(known: &Known<'_>, sender: &Sender<'_>) -> EventHints {
    let duration = |name| known.integer(name).map(|us| us.max(0));
    let previous_session = known.text(Name::PreviousSessionId);
    EventHints {
        waited_us: duration(Name::WaitedUs),
        total_waited_us: duration(Name::TotalWaitedUs),
        abandon_target: label(known, Name::AbandonTarget, sender),
        abandon_trigger: label(known, Name::AbandonTrigger, sender),
        method: label(known, Name::Method, sender),
        callee: callee(known, sender),
        target: route::target(known),
        route: route::of(known).map(|route| sender.labels.get(&route)),
        previous_attempts: count(known, Name::Attempt).map(before),
        intent_id: trace_id(known),
        repeat: count(known, Name::Repeat).unwrap_or(0),
        repeat_cause: label(known, Name::RepeatCause, sender),
        navigation_type: label(known, Name::NavigationType, sender),
        previous_page_id: page_id(known, Name::PreviousPageId),
        previous_session_id: previous_session
            .and_then(|id| SessionId::new(cut(&id, HINT_BYTES_MAX))),
        sent_at: sender.sent_at,
        hidden: known.text(Name::Visibility).map(|word| word == "background"),
    }
}

/// The last words of the error types that servers report when their client closed the connection, in
/// lower case: of Node.js, Python, the JVM, .NET, gRPC and proxies.
const HANG_UPS: [&str; 19] = [
    "499",
    "aborted",
    "abort_err",
    "aborterror",
    "brokenpipeerror",
    "canceled",
    "cancelled",
    "cancellederror",
    "client_closed_request",
    "clientabortexception",
    "clientdisconnect",
    "connectionreseterror",
    "connectionresetexception",
    "context canceled",
    "econnaborted",
    "econnreset",
    "epipe",
    "operationcanceledexception",
    "taskcanceledexception",
];

/// Whether a server says that its client was gone before the answer. One that failed by itself says
/// so with a status, whatever error it came from.
fn hung_up(known: &Known<'_>) -> bool {
    const CLIENT_CLOSED_REQUEST: i64 = 499;
    match known.integer(Name::StatusCode) {
        Some(CLIENT_CLOSED_REQUEST) => true,
        Some(500..) => false,
        _ => known.text(Name::ErrorType).is_some_and(|said| {
            let said = said.to_ascii_lowercase();
            let last = said.rsplit(['.', ':', '$']).next().unwrap_or(&said).trim();
            HANG_UPS.contains(&last)
        }),
    }
}

/// Whether a server's caller calls itself a browser.
fn is_browser(known: &Known<'_>) -> bool {
    known.text(Name::UserAgent).is_some_and(|agent| scrub::is_browser(&agent))
}

/// A count, never negative.
fn count(known: &Known<'_>, name: Name) -> Option<i32> {
    let value = known.integer(name)?;
    Some(i32::try_from(value).unwrap_or(if value < 0 { 0 } else { i32::MAX }).max(0))
}

/// From a number that starts at one to the count of those before.
fn before(number: i32) -> i32 {
    (number - 1).max(0)
}

fn label(known: &Known<'_>, name: Name, sender: &Sender<'_>) -> Option<Label> {
    known.text(name).map(|text| sender.labels.get(cut(&text, HINT_BYTES_MAX)))
}

fn trace_id(known: &Known<'_>) -> Option<TraceId> {
    known.text(Name::IntentId)?.parse().ok()
}

/// The key itself; the header is a quoted string by its draft, and bare in practice.
fn idempotency_key(known: &Known<'_>) -> Option<String> {
    let text = known.text(Name::IdempotencyKey)?;
    let key = cut(text.trim().trim_matches('"'), HINT_BYTES_MAX);
    (!key.is_empty()).then(|| String::from(key))
}

/// Whom a call goes to, from the most to the least deliberate name.
fn callee(known: &Known<'_>, sender: &Sender<'_>) -> Option<Label> {
    let named = known.text(Name::ServicePeer).map(|name| name.into_owned());
    let callee = named
        .or_else(|| database(known))
        .or_else(|| known.text(Name::Destination).map(|name| name.into_owned()))
        .or_else(|| known.text(Name::RpcService).map(|name| name.into_owned()))
        .or_else(|| server(known))
        .or_else(|| host(known))?;
    Some(sender.labels.get(cut(&callee, HINT_BYTES_MAX)))
}

fn database(known: &Known<'_>) -> Option<String> {
    let system = known.text(Name::DbSystem)?;
    Some(match known.text(Name::DbNamespace) {
        Some(namespace) => format!("{system}/{namespace}"),
        None => system.into_owned(),
    })
}

fn server(known: &Known<'_>) -> Option<String> {
    let address = known.text(Name::ServerAddress)?;
    Some(match known.integer(Name::ServerPort) {
        // Some senders leave out what the scheme implies, so none may have it.
        None | Some(80 | 443) => address.into_owned(),
        Some(port) => format!("{address}:{port}"),
    })
}

/// The host of the URL, without the ports that the schemes imply.
fn host(known: &Known<'_>) -> Option<String> {
    let url = known.text(Name::UrlFull)?;
    let (_, rest) = url.split_once("://")?;
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = host.strip_suffix(":80").or_else(|| host.strip_suffix(":443")).unwrap_or(host);
    (!host.is_empty()).then(|| String::from(host))
}
