//! Every entry for bytes, fuzzed: of strangers OTLP in both forms, compressed and in frames, beacons,
//! headers and SQL; of our own disk the log, its records, what its followers say, and the store. No
//! input may panic, cost memory beyond its limits, or be read back as another.

#[path = "fuzz/checksum.rs"]
mod checksum;
#[path = "fuzz/doors.rs"]
mod doors;
#[path = "fuzz/link.rs"]
mod link;
#[path = "fuzz/log.rs"]
mod log;
#[path = "fuzz/program.rs"]
mod program;
#[path = "fuzz/store.rs"]
mod store;

use ethogram_timeline::decode::admit::{self, Sizes};
use ethogram_timeline::decode::scan::{self, Limits, Scanner};
use ethogram_timeline::decode::scrub::{self, Trust};
use ethogram_timeline::decode::{Rows, json, rows};
use ethogram_timeline::record::{Envelope, Source};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use crate::harness::mutate::Target;
use crate::harness::otlp::beacon_request;
use crate::harness::{memory_bytes, tree};

const LIMITS: Limits = Limits { records_max: 1_000, decoded_bytes_max: 1 << 20 };

/// What this process may have used at most, whatever was read: all the inputs together are small,
/// and so must be what they become. Other tests of this process are in it.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

const JSON_WORDS: &[&[u8]] = &[
    b"\"resourceSpans\":[",
    b"\"resourceLogs\":[",
    b"\"resourceMetrics\":[",
    b"\"scopeSpans\":[",
    b"\"spans\":[{",
    b"\"attributes\":[",
    b"{\"key\":\"a\",\"value\":",
    b"{\"stringValue\":\"x\"}",
    b"{\"intValue\":\"9223372036854775808\"}",
    b"{\"doubleValue\":\"NaN\"}",
    b"{\"arrayValue\":{\"values\":[",
    b"{\"kvlistValue\":{\"values\":[",
    b"null",
    b"1e999",
    b"-0",
    b"\"\\ud800\"",
    b"\"\\u0000\"",
    b"true",
    b"jane@shop.example",
    b"203.0.113.77",
    b"2001:db8::7",
    b"password=x",
    b"Bearer 1",
    b"?a=b",
    b"://",
    b"4111111111111111",
    b"123e4567-e89b-12d3-a456-426614174000",
    b"\xc3\xa9",
    b"]",
    b"}",
    b"[",
    b"{",
    b",",
];

/// Keys with their wire types, lengths that lie, numbers that are too long.
const WIRE_WORDS: &[&[u8]] = &[
    &[0x0a],
    &[0x12],
    &[0x1a],
    &[0x22],
    &[0x2a],
    &[0x0a, 0x00],
    &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x0b],
    &[0x0c],
    &[0x0f],
    &[0xff; 10],
    &[0x80; 9],
    &[0x12, 0x02, 0x0a, 0x00],
    &[0x39, 0, 0, 0, 0, 0, 0, 0, 0x80],
];

fn example(name: &str) -> Vec<u8> {
    std::fs::read(tree("tests/data/otlp-examples").join(name)).expect("an example")
}

/// Says how something went, without what differs from input to input.
fn words_of(text: &str) -> String {
    let own = text.split(['`', '"', '\'']).next().unwrap_or_default();
    own.chars().filter(|letter| !letter.is_ascii_digit()).take(60).collect()
}

fn size_of(rows: &Rows) -> String {
    let sizes = [rows.spans.len(), rows.events.len(), rows.metrics.len(), rows.dropped.len()];
    format!("rows {:?}", sizes.map(|size| size.next_power_of_two()))
}

fn check_memory() {
    let most = memory_bytes(std::process::id(), "VmHWM").expect("the kernel says");
    assert!(most < MEMORY_BYTES_MAX, "{most} bytes");
}

/// A signal, as the collector and the query role treat it.
trait Signal: Message + Default + Clone {
    const SIGNAL: scan::Signal;
    fn read(json: &[u8]) -> Result<Self, json::JsonError>;
    fn admit(&mut self);
    fn scrub(&mut self);
    fn store(&self, envelope: &mut Envelope);
}

impl Signal for ExportTraceServiceRequest {
    const SIGNAL: scan::Signal = scan::Signal::Traces;

    fn read(json: &[u8]) -> Result<Self, json::JsonError> {
        json::traces(json)
    }

    fn admit(&mut self) {
        admit::traces(self, Sizes::default());
    }

    fn scrub(&mut self) {
        scrub::traces(self, Trust::Browser, &mut |_| None);
    }

    fn store(&self, envelope: &mut Envelope) {
        envelope.traces = self.encode_to_vec();
    }
}

impl Signal for ExportLogsServiceRequest {
    const SIGNAL: scan::Signal = scan::Signal::Logs;

    fn read(json: &[u8]) -> Result<Self, json::JsonError> {
        json::logs(json)
    }

    fn admit(&mut self) {
        admit::logs(self, Sizes::default());
    }

    fn scrub(&mut self) {
        scrub::logs(self, Trust::Service, &mut |_| None);
    }

    fn store(&self, envelope: &mut Envelope) {
        envelope.logs = self.encode_to_vec();
    }
}

impl Signal for ExportMetricsServiceRequest {
    const SIGNAL: scan::Signal = scan::Signal::Metrics;

    fn read(json: &[u8]) -> Result<Self, json::JsonError> {
        json::metrics(json)
    }

    fn admit(&mut self) {
        admit::metrics(self, Sizes::default());
    }

    fn scrub(&mut self) {
        scrub::metrics(self, Trust::Service);
    }

    fn store(&self, envelope: &mut Envelope) {
        envelope.metrics = self.encode_to_vec();
    }
}

/// What a request goes through in the collector, and then in the query role.
fn through<S: Signal>(mut request: S) -> String {
    request.admit();
    request.scrub();
    let wire = request.encode_to_vec();
    request.admit();
    assert_eq!(request.encode_to_vec(), wire, "admitted twice");
    request.scrub();
    assert_eq!(request.encode_to_vec(), wire, "scrubbed twice");
    let mut envelope = Envelope::new(Source::Otlp, 1_700_000_000_000_000_000);
    request.store(&mut envelope);
    let read = Envelope::decode(&envelope.encode()).expect("what was encoded");
    assert_eq!(read, envelope);
    let found = rows(&read).expect("what was admitted");
    // Equal bytes make equal rows. Numbers that are none equal nothing, but their text does.
    assert_eq!(format!("{found:?}"), format!("{:?}", rows(&read).expect("as before")));
    size_of(&found)
}

fn json_form<S: Signal>(name: &str, examples: &[&str]) {
    let seeds = examples.iter().map(|name| example(name)).collect();
    Target { name, seeds, words: JSON_WORDS, inputs: 6_000 }.fuzz(|input| {
        let mut scanner = Scanner::json(LIMITS);
        if let Err(error) = scanner.feed(input) {
            return words_of(&error.to_string());
        }
        let request = match S::read(input) {
            Ok(request) => request,
            Err(error) => return words_of(&error.to_string()),
        };
        // The protobuf form of a request is the same request.
        let wire = request.encode_to_vec();
        assert_eq!(S::decode(wire.as_slice()).expect("our own bytes").encode_to_vec(), wire);
        through(request)
    });
    check_memory();
}

fn wire_form<S: Signal>(name: &str, examples: &[&str]) {
    let read = |name: &&str| S::read(&example(name)).expect("an example").encode_to_vec();
    let seeds = examples.iter().map(read).collect();
    Target { name, seeds, words: WIRE_WORDS, inputs: 6_000 }.fuzz(|input| {
        let scan = |bytes: usize| {
            let mut scanner = Scanner::protobuf(S::SIGNAL, LIMITS);
            input.chunks(bytes).try_for_each(|piece| scanner.feed(piece))?;
            scanner.finish()
        };
        let whole = scan(usize::MAX);
        // In pieces it is the same body.
        assert_eq!(scan(7), whole);
        if let Err(error) = whole {
            return words_of(&error.to_string());
        }
        match S::decode(input) {
            Ok(request) => through(request),
            Err(error) => words_of(&error.to_string()),
        }
    });
    check_memory();
}

#[test]
fn spans() {
    json_form::<ExportTraceServiceRequest>("traces-json", &["trace.json"]);
    wire_form::<ExportTraceServiceRequest>("traces-protobuf", &["trace.json"]);
}

#[test]
fn log_records() {
    json_form::<ExportLogsServiceRequest>("logs-json", &["events.json", "logs.json"]);
    wire_form::<ExportLogsServiceRequest>("logs-protobuf", &["events.json", "logs.json"]);
}

#[test]
fn data_points() {
    json_form::<ExportMetricsServiceRequest>("metrics-json", &["metrics.json"]);
    wire_form::<ExportMetricsServiceRequest>("metrics-protobuf", &["metrics.json"]);
}

#[test]
fn beacons() {
    let seeds = vec![beacon_request("s1", 1, 2).to_string().into_bytes(), example("events.json")];
    Target { name: "beacon", seeds, words: JSON_WORDS, inputs: 6_000 }.fuzz(|input| {
        let mut scanner = Scanner::json(LIMITS);
        if let Err(error) = scanner.feed(input) {
            return words_of(&error.to_string());
        }
        match json::beacon(input) {
            Ok(body) => {
                let sessions = scan::sessions(&body).count().next_power_of_two();
                format!("{sessions} {} {}", through(body.traces), through(body.logs))
            }
            Err(error) => words_of(&error.to_string()),
        }
    });
    check_memory();
}

#[test]
fn records_of_the_log() {
    let mut envelope = Envelope::new(Source::Otlp, 1_700_000_000_000_000_000);
    json::traces(&example("trace.json")).expect("an example").store(&mut envelope);
    let mut long = envelope.clone();
    long.logs = json::logs(&example("events.json")).expect("an example").encode_to_vec().repeat(9);
    let mut erasure = Envelope::new(Source::Erasure, 1);
    erasure.erase_session = String::from("s1");
    let seeds = [envelope, long, erasure, Envelope::new(Source::Tick, 2)].map(|e| e.encode());
    let target =
        Target { name: "record", seeds: seeds.to_vec(), words: WIRE_WORDS, inputs: 10_000 };
    target.fuzz(|input| match Envelope::decode(input) {
        Ok(envelope) => match rows(&envelope) {
            Ok(rows) => size_of(&rows),
            Err(error) => words_of(&error.to_string()),
        },
        Err(error) => words_of(&error.to_string()),
    });
    check_memory();
}
