//! The demo: a world of users over the real sockets, and the first questions of the README.

use std::time::{Duration, Instant};

use crate::harness::{Ethogram, is_held, wait_for};

/// From the start of the program to an answer that is not empty.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(15);

#[test]
fn the_first_look_is_not_empty() {
    let began = Instant::now();
    let ethogram = Ethogram::start(&["demo"]);
    let regions = wait_for("three regions with requests", || {
        let rows = ethogram
            .try_sql("SELECT region, count(total_us) AS n, hdr_quantile(hdr(total_us), 0.999) AS latency_us_p999 \
                      FROM requests WHERE layer = 'browser' AND region <> 'unknown' GROUP BY region HAVING count(total_us) > 3")
            .ok()?;
        (rows.len() >= 3).then_some(rows)
    });
    let took = began.elapsed();
    println!("three regions after {took:?}");
    assert!(!is_held() || took < FIRST_ANSWER_MAX, "three regions after {took:?}");
    let said = std::fs::read_to_string(ethogram.directory.path().join("stderr.log"));
    let page = format!("http://{}/", ethogram.at.query);
    assert!(said.expect("what it says is kept").contains(&page), "the page's address is not said");
    for row in regions {
        assert!(row["latency_us_p999"].as_i64().is_some_and(|us| us > 0), "{row}");
    }
    let hops = wait_for("amplification by hop", || {
        let rows = ethogram.try_sql("SELECT service, sum(sends) AS sends, sum(logical_calls) AS calls FROM amplification GROUP BY service").ok()?;
        (rows.len() >= 3).then_some(rows)
    });
    for row in &hops {
        assert!(row["sends"].as_i64() >= row["calls"].as_i64(), "{row}");
    }
    let session = wait_for("a session with a request", || {
        let rows =
            ethogram.try_sql("SELECT session_id FROM sessions WHERE requests > 2 LIMIT 1").ok()?;
        rows.first()?["session_id"].as_str().map(String::from)
    });
    let answer = ethogram.get(&ethogram.at.query, &format!("/api/v1/sessions/{session}/timeline"));
    assert_eq!(answer.status, 200);
    let timeline: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    let rows = timeline["rows"].as_array().expect("rows");
    for layer in ["user", "browser"] {
        assert!(rows.iter().any(|row| row["layer"] == layer), "no row of layer {layer}");
    }
    let page = ethogram.get(&ethogram.at.query, "/");
    assert_eq!(page.status, 200);
    assert!(page.header("content-security-policy").is_some());
    let script = ethogram.get(&ethogram.at.beacon, "/ethogram.js");
    assert!(script.status == 200 && script.body.len() > 1_000);
    for (address, metric) in
        [(&ethogram.at.query, "ethogram_sends_total"), (&ethogram.at.admin, "ethogram_collector_")]
    {
        let text = ethogram.get(address, "/metrics").text();
        assert!(text.contains(metric), "{text}");
    }
}
