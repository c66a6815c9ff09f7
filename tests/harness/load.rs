//! Many senders at once, over all doors, each of which knows what it was promised.
//!
//! A sender numbers its bodies from 1. It sends one until it is acknowledged, always with the same
//! ids, and only then the next: so what was promised of it is one number, and the tables must hold
//! every number up to it exactly once. Which refusals it met is counted.
//!
//! It is in a hurry: a real sender would wait as long as it is told to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tonic::transport::Channel;

use super::connection::Connection;
use super::otlp::now_ns;
use super::{Addresses, ask, wait_for};

/// Before a body that was not taken is sent again.
const AGAIN_AFTER: Duration = Duration::from_millis(10);

/// Where a sender sends what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// A span and an event of a page.
    Beacon,
    /// One span, as JSON.
    HttpSpans,
    /// One event, as JSON.
    HttpEvents,
    /// One data point, as JSON.
    HttpMetrics,
    /// One span, over gRPC.
    Grpc,
    /// [`BATCH_SPANS`] spans, as JSON.
    Batch,
}

/// Spans of a batch: enough that decoding it is work that waits for its turn.
pub const BATCH_SPANS: u64 = 150;

/// One connection's worth of senders.
#[derive(Clone, Copy, Debug)]
pub struct Promised {
    pub door: Door,
    pub sender: u64,
    /// Every body up to this number was acknowledged, and none after it was sent.
    pub bodies: u64,
}

/// What all senders met together.
#[derive(Default)]
pub struct Met {
    pub acknowledged: AtomicU64,
    /// Connections that broke, or were refused.
    pub broken: AtomicU64,
    /// Delays that refusals asked for: how often each. Zero stands for none, which is a mistake.
    pub delays_s: Mutex<BTreeMap<u64, u64>>,
    /// Refusals by door and by what they said: an HTTP status, or a gRPC code.
    pub refusals: Mutex<BTreeMap<(Door, i32), u64>>,
    /// Any other answer, which is a mistake too.
    pub unexpected: Mutex<Vec<String>>,
}

/// Senders that run until they are stopped.
pub struct Load {
    pub met: Arc<Met>,
    at: Arc<RwLock<Addresses>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Promised>>,
}

impl Load {
    /// Starts so many senders at each door, each as fast as it is answered.
    pub fn start(at: &Addresses, doors: &[(Door, u64)]) -> Self {
        Self::start_with(at, doors, None)
    }

    /// As [`Self::start`], but all together send no more than so many bodies a second.
    pub fn start_paced(at: &Addresses, doors: &[(Door, u64)], per_second: f64) -> Self {
        Self::start_with(at, doors, Some(per_second))
    }

    fn start_with(at: &Addresses, doors: &[(Door, u64)], per_second: Option<f64>) -> Self {
        let senders: Vec<Door> =
            doors.iter().flat_map(|(door, count)| (0..*count).map(|_| *door)).collect();
        let (met, stop) = (Arc::<Met>::default(), Arc::<AtomicBool>::default());
        let at = Arc::new(RwLock::new(at.clone()));
        let shared = (Arc::clone(&met), Arc::clone(&stop), Arc::clone(&at));
        let thread = std::thread::spawn(move || run(&senders, per_second, shared));
        Self { met, at, stop, thread }
    }

    /// Where everything is from now on.
    pub fn redirect(&self, at: &Addresses) {
        *self.at.write().expect("nobody panics with it") = at.clone();
    }

    pub fn acknowledged(&self) -> u64 {
        self.met.acknowledged.load(Ordering::Relaxed)
    }

    /// How many refusals asked for how long.
    pub fn delays_s(&self) -> BTreeMap<u64, u64> {
        self.met.delays_s.lock().expect("nobody panics with it").clone()
    }

    /// How many refusals of which door said what.
    pub fn refusals(&self) -> BTreeMap<(Door, i32), u64> {
        self.met.refusals.lock().expect("nobody panics with it").clone()
    }

    /// Stops: each sender when its last body is acknowledged.
    pub fn stop(self) -> Vec<Promised> {
        self.stop.store(true, Ordering::Relaxed);
        let promised = self.thread.join().expect("no sender panics");
        let unexpected = self.met.unexpected.lock().expect("nobody panics with it");
        assert!(unexpected.is_empty(), "{unexpected:?}");
        promised
    }
}

/// Checks that the tables hold exactly what was promised: each body once, and nothing else.
pub fn check_once(query: &str, promised: &[Promised]) {
    let by_page = "coalesce(session_id, service)";
    for (table, sender, own, doors) in [
        ("spans", by_page, "span_id", [Door::Beacon, Door::HttpSpans, Door::Grpc].as_slice()),
        (
            "events",
            by_page,
            "coalesce(sequence, attributes['number'])",
            &[Door::Beacon, Door::HttpEvents],
        ),
        ("metrics", "service", "attributes['number']", &[Door::HttpMetrics]),
    ] {
        let expected: BTreeMap<String, [u64; 2]> = promised
            .iter()
            .filter(|promised| doors.contains(&promised.door) && promised.bodies > 0)
            .map(|promised| (format!("sender-{}", promised.sender), [promised.bodies; 2]))
            .collect();
        let all: u64 = expected.values().map(|[bodies, _]| bodies).sum();
        wait_for(&format!("{all} rows of {table}"), || {
            let rows = ask(query, &format!("SELECT count(*) AS n FROM {table}")).ok()?;
            (rows[0]["n"].as_u64()? >= all).then_some(())
        });
        let sql = format!(
            "SELECT {sender} AS sender, count(*) AS n, count(DISTINCT {own}) AS known \
             FROM {table} GROUP BY 1"
        );
        let rows = ask(query, &sql).expect("an answer");
        let found: BTreeMap<String, [u64; 2]> = rows
            .iter()
            .map(|row| {
                let count = |name: &str| row[name].as_u64().unwrap_or(0);
                let sender = row["sender"].as_str().unwrap_or_default();
                (sender.to_string(), [count("n"), count("known")])
            })
            .collect();
        assert_eq!(found, expected, "{table}: rows and different rows by sender");
    }
}

type Shared = (Arc<Met>, Arc<AtomicBool>, Arc<RwLock<Addresses>>);

fn run(senders: &[Door], per_second: Option<f64>, shared: Shared) -> Vec<Promised> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async move {
        let tasks = senders.iter().enumerate().map(|(sender, door)| {
            let turns = per_second.map(|rate| turns(sender, senders.len(), rate));
            tokio::spawn(send(*door, sender as u64, turns, shared.clone()))
        });
        let tasks: Vec<_> = tasks.collect();
        let mut promised = Vec::new();
        for task in tasks {
            promised.push(task.await.expect("no sender panics"));
        }
        promised
    })
}

/// When one of some senders may send, so that all together keep to a rate. They take turns, and who
/// has missed one does not catch up: after a restart nobody storms.
fn turns(sender: usize, senders: usize, per_second: f64) -> Interval {
    let every = Duration::from_secs_f64(senders as f64 / per_second);
    let first = Instant::now() + every.mul_f64(sender as f64 / senders as f64);
    let mut turns = interval_at(first, every);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns
}

async fn send(door: Door, sender: u64, mut turns: Option<Interval>, shared: Shared) -> Promised {
    let (met, stop, at) = shared;
    let here = || at.read().expect("nobody panics with it").clone();
    let (mut connection, mut channel) = (Connection::new(""), None);
    let mut bodies = 0;
    while !stop.load(Ordering::Relaxed) {
        if let Some(turns) = &mut turns {
            turns.tick().await;
        }
        loop {
            let outcome = match door {
                Door::Grpc => by_grpc(&mut channel, &here().otlp_grpc, sender, bodies + 1).await,
                _ => by_http(&mut connection, door, &here(), sender, bodies + 1).await,
            };
            if note(&met, door, outcome) {
                break;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        bodies += 1;
    }
    Promised { door, sender, bodies }
}

enum Outcome {
    Acknowledged,
    Refused { code: i32, delay_s: u64 },
    Broken,
    Unexpected(String),
}

fn note(met: &Met, door: Door, outcome: Outcome) -> bool {
    match outcome {
        Outcome::Acknowledged => {
            met.acknowledged.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        Outcome::Refused { code, delay_s } => {
            *met.delays_s.lock().expect("nobody panics with it").entry(delay_s).or_default() += 1;
            let mut refusals = met.refusals.lock().expect("nobody panics with it");
            *refusals.entry((door, code)).or_default() += 1;
        }
        Outcome::Broken => {
            met.broken.fetch_add(1, Ordering::Relaxed);
        }
        Outcome::Unexpected(what) => {
            met.unexpected.lock().expect("nobody panics with it").push(what);
        }
    }
    false
}

async fn by_http(
    connection: &mut Connection,
    door: Door,
    at: &Addresses,
    sender: u64,
    number: u64,
) -> Outcome {
    let (address, path, content_type, body) = match door {
        Door::Beacon => (&at.beacon, "/v1/ethogram?key=local", "text/plain", page(sender, number)),
        Door::HttpEvents => {
            (&at.otlp_http, "/v1/logs", "application/json", event_body(sender, number))
        }
        Door::HttpMetrics => {
            (&at.otlp_http, "/v1/metrics", "application/json", point_body(sender, number))
        }
        Door::Batch => (&at.otlp_http, "/v1/traces", "application/json", batch(sender, number)),
        _ => (&at.otlp_http, "/v1/traces", "application/json", span_body(sender, number)),
    };
    connection.redirect(address);
    match connection.post(path, content_type, body.as_bytes()).await {
        Ok(answer) if matches!(answer.status, 200 | 204) => Outcome::Acknowledged,
        Ok(answer) if matches!(answer.status, 429 | 503) => {
            let delay_s = answer.retry_after_s.unwrap_or(0);
            Outcome::Refused { code: answer.status.into(), delay_s }
        }
        Ok(answer) => Outcome::Unexpected(format!("{door:?}: {answer:?}")),
        Err(_) => Outcome::Broken,
    }
}

async fn by_grpc(
    kept: &mut Option<(String, TraceServiceClient<Channel>)>,
    address: &str,
    sender: u64,
    number: u64,
) -> Outcome {
    if kept.as_ref().is_none_or(|(to, _)| to != address) {
        let Ok(client) = TraceServiceClient::connect(format!("http://{address}")).await else {
            return Outcome::Broken;
        };
        *kept = Some((address.to_string(), client));
    }
    let Some((_, client)) = kept else { return Outcome::Broken };
    match client.export(span_message(sender, number)).await {
        Ok(_) => Outcome::Acknowledged,
        Err(status) => {
            let details = String::from_utf8_lossy(status.details()).into_owned();
            if details.contains("google.rpc.RetryInfo") {
                // `RetryInfo{1: Duration{1: seconds}}` ends the details, with seconds below 128.
                let delay_s = status.details().last().copied().unwrap_or(0);
                return Outcome::Refused { code: status.code().into(), delay_s: delay_s.into() };
            }
            *kept = None;
            Outcome::Broken
        }
    }
}

/// The trace of a sender's body: its number, below the sender's.
fn trace(sender: u64, number: u64) -> u128 {
    (u128::from(sender) + 1) << 64 | u128::from(number)
}

fn span_id(sender: u64, number: u64) -> u64 {
    (sender + 1) << 40 | number
}

fn span_body(sender: u64, number: u64) -> String {
    with_spans(sender, &span(sender, number))
}

fn with_spans(sender: u64, spans: &str) -> String {
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"sender-{sender}"}}}}]}},"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#
    )
}

fn span(sender: u64, number: u64) -> String {
    let (trace, span, end) = (trace(sender, number), span_id(sender, number), now_ns());
    let start = end - 20_000_000;
    format!(
        r#"{{"traceId":"{trace:032x}","spanId":"{span:016x}","name":"GET /n","kind":2,"startTimeUnixNano":"{start}","endTimeUnixNano":"{end}","attributes":[{{"key":"http.route","value":{{"stringValue":"/n"}}}}]}}"#
    )
}

fn batch(sender: u64, number: u64) -> String {
    let first = number * BATCH_SPANS;
    let spans = (first..first + BATCH_SPANS).map(|number| span(sender, number));
    with_spans(sender, &spans.collect::<Vec<_>>().join(","))
}

/// When a sender's body says that it happened: a second delivery must say the same.
fn time_ns(number: u64) -> u64 {
    static BEGAN_NS: OnceLock<u64> = OnceLock::new();
    *BEGAN_NS.get_or_init(now_ns) + number
}

fn point_body(sender: u64, number: u64) -> String {
    let time = time_ns(number);
    format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"sender-{sender}"}}}}]}},"scopeMetrics":[{{"metrics":[{{"name":"measured","gauge":{{"dataPoints":[{{"timeUnixNano":"{time}","asInt":"{number}","attributes":[{{"key":"number","value":{{"intValue":"{number}"}}}}]}}]}}}}]}}]}}]}}"#
    )
}

fn event_body(sender: u64, number: u64) -> String {
    let time = time_ns(number);
    format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"sender-{sender}"}}}}]}},"scopeLogs":[{{"logRecords":[{{"eventName":"told","timeUnixNano":"{time}","attributes":[{{"key":"number","value":{{"intValue":"{number}"}}}}]}}]}}]}}]}}"#
    )
}

fn page(sender: u64, number: u64) -> String {
    let (trace, span, now) = (trace(sender, number), span_id(sender, number), now_ns());
    let start = now - 90_000_000;
    let resource = format!(
        r#""resource":{{"attributes":[{{"key":"telemetry.sdk.name","value":{{"stringValue":"ethogram"}}}},{{"key":"session.id","value":{{"stringValue":"sender-{sender}"}}}},{{"key":"behavior.tab_id","value":{{"stringValue":"{sender:016x}"}}}},{{"key":"behavior.page_id","value":{{"stringValue":"{sender:016x}"}}}},{{"key":"behavior.sent_at","value":{{"intValue":"{now}"}}}}]}}"#
    );
    format!(
        r#"{{"resourceSpans":[{{{resource},"scopeSpans":[{{"spans":[{{"traceId":"{trace:032x}","spanId":"{span:016x}","name":"GET","kind":3,"startTimeUnixNano":"{start}","endTimeUnixNano":"{now}","attributes":[{{"key":"url.full","value":{{"stringValue":"http://shop.example/n"}}}}]}}]}}]}}],"resourceLogs":[{{{resource},"scopeLogs":[{{"logRecords":[{{"eventName":"browser.page_view","timeUnixNano":"{now}","attributes":[{{"key":"behavior.sequence","value":{{"intValue":"{number}"}}}}]}}]}}]}}]}}"#
    )
}

fn span_message(sender: u64, number: u64) -> ExportTraceServiceRequest {
    let end = now_ns();
    let span = Span {
        trace_id: trace(sender, number).to_be_bytes().to_vec(),
        span_id: span_id(sender, number).to_be_bytes().to_vec(),
        name: String::from("GET /n"),
        kind: 2,
        start_time_unix_nano: end - 20_000_000,
        end_time_unix_nano: end,
        ..Span::default()
    };
    let value = Some(AnyValue { value: Some(Value::StringValue(format!("sender-{sender}"))) });
    let name = KeyValue { key: String::from("service.name"), value, ..KeyValue::default() };
    let resource = Some(Resource { attributes: vec![name], ..Resource::default() });
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }
}
