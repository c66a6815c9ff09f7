//! What the beacon of a document writes.
//!
//! Not the product's beacon: this one is told what happened instead of observing it, and writes
//! the same bodies. Invariants: the sequence counts every span and event of a document from 0;
//! times are the device's clock, which may be wrong by minutes; addresses carry no query.

mod summary;
mod traced;

use super::browser::{AttemptEnd, Client, Navigation, Request};
use super::scenario::{GATEWAY, Observer, Place};
use super::spans::concrete;
use super::wire::{
    Attribute, Kind, Record, Span, SpanId, TraceId, Value, attributes_json, hex, int, record_json,
    span_json, text, word,
};
use super::world::Context;
use serde_json::{Value as Json, json};
use summary::Summary;

/// The shop's host.
const HOST: &str = "shop.example";

/// The version of the beacon that the bodies claim.
const BEACON_VERSION: &str = "0.1.0";

/// Spans and events a document keeps between two flushes; the oldest give way.
const KEPT_MAX: usize = 1000;

/// Something a document's beacon notices.
pub(crate) enum Seen<'a> {
    /// A session begins.
    Start,
    /// The document opens; the second value is the tab's document before.
    Navigation(Navigation, Option<[u8; 8]>),
    /// The page changes within the document.
    Push(String),
    /// The document replaces this one by a reload, which had so many requests pending.
    Refresh([u8; 8], u32),
    /// A send ended.
    Attempt(&'a Request, AttemptEnd),
    /// A send is still pending.
    Pending(&'a Request),
    /// A send was pending when the user gave up; the word is the trigger as far as it is known.
    Abandoned(&'a Request, &'static str),
    /// One click, on a link or a button. A beacon sees by what it leads to that a user has acted.
    Press,
    /// Many clicks at one place.
    Clicks(u32),
    /// The tab is shown (true) or hidden.
    Visible(bool),
    /// The document goes.
    Leave,
}

/// A body on its way to the collector.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    /// The user's public address.
    pub(crate) address: String,
    pub(crate) user_agent: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) spans: u64,
    pub(crate) events: u64,
    /// Whether it has been sent before.
    pub(crate) again: bool,
}

impl Body {
    /// The same once more.
    pub(crate) fn copy(&self) -> Self {
        Self { again: true, ..self.clone() }
    }
}

/// The beacon of one document.
pub(crate) struct Beacon {
    pub(crate) page_id: [u8; 8],
    path: String,
    sequence: u32,
    spans: Vec<Json>,
    records: Vec<Json>,
    /// Kept instead of spans and records where the session is not sampled.
    summary: Summary,
}

impl Beacon {
    /// The beacon of a document at `path` of the shop.
    pub(crate) fn new(page_id: [u8; 8], path: String) -> Self {
        let (spans, records) = (Vec::new(), Vec::new());
        Self { page_id, path, sequence: 0, spans, records, summary: Summary::default() }
    }

    /// Writes down what is noticed now.
    pub(crate) fn see(&mut self, context: &mut Context, client: &Client, seen: Seen<'_>) {
        let now_ns = device_ns(context, client, context.schedule.now_ns());
        if !client.sampled {
            if self.summary.see(&seen) {
                keep(&mut self.records, record_json(&self.summary.record(now_ns)));
            }
            return;
        }
        if context.scenario.browser.observer == Observer::Tracer {
            for span in traced::spans(context, client, &mut self.path, seen) {
                keep(&mut self.spans, span_json(&span));
            }
            return;
        }
        if matches!(seen, Seen::Press) {
            return;
        }
        let sequence = int("behavior.sequence", self.sequence);
        self.sequence += 1;
        if let Seen::Attempt(request, end) = seen {
            let start_ns = device_ns(context, client, request.attempt_began_ns);
            let mut span = attempt_span(context, request, end, start_ns, now_ns);
            span.attributes.push(sequence);
            return keep(&mut self.spans, span_json(&span));
        }
        let (name, about, mut attributes) = self.event(context, client, seen);
        attributes.push(sequence);
        let record = Record { time_ns: now_ns, name, about, attributes };
        keep(&mut self.records, record_json(&record));
    }

    /// Everything gathered since the last body, if anything.
    pub(crate) fn body(&mut self, context: &mut Context, client: &Client) -> Option<Body> {
        let spans = std::mem::take(&mut self.spans);
        let records = std::mem::take(&mut self.records);
        if spans.is_empty() && records.is_empty() {
            return None;
        }
        let (span_count, event_count) = (spans.len() as u64, records.len() as u64);
        let sent_ns = device_ns(context, client, context.schedule.now_ns());
        let resource = json!({ "attributes": attributes_json(&self.resource(client, sent_ns)) });
        let scope = json!({ "name": "ethogram", "version": BEACON_VERSION });
        let mut body = json!({});
        if !spans.is_empty() {
            body["resourceSpans"] = json!([{ "resource": resource, "scopeSpans": [{ "scope": scope, "spans": spans }] }]);
        }
        if !records.is_empty() {
            body["resourceLogs"] = json!([{
                "resource": resource,
                "scopeLogs": [{ "scope": scope, "logRecords": records }],
            }]);
        }
        context.truth.bodies += 1;
        context.truth.browser_spans += span_count;
        context.truth.browser_events += event_count;
        Some(Body {
            address: client.address.clone(),
            user_agent: client.user_agent,
            bytes: body.to_string().into_bytes(),
            spans: span_count,
            events: event_count,
            again: false,
        })
    }

    fn resource(&self, client: &Client, sent_ns: i64) -> Vec<Attribute> {
        if !client.sampled {
            return summary::resource(sent_ns);
        }
        let mut resource = vec![
            word("telemetry.sdk.name", "ethogram"),
            word("telemetry.sdk.language", "webjs"),
            word("telemetry.sdk.version", BEACON_VERSION),
            word("service.version", "1.0.0"),
            word("deployment.environment.name", "production"),
            text("session.id", hex(&client.session_id)),
            text("behavior.tab_id", hex(&client.tab_id)),
            text("behavior.page_id", hex(&self.page_id)),
            int("behavior.sent_at", sent_ns),
            Attribute("browser.mobile", Value::Bool(client.mobile)),
            word("browser.language", client.language),
        ];
        resource.extend(client.user_id.iter().map(|user| text("user.id", user.clone())));
        resource
    }

    fn event(
        &mut self,
        context: &Context,
        client: &Client,
        seen: Seen<'_>,
    ) -> (&'static str, Option<(TraceId, SpanId)>, Vec<Attribute>) {
        let previous = |page: [u8; 8]| text("behavior.previous_page_id", hex(&page));
        match seen {
            Seen::Start => {
                let mut attributes = vec![text("session.id", hex(&client.session_id))];
                let follows = |before: [u8; 16]| text("session.previous_id", hex(&before));
                attributes.extend(client.previous.map(follows));
                ("session.start", None, attributes)
            }
            Seen::Navigation(navigation, before) => {
                let kind = match navigation {
                    Navigation::Navigate => "navigate",
                    Navigation::Reload => "reload",
                };
                let mut attributes =
                    vec![text("url.full", url(&self.path)), word("browser.navigation.type", kind)];
                attributes.extend(before.map(previous));
                ("browser.navigation", None, attributes)
            }
            Seen::Push(path) => {
                self.path = path;
                let kind = word("browser.navigation.type", "push");
                ("browser.navigation", None, vec![text("url.full", url(&self.path)), kind])
            }
            Seen::Refresh(before, pending) => {
                let pending = int("behavior.pending_requests", pending);
                ("behavior.refresh", None, vec![previous(before), pending])
            }
            Seen::Pending(request) => {
                let about = (request.trace_id, request.span_id);
                ("behavior.pending", Some(about), waiting(context, request))
            }
            Seen::Abandoned(request, trigger) => {
                let about = (request.trace_id, request.span_id);
                let total_us = (context.schedule.now_ns() - request.began_ns) as i64 / 1000;
                let mut attributes = waiting(context, request);
                attributes.push(word("behavior.abandon_target", "request"));
                attributes.push(word("behavior.abandon_trigger", trigger));
                attributes.push(int("behavior.total_waited_us", total_us));
                ("behavior.abandon", Some(about), attributes)
            }
            Seen::Clicks(count) => {
                ("behavior.click_burst", None, vec![int("behavior.click_count", count)])
            }
            Seen::Visible(visible) => {
                let state = if visible { "foreground" } else { "background" };
                ("behavior.visibility", None, vec![word("browser.document.visibility", state)])
            }
            Seen::Leave | Seen::Press | Seen::Attempt(..) => ("behavior.leave", None, Vec::new()),
        }
    }
}

/// The span of a finished send.
fn attempt_span(
    context: &Context,
    request: &Request,
    end: AttemptEnd,
    start_ns: i64,
    end_ns: i64,
) -> Span {
    let mut attributes = target(context, request);
    attributes.push(word("server.address", HOST));
    attributes.push(int("server.port", 443));
    attributes.push(word("url.template", request.planned.fetch.template));
    attributes
        .push(word("behavior.attempt_kind", if request.attempt == 1 { "first" } else { "retry" }));
    if request.attempt > 1 {
        attributes.push(int("http.request.resend_count", request.attempt - 1));
    }
    let error = match end {
        AttemptEnd::Status(status) => {
            attributes.push(int("http.response.status_code", status));
            (status >= 400).then(|| status.to_string())
        }
        AttemptEnd::Timeout => Some("timeout".to_owned()),
        AttemptEnd::Network => Some("network".to_owned()),
        AttemptEnd::Abort => Some("abort".to_owned()),
    };
    // What the caller cancelled is not an error, says the convention.
    let failed = error.is_some() && end != AttemptEnd::Abort;
    attributes.extend(error.map(|error| text("error.type", error)));
    Span {
        trace_id: request.trace_id,
        span_id: request.span_id,
        parent: None,
        name: request.planned.fetch.method.to_owned(),
        kind: Kind::Client,
        start_ns,
        end_ns,
        attributes,
        failed,
    }
}

/// What a waiting send's event says.
fn waiting(context: &Context, request: &Request) -> Vec<Attribute> {
    let waited_us = (context.schedule.now_ns() - request.attempt_began_ns) as i64 / 1000;
    let mut attributes = target(context, request);
    attributes.push(int("behavior.waited_us", waited_us));
    attributes
}

/// Which request it is, and the how-manieth time.
fn target(context: &Context, request: &Request) -> Vec<Attribute> {
    let fetch = request.planned.fetch;
    let route = context.scenario.route(Place { service: GATEWAY, route: fetch.route });
    let mut attributes = vec![
        word("http.request.method", route.method),
        text("url.full", url(&concrete(fetch.template, request.planned.item))),
        int("behavior.attempt", request.attempt),
        text("behavior.intent_id", hex(&request.intent_id)),
    ];
    if request.repeat > 0 {
        let cause = if request.refreshed { "refresh" } else { "user" };
        attributes.push(int("behavior.repeat", request.repeat));
        attributes.push(word("behavior.repeat_cause", cause));
    }
    attributes
}

fn url(path: &str) -> String {
    format!("https://{HOST}{path}")
}

fn device_ns(context: &Context, client: &Client, at_ns: u64) -> i64 {
    client.clock_ns(context.epoch_ns, at_ns)
}

/// Bounded: the oldest gives way, as in a browser that cannot send.
fn keep(kept: &mut Vec<Json>, new: Json) {
    if kept.len() >= KEPT_MAX {
        kept.remove(0);
    }
    kept.push(new);
}
