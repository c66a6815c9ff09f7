//! The README's questions, asked as they are printed there.
//!
//! A newcomer pastes them into a terminal: each must give rows, with numbers that can be.

use serde_json::Value;

use crate::harness::{Ethogram, Request, tree, wait_for};

/// What stands before and after a statement.
const BEFORE: &str = "-- sql \"";
const AFTER: char = '"';

/// Nobody in the demo waits for longer, in microseconds.
const LATENCY_US_MAX: i64 = 600_000_000;

#[test]
fn every_question_of_the_readme_has_an_answer() {
    let text = std::fs::read_to_string(tree("README.md")).expect("the README");
    let questions: Vec<&str> = text
        .split(BEFORE)
        .skip(1)
        .map(|rest| rest.split(AFTER).next().unwrap_or_default())
        .collect();
    assert_eq!(questions.len(), 3, "questions came or went: {questions:#?}");
    let ethogram = Ethogram::start(&["demo"]);
    // The demo prints one more.
    let printed = ethogram.printed();
    let example =
        printed.split(" sql --query-url ").nth(1).and_then(|rest| rest.split(AFTER).nth(1));
    let example = example.unwrap_or_else(|| panic!("no question in {printed}"));
    for question in questions.into_iter().chain([example]) {
        let mut problem = String::from("no rows yet");
        let rows = wait_for("an answer with all that it is about", || {
            match ethogram.try_sql(question) {
                Ok(rows) if is_whole(&rows) => return Some(rows),
                Ok(_) => {}
                // The world may have just begun, but a statement is right from the first moment.
                Err(error) if error.starts_with("400") => panic!("{question}\n{error}"),
                Err(error) => problem = error,
            }
            None
        });
        // What has no factor is last, as the question wants it.
        let has_factor = rows.iter().map(|row| !row["amplification"].is_null());
        assert!(has_factor.is_sorted_by(|before, after| before >= after), "{question}: {rows:?}");
        for row in &rows {
            judge(row).unwrap_or_else(|wrong| panic!("{question}\n{wrong}: {row}\n{problem}"));
        }
    }
    ask_by_http(&text, &ethogram);
}

/// What the README has curl send, sent so: its quoted words are headers, and at last the body.
fn ask_by_http(readme: &str, ethogram: &Ethogram) {
    let command = readme.split("\ncurl http://127.0.0.1:4319").nth(1).expect("a line for curl");
    let command = command.split("\n```").next().unwrap_or_default();
    let path = command.split_whitespace().next().expect("a path");
    let words: Vec<&str> = command.split('\'').skip(1).step_by(2).collect();
    let [headers @ .., body] = &words[..] else { panic!("no body in {command}") };
    let mut request = Request::post(path).body(*body);
    for header in headers {
        let (name, value) = header.split_once(": ").expect("a header");
        request = request.header(name, value);
    }
    let answer = request.send(&ethogram.at.query);
    let text = answer.text();
    assert_eq!(answer.status, 200, "{command}\n{text}");
    assert!(answer.header("content-type").is_some_and(|form| form.starts_with("text/csv")));
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("outcome,n"));
    let counts = lines.map(|line| line.split_once(',').and_then(|(_, n)| n.parse::<u64>().ok()));
    let counts: Option<Vec<u64>> = counts.collect();
    assert!(counts.is_some_and(|counts| counts.iter().sum::<u64>() > 0), "{text}");
}

/// Whether the world has done enough for the answer to mean something.
fn is_whole(rows: &[Value]) -> bool {
    let has = |column: &str| rows.iter().filter(|row| !row[column].is_null()).count();
    let enough = |column: &str, count: usize| rows[0].get(column).is_none() || has(column) >= count;
    !rows.is_empty()
        && enough("latency_us_p999", 3)
        && enough("amplification", 3)
        && enough("offset_ms", 3)
        && enough("p99_ms", 3)
}

/// What cannot be in a row.
fn judge(row: &Value) -> Result<(), String> {
    let number = |column: &str| row[column].as_f64();
    for (column, value) in row.as_object().into_iter().flatten() {
        // A service's clock may be some milliseconds behind that of the session, and the session's start is
        // late by its first body's way.
        if value.as_f64().is_some_and(|value| value < 0.0) && column != "offset_ms" {
            return Err(format!("{column} is negative"));
        }
    }
    let quantiles = ["latency_us_p50", "latency_us_p99", "latency_us_p999"];
    let quantiles: Vec<i64> = quantiles.iter().filter_map(|name| row[*name].as_i64()).collect();
    if !quantiles.is_sorted() || quantiles.iter().any(|us| !(1..LATENCY_US_MAX).contains(us)) {
        return Err(String::from("the quantiles are no waits, or not in order"));
    }
    if let (Some(sends), Some(calls)) = (number("sends"), number("logical_calls"))
        && (calls > sends || sends < 1.0)
    {
        return Err(String::from("more calls than sends"));
    }
    if let (Some(sends), Some(calls), Some(factor)) =
        (number("sends"), number("logical_calls"), number("amplification"))
        && (factor - sends / calls).abs() > 1e-9
    {
        return Err(String::from("amplification is not sends by logical calls"));
    }
    let factors = (number("local"), number("inherited"), number("amplification"));
    if let (Some(local), Some(inherited), Some(amplification)) = factors
        && ((local * inherited / amplification - 1.0).abs() > 1e-9 || amplification < 1.0)
    {
        return Err(String::from("amplification is not local times inherited"));
    }
    if let Some(layer) = row["layer"].as_str()
        && !["user", "browser", "service", "unknown"].contains(&layer)
    {
        return Err(String::from("there is no such layer"));
    }
    Ok(())
}
