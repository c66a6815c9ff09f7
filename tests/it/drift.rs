//! Browsers whose clocks are thirty days off and drift: nothing leaves its hour, and no service's
//! span stands before the request above it. And clocks of which no service tells.

use serde_json::{Value, json};

use crate::harness::otlp::{attributes, id, now_ns};
use crate::harness::{Ethogram, Request, wait_for};

const DAY_NS: i64 = 86_400 * 1_000_000_000;

/// What half an hour of drift and a slow machine may put between a time and its estimate.
const ESTIMATE_NS_MAX: i64 = 300 * 1_000_000_000;

/// Requests of one browser, ten minutes apart.
const REQUESTS: i64 = 4;

/// The clock of a browser that is `days` off now and has drifted by 500 ppm until then.
fn browser_clock(true_ns: i64, now: i64, days: i64) -> i64 {
    true_ns + days * DAY_NS + (true_ns - now) / 2_000
}

fn span(trace: u64, span: u64, kind: i32, start_ns: i64, end_ns: i64, pairs: &Value) -> Value {
    let parent = if kind == 2 { id(span - 1, 16) } else { String::new() };
    json!({ "traceId": id(trace, 32), "spanId": id(span, 16), "parentSpanId": parent, "kind": kind,
        "name": "GET", "startTimeUnixNano": start_ns.to_string(),
        "endTimeUnixNano": end_ns.to_string(), "attributes": attributes(pairs) })
}

fn send(address: &str, path: &str, content_type: &str, resource: &Value, span: Value) {
    let body = json!({ "resourceSpans": [{ "resource": { "attributes": attributes(resource) },
        "scopeSpans": [{ "spans": [span] }] }] });
    let request = Request::post(path).header("Content-Type", content_type);
    let answer = request.body(body.to_string()).send(address);
    assert!(matches!(answer.status, 200 | 204), "{} {}", answer.status, answer.text());
}

/// Sends the requests of a browser with their server's spans; returns when they really began.
fn browse(ethogram: &Ethogram, session: &str, days: i64, number: u64) -> Vec<i64> {
    let now = i64::try_from(now_ns()).expect("before 2262");
    let clock = |true_ns| browser_clock(true_ns, now, days);
    let mut began = Vec::new();
    for at in 0..REQUESTS {
        let start = now - (REQUESTS - at) * 600_000_000_000;
        let (trace, own) = (number + at as u64, (number + at as u64) * 2);
        let about = json!({ "http.request.method": "GET", "url.full": "http://shop.example/a",
            "http.response.status_code": 200, "behavior.attempt": 1, "behavior.sequence": at });
        let resource = json!({ "session.id": session, "behavior.page_id": id(number, 16),
            "behavior.sent_at": clock(now) });
        let client = span(trace, own, 3, clock(start), clock(start + 100_000_000), &about);
        send(&ethogram.at.beacon, "/v1/ethogram?key=local", "text/plain", &resource, client);
        let about = json!({ "http.request.method": "GET", "http.route": "/a",
            "http.response.status_code": 200 });
        let (from, to) = (start + 1_000_000, start + 99_000_000);
        let server = span(trace, own + 1, 2, from, to, &about);
        let resource = json!({ "service.name": "shop" });
        send(&ethogram.at.otlp_http, "/v1/traces", "application/json", &resource, server);
        began.push(start);
    }
    began
}

#[test]
fn a_clock_that_is_off_and_drifts_keeps_hours_and_order() {
    let ethogram = Ethogram::start(&["--query-follow-join-settle-s=2"]);
    for (session, days, number) in [("behind", -30, 1_000), ("ahead", 30, 2_000)] {
        let began = browse(&ethogram, session, days, number);
        wait_for("the clock to be bounded", || {
            let sql = format!(
                "SELECT count(*) AS n FROM timeline WHERE session_id = '{session}' \
                 AND layer = 'browser' AND clock_error_us IS NOT NULL"
            );
            (ethogram.try_sql(&sql).ok()?[0]["n"].as_i64()? == REQUESTS).then_some(())
        });
        let times = ethogram.sql(&format!(
            "SELECT CAST(time AS BIGINT) AS ns FROM requests WHERE session_id = '{session}' ORDER BY time"
        ));
        assert_eq!(times.len(), began.len(), "{session}");
        for (row, start) in times.iter().zip(&began) {
            let off = row["ns"].as_i64().expect("a time") - start;
            assert!(off.abs() < ESTIMATE_NS_MAX, "{session}: off by {off} ns");
        }
        // A bound is as good as the two milliseconds between a request and its server's span.
        let pairs = format!(
            "SELECT count(*) AS pairs, count(*) FILTER (WHERE b.time > s.time) AS turned, \
             count(*) FILTER (WHERE abs(CAST(s.time AS BIGINT) - 1000000 - CAST(b.time AS BIGINT)) / 1000 \
             > b.clock_error_us + 2000) AS outside \
             FROM timeline AS b JOIN timeline AS s ON b.trace_id = s.trace_id \
             WHERE b.session_id = '{session}' AND b.layer = 'browser' AND s.layer = 'service'"
        );
        // Bounds come as traces settle: at the end all of them hold.
        wait_for("the order to be right", || {
            let row = &ethogram.sql(&pairs)[0];
            (*row == json!({ "pairs": REQUESTS, "turned": 0, "outside": 0 })).then_some(())
        });
    }
}

/// Tells an event as a browser does whose clock is off by `off_s`: what happened `ago_ms` before `now`, in a
/// body that was on its way for `way_ms` then.
fn tell(ethogram: &Ethogram, session: &str, now: i64, page: u64, name: &str, when: [i64; 3]) {
    let [ago_ms, way_ms, off_s] = when;
    let clock = |ago_ms: i64| now + off_s * 1_000_000_000 - ago_ms * 1_000_000;
    let resource = json!({ "session.id": session, "behavior.page_id": id(page, 16),
        "behavior.sent_at": clock(way_ms) });
    let sequence = json!({ "behavior.sequence": i64::from(name == "behavior.leave") });
    let event = json!({ "eventName": name, "timeUnixNano": clock(ago_ms).to_string(),
        "attributes": attributes(&sequence) });
    let body = json!({ "resourceLogs": [{ "resource": { "attributes": attributes(&resource) },
        "scopeLogs": [{ "logRecords": [event] }] }] });
    let request = Request::post("/v1/ethogram?key=local").header("Content-Type", "text/plain");
    let answer = request.body(body.to_string()).send(&ethogram.at.beacon);
    assert_eq!(answer.status, 204, "{}", answer.text());
}

/// Where only browsers tell, what one device tells stands by its clock, though some bodies take longer; unless
/// the clock was set between two pages.
#[test]
fn pages_of_one_device_stand_by_its_clock() {
    let ethogram = Ethogram::start(&[]);
    let set = [0, 5, -5, 3_600, -3_600].map(|off_s| (format!("set by {off_s} s"), off_s));
    for (session, off_s) in &set {
        let now = i64::try_from(now_ns()).expect("before 2262");
        let tell = |page, name, when| tell(&ethogram, session, now, page, name, when);
        tell(1, "browser.navigation", [9_000, 0, 0]);
        // The last words are told long after, and arrive when the next page has spoken.
        tell(1, "behavior.leave", [8_000, if *off_s == 0 { 500 } else { 0 }, 0]);
        tell(2, "browser.navigation", [7_900, 0, *off_s]);
        let sql = format!(
            "SELECT what, page_id, offset_ms FROM timeline WHERE session_id = '{session}' ORDER BY time"
        );
        let rows = wait_for("the session", || {
            let rows = ethogram.try_sql(&sql).ok()?;
            (rows.len() == 3).then_some(rows)
        });
        let told: Vec<_> = rows.iter().map(|row| (&row["what"], &row["page_id"])).collect();
        let [first, second] = [1, 2].map(|page| json!(id(page, 16)));
        let [arrived, left] = ["browser.navigation", "behavior.leave"].map(|name| json!(name));
        assert_eq!(told, [(&arrived, &first), (&left, &first), (&arrived, &second)], "{session}");
        // Between the least that a clock was set by and what the requests above take.
        for (row, expected_ms) in rows.iter().zip([0, 1_000, 1_100]) {
            let off_ms = row["offset_ms"].as_i64().expect("a number") - expected_ms;
            assert!(off_ms.abs() < 3_000, "{session}: {row}");
        }
    }
}
