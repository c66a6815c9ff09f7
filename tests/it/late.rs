//! What comes after its trace was let go is joined all the same, also after a crash in between.

use serde_json::{Value, json};

use crate::harness::otlp::{beacon_request, id, server_span};
use crate::harness::{Ethogram, Request, wait_for};

const REQUESTS: u64 = 20;

const ANSWERS: [&str; 3] = [
    "SELECT layer, coverage, count(*) AS n FROM requests GROUP BY 1, 2",
    "SELECT count(*) AS n, count(session_id) AS joined, count(DISTINCT request_id) AS requests FROM spans",
    "SELECT session_id, requests, attempts FROM sessions",
];

/// The server's side of the page's request of that number.
fn server_side(number: u64) -> Value {
    let mut body = server_span("shop", number);
    let span = &mut body["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    span["spanId"] = json!(id(1_000 + number, 16));
    span["parentSpanId"] = json!(id(number, 16));
    body
}

fn post(address: &str, path: &str, content_type: &str, body: &Value) {
    let request = Request::post(path).header("Content-Type", content_type).body(body.to_string());
    assert!(matches!(request.send(address).status, 200 | 204));
}

/// Waits until every trace was let go and the last seal says so.
fn wait_until_let_go(ethogram: &Ethogram) {
    let state = |name: &str| {
        let status = ethogram.get(&ethogram.at.query, "/status").text();
        let status: Value = serde_json::from_str(&status).ok()?;
        status.pointer(&format!("/follower/state/{name}"))?.as_u64()
    };
    wait_for("traces to be let go", || (state("open_traces")? == 0).then_some(()));
    let seals = wait_for("a seal", || state("seals"));
    wait_for("two more seals", || (state("seals")? >= seals + 2).then_some(()));
}

fn answers(ethogram: &Ethogram) -> Option<Vec<Vec<Value>>> {
    ANSWERS.iter().map(|sql| ethogram.try_sql(sql).ok()).collect()
}

#[test]
fn a_page_that_comes_after_its_servers_were_let_go() {
    let mut ethogram = Ethogram::start(&[
        "--query-follow-store-seal-s=1",
        "--query-follow-join-settle-s=1",
        "--query-follow-join-window-s=1",
        // So that a second delivery, too, has to ask the shelf.
        "--query-follow-join-duplicate-window-s=1",
    ]);
    let servers: Vec<Value> = (1..=REQUESTS).map(server_side).collect();
    for body in &servers {
        post(&ethogram.at.otlp_http, "/v1/traces", "application/json", body);
    }
    ethogram.wait_for_value("SELECT count(*) FROM requests WHERE layer = 'service'", REQUESTS);
    wait_until_let_go(&ethogram);
    ethogram.kill_and_restart();
    for number in 1..=REQUESTS {
        let body = beacon_request("s1", number, number);
        post(&ethogram.at.beacon, "/v1/ethogram?key=local", "text/plain", &body);
    }
    let expected = vec![
        vec![json!({ "layer": "browser", "coverage": "matched", "n": REQUESTS })],
        vec![json!({ "n": 2 * REQUESTS, "joined": 2 * REQUESTS, "requests": REQUESTS })],
        vec![json!({ "session_id": "s1", "requests": REQUESTS, "attempts": REQUESTS })],
    ];
    wait_for("late rows to be joined", || answers(&ethogram).filter(|all| *all == expected));
    wait_until_let_go(&ethogram);
    for body in &servers {
        post(&ethogram.at.otlp_http, "/v1/traces", "application/json", body);
    }
    // What was posted after them is seen, so they were taken in.
    let other = server_span("other", 900);
    post(&ethogram.at.otlp_http, "/v1/traces", "application/json", &other);
    ethogram.wait_for_value("SELECT count(*) FROM spans WHERE service = 'other'", 1);
    ethogram.wait_for_value("SELECT count(*) FROM spans WHERE service = 'shop'", REQUESTS);
    ethogram.wait_for_value("SELECT requests FROM sessions", REQUESTS);
}
