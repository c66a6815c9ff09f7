//! The four example requests of the OTLP specification, by HTTP/JSON, become the rows they say.

use serde_json::json;

use crate::harness::{Answer, Ethogram, Request, tree};

fn post(ethogram: &Ethogram, path: &str, file: &str) -> Answer {
    let body = std::fs::read(tree(&format!("tests/data/otlp-examples/{file}")))
        .expect("a file of the tree");
    let request = Request::post(path).header("Content-Type", "application/json").body(body);
    request.send(&ethogram.at.otlp_http)
}

#[test]
fn every_official_example_is_rows() {
    let ethogram = Ethogram::start(&[]);
    for (path, file) in
        [("/v1/traces", "trace.json"), ("/v1/logs", "events.json"), ("/v1/metrics", "metrics.json")]
    {
        let answer = post(&ethogram, path, file);
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"), "{file}");
    }
    // An ordinary log record is not an event: it is rejected, counted, and said to be.
    let logs = post(&ethogram, "/v1/logs", "logs.json");
    let said: serde_json::Value = serde_json::from_slice(&logs.body).expect("JSON");
    assert_eq!(logs.status, 200);
    assert_eq!(said["partialSuccess"]["rejectedLogRecords"].to_string().trim_matches('"'), "1");
    assert!(
        said["partialSuccess"]["errorMessage"]
            .as_str()
            .is_some_and(|text| text.contains("event name")),
        "{said}"
    );

    ethogram.wait_for_value("SELECT count(*) FROM spans", 1);
    let span = &ethogram.sql("SELECT * FROM spans")[0];
    assert_eq!(span["trace_id"], json!("5b8efff798038103d269b633813fc60c"));
    assert_eq!(span["parent_span_id"], json!("eee19b7ec3c1b173"));
    assert_eq!((&span["service"], &span["kind"]), (&json!("my.service"), &json!("server")));
    assert_eq!(span["duration_us"], json!(1_000_000));
    let rows = ethogram.sql("SELECT attributes['my.span.attr'] AS value, resource['service.name'] AS service FROM spans");
    assert_eq!(rows, [json!({ "value": "some value", "service": "my.service" })]);

    ethogram.wait_for_value("SELECT count(*) FROM metrics", 4);
    let names = ethogram.sql("SELECT name, kind, value, count, sum FROM metrics ORDER BY name");
    assert_eq!(names[0]["name"], json!("my.counter"));
    assert_eq!(names[0]["value"], json!(5.0));
    let histograms = names.iter().filter(|row| row["kind"] == "histogram").count();
    assert_eq!(histograms, 2, "an explicit and an exponential one: {names:?}");

    ethogram.wait_for_value("SELECT count(*) FROM events", 1);
    let event = &ethogram.sql("SELECT event_name FROM events")[0];
    assert_eq!(event["event_name"], json!("browser.page_view"));
}
