//! Users' clocks that are wrong by up to a month and gain or lose half a second in a thousand.
//!
//! Services' clocks are right within milliseconds, the gateway's exactly: it is what times are
//! measured by.

use std::collections::HashMap;

use serde_json::Value;

use crate::world::{World, number, seeds, word};

const DAY_US: i64 = 86_400_000_000;

/// Half a way over the slowest network, and what a beacon's clock gains between two bodies.
const LATE_MS_MAX: i64 = 5_000;

/// Sessions whose timelines are looked at one by one.
const TIMELINES: usize = 20;

fn world(seed: u64) -> World {
    let options = ["--duration", "50s", "--skew", "720h", "--drift", "500", "--reorder"];
    World::new("steady", seed, &options, &[])
}

#[test]
fn no_request_is_lost_from_its_hour() {
    for seed in seeds() {
        let world = world(seed);
        let total = world.total("requests");
        let begun_ns = number(&world.truth, "epoch_unix_ns");
        let ended_ns = begun_ns + (number(&world.truth, "duration_ms") + 60_000) * 1_000_000;
        let sql = format!(
            "SELECT count(*) FROM requests WHERE layer = 'browser' \
             AND CAST(time AS BIGINT) BETWEEN {begun_ns} AND {ended_ns}"
        );
        world.ethogram.wait_for_value(&sql, total);
        let rows = world.ethogram.sql(
            "SELECT count(*) AS requests, \
             max(abs(CAST(c.time AS BIGINT) - CAST(s.time AS BIGINT))) / 1000000 AS late_ms, \
             max(abs(CAST(c.time_client AS BIGINT) - CAST(s.time AS BIGINT))) / 1000 AS wrong_us \
             FROM spans AS c JOIN spans AS s ON s.trace_id = c.trace_id \
               AND s.parent_span_id = c.span_id \
             WHERE c.layer = 'browser' AND s.kind = 'server'",
        );
        assert!(number(&rows[0], "requests") * 100 > total * 95, "{}", rows[0]);
        assert!(number(&rows[0], "late_ms") < LATE_MS_MAX, "{}", rows[0]);
        assert!(number(&rows[0], "wrong_us") > 25 * DAY_US, "the clocks are right: {}", rows[0]);
        offsets_are_inside_their_uncertainty(&world);
        timelines_are_in_order(&world);
        times_are_in_order(&world);
    }
}

/// In SQL there is nothing but time to order by: no service's span stands before the request above it.
fn times_are_in_order(world: &World) {
    let rows = world.ethogram.sql(
        "SELECT count(*) AS pairs, count(*) FILTER (WHERE b.time > s.time) AS wrong \
         FROM spans AS p \
         JOIN timeline AS s ON s.trace_id = p.trace_id AND s.span_id = p.span_id \
         JOIN timeline AS b ON b.trace_id = p.trace_id AND b.span_id = p.parent_span_id \
         WHERE b.layer = 'browser' AND p.kind = 'server' AND b.attempt IS NOT NULL",
    );
    let (pairs, wrong) = (number(&rows[0], "pairs"), number(&rows[0], "wrong"));
    println!("{wrong} of {pairs} service spans before their request");
    assert!(pairs > 500 && wrong == 0, "{}", rows[0]);
}

/// Not only when a session begins: its clock drifts, and the statement is about all of it.
fn offsets_are_inside_their_uncertainty(world: &World) {
    let devices: HashMap<&str, &Value> =
        world.details("session").map(|session| (word(session, "session_id"), session)).collect();
    let rows = world.ethogram.sql(
        "SELECT session_id, clock_offset_us, clock_error_us, \
         (CAST(\"end\" AS BIGINT) - CAST(start AS BIGINT)) / 1000 AS lasted_us FROM sessions",
    );
    let mut outside = Vec::new();
    let mut errors_us = Vec::new();
    for row in &rows {
        let Some(error_us) = row["clock_error_us"].as_i64() else { continue };
        errors_us.push(error_us);
        let stated_us = number(row, "clock_offset_us");
        let device = devices[word(row, "session_id")];
        let drift_ppm = device["drift_ppm"].as_f64().expect("a number");
        let at_first_us = number(device, "offset_us") as f64;
        let gained_us = number(row, "lasted_us") as f64 * drift_ppm / 1e6;
        // One for what whole microseconds cut off.
        let inside = |true_us: f64| (stated_us as f64 - true_us).abs() <= error_us as f64 + 1.0;
        if !inside(at_first_us) || !inside(at_first_us - gained_us) {
            outside.push(format!("{row} {device}"));
        }
    }
    errors_us.sort_unstable();
    let known = errors_us.len();
    assert!(known > 300 && known * 100 >= rows.len() * 99, "{known} of {}", rows.len());
    // A statement that is always true says nothing: half are known within a tenth of a second.
    assert!(errors_us[known / 2] < 100_000, "{} us", errors_us[known / 2]);
    assert!(outside.len() * 100 <= known, "{} of {known}\n{}", outside.len(), outside.join("\n"));
    println!("{} of {known} outside; half within {} us", outside.len(), errors_us[known / 2]);
}

/// Within a page the beacon's sequence, and below each request what services did for it.
fn timelines_are_in_order(world: &World) {
    let sessions = world.ethogram.sql(&format!(
        "SELECT session_id FROM sessions ORDER BY requests DESC, session_id LIMIT {TIMELINES}"
    ));
    assert_eq!(sessions.len(), TIMELINES);
    let mut nested = 0;
    for session in &sessions {
        let id = word(session, "session_id");
        let address = &world.ethogram.at.query;
        let answer = world.ethogram.get(address, &format!("/api/v1/sessions/{id}/timeline"));
        let timeline: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let rows = timeline["rows"].as_array().expect("rows");
        let parents = world.ethogram.sql(&format!(
            "SELECT span_id, parent_span_id FROM spans WHERE session_id = '{id}' \
             AND parent_span_id IS NOT NULL"
        ));
        let parents: HashMap<&str, &str> =
            parents.iter().map(|row| (word(row, "span_id"), word(row, "parent_span_id"))).collect();
        nested += nested_rows(rows, &parents);
        let mut latest: HashMap<&str, i64> = HashMap::new();
        for row in rows.iter().filter(|row| row["sequence"].is_i64()) {
            let sequence = number(row, "sequence");
            let before = latest.insert(word(row, "page_id"), sequence);
            assert!(before.is_none_or(|before| before < sequence), "{id}: {row}");
        }
    }
    assert!(nested > 10 * TIMELINES, "{nested}");
}

/// How many rows stand below their caller's, one deeper, with nothing else in between.
fn nested_rows(rows: &[Value], parents: &HashMap<&str, &str>) -> usize {
    // An event may name the span it is about; a span has an attempt.
    let spans = |row: &&Value| row["attempt"].is_i64();
    let place =
        |id: &str| rows.iter().position(|row| spans(&row) && row["span_id"].as_str() == Some(id));
    let mut nested = 0;
    for row in rows.iter().filter(spans) {
        let id = word(row, "span_id");
        let Some(above) = parents.get(id).and_then(|parent| place(parent)) else { continue };
        let own = place(id).expect("it is one of the rows");
        assert!(own > above, "{row} stands before its caller {}", rows[above]);
        let depth = number(&rows[above], "depth");
        assert_eq!(number(row, "depth"), depth + 1, "{row} below {}", rows[above]);
        let between = &rows[above + 1..own];
        assert!(between.iter().all(|row| number(row, "depth") > depth), "{row}");
        nested += 1;
    }
    nested
}
