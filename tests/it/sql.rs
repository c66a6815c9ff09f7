//! Questions with known answers: the files of `tests/sql`, asked of the real binary.
//!
//! A file is sqllogictest's form, as much of it as is needed. It begins with what is sent through
//! the real doors, one record a line, words of `key=value`:
//!
//! ```text
//! beacon span  session=s1 page=1 sequence=1 id=1 at=0 ms=1000 url.full=http://shop.example/cart
//! beacon event session=s1 page=1 sequence=2 id=2 at=2500 event=behavior.abandon behavior.waited_us=2500000
//! otlp span    service=shop trace=1 id=9 parent=1 kind=client at=10 ms=20 http.request.method=GET
//! ```
//!
//! `state` is the span's trace state. `times=numbers` writes what OTLP's JSON has as strings of digits as
//! numbers, as some senders do. `at` and `ms` are milliseconds, `at` since 2026-01-01T00:00:00Z; `id` is the span's, `trace` is
//! the same number unless it is given; `resource.` begins an attribute of the resource, and any other
//! key is an attribute; `~` stands for a blank. Then come `query TYPES` with
//! a statement, `----` and the answer, a line a row, NULL as `NULL`; and `query error WORDS` with a
//! statement that is refused with these words. `#` begins a comment. `TYPES` are not compared.
//!
//! Invariant: a file is answered in the order of its lines, once all of its records are visible and
//! what they teach is learned.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::harness::otlp::{attributes, id};
use crate::harness::{Ethogram, Request, tree, wait_for};

/// 2026-01-01T00:00:00Z: the records of a file have fixed times, and so have its answers.
const BEGIN_MS: u64 = 1_767_225_600_000;

#[test]
fn known_answers() {
    let mut files: Vec<_> = std::fs::read_dir(tree("tests/sql"))
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "slt"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let mut problems = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a text");
        let name = path.file_name().expect("a name").display().to_string();
        problems.extend(run(&text).into_iter().map(|problem| format!("{name}: {problem}")));
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n\n"));
}

/// A statement that does not end. That it is not gone at once counts as not stopping here.
#[test]
fn a_statement_that_does_not_stop_ends_the_role_and_nothing_else() {
    let ethogram = Ethogram::start(&["--query-sql-wall-seconds=5", "--query-sql-stop-seconds=0"]);
    send(&ethogram, "otlp", "span", "service=shop id=1 at=0 ms=10".split_whitespace());
    ethogram.wait_for_value("SELECT count(*) FROM spans", 1);
    let first = wait_for("the query role", || ethogram.role("query"));
    let values = vec!["(1)"; 64].join(", ");
    let tables: Vec<String> =
        (0..8).map(|table| format!("(VALUES {values}) AS t{table}(a)")).collect();
    let endless = format!("SELECT sum(t0.a) FROM {}", tables.join(" CROSS JOIN "));
    wait_for("another process", || {
        drop(ethogram.try_sql(&endless));
        ethogram.role("query").filter(|role| *role != first)
    });
    ethogram.wait_for_value("SELECT count(*) FROM spans", 1);
    ethogram.wait_for_value("SELECT count(*) FROM losses", 0);
}

#[test]
fn a_session_of_any_length_is_shown_as_far_as_it_fits() {
    let ethogram =
        Ethogram::start(&["--query-sql-timeline-rows-max=5", "--query-sql-result-rows-max=10"]);
    for id in 1..=20 {
        let span = format!(
            "session=s1 page=1 tab=1 sequence={id} trace=1 id={id} parent={} at={} ms=5 \
             url.full=http://shop.example/n http.request.method=GET http.response.status_code=200 \
             behavior.attempt=1 behavior.attempt_kind=first",
            id + 100,
            id * 10
        );
        send(&ethogram, "beacon", "span", span.split_whitespace());
    }
    ethogram.wait_for_value("SELECT count(*) FROM spans WHERE parent_span_id IS NOT NULL", 20);
    let answer = wait_for("the session", || {
        let answer = ethogram.get(&ethogram.at.query, "/api/v1/sessions/s1/timeline");
        (answer.status != 404).then_some(answer)
    });
    assert_eq!(answer.status, 200, "{}", answer.text());
    let timeline: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(timeline["truncated"], true);
    let rows = timeline["rows"].as_array().expect("rows");
    let ids: Vec<Value> = rows.iter().map(|row| row["span_id"].clone()).collect();
    assert_eq!(ids, (1..=5).map(|number| Value::from(id(number, 16))).collect::<Vec<_>>());
}

/// What did not answer as the file says.
fn run(text: &str) -> Vec<String> {
    let ethogram = Ethogram::start(&[]);
    let (mut spans, mut events) = (0, 0);
    let mut is_settled = true;
    let mut problems = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (None, _) => {}
            (Some(word), _) if word.starts_with('#') => {}
            (Some(door @ ("beacon" | "otlp")), Some(what)) => {
                send(&ethogram, door, what, words);
                *(if what == "span" { &mut spans } else { &mut events }) += 1;
                is_settled = false;
            }
            (Some("query"), _) => {
                if !is_settled {
                    ethogram.wait_for_value("SELECT count(*) FROM spans", spans);
                    ethogram.wait_for_value("SELECT count(*) FROM events", events);
                    ethogram.wait_for_a_second_of_log();
                    is_settled = true;
                }
                let block: Vec<&str> = lines
                    .by_ref()
                    .map(|(_, line)| line)
                    .take_while(|line| !line.is_empty())
                    .collect();
                let refused = line.strip_prefix("query error ");
                let problem = judge(&ethogram, refused, &block);
                problems.extend(problem.map(|problem| format!("line {}: {problem}", number + 1)));
            }
            (Some(word), _) => panic!("line {}: what is {word}?", number + 1),
        }
    }
    problems
}

/// Asks one question; what is wrong with the answer.
fn judge(ethogram: &Ethogram, refused: Option<&str>, block: &[&str]) -> Option<String> {
    let end = block.iter().position(|line| *line == "----").unwrap_or(block.len());
    let sql = block[..end].join("\n");
    let answer = ask(ethogram, &sql);
    match (answer, refused) {
        (Err(message), Some(words)) if message.contains(words) => None,
        (Ok(rows), None) => {
            let expected = block[(end + 1).min(block.len())..].join("\n");
            let rows = rows.join("\n");
            (rows != expected).then(|| format!("{sql}\nexpected\n{expected}\nhas\n{rows}"))
        }
        (answer, _) => Some(format!("{sql}\nhas {answer:?}")),
    }
}

/// The rows as lines, in the order of the columns.
fn ask(ethogram: &Ethogram, sql: &str) -> Result<Vec<String>, String> {
    let request = Request::post("/api/v1/sql")
        .header("Content-Type", "application/json")
        .body(json!({ "sql": sql }).to_string());
    let answer = request.send(&ethogram.at.query);
    let said: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let (Some(columns), Some(rows)) = (said["columns"].as_array(), said["rows"].as_array()) else {
        return Err(said.to_string());
    };
    let cell = |value: &Value| match value {
        Value::Null => String::from("NULL"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let line = |row: &Value| {
        let cells =
            columns.iter().map(|column| cell(&row[column["name"].as_str().expect("a name")]));
        cells.collect::<Vec<_>>().join(" ")
    };
    Ok(rows.iter().map(line).collect())
}

/// Sends one record in a request of its own.
fn send<'a>(ethogram: &Ethogram, door: &str, what: &str, words: impl Iterator<Item = &'a str>) {
    let mut keys: BTreeMap<&str, &str> =
        words.map(|word| word.split_once('=').expect("key=value")).collect();
    let mut take = |key: &str| keys.remove(key);
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let span_id = take("id").map_or(1, number);
    let trace_id = take("trace").map_or(span_id, number);
    let start_ns = (BEGIN_MS + take("at").map_or(0, number)) * 1_000_000;
    let end_ns = start_ns + take("ms").map_or(0, number) * 1_000_000;
    let kind = match take("kind") {
        Some("server") => 2,
        _ => 3,
    };
    let state = take("state").unwrap_or_default();
    let as_numbers = take("times") == Some("numbers");
    let (parent, event) = (take("parent").map(|id| self::id(number(id), 16)), take("event"));
    let mut resource = Map::new();
    for (key, wire) in [("service", "service.name"), ("session", "session.id")] {
        resource.extend(take(key).map(|value| (wire.into(), value.into())));
    }
    for (key, wire) in [("page", "behavior.page_id"), ("tab", "behavior.tab_id")] {
        resource.extend(take(key).map(|value| (wire.into(), self::id(number(value), 16).into())));
    }
    resource.extend(
        keys.iter().filter_map(|(key, value)| {
            Some((key.strip_prefix("resource.")?.into(), (*value).into()))
        }),
    );
    keys.retain(|key, _| !key.starts_with("resource."));
    let sequence =
        keys.remove("sequence").map(|value| ("behavior.sequence".into(), number(value).into()));
    let typed = |text: &str| {
        text.parse::<i64>().map_or_else(|_| text.replace('~', " ").into(), Value::from)
    };
    let mut own: Map<String, Value> =
        keys.into_iter().map(|(key, value)| (key.into(), typed(value))).collect();
    own.extend(sequence);
    let mut record = json!({
        "traceId": id(trace_id, 32), "spanId": id(span_id, 16), "attributes": attributes(&own.into()),
    });
    let (resources, scopes, records, path) = match what {
        "span" => ("resourceSpans", "scopeSpans", "spans", "/v1/traces"),
        _ => ("resourceLogs", "scopeLogs", "logRecords", "/v1/logs"),
    };
    let times = match event {
        None => json!({ "name": "GET", "kind": kind, "parentSpanId": parent.unwrap_or_default(),
            "traceState": state,
            "startTimeUnixNano": start_ns.to_string(), "endTimeUnixNano": end_ns.to_string() }),
        Some(event) => json!({ "eventName": event, "timeUnixNano": start_ns.to_string() }),
    };
    record
        .as_object_mut()
        .expect("an object")
        .extend(times.as_object().expect("an object").clone());
    let resource = json!({ "attributes": attributes(&resource.into()) });
    let mut body =
        json!({ resources: [{ "resource": resource, scopes: [{ records: [record] }] }] });
    if as_numbers {
        write_numbers(&mut body);
    }
    let (address, path, content_type) = match door {
        "beacon" => (&ethogram.at.beacon, "/v1/ethogram?key=local", "text/plain"),
        _ => (&ethogram.at.otlp_http, path, "application/json"),
    };
    let request = Request::post(path).header("Content-Type", content_type).body(body.to_string());
    let answer = request.send(address);
    assert!(matches!(answer.status, 200 | 204), "{} {}", answer.status, answer.text());
}

/// Writes times and integers as numbers instead of strings of digits.
fn write_numbers(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(write_numbers),
        Value::Object(members) => {
            for (key, value) in members {
                let is_number = key == "intValue" || key.ends_with("UnixNano");
                let number = value.as_str().and_then(|text| text.parse::<u64>().ok());
                match number.filter(|_| is_number) {
                    Some(number) => *value = Value::from(number),
                    None => write_numbers(value),
                }
            }
        }
        _ => {}
    }
}
