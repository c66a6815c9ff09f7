//! The spans of services, as OpenTelemetry's SDKs write them.
//!
//! Not the export: see `send`. Names and statuses follow the semantic conventions for HTTP and
//! databases. Invariants: a SERVER span's parent is the span of the send that reached it; times
//! are the service's own clock, which is off by a constant.

use super::scenario::{Observer, Service, ServiceKind, Transport};
use super::services::{Ended, Job, Send};
use super::wire::{Attribute, Kind, Span, hex, int, text, word};
use super::world::Context;

/// The port of every service inside the site.
const SERVICE_PORT: i64 = 8080;

/// Services' clocks are kept by NTP: neighbours differ by a few milliseconds.
const SKEW_STEP_NS: i64 = 1_700_000;

/// The SERVER span of a handler that ends now.
pub(crate) fn server(context: &Context, job: &Job) -> Span {
    let arrival = &job.arrival;
    let service = arrival.place.service;
    let route = context.scenario.route(arrival.place);
    let mut attributes = vec![
        word("http.request.method", route.method),
        word("http.route", route.template),
        text("url.path", concrete(route.template, arrival.item)),
        word("url.scheme", "http"),
        int("http.response.status_code", job.status),
        word("server.address", context.scenario.services[service].name),
        int("server.port", SERVICE_PORT),
    ];
    if let Some(client) = &arrival.client {
        attributes.push(text("client.address", client.address.clone()));
        attributes.push(word("user_agent.original", client.user_agent));
        // A beacon's pages are found by their traces; a tracer's pass their session on as baggage,
        // which the gateway's SDK copies to its spans.
        if client.sampled && context.scenario.browser.observer == Observer::Tracer {
            attributes.push(text("session.id", hex(&client.session_id)));
        }
    }
    if let Some(proxied) = arrival.proxied.filter(|proxied| proxied.told) {
        let count = proxied.nth.to_string();
        attributes.push(text("http.request.header.x-envoy-attempt-count", count));
    }
    if job.status >= 500 {
        attributes.push(text("error.type", job.status.to_string()));
    }
    Span {
        trace_id: arrival.trace_id,
        span_id: job.span_id,
        parent: arrival.parent,
        name: format!("{} {}", route.method, route.template),
        kind: Kind::Server,
        start_ns: service_time_ns(context, service, job.arrived_ns),
        end_ns: service_time_ns(context, service, context.schedule.now_ns()),
        attributes,
        failed: job.status >= 500,
    }
}

/// The CLIENT span of a send whose caller stops waiting now.
pub(crate) fn client(context: &Context, job: &Job, send: &Send, ended: Ended) -> Span {
    let scenario = &context.scenario;
    let place = send.site.call.to;
    let callee = &scenario.services[place.service];
    let route = scenario.route(place);
    let caller = job.arrival.place.service;
    let (name, mut attributes) = match callee.kind {
        ServiceKind::Http(_) => {
            let path = concrete(route.template, job.arrival.item);
            let url = format!("http://{}:{SERVICE_PORT}{path}", callee.name);
            let mut attributes = vec![
                word("http.request.method", route.method),
                word("url.template", route.template),
                text("url.full", url),
                word("server.address", callee.name),
                int("server.port", SERVICE_PORT),
            ];
            let before = send.attempt - 1 + send.site.resends;
            if send.site.call.annotated && before > 0 {
                attributes.push(int("http.request.resend_count", before));
            }
            (route.method.to_owned(), attributes)
        }
        ServiceKind::Database(system) => query(callee, system, route.method, route.template),
    };
    let error = match ended {
        Ended::Status(status) => {
            if matches!(callee.kind, ServiceKind::Http(_)) {
                attributes.push(int("http.response.status_code", status));
            }
            (status >= 400).then(|| status.to_string())
        }
        Ended::Refused => Some("connection_refused".to_owned()),
        Ended::Timeout => Some("timeout".to_owned()),
        // What the caller cancelled is not an error, says the convention.
        Ended::Cancelled => None,
    };
    let failed = error.is_some();
    attributes.extend(error.map(|error| text("error.type", error)));
    Span {
        trace_id: job.arrival.trace_id,
        span_id: send.span_id,
        parent: Some(job.span_id),
        name,
        kind: Kind::Client,
        start_ns: service_time_ns(context, caller, send.sent_ns),
        end_ns: service_time_ns(context, caller, context.schedule.now_ns()),
        attributes,
        failed,
    }
}

/// The resource of a service's SDK.
pub(crate) fn resource(service: &Service) -> Vec<Attribute> {
    let language = match service.kind {
        ServiceKind::Http(Transport::Grpc) => "go",
        ServiceKind::Http(Transport::HttpProtobuf) => "java",
        ServiceKind::Http(Transport::HttpJsonGzip) | ServiceKind::Database(_) => "nodejs",
    };
    vec![
        word("service.name", service.name),
        word("service.version", "1.0.0"),
        text("service.instance.id", format!("{}-1", service.name)),
        word("deployment.environment.name", "production"),
        word("cloud.region", "us-east-1"),
        word("telemetry.sdk.name", "opentelemetry"),
        word("telemetry.sdk.language", language),
    ]
}

/// A path template with its item.
pub(crate) fn concrete(template: &str, item: u32) -> String {
    template.replace("{id}", &item.to_string())
}

fn query(
    database: &Service,
    system: &'static str,
    operation: &'static str,
    collection: &'static str,
) -> (String, Vec<Attribute>) {
    let summary = format!("{operation} {collection}");
    let attributes = vec![
        word("db.system.name", system),
        word("db.namespace", database.name),
        word("db.operation.name", operation),
        word("db.collection.name", collection),
        text("db.query.summary", summary.clone()),
        text("server.address", format!("{}.internal", database.name)),
        int("server.port", if system == "redis" { 6379 } else { 5432 }),
    ];
    (summary, attributes)
}

fn service_time_ns(context: &Context, service: usize, at_ns: u64) -> i64 {
    // Alternating signs keep the fleet's mean near the truth.
    let sign = if service.is_multiple_of(2) { 1 } else { -1 };
    context.epoch_ns + at_ns as i64 + sign * SKEW_STEP_NS * service as i64
}

impl ServiceKind {
    /// A word for people.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Database(system) => system,
        }
    }
}
