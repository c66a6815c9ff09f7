//! OTLP/JSON and beacon bodies with few words.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// The machine's time, since what is asked for is "the last hour".
pub fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_nanos()).expect("before 2554")
}

/// A trace id or span id of `digits` digits.
pub fn id(number: u64, digits: usize) -> String {
    format!("{number:0digits$x}")
}

fn attribute(key: &str, value: &Value) -> Value {
    let value = match value {
        Value::String(text) => json!({ "stringValue": text }),
        Value::Bool(flag) => json!({ "boolValue": flag }),
        other => json!({ "intValue": other.to_string() }),
    };
    json!({ "key": key, "value": value })
}

/// The attributes of an object.
pub fn attributes(object: &Value) -> Vec<Value> {
    let object = object.as_object().expect("an object");
    object.iter().map(|(key, value)| attribute(key, value)).collect()
}

/// A SERVER span of `service` with one trace of its own.
pub fn server_span(service: &str, number: u64) -> Value {
    let start = now_ns() - 50_000_000;
    json!({ "resourceSpans": [{
        "resource": { "attributes": attributes(&json!({ "service.name": service })) },
        "scopeSpans": [{ "spans": [{
            "traceId": id(number, 32), "spanId": id(number, 16), "name": "GET /n", "kind": 2,
            "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 20_000_000).to_string(),
            "attributes": attributes(&json!({
                "http.request.method": "GET", "http.route": "/n", "http.response.status_code": 200,
            })),
        }] }],
    }] })
}

/// A beacon body with one finished request of session `session`.
pub fn beacon_request(session: &str, number: u64, sequence: u64) -> Value {
    let now = now_ns();
    let resource = attributes(&json!({
        "telemetry.sdk.name": "ethogram", "telemetry.sdk.language": "webjs", "session.id": session,
        "behavior.tab_id": "00000000000000aa", "behavior.page_id": "00000000000000bb",
        "behavior.sent_at": now,
    }));
    json!({ "resourceSpans": [{ "resource": { "attributes": resource }, "scopeSpans": [{ "spans": [{
        "traceId": id(number, 32), "spanId": id(number, 16), "name": "GET", "kind": 3,
        "startTimeUnixNano": (now - 90_000_000).to_string(), "endTimeUnixNano": (now - 10_000_000).to_string(),
        "attributes": attributes(&json!({
            "http.request.method": "GET", "url.full": "http://shop.example/n", "http.response.status_code": 200,
            "behavior.attempt": 1, "behavior.attempt_kind": "first", "behavior.intent_id": id(number, 32),
            "behavior.sequence": sequence,
        })),
    }] }] }] })
}
