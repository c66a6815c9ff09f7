//! Rows like those of a shop, for examples that measure and the test of what one of them measures.

#![allow(dead_code)] // Each example takes what it needs.

pub(crate) mod idle;

use std::cell::RefCell;
use std::collections::HashMap;

use ethogram_timeline::decode::Rows;
use ethogram_timeline::schema::{
    Attributes, Event, EventHints, EventRow, Label, PageId, SessionId, Span, SpanHints, SpanId,
    SpanRow, TabId, Time, TraceId,
};

const T0_NS: i64 = 1_700_000_000_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

/// A line of the kernel's account of this process, in bytes.
pub(crate) fn status(line: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find(|one| one.starts_with(line)).expect("a line of it");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    kib * 1024.0
}

/// A record of these spans, received after so many seconds.
pub(crate) fn at(seconds: i64, mut spans: Vec<Span>) -> Rows {
    let received = Time(T0_NS + seconds * SECOND_NS);
    for span in &mut spans {
        span.row.time_received = received;
    }
    Rows { received_ns: received.0, spans, ..Rows::default() }
}

fn attributes(pairs: &[(&str, &str)]) -> Attributes {
    pairs.iter().map(|(key, value)| (String::from(*key), String::from(*value))).collect()
}

/// What a span says of itself.
fn said(trace: u64) -> Attributes {
    attributes(&[
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/api/products/{id}"),
        ("network.protocol.version", "1.1"),
        ("server.address", "stock.internal"),
        ("server.port", "8080"),
        ("url.full", &format!("http://stock.internal:8080/api/products/{trace}")),
        ("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0"),
    ])
}

/// What it says of its sender.
fn sender() -> Attributes {
    attributes(&[
        ("service.name", "stock"),
        ("service.version", "2026.11.1"),
        ("telemetry.sdk.language", "go"),
        ("telemetry.sdk.name", "opentelemetry"),
    ])
}

/// One span of a trace; of a page where a session is given.
pub(crate) fn span(trace: u64, number: u64, session: Option<&SessionId>) -> Span {
    let id = |number: u64| {
        let mixed = (trace * 64 + number + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        SpanId(mixed.to_be_bytes())
    };
    let label = |text: &str| label_of(trace / 10, text);
    let time = Time(T0_NS + (trace * 977 % 60_000_000) as i64 * 1_000);
    let browser = session.is_some();
    let row = SpanRow {
        time,
        time_client: time,
        time_received: time,
        duration_us: (trace % 9_973) as i64 * 17,
        trace_id: trace_id(trace),
        span_id: id(number),
        parent_span_id: (number > 0).then(|| id(number - 1)),
        app: label("shop"),
        environment: label("production"),
        service: label(["gateway", "checkout", "stock"][number as usize % 3]),
        service_version: label("2026.11.1"),
        name: label("GET /api/products/{id}"),
        kind: label(if browser || number % 2 == 1 { "client" } else { "server" }),
        layer: label(if browser { "browser" } else { "service" }),
        method: label("GET"),
        route: label("/api/products/{id}"),
        status_code: Some(200),
        error_type: None,
        session_id: session.cloned(),
        user_id: None,
        country: label("GB"),
        subdivision: label("GB-ENG"),
        region: label("GB"),
        cloud_region: label("eu-west-2"),
        synthetic: false,
        verified: !browser,
        sample_weight: 1.0,
        request_id: None,
        is_send: false,
        callee: label("unknown"),
        attempt: 0,
        attempt_kind: label("none"),
        retry_evidence: label("none"),
        original: None,
        retry_depth: 0,
        attributes: said(trace),
        resource: sender(),
        status: label("unset"),
        caller: label("unknown"),
        depth: 0,
        page_id: session.and_then(|id| PageId::new(&format!("{id}-page"))),
        sequence: None,
        caller_layer: label("service"),
        wasted: false,
    };
    let target = Some(format!("http://stock.internal:8080/api/products/{trace}"));
    let beacon_previous_attempts = browser.then_some(0);
    Span { row, hints: SpanHints { target, beacon_previous_attempts, ..SpanHints::default() } }
}

/// One event of a session's page.
pub(crate) fn event(number: u64, sequence: i64, session: Option<&SessionId>) -> Event {
    let row = span(number, 0, session).row;
    let row = EventRow {
        time: row.time,
        time_client: row.time_client,
        time_received: row.time_received,
        app: row.app,
        environment: row.environment,
        service: row.service,
        service_version: row.service_version,
        event_name: Label::new("behavior.click"),
        layer: row.layer,
        session_id: row.session_id,
        user_id: None,
        country: row.country,
        subdivision: row.subdivision,
        region: row.region,
        cloud_region: row.cloud_region,
        synthetic: false,
        verified: false,
        sample_weight: 1.0,
        trace_id: None,
        span_id: None,
        page_id: row.page_id,
        tab_id: TabId::new("t1"),
        sequence: Some(sequence),
        value: None,
        body: None,
        attributes: row.attributes,
        resource: row.resource,
        route: row.route,
    };
    Event { row, hints: EventHints::default() }
}

/// As random as a sender's, so that nothing packs better than it would.
fn trace_id(trace: u64) -> TraceId {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&trace.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    id[8..].copy_from_slice(&trace.wrapping_mul(0xC2B2_AE3D_27D4_EB4F).to_le_bytes());
    TraceId(id)
}

/// A record's labels are shared, and a record holds many spans.
fn label_of(record: u64, text: &str) -> Label {
    thread_local!(static LABELS: RefCell<(u64, HashMap<String, Label>)> = RefCell::default());
    LABELS.with_borrow_mut(|(last, labels)| {
        if *last != record {
            (*last, *labels) = (record, HashMap::new());
        }
        labels.entry(String::from(text)).or_insert_with(|| Label::new(text)).clone()
    })
}
