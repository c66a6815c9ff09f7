//! A record that the query role dies of, three times, is set aside, listed, and followed past.
//!
//! The record is one that any client may send; that it kills is the machine's doing: the query role
//! may have little more memory than it has at rest, and the record's rows need more.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::harness::otlp::{id, server_span};
use crate::harness::{Ethogram, Request, memory_bytes, wait_for};

/// What the query role may use beyond what it had at rest: enough for small records, a seal and
/// a question, a fraction of what the large one needs.
const ROOM_BYTES: u64 = 96 << 20;

/// Spans of the large record, and the length of each one's attribute: 55 MiB before compression,
/// a little less than a body may have, and several times that as rows.
const SPANS: u64 = 2_800;
const TEXT_BYTES: usize = 20 << 10;

fn post(ethogram: &Ethogram, body: &Value) {
    let request = Request::post("/v1/traces").header("Content-Type", "application/json");
    let answer = request.body(body.to_string()).send(&ethogram.at.otlp_http);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn large() -> Vec<u8> {
    let mut body = server_span("large", 1_000_000);
    let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array_mut().expect("spans");
    let mut span = spans.pop().expect("one span");
    let text = "x".repeat(TEXT_BYTES);
    for number in 0..SPANS {
        span["spanId"] = json!(id(1_000_000 + number, 16));
        span["attributes"] = json!([
            { "key": "text", "value": { "stringValue": text } },
        ]);
        spans.push(span.clone());
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(body.to_string().as_bytes()).expect("memory");
    gzip.finish().expect("memory")
}

#[test]
fn a_record_that_kills_is_set_aside_and_listed() {
    let ethogram = Ethogram::start(&["--query-follow-store-seal-s=1"]);
    post(&ethogram, &server_span("before", 1));
    ethogram.wait_for_value("SELECT count(*) FROM spans", 1);
    let resting = wait_for("its size", || memory_bytes(ethogram.role("query")?, "VmData"));
    ethogram.limit_successors(resting + ROOM_BYTES);
    ethogram.kill_role("query");
    ethogram.wait_for_value("SELECT count(*) FROM spans", 1);

    let request = Request::post("/v1/traces")
        .header("Content-Type", "application/json")
        .header("Content-Encoding", "gzip");
    let answer = request.body(large()).send(&ethogram.at.otlp_http);
    assert_eq!(answer.status, 200, "{}", answer.text());
    post(&ethogram, &server_span("after", 2));

    ethogram.wait_for_value("SELECT count(*) FROM spans WHERE service = 'after'", 1);
    let losses = ethogram.sql("SELECT kind, log_from, log_to, detail FROM losses");
    assert_eq!(losses.len(), 1, "{losses:?}");
    assert_eq!(losses[0]["kind"], "poison", "{losses:?}");
    let status = ethogram.get(&ethogram.at.query, "/status").text();
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let listed = &status["follower"]["state"]["losses"];
    assert_eq!(listed, &json!([["poison", losses[0]["log_from"], losses[0]["log_to"]]]));
    ethogram.wait_for_value("SELECT count(*) FROM spans WHERE service = 'before'", 1);
    ethogram.wait_for_value("SELECT count(*) FROM spans WHERE service = 'large'", 0);
    let log = std::fs::read_to_string(ethogram.directory.path().join("stderr.log"));
    let deaths = log.expect("its log").matches("memory allocation of").count();
    assert!(deaths >= 3, "it died {deaths} times");
}
