//! What a tracing SDK writes that observes a page instead of a beacon, as OpenTelemetry's bundle of
//! instrumentations for browsers does.
//!
//! It knows of fetches, document loads, clicks and route changes, each a span in a trace of its own. It
//! numbers nothing and says nothing of what it has not seen the end of, so that a request that was
//! given up leaves no span.

use super::super::browser::Client;
use super::super::wire::{Attribute, Kind, Span, Value, text, word};
use super::super::world::Context;
use super::{Seen, attempt_span, device_ns, url};

/// What the instrumentation of fetch writes.
const TRACED: [&str; 6] = [
    "http.request.method",
    "url.full",
    "server.address",
    "server.port",
    "http.response.status_code",
    "error.type",
];

/// How long a document takes to load, in nanoseconds: its span ends with the load event.
const LOAD_NS: i64 = 400_000_000;

/// From one click of an impatient user to the next, in nanoseconds.
const CLICKS_APART_NS: i64 = 160_000_000;

/// The spans of what is noticed now, in a document at `path`.
pub(super) fn spans(
    context: &mut Context,
    client: &Client,
    path: &mut String,
    seen: Seen<'_>,
) -> Vec<Span> {
    let now_ns = device_ns(context, client, context.schedule.now_ns());
    match seen {
        Seen::Attempt(request, end) => {
            let start_ns = device_ns(context, client, request.attempt_began_ns);
            let mut span = attempt_span(context, request, end, start_ns, now_ns);
            span.attributes.retain(|Attribute(name, _)| TRACED.contains(name));
            for attribute in &mut span.attributes {
                // Unlike the beacon it keeps what was typed.
                if let Attribute("url.full", Value::Text(url)) = attribute
                    && request.planned.query > 0
                {
                    url.push_str(&format!("?q={}", request.planned.query));
                }
            }
            vec![span]
        }
        Seen::Navigation(..) => {
            let attributes = vec![word("component", "document-load"), text("http.url", url(path))];
            vec![internal(context, "documentLoad", (now_ns, now_ns + LOAD_NS), attributes)]
        }
        Seen::Push(to) => {
            let attributes = by_hand(path);
            *path = to;
            let name = format!("Navigation: {path}");
            vec![internal(context, &name, (now_ns, now_ns), attributes)]
        }
        Seen::Press => vec![click(context, path, now_ns)],
        Seen::Clicks(count) => {
            let before = (0..i64::from(count)).rev().map(|nth| now_ns - nth * CLICKS_APART_NS);
            before.map(|at_ns| click(context, path, at_ns)).collect()
        }
        _ => Vec::new(),
    }
}

fn click(context: &mut Context, path: &str, at_ns: i64) -> Span {
    internal(context, "click", (at_ns, at_ns), by_hand(path))
}

fn by_hand(path: &str) -> Vec<Attribute> {
    vec![
        word("component", "user-interaction"),
        word("event_type", "click"),
        word("target_element", "BUTTON"),
        text("http.url", url(path)),
    ]
}

/// A span in a trace of its own.
fn internal(
    context: &mut Context,
    name: &str,
    (start_ns, end_ns): (i64, i64),
    attributes: Vec<Attribute>,
) -> Span {
    Span {
        trace_id: context.ids.id(),
        span_id: context.ids.id(),
        parent: None,
        name: name.to_owned(),
        kind: Kind::Internal,
        start_ns,
        end_ns,
        attributes,
        failed: false,
    }
}
