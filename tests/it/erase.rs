//! Erasure: durable at the reply, gone from SQL, binding for what arrives later and after a restart.

use serde_json::json;

use crate::harness::otlp::beacon_request;
use crate::harness::{Ethogram, Request, wait_for};

fn post(ethogram: &Ethogram, session: &str, number: u64) {
    let body = beacon_request(session, number, number).to_string();
    let request = Request::post("/v1/beacon?key=local").header("Content-Type", "text/plain");
    assert_eq!(request.body(body).send(&ethogram.at.beacon).status, 204);
}

fn rows_of(ethogram: &Ethogram, session: &str) -> Option<u64> {
    let sql = format!(
        "SELECT (SELECT count(*) FROM spans WHERE session_id = '{session}') \
         + (SELECT count(*) FROM requests WHERE session_id = '{session}') \
         + (SELECT count(*) FROM sessions WHERE session_id = '{session}') AS n"
    );
    ethogram.try_sql(&sql).ok()?.first()?["n"].as_u64()
}

#[test]
fn a_session_is_erased_everywhere_and_stays_so() {
    let mut ethogram = Ethogram::start(&["--query-follow-store-seal-s=1"]);
    for number in 0..10 {
        post(&ethogram, "keep", 100 + number);
        post(&ethogram, "gone", 200 + number);
    }
    wait_for("both sessions", || {
        (rows_of(&ethogram, "gone")? == 21 && rows_of(&ethogram, "keep")? == 21).then_some(())
    });
    wait_for("some of it to be sealed", || {
        let status = ethogram.get(&ethogram.at.query, "/status").text();
        let status: serde_json::Value = serde_json::from_str(&status).ok()?;
        (status.pointer("/follower/state/seals")?.as_u64()? > 1).then_some(())
    });
    let answer = Request::new("DELETE", "/api/v1/sessions/gone").send(&ethogram.at.admin);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let said: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(said["erased"], json!({ "app": "default", "session_id": "gone" }));

    let is_gone = |ethogram: &Ethogram| {
        wait_for("the session to be gone", || (rows_of(ethogram, "gone")? == 0).then_some(()));
        wait_for("the other to be there", || (rows_of(ethogram, "keep")? >= 21).then_some(()));
    };
    is_gone(&ethogram);
    post(&ethogram, "gone", 300);
    post(&ethogram, "keep", 300);
    wait_for("a later arrival", || (rows_of(&ethogram, "keep")? == 23).then_some(()));
    is_gone(&ethogram);
    ethogram.kill_and_restart();
    wait_for("the query role to answer", || rows_of(&ethogram, "keep").filter(|n| *n == 23));
    is_gone(&ethogram);
}
