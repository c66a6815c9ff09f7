//! An answer as an aligned table: numbers to the right, all else to the left.
//!
//! Widths are counted in characters; a wide script comes out a little ragged.

use std::fmt::Write;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What is between two columns.
const GAP: &str = "  ";

/// What stands for null, so that it is not taken for empty text.
const NULL: &str = "null";

#[derive(Deserialize)]
struct Answer {
    columns: Vec<Column>,
    rows: Vec<Map<String, Value>>,
    #[serde(default)]
    complete_until: Option<String>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
}

/// The table of a JSON answer, with a line that says how many rows and how far they go.
pub(crate) fn render(json: &[u8]) -> anyhow::Result<String> {
    let answer: Answer = serde_json::from_slice(json).context("not an answer")?;
    let header = answer.columns.iter().map(|column| column.name.clone()).collect();
    let rows = answer
        .rows
        .iter()
        .map(|row| answer.columns.iter().map(|column| cell(row.get(&column.name))).collect());
    let lines: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let layout: Vec<(usize, bool)> = answer
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let width = lines.iter().map(|line| line[index].chars().count()).max().unwrap_or(0);
            (width, is_number(column, &answer.rows))
        })
        .collect();

    let mut text = String::new();
    for (index, cells) in lines.iter().enumerate() {
        let padded: Vec<String> =
            cells.iter().zip(&layout).map(|(cell, layout)| pad(cell, *layout)).collect();
        writeln!(text, "{}", padded.join(GAP).trim_end()).expect("writing to a string cannot fail");
        if index == 0 {
            let rules: Vec<String> = layout.iter().map(|(width, _)| "-".repeat(*width)).collect();
            writeln!(text, "{}", rules.join(GAP)).expect("writing to a string cannot fail");
        }
    }
    text.push_str(&summary(&answer));
    Ok(text)
}

fn pad(cell: &str, (width, is_number): (usize, bool)) -> String {
    if is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
}

fn summary(answer: &Answer) -> String {
    let rows = match answer.rows.len() {
        1 => "1 row".to_owned(),
        count => format!("{count} rows"),
    };
    match &answer.complete_until {
        Some(until) => format!("({rows}, complete until {until})\n"),
        None => format!("({rows})\n"),
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => NULL.to_owned(),
        // A line break would tear the table apart, and an escape sequence of a client's own text
        // would command the reader's terminal.
        Some(Value::String(text)) => text
            .chars()
            .flat_map(|letter| {
                if letter.is_control() { letter.escape_default().collect() } else { vec![letter] }
            })
            .collect(),
        Some(other) => other.to_string(),
    }
}

/// Whether a column holds numbers, and perhaps nulls.
fn is_number(column: &Column, rows: &[Map<String, Value>]) -> bool {
    let mut values = rows
        .iter()
        .filter_map(|row| row.get(&column.name))
        .filter(|value| !value.is_null())
        .peekable();
    values.peek().is_some() && values.all(Value::is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &[&str]) {
        let text = render(json.as_bytes()).expect("it is an answer");
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn tables() {
        check(
            r#"{"columns":[{"name":"region","type":"Utf8"},{"name":"n","type":"Int64"},{"name":"p99","type":"Float64"}],
                "rows":[{"region":"DE","n":5,"p99":1.5},{"region":"emea","n":1200,"p99":null}],
                "row_count":2,"complete_until":"2026-01-01T00:00:00Z"}"#,
            &[
                "region     n   p99",
                "------  ----  ----",
                "DE         5   1.5",
                "emea    1200  null",
                "(2 rows, complete until 2026-01-01T00:00:00Z)",
            ],
        );
        check(r#"{"columns":[{"name":"x"}],"rows":[]}"#, &["x", "-", "(0 rows)"]);
        check(r#"{"columns":[],"rows":[]}"#, &["", "", "(0 rows)"]);
        check(
            r#"{"columns":[{"name":"what"},{"name":"ok"}],"rows":[{"what":"a\nb\u001b[2J","ok":true}]}"#,
            &["what           ok", "-------------  ----", "a\\nb\\u{1b}[2J  true", "(1 row)"],
        );
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        assert!(render(b"<html>").is_err());
    }
}
