//! The README's questions, asked as they are printed there.
//!
//! A newcomer pastes them into a terminal: each must give rows, with numbers that can be.

use serde_json::Value;

use crate::harness::{Ethogram, tree, wait_for};

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
    for question in questions {
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
        for row in &rows {
            judge(row).unwrap_or_else(|wrong| panic!("{question}\n{wrong}: {row}\n{problem}"));
        }
    }
}

/// Whether the world has done enough for the answer to mean something.
fn is_whole(rows: &[Value]) -> bool {
    let has = |column: &str| rows.iter().filter(|row| !row[column].is_null()).count();
    let enough = |column: &str, count: usize| rows[0].get(column).is_none() || has(column) >= count;
    !rows.is_empty()
        && enough("latency_us_p999", 3)
        && enough("amplification", 3)
        && enough("offset_ms", 3)
}

/// What cannot be in a row.
fn judge(row: &Value) -> Result<(), String> {
    let number = |column: &str| row[column].as_f64();
    for (column, value) in row.as_object().into_iter().flatten() {
        // A service's clock may be some milliseconds behind that of the session.
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
