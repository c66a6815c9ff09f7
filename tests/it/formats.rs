//! One question in four formats, and the same question from the command line.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::otlp::server_span;
use crate::harness::{Ethogram, Request, binary};

const QUESTION: &str = "SELECT service, duration_us, time, span_id FROM spans ORDER BY span_id";

fn ask(ethogram: &Ethogram, accept: &str) -> crate::harness::Answer {
    Request::post("/api/v1/sql")
        .header("Content-Type", "application/json")
        .header("Accept", accept)
        .body(json!({ "sql": QUESTION }).to_string())
        .send(&ethogram.at.query)
}

#[test]
fn the_same_rows_in_every_format() {
    let ethogram = Ethogram::start(&[]);
    for number in 1..=3 {
        let body = server_span("a", number).to_string();
        let request =
            Request::post("/v1/traces").header("Content-Type", "application/json").body(body);
        assert_eq!(request.send(&ethogram.at.otlp_http).status, 200);
    }
    ethogram.wait_for_value("SELECT count(*) FROM spans", 3);

    let whole: Value =
        serde_json::from_slice(&ask(&ethogram, "application/json").body).expect("JSON");
    assert_eq!(whole["row_count"], json!(3));
    assert_eq!(whole["columns"][0]["name"], json!("service"));
    assert!(whole["complete_until"].as_str().is_some_and(|time| time.ends_with('Z')), "{whole}");
    let first = &whole["rows"][0];
    assert_eq!(
        (&first["duration_us"], &first["span_id"]),
        (&json!(20_000), &json!("0000000000000001"))
    );
    assert!(first["time"].as_str().is_some_and(|time| time.ends_with('Z')));

    let lines = ask(&ethogram, "application/x-ndjson").text();
    let lines: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines, whole["rows"].as_array().expect("rows").as_slice());

    let csv = ask(&ethogram, "text/csv").text();
    assert!(csv.starts_with("service,duration_us,time,span_id"), "{csv}");
    assert_eq!(csv.lines().count(), 4, "{csv}");

    let arrow = ask(&ethogram, "application/vnd.apache.arrow.stream");
    assert_eq!(arrow.header("content-type"), Some("application/vnd.apache.arrow.stream"));
    let reader =
        arrow::ipc::reader::StreamReader::try_new(arrow.body.as_slice(), None).expect("a stream");
    let rows: usize = reader.map(|batch| batch.expect("a batch").num_rows()).sum();
    assert_eq!(rows, 3);

    let url = format!("--query-url=http://{}", ethogram.at.query);
    let output = Command::new(binary()).args(["sql", QUESTION, &url]).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("duration_us") && text.contains("20000"),
        "{text}"
    );
    let wrong = Command::new(binary()).args(["sql", "SELEKT", &url]).output().expect("it runs");
    assert!(!wrong.status.success() && !wrong.stderr.is_empty());
}
