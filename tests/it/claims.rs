//! What a browser may not say of itself is dropped wherever it says it, and replaced by what the collector
//! knows: place, address, application, service, trust, and when it was received.

use ethogram_timeline::log::{LogReader, Record};
use ethogram_timeline::record::Envelope;
use serde_json::{Value, json};

use crate::harness::otlp::{attributes, beacon_request, id, now_ns};
use crate::harness::{Ethogram, Request};

/// A day in the next century.
const FUTURE_NS: u64 = 4_102_444_800_000_000_000;

/// Every name a browser has no say in, with a value that would be found again.
fn claims() -> Value {
    let mut claims = json!({
        "geo.country.iso_code": "FORGED", "geo.region.iso_code": "FORGED",
        "geo.locality.name": "FORGED", "geo.location.lat": "FORGED",
        "behavior.region": "FORGED",
        "service.name": "FORGED", "service.namespace": "FORGED", "service.instance.id": "FORGED",
        "client.address": "203.0.113.77", "client.port": "FORGED",
        "source.address": "203.0.113.77", "http.client_ip": "203.0.113.77",
        "host.name": "FORGED", "cloud.region": "FORGED", "k8s.pod.name": "FORGED",
        "container.id": "FORGED", "process.pid": "FORGED",
        "http.request.header.x-forwarded-for": "203.0.113.77",
    });
    // What the tables call such things is no name of the wire, and sets nothing.
    for column in ["app", "country", "region", "verified", "time_received", "layer"] {
        claims[column] = json!("OTHER");
    }
    claims
}

/// Pushes the claims onto an object's attributes.
fn claim(object: &mut Value) {
    let list = object["attributes"].as_array_mut().expect("it has attributes");
    list.extend(attributes(&claims()));
}

fn body() -> Value {
    let mut body = beacon_request("s1", 5, 0);
    let resource = &mut body["resourceSpans"][0];
    claim(&mut resource["resource"]);
    let resource = resource["resource"].clone();
    let scope = &mut body["resourceSpans"][0]["scopeSpans"][0];
    scope["scope"] = json!({ "name": "forged", "attributes": attributes(&claims()) });
    let span = &mut scope["spans"][0];
    claim(span);
    span["events"] = json!([{
        "name": "e", "timeUnixNano": now_ns().to_string(), "attributes": attributes(&claims()),
    }]);
    let mut future = span.clone();
    future["spanId"] = json!(id(6, 16));
    future["traceId"] = json!(id(6, 32));
    future["startTimeUnixNano"] = json!(FUTURE_NS.to_string());
    future["endTimeUnixNano"] = json!((FUTURE_NS + 1_000_000).to_string());
    let spans = scope["spans"].as_array_mut().expect("an array");
    spans.push(future);
    let event = json!({
        "eventName": "browser.navigation", "timeUnixNano": FUTURE_NS.to_string(),
        "observedTimeUnixNano": FUTURE_NS.to_string(), "attributes": attributes(&claims()),
    });
    body["resourceLogs"] =
        json!([{ "resource": resource, "scopeLogs": [{ "logRecords": [event] }] }]);
    body
}

#[test]
fn what_a_browser_claims_is_worth_nothing() {
    let ethogram = Ethogram::start(&[]);
    let request = Request::post("/v1/ethogram?key=local")
        .header("Content-Type", "text/plain")
        .header("X-Forwarded-For", "81.2.69.142")
        .body(body().to_string());
    assert_eq!(request.send(&ethogram.at.beacon).status, 204);
    ethogram.wait_for_value("SELECT count(*) FROM spans", 2);
    ethogram
        .wait_for_value("SELECT count(*) FROM events WHERE event_name = 'browser.navigation'", 1);
    let known = json!({
        "app": "default", "service": "web", "country": "GB", "region": "GB", "verified": false,
    });
    for (table, rows) in [("spans", 2), ("events", 1), ("requests", 2)] {
        let said = ethogram
            .sql(&format!("SELECT app, service, country, region, verified FROM {table} LIMIT 9"));
        assert_eq!(said, vec![known.clone(); rows], "{table}");
    }
    for table in ["spans", "events"] {
        let said = ethogram.sql(&format!(
            "SELECT count(*) AS late FROM {table} WHERE layer <> 'browser' OR time_received \
             NOT BETWEEN now() - INTERVAL '1 day' AND now() + INTERVAL '1 hour'"
        ));
        assert_eq!(said, [json!({ "late": 0 })], "{table}");
    }
    // Not in a column, not in an attribute, not on the disk.
    for table in ["spans", "events", "requests", "sessions"] {
        let rows = Value::from(ethogram.sql(&format!("SELECT * FROM {table}"))).to_string();
        assert!(!rows.contains("FORGED") && !rows.contains("203.0.113.77"), "{table}: {rows}");
    }
    let records = log(&ethogram);
    let bytes: Vec<&[u8]> = records
        .iter()
        .flat_map(|record| [&record.traces[..], &record.logs, &record.metrics])
        .collect();
    let holds = |word: &str| {
        bytes.iter().any(|bytes| bytes.windows(word.len()).any(|part| part == word.as_bytes()))
    };
    assert!(holds("browser.navigation"), "what is searched is the log");
    assert!(!holds("FORGED") && !holds("203.0.113.77"));
}

/// What is on the disk.
fn log(ethogram: &Ethogram) -> Vec<Envelope> {
    let status = ethogram.get(&ethogram.at.admin, "/status");
    let mut status: Value = serde_json::from_slice(&status.body).expect("JSON");
    let committed = serde_json::from_value(status["committed"].take()).expect("a position");
    let path = ethogram.directory.path().join("data/log");
    let mut reader = LogReader::open(&path, None).expect("the log can be read");
    let records = reader.read(committed, u64::MAX).expect("the log is whole");
    let decode = |record: &Record| Envelope::decode(&record.payload).expect("our record");
    records.iter().map(decode).collect()
}
