//! Rows that were sealed answer as rows in memory do, and a restart goes on from the seal.

use serde_json::json;

use crate::harness::otlp::{beacon_request, server_span};
use crate::harness::{Ethogram, Request, wait_for};

const ANSWERS: [&str; 3] = [
    "SELECT count(*) AS n, count(DISTINCT trace_id) AS traces, sum(duration_us) AS us FROM spans",
    "SELECT outcome, count(*) AS n, hdr_quantile(hdr(total_us), 0.5) AS latency_us_p50 FROM requests GROUP BY outcome ORDER BY outcome",
    "SELECT session_id, requests, attempts, state FROM sessions ORDER BY session_id",
];

fn answers(ethogram: &Ethogram) -> Vec<Vec<serde_json::Value>> {
    ANSWERS.iter().map(|sql| ethogram.sql(sql)).collect()
}

fn post(address: &str, path: &str, content_type: &str, body: String) {
    let request = Request::post(path).header("Content-Type", content_type).body(body);
    assert!(matches!(request.send(address).status, 200 | 204));
}

#[test]
fn sealed_rows_and_a_restart_answer_alike() {
    let mut ethogram = Ethogram::start(&["--query-follow-store-seal-s=1"]);
    for number in 1..=40 {
        post(
            &ethogram.at.otlp_http,
            "/v1/traces",
            "application/json",
            server_span("a", number).to_string(),
        );
        let body = beacon_request(&format!("s{}", number % 4), 1_000 + number, number).to_string();
        post(&ethogram.at.beacon, "/v1/ethogram?key=local", "text/plain", body);
    }
    ethogram.wait_for_value("SELECT count(*) FROM spans", 80);
    let expected = answers(&ethogram);
    assert_eq!(expected[0][0]["traces"], json!(80));
    wait_for("every row to be sealed", || {
        let status = ethogram.get(&ethogram.at.query, "/status").text();
        let status: serde_json::Value = serde_json::from_str(&status).ok()?;
        let tables = status.pointer("/follower/state/sealed_tables")?.as_array()?;
        let sealed = |name: &str| tables.iter().find(|table| table[0] == name)?.get(2)?.as_u64();
        (sealed("spans")? >= 80 && sealed("requests")? >= 80).then_some(())
    });
    assert_eq!(answers(&ethogram), expected, "sealed");
    ethogram.kill_role("query");
    wait_for("the query role to answer", || {
        ethogram.try_sql(ANSWERS[0]).ok().filter(|rows| rows == &expected[0])
    });
    assert_eq!(answers(&ethogram), expected, "after the query role was killed");
    ethogram.kill_and_restart();
    wait_for("the query role to answer", || {
        ethogram.try_sql(ANSWERS[0]).ok().filter(|rows| rows == &expected[0])
    });
    assert_eq!(answers(&ethogram), expected, "after everything was killed");
}
