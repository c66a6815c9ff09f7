//! A small language for traces, and what the join's changes leave standing.

use std::collections::BTreeMap;
use std::fmt;

use crate::decode::Rows;
use crate::join::{Change, Config, Delta, Join, RowId};
use crate::schema::{
    Attributes, Event, EventHints, EventRow, Label, PageId, RequestRow, SessionId, SessionRow,
    Span, SpanHints, SpanId, SpanRow, TabId, Time, TraceId,
};

pub(super) const T0_NS: i64 = 1_700_000_000_000_000_000;

pub(super) fn trace_id(number: u8) -> TraceId {
    TraceId([number; 16])
}

pub(super) fn span_id(number: u64) -> SpanId {
    SpanId(number.to_be_bytes())
}

fn at_ms(ms: i64) -> Time {
    Time(T0_NS + ms * 1_000_000)
}

/// A span: `(id, parent, kind, service, target)` from `start_ms` for `ms`.
#[derive(Clone, Copy)]
pub(super) struct Spec<'a> {
    pub(super) trace: u8,
    pub(super) id: u64,
    pub(super) parent: u64,
    pub(super) kind: &'a str,
    pub(super) service: &'a str,
    pub(super) target: &'a str,
    pub(super) start_ms: i64,
    pub(super) ms: i64,
    pub(super) status: i32,
}

/// A browser's fetch that was answered.
pub(super) const FETCH: Spec<'static> = Spec {
    trace: 1,
    id: 1,
    parent: 0,
    kind: "client",
    service: "web",
    target: "http://shop/x",
    start_ms: 0,
    ms: 10,
    status: 200,
};

pub(super) fn span(spec: Spec<'_>) -> Span {
    let browser = spec.service == "web";
    let unknown = Label::unknown;
    let row = SpanRow {
        time: at_ms(spec.start_ms),
        time_client: at_ms(spec.start_ms),
        time_received: at_ms(spec.start_ms + spec.ms),
        duration_us: spec.ms * 1_000,
        trace_id: trace_id(spec.trace),
        span_id: span_id(spec.id),
        parent_span_id: (spec.parent != 0).then(|| span_id(spec.parent)),
        app: Label::new("default"),
        environment: unknown(),
        service: Label::new(spec.service),
        service_version: unknown(),
        name: Label::new(spec.target),
        kind: Label::new(spec.kind),
        layer: Label::new(if browser { "browser" } else { "service" }),
        method: Label::new("GET"),
        route: Label::new(spec.target),
        status_code: (spec.status > 0).then_some(spec.status),
        error_type: (browser && spec.status == 0).then(|| Label::new("network")),
        session_id: browser.then(|| SessionId::new("s1").expect("not empty")),
        user_id: None,
        country: if browser { Label::new("GB") } else { unknown() },
        subdivision: unknown(),
        region: if browser { Label::new("GB") } else { unknown() },
        cloud_region: unknown(),
        synthetic: false,
        verified: !browser,
        sample_weight: 1.0,
        request_id: None,
        is_send: false,
        callee: unknown(),
        attempt: 0,
        attempt_kind: Label::new("none"),
        retry_evidence: Label::new("none"),
        original: None,
        retry_depth: 0,
        attributes: Attributes::empty(),
        resource: Attributes::empty(),
        status: Label::new(if spec.status >= 500 { "error" } else { "unset" }),
        caller: unknown(),
        depth: 0,
        page_id: browser.then(|| PageId::new("p1").expect("not empty")),
        sequence: None,
        caller_layer: Label::new(if browser { "browser" } else { "service" }),
        wasted: false,
    };
    let calls = matches!(spec.kind, "client" | "producer");
    let hints = SpanHints {
        target: calls.then(|| String::from(spec.target)),
        tab_id: browser.then(|| TabId::new("t1").expect("not empty")),
        ..SpanHints::default()
    };
    Span { row, hints }
}

/// A beacon's attempt: the convention counts from 1, the hint from 0.
pub(super) fn beacon_attempt(mut span: Span, attempt: i32) -> Span {
    span.hints.beacon_previous_attempts = Some(attempt - 1);
    span.hints.intent_id = Some(span.row.trace_id);
    span
}

/// What another browser SDK tells: it knows no session, and counts nothing.
pub(super) fn foreign(spec: Spec<'_>) -> Span {
    let mut span = span(spec);
    span.row.service = Label::new("web-otel");
    span.row.session_id = None;
    span.row.page_id = None;
    (span.row.country, span.row.region) = (Label::unknown(), Label::unknown());
    span
}

/// An event of page `page` about one attempt.
pub(super) fn event(name: &str, page: &str, sequence: i64, trace: u8, span: u64, at: i64) -> Event {
    let template = self::span(Spec {
        trace: trace.max(1),
        id: 1,
        parent: 0,
        kind: "client",
        service: "web",
        target: "/x",
        start_ms: at,
        ms: 0,
        status: 200,
    })
    .row;
    let row = EventRow {
        time: template.time,
        time_client: template.time_client,
        time_received: template.time_received,
        app: template.app,
        environment: template.environment,
        service: template.service,
        service_version: template.service_version,
        event_name: Label::new(name),
        layer: template.layer,
        session_id: template.session_id,
        user_id: None,
        country: template.country,
        subdivision: template.subdivision,
        region: template.region,
        cloud_region: template.cloud_region,
        synthetic: false,
        verified: false,
        sample_weight: 1.0,
        trace_id: (trace != 0).then(|| trace_id(trace)),
        span_id: (span != 0).then(|| span_id(span)),
        page_id: PageId::new(page),
        tab_id: TabId::new("t1"),
        sequence: Some(sequence),
        value: None,
        body: None,
        attributes: Attributes::empty(),
        resource: Attributes::empty(),
        route: Label::unknown(),
    };
    Event { row, hints: EventHints::default() }
}

/// What the beacon tells of an attempt at [`FETCH`] that nobody waited for any longer: the span, when it
/// was left, how long it had waited, and how many attempts came before it.
pub(super) fn abandoned(trace: u8, span: u64, at_ms: i64, waited_ms: i64, before: i32) -> Event {
    let mut event = event("behavior.abandon", "p1", 3, trace, span, at_ms);
    event.hints.waited_us = Some(waited_ms * 1_000);
    event.hints.previous_attempts = Some(before);
    event.hints.method = Some(Label::new("GET"));
    event.hints.target = Some(String::from(FETCH.target));
    event
}

/// One arrival at the collector.
#[derive(Clone)]
pub(super) enum Arrival {
    Span(Box<Span>),
    Event(Box<Event>),
}

/// In a line, with what these tests vary, since a failing property prints its whole world.
impl fmt::Debug for Arrival {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Span(span) => write!(
                formatter,
                "{} {} of {} in {:.2} below {:?} at {} for {} us: {:?} {:?}, before {:?}, callee {:?}",
                span.row.service,
                span.row.kind,
                span.row.span_id,
                span.row.trace_id.to_string(),
                span.row.parent_span_id,
                (span.row.time.0 - T0_NS) / 1_000_000,
                span.row.duration_us,
                span.row.status_code,
                span.row.error_type,
                span.hints.beacon_previous_attempts,
                span.hints.callee,
            ),
            Self::Event(event) => write!(
                formatter,
                "{} {:?} on {:?} of {:?} in {:?} at {}, waited {:?} us",
                event.row.event_name,
                event.row.sequence,
                event.row.page_id,
                event.row.span_id,
                event.row.trace_id,
                (event.row.time.0 - T0_NS) / 1_000_000,
                event.hints.waited_us,
            ),
        }
    }
}

/// Spans as they arrive, one by one.
pub(super) fn arrivals(spans: impl IntoIterator<Item = Span>) -> Vec<Arrival> {
    spans.into_iter().map(|span| Arrival::Span(Box::new(span))).collect()
}

/// A record of these, received at this second.
pub(super) fn received(second: i64, spans: Vec<Span>, events: Vec<Event>) -> Rows {
    let received_ns = T0_NS + second * 1_000_000_000;
    Rows { received_ns, spans, events, ..Rows::default() }
}

/// A record that holds an arrival, or nothing but the time at which it was received.
pub(super) fn record(received_s: i64, arrival: Option<&Arrival>) -> Rows {
    let received = Time(T0_NS + received_s * 1_000_000_000);
    let mut rows = Rows { received_ns: received.0, ..Rows::default() };
    match arrival {
        Some(Arrival::Span(span)) => {
            let mut span = span.as_ref().clone();
            span.row.time_received = received;
            rows.spans.push(span);
        }
        Some(Arrival::Event(event)) => {
            let mut event = event.as_ref().clone();
            event.row.time_received = received;
            rows.events.push(event);
        }
        None => {}
    }
    rows
}

/// Everything that stands after these changes, and what was settled.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Standing {
    pub(super) spans: BTreeMap<String, SpanRow>,
    pub(super) requests: BTreeMap<String, RequestRow>,
    pub(super) sessions: BTreeMap<String, SessionRow>,
    pub(super) events: Vec<String>,
    pub(super) settled_sends: Vec<String>,
    pub(super) settled_requests: Vec<String>,
    /// Names that more than one row stands under.
    pub(super) doubled: Vec<String>,
}

/// Joins the arrivals, saying something after every `batch` of them, then lets time pass.
pub(super) fn join(arrivals: &[Arrival], batch: usize) -> Standing {
    let mut join = Join::new(Config::default());
    let mut changes = Vec::new();
    for (index, arrival) in arrivals.iter().enumerate() {
        let mut rows = Rows { received_ns: T0_NS, ..Rows::default() };
        match arrival {
            Arrival::Span(span) => rows.spans.push(span.as_ref().clone()),
            Arrival::Event(event) => rows.events.push(event.as_ref().clone()),
        }
        join.push(rows);
        // Each look weighs all that is open, and some worlds are of a hundred thousand spans.
        if index < 64 || index.is_power_of_two() {
            join.assert_weight();
        }
        if index % batch == 0 {
            changes.extend(join.emit());
        }
    }
    changes.extend(join.emit());
    for seconds in [30, 400, 3_000] {
        join.push(received(seconds, vec![], vec![]));
        changes.extend(join.emit());
    }
    standing_once(changes)
}

/// What stands after these changes, where nothing stands twice.
pub(super) fn standing_once(changes: Vec<Change>) -> Standing {
    let standing = standing(changes);
    assert!(standing.doubled.is_empty(), "two rows of {:?}", standing.doubled);
    standing
}

pub(super) fn standing(changes: Vec<Change>) -> Standing {
    let (mut spans, mut requests) = (BTreeMap::new(), BTreeMap::new());
    let (mut sessions, mut events) = (BTreeMap::new(), BTreeMap::new());
    let mut standing = Standing::default();
    for change in changes {
        match change {
            Change::Span(delta) => apply(&mut spans, delta),
            Change::Request(delta) => apply(&mut requests, delta),
            Change::Session(delta) => apply(&mut sessions, delta),
            Change::Event(delta) => apply(&mut events, delta),
            Change::Metric(_) | Change::Loss(_) | Change::Erase(_) => {}
            Change::SettledSend(row) => standing.settled_sends.push(row.span_id.to_string()),
            Change::SettledRequest(row) => {
                standing.settled_requests.push(row.request_id.to_string())
            }
        }
    }
    let doubled = &mut standing.doubled;
    let key = |row: &SpanRow| format!("{} {} {}", row.trace_id, row.span_id, row.kind);
    standing.spans = by_key(spans, key, doubled);
    standing.requests = by_key(requests, |row| row.request_id.to_string(), doubled);
    standing.sessions = by_key(sessions, |row| row.session_id.to_string(), doubled);
    standing.events =
        events.into_values().map(|row: EventRow| format!("{:?}", row.sequence)).collect();
    standing.events.sort();
    standing.settled_sends.sort();
    standing.settled_requests.sort();
    standing
}

/// Rows by what names them; a name that is taken already is `doubled`.
fn by_key<R>(
    rows: BTreeMap<RowId, R>,
    key: impl Fn(&R) -> String,
    doubled: &mut Vec<String>,
) -> BTreeMap<String, R> {
    let mut named = BTreeMap::new();
    for row in rows.into_values() {
        let key = key(&row);
        if named.insert(key.clone(), row).is_some() {
            doubled.push(key);
        }
    }
    named
}

/// What goes must have come: a row is retracted only while it stands.
fn apply<R: Clone>(rows: &mut BTreeMap<RowId, R>, delta: Delta<R>) {
    if let Some((id, _)) = delta.old {
        assert!(rows.remove(&id).is_some(), "a row went that did not stand");
    }
    if let Some((id, row)) = delta.new {
        assert!(rows.insert(id, row.as_ref().clone()).is_none(), "a place was taken twice");
    }
}

/// Sends, first attempts and logical calls at a service.
pub(super) fn factors(standing: &Standing, callee: &str) -> (usize, usize, usize) {
    let sends: Vec<&SpanRow> =
        standing.spans.values().filter(|row| row.is_send && row.callee == callee).collect();
    let first = sends.iter().filter(|row| row.attempt == 1).count();
    let calls = sends.iter().filter(|row| row.original == Some(row.span_id)).count();
    (sends.len(), first, calls)
}
