//! Personal data seeded in every place and sent through every door is found nowhere: not in any
//! byte of the data directory, compressed or not, not in any column, metric, status or message.
//!
//! What a search finds is proved with a marker that names nobody and is sent in the same places.

use std::io::Read;
use std::path::Path;

use ethogram_timeline::decode::json;
use prost::Message;
use serde_json::{Value, json};

use crate::harness::grpc::{Export, export};
use crate::harness::otlp::{attributes, id, now_ns};
use crate::harness::{Ethogram, Request, wait_for};

/// What must not be found, in lower case.
const SECRETS: [&str; 18] = [
    "198.51.100.231",
    "8d3:1319:8a2e",
    "2001:db8:85a3:8d3",
    "jane.roe",
    "017655512345",
    "4929184736150284",
    "4929 1847",
    "9f1c2d3e",
    "tok3ninquery",
    "fragsecret",
    "c00kiesecret",
    "sec0ndcookie",
    "s3cretbearer",
    "pwsecret",
    "c2lnbmf0dxjlndq",
    "sm-g991b",
    "baggagesecret",
    "statesecret",
];

/// What must be found: it is sent beside each of them.
const MARKER: &str = "names-nobody-5";

/// A text that nobody gave a form.
const TEXT: &str = "names-nobody-5 peer 198.51.100.231:5555 and [2001:db8:85a3:8d3:1319:8a2e:370:7348]:1, \
    no user Jane.Roe.4711@mail.shop.example, call 017655512345 or card 4929 1847 3615 0284, \
    GET https://shop.example/u/9f1c2d3e-4b5a-4c6d-8e7f-a0b1c2d3e4f5/o/4929184736150284?t=tok3nInQuery77#fragSecret88 \
    Authorization: Bearer s3cretBearer55xyz Cookie: sid=c00kieSecret99; b=sec0ndCookie \
    password=pwSecret66cc {\"password\":\"pwSecret66cc\"} \
    eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqYW5lIn0.c2lnbmF0dXJlNDQ";

const URL: &str = "https://jane.roe:pwSecret66cc@shop.example/names-nobody-5/u/9f1c2d3e-4b5a-4c6d-8e7f-a0b1c2d3e4f5\
    /o/4929184736150284/jane.roe%40mail.example/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqYW5lIn0.c2lnbmF0dXJlNDQ\
    ?t=tok3nInQuery77#fragSecret88";

const AGENT: &str =
    "Mozilla/5.0 (Linux; Android 13; SM-G991B) AppleWebKit/537.36 Chrome/126.0.6478.126 Mobile";

/// Attributes that hold it all, by names that say so and by names that do not.
fn seeded() -> Vec<Value> {
    let header = |key: &str, value: &str| json!({ "key": key, "value": { "arrayValue": { "values": [{ "stringValue": value }] } } });
    let mut all = attributes(&json!({
        "note": TEXT,
        "client.address": "198.51.100.231",
        "http.client_ip": "2001:db8:85a3:8d3:1319:8a2e:370:7348",
        "net.sock.peer.addr": "198.51.100.231",
        "url.full": URL,
        "url.path": "/u/9f1c2d3e-4b5a-4c6d-8e7f-a0b1c2d3e4f5/jane.roe@mail.example",
        "url.query": "t=tok3nInQuery77",
        "url.fragment": "fragSecret88",
        "http.target": "/o/4929184736150284?t=tok3nInQuery77",
        "user.email": "jane.roe@mail.example",
        "user_agent.original": AGENT,
        "http.request.header.user-agent": AGENT,
        "baggage": "user=baggageSecret33",
        "db.query.text": "SELECT * FROM users WHERE email = 'jane.roe@mail.example' AND card = '4929184736150284'",
        "exception.message": TEXT,
        "jane.roe@mail.example": "a key",
    }));
    all.extend([
        header("http.request.header.cookie", "sid=c00kieSecret99"),
        header("http.response.header.set-cookie", "sid=c00kieSecret99"),
        header("http.request.header.authorization", "Bearer s3cretBearer55xyz"),
        header("http.request.header.x-forwarded-for", "198.51.100.231"),
        header("http.request.header.baggage", "user=baggageSecret33"),
        header("http.request.header.referer", URL),
        json!({ "key": "nested", "value": { "kvlistValue": { "values": [
            { "key": "password", "value": { "stringValue": "pwSecret66cc" } },
            { "key": "text", "value": { "stringValue": TEXT } },
        ] } } }),
    ]);
    all
}

fn resource(service: &str) -> Value {
    let mut all = seeded();
    all.extend(attributes(&json!({ "service.name": service })));
    json!({ "attributes": all })
}

fn traces(service: &str, number: u64) -> Value {
    let end = now_ns();
    json!({ "resourceSpans": [{ "resource": resource(service), "scopeSpans": [{
        "scope": { "name": TEXT, "attributes": seeded() },
        "spans": [{
            "traceId": id(number, 32), "spanId": id(number, 16), "name": TEXT, "kind": 2,
            "traceState": "vendor=stateSecret22", "status": { "code": 2, "message": TEXT },
            "startTimeUnixNano": (end - 1_000_000).to_string(), "endTimeUnixNano": end.to_string(),
            "attributes": seeded(),
            "events": [{ "name": TEXT, "timeUnixNano": end.to_string(), "attributes": seeded() }],
            "links": [{ "traceId": id(number, 32), "spanId": id(number, 16),
                "traceState": "vendor=stateSecret22", "attributes": seeded() }],
        }],
    }] }] })
}

fn logs(service: &str) -> Value {
    let body = json!({ "kvlistValue": { "values": [
        { "key": "said", "value": { "stringValue": TEXT } },
        { "key": "authorization", "value": { "stringValue": "s3cretBearer55xyz" } },
    ] } });
    let record = |body: Value, name: &str| json!({ "eventName": name, "timeUnixNano": now_ns().to_string(), "body": body, "attributes": seeded() });
    json!({ "resourceLogs": [{ "resource": resource(service), "scopeLogs": [{ "logRecords": [
        record(json!({ "stringValue": TEXT }), "told"),
        record(body, TEXT),
        // Not an event: it is rejected.
        json!({ "body": { "stringValue": TEXT }, "attributes": seeded() }),
    ] }] }] })
}

fn metrics(service: &str) -> Value {
    let point = json!({ "asInt": "1", "timeUnixNano": now_ns().to_string(), "attributes": seeded(),
        "exemplars": [{ "asInt": "1", "filteredAttributes": seeded() }] });
    json!({ "resourceMetrics": [{ "resource": resource(service), "scopeMetrics": [{ "metrics": [
        { "name": "waiting", "description": TEXT, "gauge": { "dataPoints": [point] } },
    ] }] }] })
}

const HEADERS: [(&str, &str); 5] = [
    ("x-forwarded-for", "198.51.100.231"),
    ("authorization", "Bearer s3cretBearer55xyz"),
    ("cookie", "sid=c00kieSecret99"),
    ("baggage", "user=baggageSecret33"),
    ("tracestate", "vendor=stateSecret22"),
];

fn post(address: &str, path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> u16 {
    let mut request = Request::post(path).header("Content-Type", content_type).body(body);
    for (name, value) in HEADERS {
        request = request.header(name, value);
    }
    request.header("User-Agent", AGENT).send(address).status
}

/// Everything through the doors of services.
fn send_as_services(ethogram: &Ethogram) {
    let at = &ethogram.at;
    for (path, body) in [
        ("/v1/traces", traces("by-json", 1)),
        ("/v1/logs", logs("by-json")),
        ("/v1/metrics", metrics("by-json")),
    ] {
        assert_eq!(post(&at.otlp_http, path, "application/json", body.to_string()), 200, "{path}");
    }
    let read_traces = |service, number| {
        json::traces(traces(service, number).to_string().as_bytes()).expect("legal JSON")
    };
    let read_logs = |service| json::logs(logs(service).to_string().as_bytes()).expect("legal JSON");
    let read_metrics =
        |service| json::metrics(metrics(service).to_string().as_bytes()).expect("legal JSON");
    for (path, body) in [
        ("/v1/traces", read_traces("by-protobuf", 2).encode_to_vec()),
        ("/v1/logs", read_logs("by-protobuf").encode_to_vec()),
        ("/v1/metrics", read_metrics("by-protobuf").encode_to_vec()),
    ] {
        assert_eq!(post(&at.otlp_http, path, "application/x-protobuf", body), 200, "{path}");
    }
    for what in [
        Export::Traces(read_traces("by-grpc", 3)),
        Export::Logs(read_logs("by-grpc")),
        Export::Metrics(read_metrics("by-grpc")),
    ] {
        export(&at.otlp_grpc, what, &HEADERS);
    }
}

/// The same of a page.
fn send_as_a_page(ethogram: &Ethogram) {
    let mut all = seeded();
    all.extend(attributes(&json!({
        "telemetry.sdk.name": "ethogram", "session.id": "s1", "behavior.tab_id": "00000000000000aa",
        "behavior.page_id": "00000000000000bb", "behavior.sent_at": now_ns(),
    })));
    let resource = json!({ "attributes": all });
    let mut body = traces("ignored", 4);
    body["resourceSpans"][0]["resource"] = resource.clone();
    body["resourceLogs"] = logs("ignored")["resourceLogs"].clone();
    body["resourceLogs"][0]["resource"] = resource;
    let path = "/v1/ethogram?key=local&who=jane.roe@mail.example";
    assert_eq!(post(&ethogram.at.beacon, path, "text/plain", body.to_string()), 204);
}

/// What is refused must not be quoted in a message of ours either.
fn send_what_is_refused(ethogram: &Ethogram) {
    let at = &ethogram.at;
    let broken = format!("{{\"{TEXT}");
    let question = json!({ "sql": format!("SELECT '{}' FROM nowhere", "jane.roe@mail.example") });
    let unknown = "/jane.roe@mail.example?t=tok3nInQuery77";
    for (address, path, content_type, body) in [
        (&at.beacon, "/v1/ethogram?key=pwSecret66cc", "text/plain", TEXT),
        (&at.beacon, "/v1/ethogram?key=local", "text/plain", &broken),
        (&at.beacon, unknown, "text/plain", TEXT),
        (&at.otlp_http, "/v1/traces", "application/json", &broken),
        (&at.otlp_http, "/v1/traces", "application/x-protobuf", TEXT),
        (&at.otlp_http, "/v1/logs", "jane.roe/c00kieSecret99", TEXT),
        (&at.otlp_http, unknown, "application/json", TEXT),
        (&at.admin, unknown, "application/json", TEXT),
        (&at.query, unknown, "application/json", TEXT),
        (&at.query, "/api/v1/sql", "application/json", &question.to_string()),
        (&at.query, "/api/v1/sql", "application/json", &broken),
    ] {
        let status = post(address, path, content_type, body);
        assert!((400..500).contains(&status), "{path}: {status}");
    }
}

/// Notes what of the secrets is in these bytes; says whether the marker is.
fn search(place: &str, bytes: &[u8], found: &mut Vec<String>) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    for secret in SECRETS {
        if let Some(at) = text.find(secret) {
            let from = text.floor_char_boundary(at.saturating_sub(60));
            let around: String = text[from..].chars().take(120).collect();
            found.push(format!("{place}: {secret} in {around:?}"));
        }
    }
    text.contains(MARKER)
}

/// A file as it is, and every zstd stream that begins anywhere in it: bodies in the log, state in
/// checkpoints, pages of Parquet.
fn search_file(path: &Path, found: &mut Vec<String>) -> bool {
    let Ok(bytes) = std::fs::read(path) else { return false };
    let place = path.display().to_string();
    let mut marked = search(&place, &bytes, found);
    let starts = bytes.windows(4).enumerate().filter(|(_, four)| *four == [0x28, 0xb5, 0x2f, 0xfd]);
    for (at, _) in starts {
        let mut inflated = Vec::new();
        if let Ok(decoder) = zstd::stream::read::Decoder::new(&bytes[at..]) {
            // What is not a stream after all ends with an error, after what could be read.
            drop(decoder.single_frame().read_to_end(&mut inflated));
        }
        marked |= search(&place, &inflated, found);
    }
    marked
}

fn files(directory: &Path, all: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files(&path, all) } else { all.push(path) }
    }
}

#[test]
fn what_names_somebody_is_found_nowhere() {
    let ethogram = Ethogram::start(&[
        "--query-follow-store-seal-s=1",
        "--log-level=info,ethogram=trace,ethogram_collector=trace,ethogram_query=trace,ethogram_timeline=trace",
    ]);
    send_as_services(&ethogram);
    send_as_a_page(&ethogram);
    send_what_is_refused(&ethogram);
    ethogram.wait_for_value("SELECT count(*) FROM spans", 4);
    ethogram.wait_for_value("SELECT count(*) FROM events", 8);
    ethogram.wait_for_value("SELECT count(*) FROM metrics", 3);
    wait_for("every row to be sealed", || {
        let status: Value =
            serde_json::from_str(&ethogram.get(&ethogram.at.query, "/status").text()).ok()?;
        let tables = status.pointer("/follower/state/sealed_tables")?.as_array()?;
        let rows = |name: &str| tables.iter().find(|table| table[0] == name)?.get(2)?.as_u64();
        (rows("spans")? >= 4 && rows("events")? >= 8 && rows("metrics")? >= 3).then_some(())
    });

    let (mut found, mut unmarked) = (Vec::new(), Vec::new());
    for table in ["spans", "events", "metrics", "requests", "sessions", "losses"] {
        let rows = ethogram.sql(&format!("SELECT * FROM {table}"));
        let marked = search(table, json!(rows).to_string().as_bytes(), &mut found);
        if !marked && ["spans", "events", "metrics"].contains(&table) {
            unmarked.push(String::from(table));
        }
    }
    for (address, path) in [
        (&ethogram.at.admin, "/metrics"),
        (&ethogram.at.admin, "/status"),
        (&ethogram.at.query, "/metrics"),
        (&ethogram.at.query, "/status"),
    ] {
        search(path, &ethogram.get(address, path).body, &mut found);
    }
    let mut all = Vec::new();
    files(ethogram.directory.path(), &mut all);
    for end in ["log", "parquet"] {
        let of_kind = |path: &&std::path::PathBuf| path.extension().is_some_and(|own| own == end);
        let marked = all.iter().filter(of_kind).any(|path| search_file(path, &mut Vec::new()));
        if !marked {
            unmarked.push(format!("*.{end}"));
        }
    }
    for path in &all {
        search_file(path, &mut found);
    }
    assert!(all.len() > 5, "{all:?}");
    assert!(unmarked.is_empty(), "the search is blind in {unmarked:?}");
    assert!(found.is_empty(), "{} places:\n{}", found.len(), found.join("\n"));
}
